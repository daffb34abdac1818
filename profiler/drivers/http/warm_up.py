"""Gets a server to the speed that it keeps, before anything is measured, and sees to it that it answers at all."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from servefit.profiler.drivers.http.connection import ClientConnection
    from servefit.profiler.drivers.http.pool import Pool

_BLOCK_S, _MAX_WARM_UP_S, _ALIKE = 0.05, 0.5, 0.1
"""See :class:`WarmUp`. As in process, with blocks that hold answers of slower servers. Chosen, not measured."""


class WarmUp:
    """Sends ``requests`` in turn, one at a time on each connection, until two blocks of 50 ms in a row had as many
    answers within 10 %, for half a second at most. ``answered`` counts answers, which took ``response_ns`` altogether.
    Failures are counted in ``pool``."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pool: Pool,
        requests: Sequence[bytes],
        *,
        first: int,
    ) -> None:
        self.answered = 0
        self.response_ns = 0
        self._over: asyncio.Future[None] = loop.create_future()
        self._loop = loop
        self._pool = pool
        self._requests = requests
        self._next = first
        self._waiting = 0
        self._enough = False

    async def run(self, connections: Sequence[ClientConnection]) -> None:
        """Warm up over ``connections``, which are open."""
        now_ns = time.monotonic_ns()
        self._loop.call_later(_BLOCK_S, self._end_block, 0, 0, now_ns + round(1e9 * _MAX_WARM_UP_S))
        for connection in connections:
            if connection.is_open:
                self._waiting += 1
                self._send(connection, now_ns)
        if self._waiting:
            await self._over

    def ended(self, connection: ClientConnection, now_ns: int, error: str | None) -> None:
        if error is None:
            self.answered += 1
            self.response_ns += now_ns - connection.sent_ns
        else:
            self._pool.count(error)
        if not connection.is_open:
            self._pool.dropped(connection)
        if connection.is_open and not self._enough:
            self._send(connection, now_ns)
            return
        self._waiting -= 1
        if not self._waiting and not self._over.done():
            self._over.set_result(None)

    def lost(self, connection: ClientConnection) -> None:
        self._pool.dropped(connection)

    def _send(self, connection: ClientConnection, now_ns: int) -> None:
        self._next += 1
        connection.send(self._requests[self._next % len(self._requests)], now_ns, now_ns)

    def _end_block(self, answered_before: int, rate_before: int, end_ns: int) -> None:
        """Compare the block that is over with the one before."""
        self._pool.give_up_late()
        rate = self.answered - answered_before
        alike = bool(rate) and abs(rate - rate_before) <= _ALIKE * rate
        self._enough = alike or time.monotonic_ns() >= end_ns
        if not self._over.done():
            self._loop.call_later(_BLOCK_S, self._end_block, self.answered, rate, end_ns)
