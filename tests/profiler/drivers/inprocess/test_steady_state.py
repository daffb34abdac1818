"""The beginning of the steady state, in made-up series where it is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servefit.profiler.drivers.inprocess.steady_state import mser_5_cut, why_unsteady

LENGTHS = pytest.mark.parametrize("length", [40, 200, 1000, 50_000])


def noise(length: int, *, spread: float = 0.02, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).lognormal(10, spread, length)


@pytest.mark.parametrize("spread", [0.001, 0.02, 0.2])
@pytest.mark.parametrize("length", [200, 1000, 50_000])
def test_noise_alone_is_steady(length: int, spread: float) -> None:
    unsteady = [why_unsteady(noise(length, spread=spread, seed=seed)) for seed in range(40)]
    assert sum(reason is not None for reason in unsteady) <= 6


@LENGTHS
def test_equal_times_are_steady(length: int) -> None:
    assert why_unsteady(np.full(length, 123.0)) is None


@LENGTHS
def test_interruptions_are_not_a_change(length: int) -> None:
    series = noise(length)
    series[length // 2 :: length // 4] *= 50
    assert why_unsteady(series) is None


@pytest.mark.parametrize("length", [200, 1000, 50_000])
def test_a_slow_beginning_is_cut_off_and_what_follows_is_steady(length: int) -> None:
    series = noise(length)
    series[: length // 10] *= 2
    assert why_unsteady(series) is None
    assert length // 10 - 5 <= mser_5_cut(series) <= length // 5


@LENGTHS
def test_a_jump_in_the_middle_is_not_steady(length: int) -> None:
    series = noise(length)
    series[length * 6 // 10 :] *= 1.2
    assert why_unsteady(series) is not None


@pytest.mark.parametrize(("factor", "word"), [(1.3, "30 % slower"), (0.7, "30 % faster")])
def test_the_reason_says_in_which_direction_and_how_far(factor: float, word: str) -> None:
    series = noise(40, spread=0.001)
    series[20:] *= factor
    assert why_unsteady(series) == f"its second half is {word} than its first"


def test_times_that_keep_falling_are_not_steady() -> None:
    assert why_unsteady(noise(1000) * np.linspace(2, 1, 1000)) is not None


def test_few_times_say_nothing() -> None:
    assert why_unsteady(noise(19)) == "19 times are too few to see a steady state in"


@given(st.integers(20, 3000), st.floats(1e-3, 1e6), st.integers(0, 1000))
@settings(max_examples=50)
def test_the_unit_of_time_does_not_matter(length: int, factor: float, seed: int) -> None:
    series = noise(length, seed=seed)
    assert (why_unsteady(series) is None) == (why_unsteady(factor * series) is None)


@given(st.integers(45, 300), st.floats(0.5, 3), st.floats(0, 1), st.integers(0, 1000))
@settings(max_examples=50)
def test_the_cut_is_where_the_definition_puts_it(length: int, factor: float, share: float, seed: int) -> None:
    series = noise(length, seed=seed)
    series[: int(share * length)] *= factor
    batches = [float(np.mean(series[begin : begin + 5])) for begin in range(0, length - 4, 5)]
    errors = [float(np.var(batches[cut:])) / len(batches[cut:]) for cut in range(len(batches) - 7)]
    assert errors[mser_5_cut(series) // 5] == pytest.approx(min(errors), rel=1e-6)
