"""Predictions that are corrected by measurements."""

from __future__ import annotations

from dataclasses import replace
from math import exp, inf, log, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servefit.backends.types import Settings
from servefit.profiler.record.types import Configuration
from servefit.search.optimizer.gaussian_process import CorrectedPredictions, LognormalEstimate, similarity

TESTED = Configuration(vcpus=4, backend="a", workers=2, max_batch=8)
NEIGHBOUR = replace(TESTED, max_batch=16)
OTHER_SHAPE = replace(TESTED, workers=4)
STRANGER = replace(TESTED, backend="b", workers=1, max_batch=64)
GUESSED = replace(TESTED, backend="guessed")

CONFIGURATIONS = st.builds(
    Configuration,
    vcpus=st.sampled_from([1, 2, 4]),
    backend=st.sampled_from(["a", "b", "guessed"]),
    workers=st.sampled_from([1, 2, 4]),
    settings=st.builds(Settings, threads=st.sampled_from([1, 2])),
    max_batch=st.sampled_from([1, 2, 3, 8, 128]),
    batch_delay_us=st.sampled_from([0, 1000]),
)


def predict(configuration: Configuration) -> tuple[float, bool] | None:
    """100 a worker; nothing is known of the backend "unknown", and little of "guessed"."""
    return (
        None
        if configuration.backend == "unknown"
        else (100.0 * configuration.workers, configuration.backend == "guessed")
    )


def estimate(corrected: CorrectedPredictions, configuration: Configuration) -> LognormalEstimate:
    (found,) = corrected.estimates([configuration])
    assert found is not None
    return found


def test_before_anything_is_measured_the_prediction_stands_with_what_it_is_usually_off_by() -> None:
    corrected = CorrectedPredictions(predict)
    assert estimate(corrected, TESTED).value == pytest.approx(200.0)
    assert estimate(corrected, TESTED).sd == pytest.approx(0.12)
    assert estimate(corrected, GUESSED).sd == pytest.approx(0.4)


def test_a_measurement_corrects_itself_most_then_neighbours_and_strangers_hardly() -> None:
    corrected = CorrectedPredictions(predict)
    corrected.learn(TESTED, 260.0)
    errors = [
        estimate(corrected, configuration).log_mean - log(100 * configuration.workers)
        for configuration in (TESTED, NEIGHBOUR, OTHER_SHAPE, STRANGER)
    ]
    assert errors[0] > errors[1] > errors[2] > errors[3]
    assert errors[0] == pytest.approx(log(1.3), rel=0.15)
    assert 0 < errors[-1] < errors[0] / 10
    sds = [estimate(corrected, configuration).sd for configuration in (TESTED, NEIGHBOUR, OTHER_SHAPE, STRANGER)]
    assert sds == sorted(sds)


def test_measuring_again_makes_surer_and_the_mean_of_all_counts() -> None:
    corrected = CorrectedPredictions(predict)
    sds = []
    for value in (200.0, 230.0, 200.0, 230.0, 200.0, 230.0):
        corrected.learn(TESTED, value)
        sds.append(estimate(corrected, TESTED).sd)
    assert sds == sorted(sds, reverse=True)
    assert estimate(corrected, TESTED).value == pytest.approx((200 * 230) ** 0.5, rel=0.01)


def test_a_noisy_measurement_corrects_less() -> None:
    precise, noisy = CorrectedPredictions(predict), CorrectedPredictions(predict)
    precise.learn(TESTED, 260.0)
    noisy.learn(TESTED, 260.0, noise=0.3)
    assert 200 < estimate(noisy, TESTED).value < 210 < 250 < estimate(precise, TESTED).value


def test_what_rests_on_a_guess_is_corrected_further() -> None:
    known, guessed = CorrectedPredictions(predict), CorrectedPredictions(predict)
    known.learn(TESTED, 600.0, noise=0.2)
    guessed.learn(GUESSED, 600.0, noise=0.2)
    assert estimate(guessed, GUESSED).value > 1.05 * estimate(known, TESTED).value


def test_how_far_predictions_are_off_makes_no_more_of_what_a_guess_is_off() -> None:
    """Guesses were believed to be off by 40 %, and so much is not multiplied by what others are off."""
    corrected = CorrectedPredictions(predict)
    before = estimate(corrected, GUESSED).sd
    for nth in range(6):
        corrected.learn(replace(TESTED, max_batch=2**nth), 100 * TESTED.workers * exp(0.5 * (-1) ** nth))
    assert before < estimate(corrected, GUESSED).sd < 2 * before


def test_nothing_is_estimated_or_learnt_where_there_is_no_prediction() -> None:
    corrected = CorrectedPredictions(predict)
    unknown = replace(TESTED, backend="unknown")
    corrected.learn(unknown, 1e6)
    assert corrected.estimates([unknown, TESTED]) == [None, LognormalEstimate(log_mean=log(200.0), sd=0.12)]
    assert corrected.estimates([]) == []
    assert corrected.estimates([unknown]) == [None]


