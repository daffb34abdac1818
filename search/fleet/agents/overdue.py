"""The end of a bench that does not end by itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from servefit.errors import TimedOut

if TYPE_CHECKING:
    from servefit.search.fleet.agents.bench_client import BenchClient
    from servefit.search.fleet.orders import Order

GRACE_S = 30.0
"""A process that measures has so long to start and to say what it waits for, and so much longer than its limit to end
by itself what it is at, on a busy host. Chosen, not measured."""


class Overdue:
    """Ends a bench that does not do so by itself, as one that hangs in a library: one that is not heard of while it
    waits for its host to be free, or that measures for longer than its order allows. ``error`` is there once it did."""

    def __init__(self, order: Order, bench: BenchClient) -> None:
        self._order = order
        self._bench = bench
        self._timer: asyncio.TimerHandle | None = None
        self.error: TimedOut | None = None

    def begin(self) -> None:
        """Allow it to start."""
        self.allow(GRACE_S)

    def allow(self, seconds: float | None) -> None:
        """Allow it so many seconds from now on; None is without a limit."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else asyncio.get_running_loop().call_later(seconds, self._kill, seconds)

    def heard(self, word: str) -> None:
        """Take note of what it does."""
        limit_s = self._order.limit_s
        if word == "waiting":
            self.allow(GRACE_S)
        else:
            self.allow(None if limit_s is None else limit_s + GRACE_S)

    def _kill(self, seconds: float) -> None:
        self.error = TimedOut(f"an order for {self._order.purpose}", limit_s=seconds)
        self._bench.kill()
