"""uvicorn as the API's server is run on: with limits on heads, connections and time.

Its parser in C has no limit on a head, so it is told to take h11, which has one, and whose cost grows with what comes
and not with the square of it. What uvicorn has no option for is the time that a head may take: its keep-alive time-out
is armed after an answer, and disarmed by the first byte of the next request. :class:`TimedHeads` arms it for heads too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_HEAD_BYTES = 2**16
"""As an endpoint allows: http.client lets a single line be so long. The heads of botocore have some 2 KB."""

MAX_HEAD_S = 10.0
"""A head that is not whole after this is not going to be: as an endpoint's ``read_timeout_s``."""

MAX_IDLE_S = 75
"""A connection that nothing comes on is closed after this: clients poll every minute."""

MAX_CONNECTIONS = 512
"""Open at once; further requests get 503 and a client tries again. boto3 has ten, and each takes a descriptor, of which
a process has 1,024 as systems come."""

MAX_GRACE_S = 3
"""Requests that are in flight at the end are given so long; those that wait for a job would take longer."""


class TimedHeads(H11Protocol):
    """A connection, which is closed where no request begins in time."""

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
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_keep_alive=MAX_IDLE_S,
            timeout_graceful_shutdown=MAX_GRACE_S,
        )
    )
