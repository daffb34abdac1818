"""A Markov-modulated Poisson process of two states."""

from __future__ import annotations

import numpy as np
import pytest

from servefit.profiler.arrivals.bursts import BURSTS_IN_A_RUN, Bursts


def test_numbers_of_arrivals_vary_as_those_of_the_process_do() -> None:
    """The index of dispersion for counts in long intervals is 1 + 2 p q (r1 - r0)^2 / (r (a + b)), where the states
    have the probabilities p and q and are left at rates a and b: the autocovariance of the rate is p q (r1 - r0)^2 at
    lag 0 and falls off as exp(-(a + b) t)."""
    shape = Bursts(factor=5.0, burst_s=0.1, quiet_s=0.3)
    quiet_per_s = 100 * 0.4 / (5 * 0.1 + 0.3)
    modulation = 0.25 * 0.75 * (4 * quiet_per_s) ** 2 / (1 / 0.1 + 1 / 0.3)
    expected = 1 + 2 * modulation / 100
    numbers = [len(shape.times_ns(rate_per_s=100, duration_s=20, seed=seed)) for seed in range(1500)]
    assert np.mean(numbers) == pytest.approx(2000, rel=0.01)
    assert np.var(numbers) / np.mean(numbers) == pytest.approx(expected, rel=0.1)


def test_bursts_of_the_same_rate_are_a_poisson_process() -> None:
    numbers = [len(Bursts(factor=1.0).times_ns(rate_per_s=50, duration_s=4, seed=seed)) for seed in range(1500)]
    assert np.var(numbers) / np.mean(numbers) == pytest.approx(1, rel=0.1)


def test_a_run_that_shows_what_they_do_has_several() -> None:
    assert Bursts(burst_s=0.2, quiet_s=0.3).cycle_s == pytest.approx(BURSTS_IN_A_RUN * 0.5)
