"""The figures of several clients as those of one: a pure function of what they answered.

Percentiles are those of all requests, from histograms that are added up: the mean of percentiles is none. Throughput is
from sums over the time in which all clients sent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, exp, log
from typing import TYPE_CHECKING

import numpy as np

from servefit.profiler.evidence.intervals import sectioned_interval
from servefit.profiler.evidence.summary import NS_PER_MS, Summary, rank_of, samples_needed, with_usual
from servefit.profiler.record.storage.histogram import Histogram

if TYPE_CHECKING:
    from servefit.search.fleet.load_orders import LoadBlock, LoadPart

_ROUNDING = 1e-9
"""So near above a whole number is that number: what is missing is the noise of binary fractions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseTimes:
    """The response times of answered requests in a ``histogram`` of nanoseconds, and how many others there were, which
    count as slower than all of them."""

    histogram: Histogram
    unanswered: int

    @classmethod
    def of(cls, blocks: Sequence[LoadBlock]) -> ResponseTimes:
        """Return those of all ``blocks``. Raises ValueError for a damaged histogram."""
        return cls(
            histogram=Histogram.merged(Histogram.decoded(block.histogram) for block in blocks),
            unanswered=sum(block.unanswered for block in blocks),
        )

    @property
    def total(self) -> int:
        return self.histogram.total + self.unanswered

    def percentile_ms(self, percentile: str) -> float | None:
        """Return the percentile of that name, at most 0.1 % too high, whatever the number of requests; None where it is
        among those that got no answer."""
        nth = max(1, ceil(self.total * rank_of(percentile) / 100 - _ROUNDING))
        return None if nth > self.histogram.total else self.histogram.nth_value(nth) / NS_PER_MS


def common_window_s(parts: Sequence[LoadPart]) -> tuple[float, float]:
    """Return from when until when all clients sent, by the clock of the database; a window of no length where they
    never did."""
    begin_s = max(part.began_s + part.late_s for part in parts)
    return begin_s, max(begin_s, min(part.ended_s for part in parts))


def overlap(parts: Sequence[LoadPart]) -> float:
    """Return for how much of the longest run all clients surely sent, 0 to 1: the clocks may be as wrong as they can
    be."""
    begin_s, end_s = common_window_s(parts)
    longest_s = max(part.ended_s - part.began_s for part in parts)
    unsure_s = 2 * max(part.clock_within_s for part in parts) if len(parts) > 1 else 0.0
    return max(0.0, end_s - begin_s - unsure_s) / longest_s if longest_s > 0 else 0.0


def merge(parts: Sequence[LoadPart], percentiles: Sequence[str] = ()) -> Summary:
    """Return the figures of all clients, one or more, together.

    Beside the usual ``percentiles`` are given. Lag and CPU are those of the client that was worst. Of the server
    nothing is known, and what it says of its own times is not merged. Raises ValueError for a damaged histogram.
    """
    names = with_usual(percentiles)
    everything = ResponseTimes.of([block for part in parts for block in part.blocks])
    supported = [name for name in names if everything.total >= samples_needed(rank_of(name))]
    latency_ms = {name: everything.percentile_ms(name) if name in supported else None for name in names}
    # One client that gave up while the endpoint paused says as little as one run that ended then.
    saturated = 2 * sum(part.backlog or part.summary.saturated for part in parts) >= len(parts)
    window_s = common_window_s(parts)
    errors: Counter[str] = Counter()
    for part in parts:
        errors.update(part.summary.errors)
    return Summary(
        loop="open",
        throughput_per_s=sum(_per_s(part, part.seconds.answered, window_s) for part in parts),
        offered_per_s=sum(_per_s(part, part.seconds.due, window_s) for part in parts),
        samples=everything.total,
        latency_ms=latency_ms,
        latency_ms_ci95={} if saturated else _intervals(parts, latency_ms),
        service_ms=dict.fromkeys(names),
        lag_ms={name: _worst([part.summary.lag_ms.get(name) for part in parts]) for name in names},
        saturated=saturated,
        backlog=sum(part.summary.backlog for part in parts),
        cpu_percent=None,
        peak_memory_bytes=None,
        memory_percent=None,
        steal_percent=None,
        gpu_percent=None,
        gpu_memory_bytes=None,
        gpu_power_w=None,
        failed=sum(part.summary.failed for part in parts),
        errors=dict(sorted(errors.items())),
        client_cpu_percent=_worst([part.summary.client_cpu_percent for part in parts]),
    )


def _per_s(part: LoadPart, sums: Sequence[int], window_s: tuple[float, float]) -> float:
    """Return how many there were a second in the window, with those of a second spread evenly over it."""
    begin_s, end_s = (edge_s - part.began_s for edge_s in window_s)
    if end_s <= begin_s:
        return 0.0
    edges_s = np.minimum(np.arange(len(sums) + 1, dtype=np.float64), part.ended_s - part.began_s)
    reached = np.concatenate([[0], np.cumsum(sums)])
    before, until = np.interp([begin_s, end_s], edges_s, reached)
    return float(until - before) / (end_s - begin_s)


def _intervals(parts: Sequence[LoadPart], latency_ms: dict[str, float | None]) -> dict[str, tuple[float, float]]:
    """Return 95 % intervals of the percentiles, by the parts of the run of equal length, on the logarithm. There is
    none where a part has so few requests that its percentile is its slowest one, or is not known."""
    blocks = [ResponseTimes.of(histograms) for histograms in zip(*(part.blocks for part in parts), strict=True)]
    intervals = {}
    for name, whole_ms in latency_ms.items():
        most = 1 - rank_of(name) / 100
        each_ms = [block.percentile_ms(name) for block in blocks if block.total * most >= 1]
        known_ms = [max(value_ms, 1 / NS_PER_MS) for value_ms in each_ms if value_ms is not None]
        if whole_ms is None or len(known_ms) < len(blocks):
            continue
        low, high = sectioned_interval(log(max(whole_ms, 1 / NS_PER_MS)), [log(value_ms) for value_ms in known_ms])
        intervals[name] = (exp(low), exp(high))
    return intervals


def _worst(figures: Sequence[float | None]) -> float | None:
    return max((figure for figure in figures if figure is not None), default=None)
