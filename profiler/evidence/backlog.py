"""The backlog of runs, which tells whether more was asked than could be served: whether they are saturated.

Where the rate of arrivals is the same at all times, the backlog of a saturated server grows from the beginning of every
run to its end. That of a server which pauses is large where a run happens to end in a pause. So the backlogs of all
runs are taken together, at their end and before. Where the rate varies, a peak brings a backlog together that drains in
the trough behind it, and a run may end amid one. Then what counts is whether requests were served more slowly while
they waited than they arrived on average: no trough could have drained that.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from servefit.profiler.record.traffic import OpenLoop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servefit.profiler.record.types import Run, Samples

MAX_WAITING = 0.05
"""Of what was due, that may wait at the end of a run. Chosen, not measured."""

_GROWN = {0.5: 0.375, 0.75: 0.625}
"""After half of its time a backlog that grows steadily is half of what it is at the end. Somewhat less is asked for,
since arrivals are uneven. Chosen."""

_DRAINING = 1.2
"""A backlog that was so many times as large before drains. Where requests are given up after a while it grows no more,
and swings. Chosen."""


def are_saturated(runs: Sequence[Run]) -> bool:
    """Return whether more was asked of ``runs`` in open loops, one or more of the same traffic, than could be served.
    What others disturbed of them is left out before (``undisturbed.counted``)."""
    traffic = runs[0].traffic
    if not isinstance(traffic, OpenLoop):
        return False
    if traffic.is_steady or traffic.backlog_cap is not None:
        return _grows(runs)
    return 2 * sum(map(_cannot_drain, runs)) > len(runs)


def _grows(runs: Sequence[Run]) -> bool:
    """Return whether the backlogs of all ``runs`` together are large, and have grown all the time."""
    waiting = sum(run.backlog for run in runs)
    workers = sum(len(run.threads_per_worker) for run in runs)
    if not is_large(waiting, offered=sum(run.offered for run in runs), workers=workers):
        return False
    then = [sum(_waiting_after(run, part) for run in runs) for part in _GROWN]
    has_grown = all(one >= of_all * waiting for one, of_all in zip(then, _GROWN.values(), strict=True))
    return has_grown and max(then) <= _DRAINING * waiting


def _waiting_after(run: Run, part: float) -> int:
    begin, end = run.plateau_ns
    _, waiting = offered_and_backlog(run.samples, (begin, begin + round(part * (end - begin))))
    return waiting


def _cannot_drain(run: Run) -> bool:
    if not is_large(run.backlog, offered=run.offered, workers=len(run.threads_per_worker)):
        return False
    begin, end = run.plateau_ns
    return cannot_drain(run.samples.scheduled_ns(), _begun_ns(run.samples), begin_ns=begin, end_ns=end)


def is_large(backlog: int, *, offered: int, workers: int) -> bool:
    """Return whether ``backlog`` of ``offered`` requests are more than chance and busy ``workers`` leave waiting."""
    # Arrivals of a Poisson process swing by the root of their number: a short run may end amid a small crowd.
    return backlog > max(MAX_WAITING * offered, sqrt(offered), workers)


def cannot_drain(due_ns: np.ndarray, started_ns: np.ndarray, *, begin_ns: float, end_ns: float) -> bool:
    """Return whether requests arrived faster, over the whole run, than they were served while they waited at its end.

    Args:
        due_ns: When requests were due, shape (n,), ascending.
        started_ns: When each was begun to be served, shape (n,); 0 for those that never were.
        begin_ns: When the run began.
        end_ns: When it ended. What was due or begun later does not count.

    Returns:
        False where nothing waited at the end.
    """
    due = due_ns[due_ns < end_ns]
    begun = np.sort(started_ns[(started_ns > 0) & (started_ns < end_ns)])
    if len(begun) >= len(due):
        return False
    # Requests are begun in order of arrival: the n-th to begin leaves those waiting that were due by then.
    waiting = np.searchsorted(due, begun, side="right") - np.arange(1, len(begun) + 1)
    idle = np.flatnonzero(waiting <= 0)
    since_ns, served = begin_ns, len(begun)
    if len(idle):
        since_ns, served = float(begun[idle[-1]]), len(begun) - int(idle[-1]) - 1
    return len(due) * (end_ns - since_ns) >= served * (end_ns - begin_ns)


def offered_and_backlog(samples: Samples, plateau_ns: tuple[int, int]) -> tuple[int, int]:
    """Return how many requests were due on a plateau, and how many of them nobody had begun by its end. What has failed
    waits no more."""
    scheduled, started, ended = samples.scheduled_ns(), _begun_ns(samples), samples.ended_ns()
    begin, end = plateau_ns
    due = (scheduled >= begin) & (scheduled < end)
    waits = (started == 0) | (started >= end)
    return int(np.count_nonzero(due)), int(np.count_nonzero(due & waits & ~_failed_by(ended, end)))


def _begun_ns(samples: Samples) -> np.ndarray:
    """Return when each request was begun to be served; 0 for those that never were. Where a server says how long its
    calls took, that is so long before the answer."""
    started, ended, predicted = samples.started_ns(), samples.ended_ns(), samples.predicted_ns()
    if predicted is None:
        return started
    begun: np.ndarray = np.where((ended > 0) & (predicted >= 0), ended - predicted, np.where(ended == 0, 0, started))
    return begun


def _failed_by(ended: np.ndarray, end: int) -> np.ndarray:
    return (ended < 0) & (ended > -end)
