"""Metrics: what scikit-learn says of the same predictions, also of rows that count several times."""

from __future__ import annotations

import numpy as np
import pytest

from servefit.backends.quality.drop import reference_score
from servefit.backends.quality.metrics import metric_named
from servefit.backends.quality.scored import Scored
from servefit.errors import SpecError

RNG = np.random.default_rng(0)
ROWS = 200
LABELS = RNG.integers(0, 2, ROWS)
SCORES = np.round(np.clip(0.3 * LABELS + RNG.normal(0.35, 0.25, ROWS), 0, 1), 2)
"""Rounded, so that some are equal."""
CLASSES = RNG.integers(0, 4, ROWS)
PROBABILITIES = RNG.random((ROWS, 4)) + np.eye(4)[CLASSES] * 0.5
TARGETS = RNG.normal(size=ROWS)
VALUES = TARGETS + RNG.normal(size=ROWS) / 3


def ours(name: str, predictions: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> float:
    metric = metric_named(name)
    assert metric is not None
    scored = Scored(predictions=predictions.reshape(len(labels), -1), labels=labels)
    return float(metric.weighted(scored, np.ones((1, ROWS)) if weights is None else weights[None])[0])


@pytest.mark.parametrize("weighted", [False, True])
def test_metrics_are_those_of_scikit_learn(weighted: bool) -> None:
    from sklearn import metrics

    weights = RNG.integers(0, 4, ROWS) if weighted else np.ones(ROWS, dtype=np.int64)
    told = {"sample_weight": weights}
    decided = PROBABILITIES.argmax(axis=1)
    expected = {
        ("accuracy", "classes"): metrics.accuracy_score(CLASSES, decided, **told),
        ("f1", "classes"): metrics.f1_score(CLASSES, decided, average="macro", **told),
        ("f1", "two"): metrics.f1_score(LABELS, SCORES > 0.5, **told),
        ("auc", "two"): metrics.roc_auc_score(LABELS, SCORES, **told),
        ("r2", "numbers"): metrics.r2_score(TARGETS, VALUES, **told),
        ("mae", "numbers"): metrics.mean_absolute_error(TARGETS, VALUES, **told),
        ("recall@2", "classes"): metrics.top_k_accuracy_score(CLASSES, PROBABILITIES, k=2, **told),
    }
    given: dict[str, tuple[np.ndarray, np.ndarray]] = {
        "classes": (PROBABILITIES, CLASSES),
        "two": (SCORES, LABELS),
        "numbers": (VALUES, TARGETS),
    }
    for (name, kind), value in expected.items():
        assert ours(name, *given[kind], weights) == pytest.approx(value), name


def test_a_single_output_is_a_probability_a_raw_score_or_the_class_itself() -> None:
    labels = np.array([0, 1, 1])
    for predictions, threshold in (([0.2, 0.7, 0.9], 0.5), ([-2.0, 0.1, 3.0], 0.0), ([0.0, 1.0, 1.0], None)):
        scored = Scored(predictions=np.array(predictions)[:, None], labels=labels, threshold=threshold)
        assert scored.decisions.tolist() == labels.tolist()


def test_the_score_of_two_raw_outputs_is_their_difference() -> None:
    from sklearn import metrics

    logits = np.stack([RNG.normal(size=ROWS) - LABELS, RNG.normal(size=ROWS)], axis=1)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    metric, once = metric_named("auc"), np.ones((1, ROWS))
    assert metric is not None
    of_logits = metric.weighted(Scored(predictions=logits, labels=LABELS, raw=True), once)
    of_probabilities = metric.weighted(Scored(predictions=probabilities, labels=LABELS), once)
    assert of_logits[0] == pytest.approx(of_probabilities[0]) == metrics.roc_auc_score(LABELS, probabilities[:, 1])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("auc", "there is no auc of that"),
        ("f1", "there is no f1 of that"),
        ("accuracy", "what always says 1 is right"),
        ("recall@1", "what always says 1 is right"),
    ],
)
def test_one_class_alone_is_refused(name: str, words: str) -> None:
    metric = metric_named(name)
    assert metric is not None
    with pytest.raises(SpecError, match=f"has one class only, 1: {words}; add rows of others"):
        reference_score(metric, Scored(predictions=SCORES[:, None], labels=np.ones(ROWS, dtype=np.int64)))


def test_r2_of_labels_that_are_all_equal_is_refused() -> None:
    metric = metric_named("r2")
    assert metric is not None
    with pytest.raises(SpecError, match="metric: 'r2' is not a number on these rows"):
        reference_score(metric, Scored(predictions=VALUES[:, None], labels=np.full(ROWS, 1.1)))


def test_a_recall_among_all_outputs_is_refused() -> None:
    metric = metric_named("recall@4")
    assert metric is not None
    with pytest.raises(SpecError, match="is 1 whatever is predicted: the model has 4 outputs"):
        reference_score(metric, Scored(predictions=PROBABILITIES, labels=CLASSES))


def test_a_recall_of_a_single_output_is_refused() -> None:
    metric = metric_named("recall@1")
    assert metric is not None
    with pytest.raises(SpecError, match="looks for a class among the outputs, and the model has one; take accuracy"):
        reference_score(metric, Scored(predictions=SCORES[:, None], labels=LABELS))


def test_f1_loses_most_by_rows_of_the_rarest_class() -> None:
    labels = np.repeat([0, 1, 2], [3, 97, 100])
    scored, metric = Scored(predictions=np.eye(3)[labels], labels=labels), metric_named("f1")
    assert metric is not None
    assert metric.lost is not None
    # F1 of the rarest class is 2 * 2 / 5 = 0.8 where one of its three rows is lost, and 0 where all are.
    assert metric.lost(scored, 1) == pytest.approx((0.8 + 2 * 97 / 195 + 1) / 3)
    assert metric.lost(scored, 3) == pytest.approx((0 + 2 * 97 / 197 + 1) / 3)


def test_an_unknown_metric_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(SpecError, match="metric: 'acuracy' is not known; did you mean 'accuracy'"):
        metric_named("acuracy")
