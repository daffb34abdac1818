"""Labels by which what always predicts the same is as good as the model: nothing can be told by them."""

from __future__ import annotations

import numpy as np
import pytest

from servefit.backends.quality.drop import reference_score
from servefit.backends.quality.guesses import best_guess
from servefit.backends.quality.metrics import Metric, metric_named
from servefit.backends.quality.scored import Scored
from servefit.errors import SpecError

RNG = np.random.default_rng(0)
ROWS = 600
CLASSES = RNG.choice(4, ROWS, p=[0.4, 0.3, 0.2, 0.1])
PROBABILITIES = RNG.random((ROWS, 4)) / 2 + np.eye(4)[CLASSES]
NUMBERS = RNG.standard_normal(ROWS)
GIVEN: dict[str, tuple[np.ndarray, np.ndarray]] = {
    "accuracy": (PROBABILITIES, CLASSES),
    "recall@2": (PROBABILITIES, CLASSES),
    "auc": (0.2 + 0.6 * (CLASSES == 0)[:, None] + RNG.random((ROWS, 1)) / 10, (CLASSES == 0).astype(np.int64)),
    "f1": (0.1 + 0.8 * (CLASSES == 0)[:, None], (CLASSES == 0).astype(np.int64)),
    "r2": (NUMBERS[:, None] + 0.1, NUMBERS),
    "mae": (NUMBERS[:, None] + 0.1, NUMBERS),
}


def metric_of(name: str) -> Metric:
    metric = metric_named(name)
    assert metric is not None
    return metric


@pytest.mark.parametrize("name", GIVEN)
def test_labels_of_the_rows_are_told_from_those_of_others(name: str) -> None:
    predictions, labels = GIVEN[name]
    reference_score(metric_of(name), Scored(predictions=predictions, labels=labels))
    of_others = Scored(predictions=predictions, labels=np.roll(labels, 1))
    with pytest.raises(SpecError, match="by these labels a ruined model is as good; give the label of each row, in"):
        reference_score(metric_of(name), of_others)


@pytest.mark.parametrize(
    ("name", "guess"),
    [("accuracy", [9.0, 0, 0, 0]), ("recall@2", [9.0, 8, 0, 0]), ("f1", [1.0]), ("mae", [float(np.median(NUMBERS))])],
)
def test_the_best_guess_is_what_the_metric_says_of_it(name: str, guess: list[float]) -> None:
    metric, (_, labels) = metric_of(name), GIVEN[name]
    scored = Scored(predictions=np.tile(np.array(guess), (ROWS, 1)), labels=labels)
    assert best_guess(metric, scored) == pytest.approx(metric.weighted(scored, np.ones((1, ROWS)))[0])


def test_f1_of_several_classes_is_that_of_the_largest_among_all() -> None:
    scored = Scored(predictions=np.tile(np.array([9.0, 0, 0, 0]), (ROWS, 1)), labels=CLASSES)
    assert best_guess(metric_of("f1"), scored) == pytest.approx(metric_of("f1").weighted(scored, np.ones((1, ROWS)))[0])
