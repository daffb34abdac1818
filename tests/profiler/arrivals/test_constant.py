"""Evenly spaced arrivals."""

from __future__ import annotations

from servefit.profiler.arrivals.constant import ConstantRate


def test_all_gaps_are_the_same_whatever_the_seed() -> None:
    for seed in (0, 1):
        times_ns = ConstantRate().times_ns(rate_per_s=4, duration_s=1.1, seed=seed)
        assert times_ns.tolist() == [0, 250_000_000, 500_000_000, 750_000_000]
