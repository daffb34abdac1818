"""A rate that rises or falls steadily."""

from __future__ import annotations

import numpy as np
import pytest

from servefit.errors import SpecError
from servefit.profiler.arrivals.ramp import Ramp


def test_the_rate_rises_over_the_whole_run_and_its_mean_is_that_of_the_ends() -> None:
    shape = Ramp(from_per_s=0.0, to_per_s=200.0)
    assert shape.own_rate_per_s == 100
    for duration_s in (2.0, 6.0):
        drawn = [shape.times_ns(rate_per_s=100, duration_s=duration_s, seed=seed) for seed in range(60)]
        first, last = np.histogram(np.concatenate(drawn), bins=2, range=(0, duration_s * 1e9))[0] / 60 / duration_s
        assert first == pytest.approx(25, rel=0.1)
        assert last == pytest.approx(75, rel=0.05)


def test_a_ramp_with_a_duration_of_its_own_begins_anew() -> None:
    shape = Ramp(from_per_s=100.0, to_per_s=0.0, over_s=1.0)
    assert shape.cycle_s == 1.0
    drawn = np.concatenate([shape.times_ns(rate_per_s=50, duration_s=2, seed=seed) for seed in range(100)])
    assert np.histogram(drawn, bins=4, range=(0, 2e9))[0] / 100 == pytest.approx([37.5, 12.5, 37.5, 12.5], rel=0.1)


def test_a_ramp_from_nothing_to_nothing_is_refused() -> None:
    with pytest.raises(SpecError, match="both rates are zero"):
        Ramp(from_per_s=0.0, to_per_s=0.0)
