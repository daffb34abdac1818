"""uvicorn as the API's server is run on: with limits on heads, connections and time.

Its parser in C has no limit on a head, so it is told to take h11, which has one, and whose cost grows with what comes
and not with the square of it. What uvicorn has no option for is the time that a head may take: its keep-alive time-out
is armed after an answer, and disarmed by the first byte of the next request. :class:`TimedHeads` arms it for heads too.

Each line of a head and each chunk of a body takes the parser some 10 us, however short it is, and nobody else is
answered meanwhile. :class:`BoundedConnection` bounds their number.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_HEAD_BYTES = 2**16
"""As an endpoint allows: http.client lets a single line be so long. The heads of botocore have some 2 KB."""

MAX_HEAD_LINES = 256
"""http.client and Apache allow 100; here each of an object's metadata may take one. Chosen, not measured."""

MAX_SHORT_CHUNKS, MIN_CHUNK_BYTES = 256, 256
"""Chunks of a body beyond the first have so many bytes on average. Clients of AWS send 64 KiB in one. Chosen, not
measured."""

MAX_HEAD_S = 10.0
"""A head that is not whole after this is not going to be: as an endpoint's ``read_timeout_s``."""

MAX_IDLE_S = 75
"""A connection that nothing comes on is closed after this: clients poll every minute."""

MAX_CONNECTIONS = 512
"""Open at once; further requests get 503 and a client tries again. boto3 has ten, and each takes a descriptor, of which
a process has 1,024 as systems come."""

MAX_GRACE_S = 3
"""Requests that are in flight at the end are given so long; those that wait for a job would take longer."""


_HEAD_END = re.compile(rb"\n\r?\n")


class BoundedConnection(h11.Connection):
    """The parser of a connection, which raises RemoteProtocolError for a head of too many lines, and for a body in too
    many short chunks."""

    def __init__(self) -> None:
        super().__init__(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._chunks = self._body_bytes = 0

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        if self.their_state is h11.IDLE:
            self._check_head(self.trailing_data[0])
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._chunks = self._body_bytes = 0
        elif isinstance(event, h11.Data):
            self._chunks += event.chunk_start
            self._body_bytes += len(event.data)
            if self._chunks > MAX_SHORT_CHUNKS + self._body_bytes // MIN_CHUNK_BYTES:
                raise h11.RemoteProtocolError("the chunks of the body are too short")
        return event

    def _check_head(self, unread: bytes) -> None:
        end = _HEAD_END.search(unread)
        if unread.count(b"\n", 0, len(unread) if end is None else end.start()) > MAX_HEAD_LINES:
            raise h11.RemoteProtocolError("the head has too many lines")


class TimedHeads(H11Protocol):
    """A connection, which is closed where no request begins in time."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.conn = BoundedConnection()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request, and end the connection. Where an answer was begun, there is no other."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.close()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._close_later(MAX_HEAD_S, None)

    def on_response_complete(self) -> None:
        answered = self.cycle  # the next one may have begun after this call
        super().on_response_complete()
        self._close_later(self.timeout_keep_alive + MAX_HEAD_S, answered)

    def _close_later(self, after_s: float, latest: Any) -> None:
        """Close the connection in a while, unless a request has begun by then that is later than the ``latest``."""

        def close() -> None:
            if self.cycle is latest:
                self.timeout_keep_alive_handler()

        self.loop.call_later(after_s, close)


def limited_server(app: Callable[[Any, Any, Any], Awaitable[None]]) -> uvicorn.Server:
    """Return a server of an ASGI application, with all limits."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=TimedHeads,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_keep_alive=MAX_IDLE_S,
            timeout_graceful_shutdown=MAX_GRACE_S,
        )
    )
