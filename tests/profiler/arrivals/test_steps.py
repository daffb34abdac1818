"""Rates one after the other."""

from __future__ import annotations

import numpy as np
import pytest

from servefit.errors import SpecError
from servefit.profiler.arrivals.steps import MAX_STEPS, Steps


def test_each_rate_holds_for_its_time_again_and_again() -> None:
    shape = Steps(rates_per_s=(10.0, 0.0, 50.0), each_s=0.5)
    assert shape.cycle_s == 1.5
    assert shape.own_rate_per_s == 20
    drawn = np.concatenate([shape.times_ns(rate_per_s=20, duration_s=3, seed=seed) for seed in range(200)])
    per_s = np.histogram(drawn, bins=6, range=(0, 3e9))[0] / 200 / 0.5
    assert per_s == pytest.approx([10, 0, 50, 10, 0, 50], rel=0.1, abs=0.2)


def test_at_another_rate_all_steps_are_scaled() -> None:
    shape = Steps(rates_per_s=(1.0, 3.0))
    drawn = np.concatenate([shape.times_ns(rate_per_s=100, duration_s=2, seed=seed) for seed in range(50)])
    assert np.histogram(drawn, bins=2, range=(0, 2e9))[0] / 50 == pytest.approx([50, 150], rel=0.1)


@pytest.mark.parametrize("rates", [(), (0.0, 0.0), (1.0, -1.0), (1.0,) * (MAX_STEPS + 1)])
def test_impossible_steps_are_refused(rates: tuple[float, ...]) -> None:
    with pytest.raises(SpecError, match=r"^arrivals"):
        Steps(rates_per_s=rates)
