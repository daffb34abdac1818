"""Requests that know nothing of each other: a Poisson process, with gaps that are exponentially distributed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from servefit.profiler.arrivals.contract import NS_PER_S, Arrivals

_DEVIATIONS = 6
"""So many standard deviations more gaps are drawn than are expected: in one run of 10^9 they do not suffice."""


@dataclass(frozen=True, kw_only=True)
class Poisson(Arrivals):
    """Gaps are exponentially distributed and independent."""

    name = "poisson"

    def times_ns(self, *, rate_per_s: float, duration_s: float, seed: int) -> np.ndarray:
        expected = rate_per_s * duration_s
        gaps = np.random.default_rng(seed).exponential(1 / rate_per_s, int(expected + _DEVIATIONS * expected**0.5 + 10))
        times = np.cumsum(gaps)
        times = times[times < duration_s]
        return (times * NS_PER_S).astype(np.int64)

    def describe(self) -> str:
        return "at random (a Poisson process)"
