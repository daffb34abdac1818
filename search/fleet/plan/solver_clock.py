"""The time of a search for a plan: the CPU time of its process, since the machine may be busy with other work.

HiGHS has a limit of its own, which counts wall clock, and it cannot be asked how far it is. So a program that was
stopped before it had its CPU time is solved again with a longer limit, by how much CPU this process was given before.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_SLOWDOWN = 10.0
"""A search ends after so many times its limit by wall clock, however little CPU it was given. Chosen, not measured."""

_MIN_LIMIT_S = 0.01
_STOPPED = 1
"""The status of scipy.optimize's programs that were stopped by their limit."""

_ENOUGH = 0.5
"""A program that had this part of its CPU time when it was stopped is not solved again."""


class SolverClock:
    """Counts seconds of CPU time of this process from when it is made, or a MAX_SLOWDOWN-th of the wall clock where
    that is more. ``cpu_s`` and ``wall_s`` are the two clocks."""

    def __init__(
        self, *, cpu_s: Callable[[], float] = time.process_time, wall_s: Callable[[], float] = time.monotonic
    ) -> None:
        # Importing it takes longer than most programs, and is not part of any limit.
        import_module("scipy.optimize")
        self._cpu_s, self._wall_s = cpu_s, wall_s
        self._began = cpu_s(), wall_s()
        self._slowdown = 1.0

    def now_s(self) -> float:
        """Return what the clock shows."""
        cpu_s, wall_s = self._began
        return max(self._cpu_s() - cpu_s, (self._wall_s() - wall_s) / MAX_SLOWDOWN)

    def solve(self, costs: NDArray[np.float64], *, limit_s: float, gap: float, **program: Any) -> Any:
        """Return what ``scipy.optimize.milp`` finds within ``limit_s`` of this clock. The answer may be off the best by
        ``gap``, a part of the cost."""
        from scipy.optimize import milp

        ends_s = self.now_s() + limit_s
        while True:
            left_s, began_s, began_wall_s = ends_s - self.now_s(), self.now_s(), self._wall_s()
            wall_limit_s = max(_MIN_LIMIT_S, left_s * self._slowdown)
            found: Any = milp(costs, **program, options={"time_limit": wall_limit_s, "mip_rel_gap": gap})
            used_s, took_s = self.now_s() - began_s, self._wall_s() - began_wall_s
            if found.status != _STOPPED or used_s >= _ENOUGH * left_s:
                return found
            self._slowdown = max(1.0, min(MAX_SLOWDOWN, took_s / used_s))
