"""Extra time of requests that meet an idle worker: the CPU has to wake up, and caches are cold, the more so the longer
it was idle. Measuring it is left to others."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

from servefit.checks import check_at_least
from servefit.errors import SpecError
from servefit.showing import shown
from servefit.stored import Stored


@shown()
class AfterIdle(Stored, frozen=True, kw_only=True):
    """The extra time of requests that meet a worker which was idle for ``idle_ns`` or longer: ``extra_ns`` are the
    means of equal shares of the sorted times, ascending. Raises SpecError."""

    idle_ns: float
    extra_ns: tuple[float, ...]

    def __post_init__(self) -> None:
        check_at_least("idle_ns", self.idle_ns, 0)
        if not self.extra_ns:
            raise SpecError("extra_ns", self.extra_ns, "is empty")
        check_at_least("extra_ns", self.extra_ns[0], 0)
        if not all(low <= high for low, high in pairwise(self.extra_ns)):
            raise SpecError("extra_ns", self.extra_ns, "is not ascending")


def check_ascending_from_0(steps: Sequence[AfterIdle]) -> None:
    """Raise SpecError unless the idle times of ``steps`` ascend from 0."""
    idle_ns = [step.idle_ns for step in steps]
    if idle_ns[:1] != [0] or sorted(set(idle_ns)) != idle_ns:
        raise SpecError("after_idle", idle_ns, "does not ascend from 0")


def extra_after(idle_ns: float, steps: Sequence[AfterIdle]) -> tuple[float, ...]:
    """Return the extra times of a request after the worker was idle for ``idle_ns``, equally likely and ascending. The
    idle times of ``steps`` ascend from 0."""
    nth = bisect_right(steps, idle_ns, key=lambda step: step.idle_ns)
    return steps[max(0, nth - 1)].extra_ns
