"""A child's side of a closed loop's end: reports to the parent how far it is, and learns when the run is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from array import array

    from servefit.profiler.drivers.driving.memory import SharedWords

REPORT_EVERY_NS = 20_000_000
"""Five times as often as the parent looks (``processes``)."""


class Stoppable(Protocol):
    """A closed loop as all who take part in it see it: counters that they share, and when it was stopped."""

    @property
    def words(self) -> SharedWords: ...

    @property
    def stopped_ns(self) -> int | None:
        """The moment at which the run was ended before its time, or None."""
        ...

    def stop(self) -> None:
        """End the run before its time, for those that look at ``stopped_ns`` now and then."""
        ...


class RunProgress:
    """Knows when the run ends, and reports to the parent how far child ``number`` is where the run may be stopped
    before that: how many requests it has answered, and how many failed or took longer than each of ``limits_ns`` (None:
    nobody asks)."""

    def __init__(self, run: Stoppable, number: int, *, limits_ns: tuple[float, ...] | None, end_ns: int) -> None:
        self._run = run
        self._number = number
        self._limits_ns = limits_ns
        self._end_ns = end_ns
        self._read = 0
        self._answered = 0
        self._slower = [0] * len(limits_ns or ())

    def report(self, now_ns: int, scheduled: array[int], ended: array[int]) -> int:
        """Report what was recorded up to ``now_ns``; give when the run ends, as far as is known by now. Failed requests
        have the negative of the time at which they did."""
        if self._limits_ns is None:
            return self._end_ns
        # Of copies: an array that somebody looks at cannot grow.
        came_ns, ended_ns = _int64(scheduled[self._read :]), _int64(ended[self._read :])
        self._read = len(ended)
        failed = int(np.count_nonzero(ended_ns < 0))
        self._answered += len(ended_ns) - failed
        for place, limit_ns in enumerate(self._limits_ns):
            self._slower[place] += failed + int(np.count_nonzero(ended_ns - came_ns > limit_ns))
        self._run.words.report_progress(self._number, now_ns, self._answered, self._slower)
        return min(self._end_ns, self._run.stopped_ns or self._end_ns)


def _int64(values: array[int]) -> np.ndarray:
    return np.frombuffer(values, dtype=np.int64)