@pytest.mark.parametrize("value", [0.0, -1.0, inf, nan])
def test_what_is_no_measurement_is_not_learnt(value: float) -> None:
    corrected = CorrectedPredictions(predict)
    corrected.learn(TESTED, value)
    assert estimate(corrected, TESTED) == LognormalEstimate(log_mean=log(200.0), sd=0.12)


def test_how_far_predictions_are_off_is_learnt_from_those_that_were_measured() -> None:
    """One is off by four standard deviations of what was believed, the other by a half."""
    usual, off = CorrectedPredictions(predict), CorrectedPredictions(predict)
    for nth in range(6):
        measured = replace(TESTED, max_batch=2**nth)
        usual.learn(measured, 100 * measured.workers * exp(0.06 * (-1) ** nth))
        off.learn(measured, 100 * measured.workers * exp(0.5 * (-1) ** nth))
    other = replace(TESTED, backend="b")
    assert estimate(usual, other).sd <= 0.121
    assert estimate(off, other).sd > 0.3
    assert estimate(off, other).sd <= 4 * 0.121


@given(st.lists(CONFIGURATIONS, min_size=1, max_size=12, unique=True), st.floats(0.89, 1.12), st.floats(0.01, 1))
def test_one_measurement_moves_its_own_estimate_towards_it_and_makes_nothing_less_sure(
    configurations: list[Configuration], factor: float, noise: float
) -> None:
    corrected = CorrectedPredictions(predict)
    before = corrected.estimates(configurations)
    measured = configurations[0]
    corrected.learn(measured, 100 * measured.workers * factor, noise=noise)
    after = corrected.estimates(configurations)
    assert before[0] is not None
    assert after[0] is not None
    moved, distance = after[0].log_mean - before[0].log_mean, log(factor)
    assert 0 <= moved * distance <= distance**2 * (1 + 1e-9) + 1e-12
    for old, new in zip(before, after, strict=True):
        assert old is not None
        assert new is not None
        assert 0 < new.sd <= old.sd * (1 + 1e-9)


@given(st.lists(st.tuples(CONFIGURATIONS, st.floats(0.2, 5)), min_size=1, max_size=15))
def test_what_was_measured_counts_the_same_in_any_order(
    measured: list[tuple[Configuration, float]],
) -> None:
    forth, back = CorrectedPredictions(predict), CorrectedPredictions(predict)
    for configuration, factor in measured:
        forth.learn(configuration, factor * 100)
        assert estimate(forth, configuration).sd <= 0.4 + 1e-9
    for configuration, factor in reversed(measured):
        back.learn(configuration, factor * 100)
    for configuration, _ in measured:
        assert estimate(forth, configuration).log_mean == pytest.approx(
            estimate(back, configuration).log_mean, abs=1e-6
        )
        assert estimate(forth, configuration).sd == pytest.approx(estimate(back, configuration).sd, rel=1e-6)


@given(st.lists(CONFIGURATIONS, min_size=1, max_size=20))
def test_similarity_is_a_covariance(configurations: list[Configuration]) -> None:
    matrix = similarity(configurations, configurations)
    assert np.array_equal(matrix, matrix.T)
    assert np.all(np.diag(matrix) == 1)
    assert np.all((matrix > 0) & (matrix <= 1))
    assert np.linalg.eigvalsh(matrix).min() > -1e-9


def test_what_was_learnt_elsewhere_corrects_less_than_a_measurement_here_and_more_than_nothing() -> None:
    here, elsewhere, nothing = (CorrectedPredictions(predict) for _ in range(3))
    here.learn(TESTED, 260.0)
    elsewhere.learn_error(TESTED, log(1.3), place="rack3")
    errors = [estimate(each, TESTED).log_mean - log(200.0) for each in (nothing, elsewhere, here)]
    assert errors == sorted(errors)
    assert errors[1] > 0.4 * errors[2]


def test_a_prediction_that_was_right_elsewhere_is_surer_here_and_less_sure_than_one_that_was_right_here() -> None:
    here, elsewhere, nothing = (CorrectedPredictions(predict) for _ in range(3))
    here.learn(TESTED, 200.0)
    elsewhere.learn_error(TESTED, 0.0, place="rack3")
    sds = [estimate(each, TESTED).sd for each in (here, elsewhere, nothing)]
    assert sds == sorted(sds)
    assert len(set(sds)) == 3


def test_many_lessons_of_one_place_never_make_a_measurement() -> None:
    corrected = CorrectedPredictions(predict)
    for _ in range(50):
        corrected.learn_error(TESTED, log(1.3), place="rack3")
    # Of a class that nothing was measured on, what is its own stays unknown.
    assert estimate(corrected, TESTED).sd > 0.07
    corrected.learn(TESTED, 180.0)
    assert estimate(corrected, TESTED).value == pytest.approx(180.0, rel=0.06)


def test_a_lesson_about_what_is_not_in_the_space_corrects_what_is_like_it() -> None:
    corrected = CorrectedPredictions(predict)
    corrected.learn_error(replace(TESTED, vcpus=64, backend="a"), log(1.3), place="rack3")
    assert estimate(corrected, TESTED).log_mean > log(200.0)
    corrected.learn_error(replace(TESTED, backend="unknown"), log(1.3), place="rack3")
    assert estimate(corrected, TESTED).value > 200.0
