"""Ends runs before their time, in the parent: shows what is known so far to whoever decides, every now and then."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from servefit.profiler.evidence.stopping import StoppingRule
from servefit.profiler.record.traffic import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    import numpy as np

    from servefit.profiler.drivers.driving.progress import Stoppable
    from servefit.profiler.drivers.driving.schedule import ArrivalSchedule
    from servefit.profiler.evidence.stopping import StoppingCondition, StoppingConditions
    from servefit.profiler.record.traffic import ClosedLoop

    Enough: TypeAlias = Callable[[np.ndarray], bool]
    """Told the response times so far, says whether a run may end."""

GROWN = 1.02
"""Times what was known at the last look: so a run of n requests is looked at 50 ln n times."""


class OpenLoopEnd:
    """Shows the response times of an open loop to ``enough``. ``decided`` says whether that ended the run."""

    def __init__(self, schedule: ArrivalSchedule, enough: Enough | None) -> None:
        self._schedule = schedule
        self._enough = enough
        self._seen = 0
        self.decided = False

    def check(self) -> None:
        """Ask whether the run may end, if enough has come since the last time."""
        if self._enough is None or self.decided:
            return
        response_ns = self._schedule.answered()
        # Looking takes time in proportion to the run, on a small host that of its workers.
        if len(response_ns) >= self._seen * GROWN:
            self._seen = len(response_ns)
            self.decided = self._enough(response_ns) and self._schedule.stop()


class ClosedLoopEnd:
    """Holds what workers report of a closed loop, which began at ``start_ns``, against ``conditions``. ``reached`` is
    the one that ended the run."""

    def __init__(
        self, run: Stoppable, traffic: ClosedLoop, conditions: StoppingConditions | None, *, start_ns: int
    ) -> None:
        self._run = run
        self._rule = None if conditions is None else StoppingRule(conditions, traffic.plateaus())
        self._limits = 0 if conditions is None else len(conditions.thresholds)
        self._start_ns = start_ns
        self._end_ns = start_ns + round(traffic.duration_s * NS_PER_S)
        self.reached: StoppingCondition | None = None

    def check(self) -> None:
        """Hold what workers have reported by now against the conditions."""
        if self._rule is None or self.reached is not None or time.monotonic_ns() >= self._end_ns:
            return
        progress = self._run.words.total_progress(limits=self._limits)
        if progress is None:
            return
        at_ns, answered, slower = progress
        self.reached = self._rule.update((at_ns - self._start_ns) / NS_PER_S, answered, slower)
        if self.reached is not None:
            self._run.stop()
