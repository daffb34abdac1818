"""The rate at which limits are reached, by replaying the calls of runs behind many fresh arrivals.

A run of some seconds says little about how often its queue gets long, and much about how long calls take: of those it
has thousands. So the queue is computed from them. Calls stay in their order, in blocks of a second and more, which go
round in a circle [Politis and Romano 1992], and arrivals are drawn anew.

How far off the estimate may be has two parts. One is the calls: what each block says by itself tells how much blocks
differ [sectioning: Asmussen and Glynn 2007, Stochastic Simulation, III.5a], or what pairs of blocks say, if that is
less sure: a disturbance may last longer than a block. The other is whether the queue is as computed: every part of
every run is replayed behind its own arrivals, and the ratio of what was measured to that is known well, as both had the
same luck.

It takes calls to be as long at one rate as at another, which is why runs near the rate in question are replayed. Where
a single call makes much of what lies beyond the percentile, nobody knows how often such come, and there is no estimate.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, sqrt
from typing import TYPE_CHECKING

import numpy as np

from servefit.profiler.defaults import ARRIVALS
from servefit.profiler.evidence.intervals import MIN_VALUES, t_quantile
from servefit.profiler.evidence.replay_checks import (
    MAX_SECTIONS,
    MIN_BEYOND,
    MIN_SECTIONS,
    SECTION_S,
    are_even,
    log_ratios,
)
from servefit.profiler.queueing.fresh_streams import FreshStreams, capacity_per_s, equal_sections
from servefit.profiler.queueing.recorded_calls import CallsInOrder, with_seen_overhead

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servefit.profiler.evidence.limits import LatencyThreshold
    from servefit.profiler.queueing.discipline import Discipline, ServedRequests
    from servefit.profiler.queueing.fresh_streams import Section, Stream

MIN_S = SECTION_S * MIN_SECTIONS
"""Of calls, for a replay."""

_FURTHEST = 0.2
"""Of the root, where a line through its surroundings may lead."""

_SINGLY, _JOINED = 100_000, 40_000
"""Requests of a stream: one call for each takes a sum, anything else a loop that takes a hundred times as long."""

_ROUGHLY = 4
"""Times shorter is a stream where the root is only to be come near."""

_STREAMS = 20
"""Fresh streams of all calls, at each of two rates. Chosen, not measured."""

_STEPS = 14
"""Halvings of the rates between none and capacity."""

_MAX_PARTS = 10
"""Of one run."""

_CONFIDENCE = 0.95

_NEARBY = 0.05
"""So much below the root, the slope is taken. Chosen, not measured."""

_NEAR_ROOT = 0.15
"""Runs that are replayed are so near to the root, as far as they are enough: calls may be longer at another rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedRate:
    """The rate at which the first of several limits is reached, with its 95 % interval. It is ``at_least_per_s`` with
    95 % confidence. ``ratio`` is the measured percentile over the replayed one, of the limit that is reached first."""

    rate_per_s: float
    interval_per_s: tuple[float, float]
    at_least_per_s: float
    ratio: float


