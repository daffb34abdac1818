"""Metrics of predictions against labels, by name: how they are computed of many weightings of the rows at once, and how
the drop from the reference to the candidate is told.

The drop of a share (accuracy, AUC, F1, R2, recall) is in points: 0.98 to 0.975 is 0.5 %. That of an error, and of a
function of the user's own, is a share of what the reference has: an MAE of 2.00 to 2.01 is 0.5 %.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from servefit.backends.quality.metric_names import check_metric, is_function, recalled

if TYPE_CHECKING:
    from servefit.backends.quality.scored import Scored

Outcomes: TypeAlias = Callable[["Scored"], np.ndarray]
"""Gives whether each row is right, (rows,) booleans."""

Weighted: TypeAlias = Callable[["Scored", np.ndarray], np.ndarray]
"""Gives the metric for each of several weightings of the rows, (weightings, rows), NaN where it is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric of servefit's own. One whose rows are right or wrong has ``outcomes`` besides.

    ``labels`` says which it takes: numbers, class numbers, or those of two classes. ``relative`` metrics are errors,
    of which less is better; ``lost`` tells the metric of a candidate for which so many more rows went wrong, as wrong
    as they can. ``largest`` is how many outputs of a row are looked at, where that is not for the metric to say.
    """

    name: str
    labels: Literal["numbers", "classes", "two classes"]
    weighted: Weighted
    outcomes: Outcomes | None = None
    relative: bool = False
    lost: Callable[[Scored, int], float] | None = None
    largest: int | None = None


def metric_named(name: str) -> Metric | None:
    """Return the metric of that name; None for a function of the user's own ("package.module:function"). Raises
    SpecError for a name that is neither."""
    check_metric(name)
    largest = recalled(name)
    if largest is not None:
        return _of_outcomes(name, lambda scored: scored.among(largest), largest=largest)
    return None if is_function(name) else _METRICS[name]


def _of_outcomes(name: str, outcomes: Outcomes, *, largest: int | None = None) -> Metric:
    """Return the metric that is the share of rows that are right."""

    def share(scored: Scored, weights: np.ndarray) -> np.ndarray:
        return np.asarray(weights @ outcomes(scored).astype(np.float64) / weights.sum(axis=1))

    return Metric(name=name, labels="classes", weighted=share, outcomes=outcomes, largest=largest)


def _mae(scored: Scored, weights: np.ndarray) -> np.ndarray:
    errors = np.abs(scored.values - scored.targets).mean(axis=1)
    return np.asarray((weights @ errors) / weights.sum(axis=1))


def _r2(scored: Scored, weights: np.ndarray) -> np.ndarray:
    """Return R2, the mean over outputs."""
    counts = weights.sum(axis=1)[:, None]
    residual = weights @ (scored.values - scored.targets) ** 2
    mean = weights @ scored.targets / counts
    whole = weights @ scored.targets**2 - counts * mean**2
    # The variance of equal numbers is their rounding.
    floor = 1e-12 * (weights @ scored.targets**2)
    with np.errstate(invalid="ignore", divide="ignore"):
        of_outputs = np.where(whole > floor, 1 - residual / whole, np.nan)
    return np.asarray(of_outputs.mean(axis=1))


def _f1(scored: Scored, weights: np.ndarray) -> np.ndarray:
    """Return F1 of the second of two classes; of more classes, the mean over those that occur."""
    scores = []
    classes = [1] if scored.classes == 2 else range(scored.classes)
    for one in classes:
        truly, said = scored.labels == one, scored.decisions == one
        both = weights @ (truly & said).astype(np.float64)
        either = weights @ (truly.astype(np.float64) + said)
        with np.errstate(invalid="ignore", divide="ignore"):
            scores.append(np.where(either > 0, 2 * both / either, np.nan))
    by_class = np.stack(scores)
    finite = np.isfinite(by_class)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(finite, by_class, 0).sum(axis=0) / finite.sum(axis=0))


def _f1_lost(scored: Scored, rows: int) -> float:
    """Return F1 after ``rows`` right decisions become wrong: of two classes those for the second; of more, those for
    the rarest, decided as the second rarest."""
    decisions = scored.decisions.copy()
    right = decisions == scored.labels
    if scored.classes == 2:
        decisions[np.flatnonzero(right & (scored.labels > 0))[:rows]] = 0
    else:
        class_numbers, place, count = np.unique(scored.labels, return_inverse=True, return_counts=True)
        by_rarity = np.argsort(count, kind="stable")
        hits = np.flatnonzero(right)
        hits = hits[np.argsort(count[place[hits]], kind="stable")][:rows]
        rarest, second = class_numbers[by_rarity[0]], class_numbers[by_rarity[1]]
        decisions[hits] = np.where(scored.labels[hits] == rarest, second, rarest)
    return float(_f1(scored.deciding(decisions), np.ones((1, len(decisions))))[0])


def _auc(scored: Scored, weights: np.ndarray) -> np.ndarray:
    """Return the area under the curve: the probability that a row of the second class has the higher score, and half
    of that of equal ones (Mann and Whitney, 1947)."""
    _, place = np.unique(scored.scores, return_inverse=True)
    order = np.argsort(place, kind="stable")
    begins = np.flatnonzero(np.diff(place[order], prepend=-1))
    second = scored.labels[order] == 1
    positive = np.add.reduceat(weights[:, order] * second, begins, axis=1).astype(np.float64)
    negative = np.add.reduceat(weights[:, order] * ~second, begins, axis=1).astype(np.float64)
    below = np.cumsum(negative, axis=1) - negative / 2
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(pairs > 0, (positive * below).sum(axis=1) / pairs, np.nan)


def _auc_lost(scored: Scored, rows: int) -> float:
    """Return the area where so many rows of the rarer class have the score that is furthest from its own."""
    second = scored.labels == 1
    sign = 1.0 if second.sum() <= (~second).sum() else -1.0
    scores = sign * scored.scores
    rarer = np.flatnonzero(second if sign > 0 else ~second)
    rightest = rarer[np.argsort(-scores[rarer], kind="stable")][:rows]
    scores[rightest] = scores.min() - 1
    return float(_auc(scored.scoring(sign * scores), np.ones((1, len(scores))))[0])


_METRICS = {
    "accuracy": _of_outcomes("accuracy", lambda scored: scored.decisions == scored.labels),
    "auc": Metric(name="auc", labels="two classes", weighted=_auc, lost=_auc_lost),
    "f1": Metric(name="f1", labels="classes", weighted=_f1, lost=_f1_lost),
    "r2": Metric(name="r2", labels="numbers", weighted=_r2),
    "mae": Metric(name="mae", labels="numbers", weighted=_mae, relative=True),
}
