"""Poisson arrivals."""

from __future__ import annotations

import numpy as np
import pytest

from servefit.profiler.arrivals.poisson import Poisson


def test_gaps_are_exponentially_distributed() -> None:
    gaps = np.diff(Poisson().times_ns(rate_per_s=1000, duration_s=100, seed=1))
    assert gaps.mean() == pytest.approx(1e6, rel=0.02)
    assert gaps.std() == pytest.approx(1e6, rel=0.02)
    assert np.median(gaps) == pytest.approx(np.log(2) * 1e6, rel=0.02)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(("rate_per_s", "duration_s"), [(500.0, 0.5), (500.0, 2.0), (3.0, 7.0), (12_345.0, 0.2)])
def test_as_many_arrive_as_were_asked_for(rate_per_s: float, duration_s: float, seed: int) -> None:
    times_ns = Poisson().times_ns(rate_per_s=rate_per_s, duration_s=duration_s, seed=seed)
    assert len(times_ns) == rate_per_s * duration_s


def test_a_part_of_a_request_arrives_as_often_as_it_is_a_part() -> None:
    numbers = [len(Poisson().times_ns(rate_per_s=2.3, duration_s=1, seed=seed)) for seed in range(2000)]
    assert set(numbers) == {2, 3}
    assert np.mean(numbers) == pytest.approx(2.3, abs=0.04)


def test_parts_of_a_run_have_as_many_as_chance_gives_them() -> None:
    """A tenth of 100 arrivals: binomial, with a variance of 9."""
    tenths = [
        np.count_nonzero(Poisson().times_ns(rate_per_s=100, duration_s=1, seed=seed) < 100_000_000)
        for seed in range(2000)
    ]
    assert np.mean(tenths) == pytest.approx(10, abs=0.3)
    assert np.var(tenths) == pytest.approx(9, rel=0.15)


def test_arrivals_of_a_seed_are_what_they_have_always_been() -> None:
    """What was measured before can be measured again."""
    times_ns = Poisson().times_ns(rate_per_s=100, duration_s=0.05, seed=7)
    assert times_ns.tolist() == [11260359, 15008314, 38784284, 43677672, 44860690]
