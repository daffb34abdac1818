"""A client's answer, made of the run that it recorded: histograms and sums in the place of samples.

The samples stay on the client's host, and are gone with it. All times in them are of its own monotonic clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from servefit.profiler.record.storage.histogram import Histogram
from servefit.profiler.record.traffic import NS_PER_S
from servefit.search.fleet.load_orders import LoadBlock, LoadSeconds

if TYPE_CHECKING:
    from servefit.profiler.record.types import Run

BLOCKS = 10
"""Parts of a run that intervals are taken from: as many as have Student's quantile within a seventh of the normal one,
and few enough that each has requests for a percentile. Chosen."""


def blocks_of(run: Run) -> tuple[LoadBlock, ...]:
    """Return the response times of ``run``, an open loop, in BLOCKS equal parts, by when requests were due."""
    begin, end = run.plateau_ns
    scheduled, ended = run.samples.scheduled_ns(), run.samples.ended_ns()
    borders = np.linspace(begin, end, BLOCKS + 1)[1:-1]
    due = (scheduled >= begin) & (scheduled < end)
    block = np.searchsorted(borders, scheduled, side="right")
    blocks = []
    for nth in range(BLOCKS):
        inside = due & (block == nth)
        answered = inside & (ended > 0)
        histogram = Histogram.of((ended - scheduled)[answered])
        unanswered = int(np.count_nonzero(inside)) - histogram.total
        blocks.append(LoadBlock(histogram=histogram.encoded(), unanswered=unanswered))
    return tuple(blocks)


def seconds_of(run: Run) -> LoadSeconds:
    """Return the sums of every second of ``run`` that has begun."""
    begin, end = run.plateau_ns
    scheduled, ended = run.samples.scheduled_ns(), run.samples.ended_ns()
    seconds = -(-(end - begin) // NS_PER_S)

    def counted(at_ns: np.ndarray, weights: np.ndarray | None = None) -> tuple[int, ...]:
        inside = (at_ns >= begin) & (at_ns < end)
        second = (at_ns[inside] - begin) // NS_PER_S
        # Sums of int64, which bincount would make in float64
        sums = np.zeros(seconds, dtype=np.int64)
        np.add.at(sums, second, 1 if weights is None else weights[inside])
        return tuple(sums.tolist())

    answered = ended > 0
    return LoadSeconds(
        due=counted(scheduled),
        answered=counted(ended[answered]),
        failed=counted(-ended[ended < 0]),
        response_ns=counted(ended[answered], (ended - scheduled)[answered]),
    )


def late_s(run: Run) -> float:
    """Return how much later than due the first request was sent; 0 where none was."""
    scheduled, started = run.samples.scheduled_ns(), run.samples.started_ns()
    sent = np.flatnonzero(started > 0)
    if not len(sent):
        return 0.0
    first = sent[np.argmin(started[sent])]
    return float(started[first] - scheduled[first]) / NS_PER_S
