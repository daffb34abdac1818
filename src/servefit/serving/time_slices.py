"""Time slices of a worker: for so long it reads what has come before it looks at its sockets again.

What comes in one read may take long: thousands of requests can be sent ahead, on many connections. So it is read in
pieces, and once a slice is over, what is left waits for the next ones, a piece of each connection after the other.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

_SLICE_NS = 10_000_000
"""Short beside the 50 ms that nobody may wait for but a prediction (ADR 8), long beside what reading a piece takes."""


class TimeSlices:
    """A slice begins when it is first asked whether it is over, and ends with that turn of the event loop."""

    def __init__(self, loop: AbstractEventLoop, *, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._now_ns = now_ns
        self._call_soon = loop.call_soon
        self._began_ns = 0
        self._late: deque[Callable[[], None]] = deque()

    def is_over(self) -> bool:
        """Return whether what can wait has to."""
        now_ns = self._now_ns()
        if self._began_ns:
            return now_ns - self._began_ns > _SLICE_NS
        self._began_ns = now_ns
        self._call_soon(self._next)
        return False

    def postpone(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` in one of the next slices, after those postponed before. This slice must have begun."""
        self._late.append(callback)

    def _next(self) -> None:
        self._began_ns = 0
        while self._late and not self.is_over():
            self._late.popleft()()
