"""Requests that are evenly spaced, as one client with a timer sends them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from servefit.profiler.arrivals.contract import NS_PER_S, Arrivals


@dataclass(frozen=True, kw_only=True)
class ConstantRate(Arrivals):
    """All gaps are the same."""

    name = "constant"

    def times_ns(self, *, rate_per_s: float, duration_s: float, seed: int) -> np.ndarray:
        times = np.arange(int(rate_per_s * duration_s)) / rate_per_s
        return (times * NS_PER_S).astype(np.int64)

    def describe(self) -> str:
        return "evenly spaced"
