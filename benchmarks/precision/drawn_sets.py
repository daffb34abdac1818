"""Sets of labels, and predictions of a reference and a candidate for them, whose true drop of a metric is known.

Rows are drawn independently. What is drawn of a row by the reference and by the candidate depends on each other, as it
does where one is the other with fewer bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import TypeAlias

import numpy as np

from servefit.backends.quality.scored import Scored

Pair: TypeAlias = tuple[Scored, Scored]
"""The reference and the candidate, on the same rows."""

_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A metric, a limit to its drop, and so many rows to judge on. ``draw`` gives a set whose true drop is what it is
    told; ``changed`` is the share of rows on which right and wrong change, where the metric counts these."""

    metric: str
    rows: int
    limit: float
    draw: Callable[[np.random.Generator, int, float], Pair]
    changed: float | None = None

    @property
    def name(self) -> str:
        of_them = "" if self.changed is None else f", {100 * self.changed:g} % changed"
        return f"{self.metric}, {self.rows:,} rows, limit {100 * self.limit:g} %{of_them}"


def shares_changed(changed: float, drop: float) -> tuple[float, float]:
    """Return the shares of rows that are lost and won where so many change and the metric drops by ``drop``."""
    return (changed + drop) / 2, (changed - drop) / 2


def of_accuracy(changed: float) -> Callable[[np.random.Generator, int, float], Pair]:
    """Return what draws classes: nine in ten of the reference are right, and ``changed`` rows change."""

    def draw(generator: np.random.Generator, rows: int, drop: float) -> Pair:
        lost, won = shares_changed(changed, drop)
        kind = generator.choice(4, rows, p=[0.9 - lost, lost, won, 0.1 - won])  # right, lost, won, wrong
        labels = generator.integers(0, 2, rows)
        before, after = np.isin(kind, (0, 1)), np.isin(kind, (0, 2))
        return _classes(labels, before), _classes(labels, after)

    return draw


def of_auc(generator: np.random.Generator, rows: int, drop: float) -> Pair:
    """Draw scores: normal in each class, three deviations apart, with noise of reference and candidate on them."""
    labels, apart, noise = generator.integers(0, 2, rows), 3.0, 0.2
    true = labels * apart + generator.standard_normal(rows)
    area = _NORMAL.cdf(apart / (2 * (1 + noise**2)) ** 0.5)
    of_candidate = (apart**2 / (2 * _NORMAL.inv_cdf(area - drop) ** 2) - 1) ** 0.5
    scores = [true + spread * generator.standard_normal(rows) for spread in (noise, of_candidate)]
    return _scores(labels, scores[0]), _scores(labels, scores[1])


def of_f1(generator: np.random.Generator, rows: int, drop: float) -> Pair:
    """Draw classes of which half are the second. A row is called that where a number below 1 is below the share; the
    candidate has the reference's number, or, one row in twenty, another one."""
    labels, wrongly, rightly = generator.integers(0, 2, rows), 0.1, 0.9
    score = 2 * rightly / (1 + rightly + wrongly)
    of_candidate = (score - drop) * (1 + wrongly) / (2 - score + drop)
    number = generator.random(rows)
    other = np.where(generator.random(rows) < 0.05, generator.random(rows), number)
    said = [
        drawn < np.where(labels == 1, share, wrongly) for drawn, share in ((number, rightly), (other, of_candidate))
    ]
    return _classes(labels, said[0] == (labels == 1)), _classes(labels, said[1] == (labels == 1))


def of_mae(generator: np.random.Generator, rows: int, drop: float) -> Pair:
    """Draw errors: the candidate's are correlated with the reference's by 0.98, and larger by the drop."""
    targets, error = 10 * generator.standard_normal(rows), generator.standard_normal(rows)
    other = (1 + drop) * (0.98 * error + (1 - 0.98**2) ** 0.5 * generator.standard_normal(rows))
    return _values(targets, targets + error), _values(targets, targets + other)


def of_r2(generator: np.random.Generator, rows: int, drop: float) -> Pair:
    """Draw errors with a tenth of the variance of the targets; the candidate's vary by the drop more."""
    targets, error = generator.standard_normal(rows), generator.standard_normal(rows)
    other = 0.98 * error + (1 - 0.98**2) ** 0.5 * generator.standard_normal(rows)
    return _values(targets, targets + 0.1**0.5 * error), _values(targets, targets + (0.1 + drop) ** 0.5 * other)


def _classes(labels: np.ndarray, right: np.ndarray) -> Scored:
    return _scores(labels, np.where(right, labels, 1 - labels).astype(np.float64))


def _scores(labels: np.ndarray, scores: np.ndarray) -> Scored:
    return Scored(predictions=scores[:, None], labels=labels)


def _values(targets: np.ndarray, values: np.ndarray) -> Scored:
    return Scored(predictions=values[:, None], labels=targets, threshold=None)