class RunReplay:
    """Replays what ``runs`` recorded, open loops of one configuration whose queue is ``discipline``.

    ``seconds`` is how long they took together, and ``arrivals`` names the shape of fresh ones, a steady one. All
    ``thresholds`` are to hold.
    """

    def __init__(
        self,
        runs: Sequence[ServedRequests],
        discipline: Discipline,
        thresholds: Sequence[LatencyThreshold],
        *,
        seconds: float,
        arrivals: str = ARRIVALS,
        seed: int = 0,
    ) -> None:
        self._runs, self._discipline = runs, with_seen_overhead(discipline, runs)
        self._ranks = [threshold.rank for threshold in thresholds]
        self._limits_ns = np.array([threshold.limit_ns for threshold in thresholds])
        self._calls = CallsInOrder.of(runs, discipline)
        self._capacity_per_s = capacity_per_s(self._calls, self._discipline)
        self._seconds = seconds
        self._requests = _SINGLY if discipline.workers == discipline.max_batch == 1 else _JOINED
        self._is_long_enough = seconds >= MIN_S
        count = min(MAX_SECTIONS, int(seconds / SECTION_S))
        self._sections = equal_sections(len(self._calls.relative), count)
        self._streams = FreshStreams(self._calls, self._sections, self._discipline, arrivals=arrivals, seed=seed)

    @property
    def is_even(self) -> bool:
        """Whether no call counts for too much (see ``replay_checks``)."""
        return are_even(
            self._calls,
            utilisation=sum(len(run.scheduled_ns) for run in self._runs) / self._seconds / self._capacity_per_s,
            rank=max(self._ranks),
            seconds=self._seconds,
        )

    @property
    def is_enough(self) -> bool:
        """Whether there are calls of long enough a time, and they are even."""
        return self._is_long_enough and self.is_even

    def root_per_s(self) -> float:
        """Return roughly the rate at which the first limit is reached; 0 where one is at any rate."""
        return self._root(np.ones(len(self._ranks)), self._requests // _ROUGHLY)

    def highest_rate(self) -> ReplayedRate | None:
        """Return the rate at which the first limit is reached, with its interval. None if ``is_enough`` is false, if a
        limit is reached at any rate or hardly depends on it, or if the runs are too short to compare with their
        replay."""
        logs = self._log_ratios()
        if not self.is_enough or len(logs) < MIN_VALUES:
            return None
        ratios = np.exp(logs.mean(axis=0))
        root = self._root(ratios, self._requests)
        if not root:
            return None
        below = (1 - _NEARBY) * root
        whole = self._relatives(root, ratios, [None] * _STREAMS)
        lower = self._relatives(below, ratios, [None] * _STREAMS)
        parts = self._relatives(root, ratios, self._sections)
        # Near saturation the inverse of a percentile falls in proportion to the rate (see ``rate_fit``).
        inverse, inverse_below, of_parts = (1 / relatives.max(axis=1) for relatives in (whole, lower, parts))
        slope = (inverse_below.mean() - inverse.mean()) / (root - below)
        if slope <= 0:
            return None
        of_ratio = logs[:, whole.mean(axis=0).argmax()]
        of_calls, sections = _variance_of_mean(of_parts - inverse.mean())
        error: float = sqrt(of_calls + inverse.var(ddof=1) / _STREAMS + of_ratio.var(ddof=1) / len(of_ratio)) / slope
        degrees = min(sections, len(of_ratio)) - 1
        center = float(root + (inverse.mean() - 1) / slope)
        if abs(center - root) > _FURTHEST * root:
            return None
        half = t_quantile((1 + _CONFIDENCE) / 2, degrees) * error
        return ReplayedRate(
            rate_per_s=center,
            interval_per_s=(max(0.0, center - half), center + half),
            at_least_per_s=max(0.0, center - t_quantile(_CONFIDENCE, degrees) * error),
            ratio=exp(of_ratio.mean()),
        )

    def _root(self, ratios: np.ndarray, requests: int) -> float:
        stream = self._streams.draw(requests)
        low, high = 0.0, self._capacity_per_s
        for _ in range(_STEPS):
            middle = (low + high) / 2
            meets = (self._relative(stream, middle) * ratios).max() <= 1
            low, high = (middle, high) if meets else (low, middle)
        return low

    def _relatives(self, rate_per_s: float, ratios: np.ndarray, sections: Sequence[Section | None]) -> np.ndarray:
        """Return the percentiles of fresh streams as parts of their limits, one of each of ``sections``, and of all
        calls where that is None; shape (streams, thresholds)."""
        streams = (self._streams.draw(self._requests, section) for section in sections)
        return np.array([self._relative(stream, rate_per_s) * ratios for stream in streams])

    def _relative(self, stream: Stream, rate_per_s: float) -> np.ndarray:
        """Return the percentiles of ``stream`` at a rate, as parts of their limits."""
        relative: np.ndarray = (
            np.percentile(self._streams.response_ns(stream, rate_per_s), self._ranks) / self._limits_ns
        )
        return relative

    def _log_ratios(self) -> np.ndarray:
        """Return the logarithms of measured over replayed percentiles of parts of runs, each run with its own calls
        behind its own arrivals, shape (parts, thresholds)."""
        beyond = 1 - max(self._ranks) / 100
        logs = [np.empty((0, len(self._ranks)))]
        for run in self._runs:
            parts = min(_MAX_PARTS, int(len(run.scheduled_ns) * beyond / MIN_BEYOND))
            if parts:
                logs.append(log_ratios(run, parts, self._discipline, self._ranks))
        return np.concatenate(logs)


def _variance_of_mean(deviations: np.ndarray) -> tuple[float, int]:
    """Return the variance of the mean of what sections say, in order of time, and of how many sections that is; of
    pairs of them where that is more: neighbours that are alike tell less than their number."""
    pairs = deviations[: len(deviations) // 2 * 2].reshape(-1, 2).mean(axis=1)
    return max(
        (float(np.square(part).sum()) / (len(part) * (len(part) - 1)), len(part)) for part in (deviations, pairs)
    )


class SeenRuns:
    """Runs of one configuration, whose queue is ``discipline``; with None nothing is kept, and nothing replayed. Fresh
    arrivals are of the shape called ``arrivals``."""

    def __init__(
        self, discipline: Discipline | None, thresholds: Sequence[LatencyThreshold], *, arrivals: str, seed: int
    ) -> None:
        self._discipline, self._thresholds = discipline, thresholds
        self._arrivals, self._seed = arrivals, seed
        self._runs: list[tuple[float, ServedRequests, float]] = []

    def add(self, rate_per_s: float, served: ServedRequests | None, *, elapsed_s: float) -> None:
        """Keep a run that took ``elapsed_s``, unless its calls were not seen, or there was none that succeeded."""
        if served is not None and len(served.batches) and self._discipline is not None:
            self._runs.append((rate_per_s, served, elapsed_s))

    def promise(self, seconds: float) -> bool:
        """Return whether runs of so many ``seconds`` are likely to suffice for a replay, by those that there are."""
        replay = self._replay(self._runs)
        return replay is not None and seconds >= MIN_S and replay.is_even

    def root_per_s(self) -> float | None:
        """Return roughly the rate at which the first limit is reached; None without runs."""
        replay = self._replay(self._runs)
        return None if replay is None else replay.root_per_s()

    def near_root(self) -> RunReplay | None:
        """Return the replay of the runs near the root, or of all where those are too few; None without runs."""
        replay = self._replay(self._runs)
        if replay is None:
            return None
        root = replay.root_per_s()
        near = self._replay([run for run in self._runs if abs(run[0] - root) <= _NEAR_ROOT * root])
        return replay if near is None or not near.is_enough else near

    def _replay(self, runs: Sequence[tuple[float, ServedRequests, float]]) -> RunReplay | None:
        if self._discipline is None or not runs:
            return None
        return RunReplay(
            [served for _, served, _ in runs],
            self._discipline,
            self._thresholds,
            seconds=sum(elapsed_s for _, _, elapsed_s in runs),
            arrivals=self._arrivals,
            seed=self._seed,
        )
