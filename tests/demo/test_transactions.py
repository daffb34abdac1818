"""The transactions that the demo draws."""

from __future__ import annotations

import numpy as np
import pytest

from servefit.demo import fraud_rows
from servefit.demo.transactions import COMPONENTS, FEATURE_NAMES


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray]:
    return fraud_rows(7)


def test_there_are_as_many_rows_and_frauds_as_in_the_real_case(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    rows, labels = drawn
    assert rows.shape == (284_807, 30) == (284_807, len(FEATURE_NAMES))
    assert rows.dtype == np.float32
    assert np.bincount(labels).tolist() == [284_315, 492]


def test_the_same_seed_gives_the_same_rows_and_another_seed_others(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    rows, labels = drawn
    again, labels_again = fraud_rows(7)
    assert np.array_equal(rows, again)
    assert np.array_equal(labels, labels_again)
    assert not np.array_equal(rows, fraud_rows(8)[0])


def test_every_value_is_finite_and_times_and_amounts_are_plausible(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    rows, _ = drawn
    times, amounts = rows[:, FEATURE_NAMES.index("Time")], rows[:, FEATURE_NAMES.index("Amount")]
    assert np.isfinite(rows).all()
    assert (np.diff(times) >= 0).all()
    assert times[0] >= 0
    assert times[-1] < 48 * 3600
    assert amounts.min() >= 0
    assert 15 < np.median(amounts) < 30
    assert amounts.max() > 5000


def test_components_have_decreasing_variance_and_heavy_tails(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    rows, _ = drawn
    # The quartiles are robust against the tails, and so compare the bulk of the components.
    quartiles = np.percentile(rows[:, :COMPONENTS], [25, 75], axis=0)
    assert (np.diff(quartiles[1] - quartiles[0]) < 0).all()
    first = rows[:, 0]
    beyond_five_deviations = (np.abs(first - first.mean()) > 5 * first.std()).mean()
    # A normal distribution would have 6e-7 there.
    assert beyond_five_deviations > 5e-4


def test_no_single_feature_separates_the_frauds(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    rows, labels = drawn
    frauds, legitimate = rows[labels == 1], rows[labels == 0]
    # The share of frauds beyond the most extreme hundredth of legitimate rows, on the better side of each feature.
    low, high = np.percentile(legitimate, [1, 99], axis=0)
    caught = np.maximum((frauds < low).mean(axis=0), (frauds > high).mean(axis=0))
    assert 0.3 < caught.max() < 0.9


def test_frauds_move_several_features_together(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    rows, labels = drawn
    strongest = [FEATURE_NAMES.index(name) for name in ("V12", "V14")]
    correlation = {label: np.corrcoef(rows[labels == label][:, strongest].T)[0, 1] for label in (0, 1)}
    assert abs(correlation[0]) < 0.1
    assert correlation[1] > 0.3
