"""Arrivals whose rate goes through a cycle, whatever the shape."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from servefit.errors import SpecError
from servefit.profiler.arrivals.parameters import DURATION, ParameterKind, parameter
from servefit.profiler.arrivals.sine import Sine
from servefit.profiler.arrivals.varying_rate import VaryingRate

ANYTHING = ParameterKind(parse=lambda _field, text: float(text), spell=str, admits=lambda _value: True, what="anything")


@dataclass(frozen=True, kw_only=True)
class Square(VaryingRate):
    name = "square"

    high: float = parameter(ANYTHING, default=3.0)
    cycle: float = parameter(DURATION, default=1.0)
    low: float = parameter(ANYTHING, default=1.0)

    @property
    def cycle_s(self) -> float:
        return self.cycle

    def relative_rate(self, phase: np.ndarray) -> np.ndarray:
        return np.where(phase < 0.5, self.high, self.low)

    def describe(self) -> str:
        return "at one of two rates"


def counts(shape: VaryingRate, *, rate_per_s: float, duration_s: float, edges: int) -> np.ndarray:
    """The arrivals in equal parts of the run, on average over a hundred seeds."""
    drawn = [shape.times_ns(rate_per_s=rate_per_s, duration_s=duration_s, seed=seed) for seed in range(100)]
    return np.histogram(np.concatenate(drawn), bins=edges, range=(0, duration_s * 1e9))[0] / 100


def test_each_part_of_a_cycle_has_its_share_of_the_rate() -> None:
    assert counts(Square(), rate_per_s=100, duration_s=2, edges=4) == pytest.approx([75, 25, 75, 25], rel=0.06)


def test_a_part_of_a_cycle_has_what_it_would_have_in_a_longer_run() -> None:
    assert counts(Square(), rate_per_s=100, duration_s=0.5, edges=1) == pytest.approx([75], rel=0.06)


def test_within_a_part_of_a_constant_rate_arrivals_are_independent_of_each_other() -> None:
    """Each of 75 is in a quarter of that part or not: binomial, with a variance of 75 x 1/4 x 3/4."""
    drawn = [Square().times_ns(rate_per_s=100, duration_s=0.5, seed=seed) for seed in range(2000)]
    assert {len(times_ns) for times_ns in drawn} == {75}
    numbers = [np.count_nonzero(times_ns < 125_000_000) for times_ns in drawn]
    assert np.var(numbers) == pytest.approx(75 * 3 / 16, rel=0.1)


def test_nothing_arrives_where_the_rate_is_zero() -> None:
    times_ns = Square(low=0.0).times_ns(rate_per_s=1000, duration_s=3, seed=0)
    assert (times_ns % 1_000_000_000 < 500_000_000 + 1_000_000_000 / 4096).all()


@pytest.mark.parametrize("low", [-1.0, np.nan, np.inf])
def test_a_rate_that_is_none_is_refused(low: float) -> None:
    with pytest.raises(SpecError, match="below zero, or no number"):
        Square(low=low).times_ns(rate_per_s=10, duration_s=1, seed=0)


def test_a_rate_that_is_zero_at_all_times_is_refused() -> None:
    with pytest.raises(SpecError, match="never arrive"):
        Square(high=0.0, low=0.0).times_ns(rate_per_s=10, duration_s=1, seed=0)


def test_a_rate_of_another_shape_is_refused() -> None:
    class Short(Sine):
        def relative_rate(self, phase: np.ndarray) -> np.ndarray:
            return phase[:7]

    with pytest.raises(SpecError, match="no number"):
        Short().times_ns(rate_per_s=10, duration_s=1, seed=0)
