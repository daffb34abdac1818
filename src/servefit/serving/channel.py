"""Messages between the supervisor and a worker: one a packet, over a pair of sockets, some with a socket of a
client."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from enum import IntEnum
from typing import Self

_MAX_TEXT_BYTES = 4000
"""A reason, with the end of what a library printed. A packet has to fit into the buffer of a socket, 200 KB by
default."""

_MAX_AT_ONCE = 256
"""Messages received before the event loop does other things. Chosen, not measured."""


class Message(IntEnum):
    """READY and FAILED (with the reason) are a worker's, CONNECTION (with a socket) and STOP the supervisor's. HANG_UP
    is what is received last: the other side is gone."""

    # Numbers on the wire, one byte each. An empty packet, which is the end, counts as 0.
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
        left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(left), cls(right)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def send(self, message: Message, *, connection: socket.socket | None = None, text: str = "") -> bool:
        """Send it without waiting; return False when there is no room, too much is on its way, or nobody to read it."""
        packet = bytes([message]) + text.encode(errors="replace")[:_MAX_TEXT_BYTES]
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
        """Receive what is there, up to some number of messages at once."""
        for _ in range(_MAX_AT_ONCE):
            try:
                packet, descriptors, _, _ = socket.recv_fds(self._socket, _MAX_TEXT_BYTES + 1, 1)
            except BlockingIOError:
                return
            except ConnectionError:
                packet, descriptors = b"", []
            message = Message(packet[0] if packet else 0)
            connection = socket.socket(fileno=descriptors[0]) if descriptors else None
            yield message, connection, packet[1:].decode(errors="replace")
            if message is Message.HANG_UP:
                return
