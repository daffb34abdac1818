"""One connection of a client: sends a request, gives its answer, or says how it failed.

What a failure is called is what a run counts it as. Who sends what, when, and what becomes of it, is the business of
the owner of the connection.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import TYPE_CHECKING, Any, Protocol, cast

from servefit.profiler.drivers.http.answers import AnswerReader

if TYPE_CHECKING:
    import socket

    from servefit.profiler.drivers.http.answers import Heads

TIMED_OUT = "timed out"
CLOSED = "connection closed"
RESET = "connection reset"
REFUSED = "connection refused"

_clock = time.monotonic_ns


class ConnectionUser(Protocol):
    """The user of connections. Times are int64 nanoseconds of ``time.monotonic_ns``."""

    def ended(self, connection: ClientConnection, now_ns: int, error: str | None) -> None:
        """Take note that the request on ``connection`` has its answer, or failed, as ``error`` says; the connection may
        be closed by then (``connection.is_open``)."""

    def lost(self, connection: ClientConnection) -> None:
        """Take note that the server has closed ``connection`` between two requests."""


class ClientConnection(asyncio.Protocol):
    """``due_ns`` is when its request was due, ``sent_ns`` when it was sent; ``tag`` is its owner's to use.
    ``timing`` is what the last answer said about its time in the server, as it came.

    Requests are sent through ``raw``, the socket below the transport, which would only send them after everything else
    that the event loop has to do; None where the transport has work to do itself (TLS).
    """

    __slots__ = (
        "_broken", "_raw_send", "_reader", "due_ns", "is_busy", "is_open", "owner", "sent_ns", "tag", "transport",
    )  # fmt: skip

    def __init__(self, heads: Heads, owner: ConnectionUser, raw: socket.socket | None) -> None:
        self.owner = owner
        self.tag: Any = None
        self.due_ns = 0
        self.sent_ns = 0
        self.is_open = False
        self.is_busy = False
        self._reader = AnswerReader(heads)
        self._broken: str | None = None
        self._raw_send = None if raw is None else raw.send

    def send(self, request: bytes, due_ns: int, now_ns: int) -> None:
        self.due_ns = due_ns
        self.sent_ns = now_ns
        self.is_busy = True
        if self._raw_send is None:
            self.transport.write(request)
            return
        try:
            sent = self._raw_send(request)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._broken = error_kind(error)
            self.transport.abort()
            return
        if sent < len(request):
            # What the kernel does not take now is sent later, and what comes after it too.
            self._raw_send = None
            self.transport.write(request[sent:])

    @property
    def timing(self) -> bytes:
        return self._reader.timing

    def give_up(self, now_ns: int, error: str) -> None:
        """Wait no longer for the answer."""
        self._close()
        self.is_busy = False
        self.owner.ended(self, now_ns, error)

    def close(self) -> None:
        """Close a connection that nobody wants any more."""
        self.is_busy = False
        self._close()

    # What the event loop calls:

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        now_ns = _clock()
        if not self.is_busy:
            self._drop_unasked()
        elif self._reader.feed(data):
            self.is_busy = False
            reader = self._reader
            if not reader.stays_open:
                self._close()
            self.owner.ended(self, now_ns, reader.error)

    def connection_lost(self, exc: Exception | None) -> None:
        was_open, self.is_open = self.is_open, False
        if self.is_busy:
            now_ns = _clock()
            self.is_busy = False
            if exc is None and self._broken is None and self._reader.end():
                self.owner.ended(self, now_ns, self._reader.error)
            else:
                self.owner.ended(self, now_ns, self._broken or (CLOSED if exc is None else error_kind(exc)))
        elif was_open:
            self.owner.lost(self)

    def _drop_unasked(self) -> None:
        """Close the connection: an answer that nobody asked for belongs to the request before, which is done, and those
        that follow could not be told apart."""
        if self.is_open:
            self._close()
            self.owner.lost(self)

    def _close(self) -> None:
        self.is_open = False
        self.transport.abort()


def error_kind(error: Exception) -> str:
    """Return what a failure to connect, or of a connection, is called."""
    match error:
        case ConnectionRefusedError():
            return REFUSED
        case ConnectionResetError() | BrokenPipeError() | ConnectionAbortedError():
            return RESET
        case TimeoutError():
            return TIMED_OUT
        case ssl.SSLCertVerificationError():
            return f"certificate refused: {error.verify_message}"
        case ssl.SSLError():
            return "TLS failed"
        case OSError():
            return error.strerror or type(error).__name__
    return type(error).__name__
