"""Confidence intervals of means of a few values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servefit.profiler.evidence.intervals import geometric_mean_interval, mean_interval, t_quantile

VALUES = st.lists(st.floats(-100, 100), min_size=3, max_size=30)


@pytest.mark.parametrize(
    ("probability", "degrees", "tabulated"),
    [
        (0.975, 2, 4.303),
        (0.975, 3, 3.182),
        (0.975, 4, 2.776),
        (0.975, 9, 2.262),
        (0.975, 30, 2.042),
        (0.975, 1000, 1.962),
        (0.995, 3, 5.841),
        (0.995, 10, 3.169),
    ],
)
def test_quantiles_of_student_s_t_are_those_of_the_tables(probability: float, degrees: int, tabulated: float) -> None:
    assert t_quantile(probability, degrees) == pytest.approx(tabulated, rel=0.01)
    assert t_quantile(1 - probability, degrees) == pytest.approx(-tabulated, rel=0.01)


def test_one_degree_of_freedom_is_too_few() -> None:
    with pytest.raises(ValueError, match="too few"):
        mean_interval([1.0, 2.0])


@given(VALUES)
def test_an_interval_holds_the_mean_and_grows_with_the_confidence(values: list[float]) -> None:
    mean = math.fsum(values) / len(values)
    low, high = mean_interval(values)
    wider_low, wider_high = mean_interval(values, confidence=0.99)
    assert low - 1e-9 <= mean <= high + 1e-9
    assert wider_low <= low
    assert high <= wider_high


@given(VALUES, st.floats(-50, 50), st.floats(0.1, 10))
def test_an_interval_moves_and_stretches_with_the_values(values: list[float], shift: float, factor: float) -> None:
    low, high = mean_interval(values)
    moved = mean_interval([shift + factor * value for value in values])
    assert moved == pytest.approx((shift + factor * low, shift + factor * high), abs=1e-6)


def test_95_of_100_intervals_hold_the_truth_even_of_three_values() -> None:
    draws = np.random.default_rng(1).normal(7, 2, size=(4000, 3)).tolist()
    held = sum(low <= 7 <= high for low, high in map(mean_interval, draws))
    assert 0.93 <= held / len(draws) <= 0.97


@given(st.lists(st.floats(1, 1e9), min_size=3, max_size=8), st.floats(0.001, 1000))
def test_an_interval_of_a_geometric_mean_is_above_zero_and_knows_no_unit(values: list[float], factor: float) -> None:
    low, high = geometric_mean_interval(values)
    scaled = geometric_mean_interval([factor * value for value in values])
    assert 0 < low <= high
    assert scaled == pytest.approx((factor * low, factor * high))


@pytest.mark.parametrize("number", [3, 5])
def test_95_of_100_intervals_of_a_geometric_mean_hold_the_truth(number: int) -> None:
    draws = np.random.default_rng(1).lognormal(3, 0.02, size=(4000, number)).tolist()
    held = sum(low <= math.exp(3) <= high for low, high in map(geometric_mean_interval, draws))
    assert 0.935 <= held / len(draws) <= 0.965
