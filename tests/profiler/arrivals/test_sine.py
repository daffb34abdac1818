"""A rate that follows a sine."""

from __future__ import annotations

import numpy as np
import pytest

from servefit.errors import SpecError
from servefit.profiler.arrivals.sine import Sine


def test_the_rate_rises_first_and_falls_below_its_mean_then() -> None:
    shape = Sine(amplitude=1.0, period_s=2.0)
    drawn = np.concatenate([shape.times_ns(rate_per_s=100, duration_s=2, seed=seed) for seed in range(100)])
    up, down = np.histogram(drawn, bins=2, range=(0, 2e9))[0] / 100
    # Half a period holds half of the arrivals, and 1/pi of them more or fewer.
    assert up == pytest.approx(100 * (1 + 2 / np.pi), rel=0.03)
    assert down == pytest.approx(100 * (1 - 2 / np.pi), rel=0.06)


def test_a_run_shows_all_of_it_in_a_period() -> None:
    assert Sine(period_s=3.0).cycle_s == 3.0
    assert Sine().own_rate_per_s is None


@pytest.mark.parametrize(("field", "value"), [("amplitude", 1.5), ("amplitude", -0.1), ("period_s", 0.0)])
def test_an_impossible_swing_is_refused_with_the_parameter(field: str, value: float) -> None:
    with pytest.raises(SpecError, match=rf"^arrivals\.{field.removesuffix('_s')}: "):
        Sine(**{field: value})
