"""How long a worker goes on with what has come before it looks at its sockets again.

What comes in one read may take long: thousands of requests can be sent ahead, on many connections. So it is read in
pieces, and once a turn has lasted, what is left waits for the next ones, a piece of each connection after the other.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

_TURN_NS = 10_000_000


class Turns:
    """A turn begins when it is first asked whether it is over, and is one of the event loop's."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._call_soon = loop.call_soon
        self._began_ns = 0
        self._late: deque[Callable[[], None]] = deque()

    def over(self) -> bool:
        """Whether what can wait has to."""
        now_ns = time.monotonic_ns()
        if self._began_ns:
            return now_ns - self._began_ns > _TURN_NS
        self._began_ns = now_ns
        self._call_soon(self._next)
        return False

    def later(self, go_on: Callable[[], None]) -> None:
        """Call ``go_on`` when it is its turn. The turn must have begun."""
        self._late.append(go_on)

    def _next(self) -> None:
        self._began_ns = 0
        while self._late and not self.over():
            self._late.popleft()()
