"""Confidence intervals of means of a few values."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import stdtrit

from servefit.profiler.evidence.intervals import (
    geometric_mean_interval,
    mean_interval,
    sectioned_interval,
    t_quantile,
)

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


@pytest.mark.parametrize("probability", [0.6, 0.7, 0.8, 0.9, 0.975, 0.999])
def test_quantiles_of_student_s_t_lack_no_more_than_the_next_term_of_the_expansion(probability: float) -> None:
    """The fifth term [Fisher and Cornish 1960], so that the four before it are right in every coefficient."""
    degrees, z = 150, NormalDist().inv_cdf(probability)
    fifth = (27 * z**11 + 339 * z**9 + 930 * z**7 - 1782 * z**5 - 765 * z**3 + 17955 * z) / 368640
    lacking = float(stdtrit(degrees, probability)) - t_quantile(probability, degrees)
    assert lacking == pytest.approx(fifth / degrees**5, rel=0.012, abs=0)


def test_two_degrees_of_freedom_are_enough_and_one_is_too_few() -> None:
    assert t_quantile(0.975, 2) == pytest.approx(4.303, rel=0.01)
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


def test_an_interval_by_parts_is_that_of_their_mean_where_this_is_the_whole_and_else_wider() -> None:
    parts = [1.0, 2.0, 2.5, 4.5]
    assert sectioned_interval(2.5, parts) == pytest.approx(mean_interval(parts))
    half = t_quantile(0.975, 3) / math.sqrt(3)
    assert sectioned_interval(7.0, [6.0, 6.0, 6.0, 6.0]) == pytest.approx((7.0 - half, 7.0 + half))


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
