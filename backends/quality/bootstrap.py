"""Bounds of a drop that is no share of rows, from paired resamples: the same rows for the reference and the candidate.

The bounds are those of the bootstrap that is corrected for bias and for skewness, BCa (Efron, Better bootstrap
confidence intervals, Journal of the American Statistical Association 82, 1987); the acceleration is that of a jackknife
over groups of rows. A resample is told by how often it has each row, so a metric that takes weights is computed for
many of them at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import TypeAlias

import numpy as np

from servefit.backends.quality.binomial import ERROR_RATE

Drops: TypeAlias = Callable[[np.ndarray], np.ndarray]
"""Gives the drop, NaN where it is none, for each of several resamples: (resamples, rows) whole numbers, how often a
resample has each row."""

RESAMPLES, GROUPS = 2000, 400
"""So many resamples tell a bound of 95 % within a few hundredths of the spread (Efron and Tibshirani, An introduction
to the bootstrap, section 14.5); so many groups the acceleration within a thousandth."""

_AT_ONCE = 2_000_000
"""Numbers in one array of resamples."""

_SEED = 0
"""Of the resamples: the same predictions have the same bound every time."""

_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Bounds:
    """The drop seen, and the ``least`` and the ``most`` that the true one is, each at ERROR_RATE."""

    drop: float
    least: float
    most: float


def bounds(drops: Drops, rows: int, *, resamples: int = RESAMPLES, groups: int = GROUPS) -> Bounds:
    """Return the bounds of a drop on so many ``rows``."""
    rng = np.random.default_rng(_SEED)
    drop = float(drops(np.ones((1, rows), dtype=np.int64))[0])
    drawn = np.concatenate([drops(_resamples(rng, count, rows)) for _, count in _spans(resamples, rows)])
    drawn = np.sort(drawn[np.isfinite(drawn)])
    if not len(drawn) or drawn[0] == drawn[-1]:
        return Bounds(drop, drop, drop)
    below = ((drawn < drop).sum() + (drawn == drop).sum() / 2) / len(drawn)
    bias = _NORMAL.inv_cdf(min(max(float(below), 1 / len(drawn)), 1 - 1 / len(drawn)))
    acceleration = _acceleration(drops, rows, min(groups, rows), rng)
    return Bounds(
        drop,
        _quantile(drawn, bias, acceleration, ERROR_RATE),
        _quantile(drawn, bias, acceleration, 1 - ERROR_RATE),
    )


def _resamples(rng: np.random.Generator, count: int, rows: int) -> np.ndarray:
    """Return how often each of ``count`` resamples has each row, (count, rows)."""
    chosen = rng.integers(0, rows, (count, rows)) + rows * np.arange(count)[:, None]
    return np.bincount(chosen.ravel(), minlength=count * rows).reshape(count, rows)


def _quantile(drawn: np.ndarray, bias: float, acceleration: float, level: float) -> float:
    """Return the value among the sorted ``drawn`` that BCa takes for the bound at ``level``."""
    moved = bias + _NORMAL.inv_cdf(level)
    return float(np.quantile(drawn, _NORMAL.cdf(bias + moved / max(1e-9, 1 - acceleration * moved))))


def _acceleration(drops: Drops, rows: int, groups: int, rng: np.random.Generator) -> float:
    """Return the acceleration: a sixth of the skewness of what groups of rows add to the drop."""
    member = rng.permutation(rows) % groups
    left_out = np.concatenate(
        [
            drops((member != np.arange(begin, begin + count)[:, None]).astype(np.int64))
            for begin, count in _spans(groups, rows)
        ]
    )
    left_out = left_out[np.isfinite(left_out)]
    added = left_out.mean() - left_out if len(left_out) else left_out
    spread = float((added**2).sum())
    return 0.0 if spread <= 0 else float((added**3).sum()) / (6 * spread**1.5)


def _spans(whole: int, rows: int) -> list[tuple[int, int]]:
    """Return the parts of ``whole`` that are computed at once, each with where it begins."""
    step = max(1, _AT_ONCE // rows)
    return [(begin, min(step, whole - begin)) for begin in range(0, whole, step)]
