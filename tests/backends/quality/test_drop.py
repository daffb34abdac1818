"""Drops of metrics that are no shares of rows keep to their error rate: by simulation, with wide margins."""

from __future__ import annotations

import numpy as np
import pytest

from servefit.backends.quality.drop import judged_drop
from servefit.backends.quality.limits import QualityLimit
from servefit.backends.quality.metrics import Metric, metric_named
from servefit.backends.quality.scored import Scored

POPULATION = 200_000
"""Rows that the true drop is computed of."""


def drawn(rng: np.random.Generator, kind: str, rows: int, noise: float, flipped: float) -> tuple[Scored, Scored]:
    """Predictions of a reference, and of a candidate that adds noise, and is badly wrong on a few rows."""
    wrong = rng.random(rows) < flipped
    labels: np.ndarray
    if kind in ("auc", "f1"):
        labels = (rng.random(rows) < 0.3).astype(np.int64)
        raw = rng.normal(size=rows) + 1.8 * labels - 1.1
        moved = raw + noise * rng.normal(size=rows) - 4 * wrong
        predictions = [1 / (1 + np.exp(-each)) for each in (raw, moved)]
    else:
        exact = rng.normal(size=rows)
        labels = exact + rng.normal(size=rows)
        predictions = [exact, exact + noise * rng.normal(size=rows) + 3 * wrong]
    first, second = (Scored(predictions=each[:, None], labels=labels) for each in predictions)
    return first, second


def metric_of(kind: str) -> Metric:
    metric = metric_named(kind)
    assert metric is not None
    return metric


@pytest.mark.integration
@pytest.mark.thorough
@pytest.mark.parametrize(
    ("kind", "rows", "noise", "flipped"),
    [
        ("auc", 300, 0.3, 0.0),
        ("auc", 400, 0.0, 0.01),
        ("f1", 300, 0.2, 0.0),
        ("f1", 400, 0.02, 0.01),
        ("mae", 300, 0.3, 0.0),
        ("r2", 300, 0.3, 0.0),
    ],
)
def test_a_true_drop_is_seldom_beyond_its_bounds(kind: str, rows: int, noise: float, flipped: float) -> None:
    rng, metric = np.random.default_rng(7), metric_of(kind)
    before, after = drawn(rng, kind, POPULATION, noise, flipped)
    once = np.ones((1, POPULATION))
    scores = [float(metric.weighted(each, once)[0]) for each in (before, after)]
    true = (scores[1] - scores[0]) / scores[0] if metric.relative else scores[0] - scores[1]
    limit = QualityLimit(source="array", metric=kind, drop=max(true, 1e-9))
    verdicts = []
    for _ in range(40):
        reference, candidate = drawn(rng, kind, rows, noise, flipped)
        found = judged_drop(limit, metric, reference, {"together": candidate})
        assert found.least <= found.drop <= found.bound
        verdicts.append(found.verdict)
    # Where the true drop is just what is allowed, each is wrong in 2 of 40: 8 and more have a chance of 0.07 %.
    assert verdicts.count("PASS") < 8
    assert verdicts.count("FAIL") < 8


@pytest.mark.parametrize("kind", ["auc", "f1"])
def test_a_metric_that_no_row_of_these_changes_is_not_shown_never_to_change(kind: str) -> None:
    reference, _ = drawn(np.random.default_rng(1), kind, 300, 0.0, 0.0)
    strict = QualityLimit(source="array", metric=kind, drop=0.001)
    found = judged_drop(strict, metric_of(kind), reference, {"together": reference})
    assert (found.verdict, found.drop) == ("UNDECIDED", 0.0)
    assert found.bound > 0.005
    assert found.rows_needed is not None
    assert found.rows_needed > 1500
    loose = QualityLimit(source="array", metric=kind, drop=0.05)
    assert judged_drop(loose, metric_of(kind), reference, {"together": reference}).verdict == "PASS"


def test_accuracy_passes_fails_or_stays_undecided_with_the_rows_that_would_decide() -> None:
    labels = np.arange(1000) % 2
    reference = Scored(predictions=labels[:, None].astype(float), labels=labels)
    wrong = labels.astype(float)
    wrong[:20] = 1 - wrong[:20]
    candidate = Scored(predictions=wrong[:, None], labels=labels)
    verdicts = {}
    for drop in (0.05, 0.022, 0.005):
        limit = QualityLimit(source="array", metric="accuracy", drop=drop)
        verdicts[drop] = judged_drop(limit, metric_of("accuracy"), reference, {"together": candidate})
    assert [each.verdict for each in verdicts.values()] == ["PASS", "UNDECIDED", "FAIL"]
    needed = verdicts[0.022].rows_needed
    assert needed is not None
    assert 10_000 < needed < 20_000
    assert verdicts[0.05].rows_needed is None
    assert "accuracy 0.98 against 1 on 1000 rows (together): it drops by 2 %" in verdicts[0.05].text


def test_an_error_that_grows_is_said_to_rise() -> None:
    labels = np.arange(300.0)
    reference, candidate = (Scored(predictions=labels[:, None] + off, labels=labels) for off in (1.0, 1.1))
    limit = QualityLimit(source="array", metric="mae", drop=0.2)
    text = judged_drop(limit, metric_of("mae"), reference, {"together": candidate}).text
    assert text.startswith("mae 1.1 against 1 on 300 rows (together): it rises by 10 %, and by 10 % at most")


def test_the_worst_way_of_calling_counts() -> None:
    labels = np.arange(1000) % 2
    right = Scored(predictions=labels[:, None].astype(float), labels=labels)
    wrong = Scored(predictions=np.zeros((1000, 1)), labels=labels)
    limit = QualityLimit(source="array", metric="accuracy", drop=0.01)
    found = judged_drop(limit, metric_of("accuracy"), right, {"together": right, "alone": wrong})
    assert (found.verdict, found.way) == ("FAIL", "alone")
