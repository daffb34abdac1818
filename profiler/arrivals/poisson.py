"""Requests that know nothing of each other: a Poisson process, given how many there are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from servefit.profiler.arrivals.contract import Arrivals, count_of, whole_ns


@dataclass(frozen=True, kw_only=True)
class Poisson(Arrivals):
    """All times are independent, and as likely as each other."""

    name = "poisson"

    def times_ns(self, *, rate_per_s: float, duration_s: float, seed: int) -> np.ndarray:
        random = np.random.default_rng(seed)
        times_s = np.sort(random.uniform(0, duration_s, count_of(rate_per_s * duration_s, random)))
        return whole_ns(times_s, duration_s=duration_s)

    def describe(self) -> str:
        return "at random (a Poisson process)"
