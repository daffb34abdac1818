"""What the supervisor and a worker tell each other: one message a packet, over a pair of sockets, some with a socket of
a client."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from enum import IntEnum
from typing import Self

_LONGEST_TEXT = 4000
_MOST_AT_ONCE = 256


class Message(IntEnum):
    """READY and FAILED (with the reason) are a worker's, CONNECTION (with a socket) and STOP the supervisor's. HANG_UP
    is what is received last: the other side is gone."""

    HANG_UP = 0
    READY = 1
    FAILED = 2
    CONNECTION = 3
    STOP = 4


class Channel:
    """One end. It never blocks."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket = end

    @classmethod
    def pair(cls) -> tuple[Self, Self]:
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(one), cls(other)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def send(self, message: Message, *, connection: socket.socket | None = None, text: str = "") -> bool:
        """Give False when there is no room, too much is on its way, or nobody to read it."""
        packet = bytes([message]) + text.encode(errors="replace")[:_LONGEST_TEXT]
        descriptors = [] if connection is None else [connection.fileno()]
        try:
            socket.send_fds(self._socket, [packet], descriptors)
        except (BlockingIOError, ConnectionError):
            return False
        except OSError as error:
            if error.errno != errno.ETOOMANYREFS:
                raise
            return False
        return True

    def receive(self) -> Iterator[tuple[Message, socket.socket | None, str]]:
        """What is there, up to some number of messages at once."""
        for _ in range(_MOST_AT_ONCE):
            try:
                packet, descriptors, _, _ = socket.recv_fds(self._socket, _LONGEST_TEXT + 1, 1)
            except BlockingIOError:
                return
            except ConnectionError:
                packet, descriptors = b"", []
            message = Message(packet[0] if packet else 0)
            connection = socket.socket(fileno=descriptors[0]) if descriptors else None
            yield message, connection, packet[1:].decode(errors="replace")
            if message is Message.HANG_UP:
                return
