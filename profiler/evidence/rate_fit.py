"""Estimates at which rate a percentile of the response time reaches its limit, from runs at several rates.

Pure numerics: which rates are tried, and what is made of the estimate, is decided in ``procedures.highest_rate``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MIN_RESPONSES = 10
"""Enough to have responses in each of the blocks that are resampled."""

WARM_UP = 0.1
"""The share of a run's first requests that found the queue emptier than it becomes. Chosen, not measured."""

_ANCHOR = 0.3
"""The weight of (capacity, 0), in parts of that of all runs. Chosen, as is the next: with them the estimate errs by 0.8
to 2.3 % after 24,000 requests (benchmarks/claims/rate_search.py)."""

_REACH = 0.3
"""In parts of the capacity: a run so far from the root weighs 1/e of one at it, as the line is straight nearby only."""

_ROUNDS = 8
"""Of fitting the line anew to the means and weights that it gave: the few that reweighting takes. Chosen."""

_MIN_INVERSE, _MIN_SPREAD = 1e-3, 1e-6
"""They keep divisions from zero: a percentile of a thousand times its limit, and runs within a millionth of the
capacity, say nothing more."""

_BLOCKS = 6
"""Long enough to hold what a queue remembers, and enough of them to draw from; see ``root_interval``. Chosen."""

_RESAMPLES = 200
"""Five lie beyond either end of the interval. Each costs a fit, so there are no more of them."""

_TAIL_PERCENT = 2.5
"""On either side of a 95 % interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitPoint:
    """A run as the fit sees it. ``relative`` holds percentiles divided by their limits, shape (k,) for k thresholds.

    ``resampled``, shape (k, 200), holds what else they might have been; ``weight`` is a number of requests. For a run
    that saturated, percentiles are infinite.
    """

    rate_per_s: float
    weight: float
    relative: np.ndarray
    resampled: np.ndarray


def after_warm_up(response_ns: np.ndarray) -> np.ndarray:
    """Return response times, in order of arrival, without the first tenth, in which the queue fills up."""
    return response_ns[int(WARM_UP * len(response_ns)) :]


def measured_point(
    rate_per_s: float,
    response_ns: np.ndarray,
    thresholds: Sequence[tuple[float, float]],
    random: np.random.Generator,
    *,
    warms_up: bool = True,
) -> FitPoint:
    """Return the point of a run with ``response_ns``, in order of arrival, at least MIN_RESPONSES of them. Where the
    run ``warms_up``, its first tenth is left out.

    ``thresholds`` are pairs of a percentile and its limit in nanoseconds. Resampled by a block bootstrap [Kuensch
    1989]: six blocks of consecutive requests are drawn again, because neighbours in a queue share their fate.
    """
    kept = after_warm_up(response_ns) if warms_up else response_ns
    order = np.argsort(kept)
    ascending, block = kept[order], (order * _BLOCKS) // len(kept)
    percentiles, limits = (np.array(column) for column in zip(*thresholds, strict=True))
    resampled = np.empty((len(thresholds), _RESAMPLES))
    for resample in range(_RESAMPLES):
        times_drawn = np.bincount(random.integers(0, _BLOCKS, _BLOCKS), minlength=_BLOCKS)
        below = np.cumsum(times_drawn[block])
        resampled[:, resample] = ascending[np.searchsorted(below, percentiles / 100 * below[-1])] / limits
    relative = np.percentile(kept, percentiles) / limits
    return FitPoint(rate_per_s=rate_per_s, weight=len(response_ns), relative=relative, resampled=resampled)


def saturated_point(rate_per_s: float, requests: int, thresholds: Sequence[tuple[float, float]]) -> FitPoint:
    """Return the point of a run that was asked for ``requests`` and saturated."""
    return FitPoint(
        rate_per_s=rate_per_s,
        weight=requests,
        relative=np.full(len(thresholds), np.inf),
        resampled=np.full((len(thresholds), _RESAMPLES), np.inf),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """1 / percentile = ``at_zero`` - ``slope`` x rate, in units of 1 / limit: 1 is where the limit is reached.

    Both are arrays of shape (k,), one entry a line.
    """

    at_zero: np.ndarray
    slope: np.ndarray

    def at(self, rates_per_s: np.ndarray) -> np.ndarray:
        """Return the lines at ``rates_per_s``, shape (n,): an array of shape (k, n)."""
        lines: np.ndarray = self.at_zero[:, None] - np.multiply.outer(self.slope, rates_per_s)
        return lines

    def roots(self, capacity_per_s: float) -> np.ndarray:
        """Return the rates at which the limit is reached: 0 where it always is, and ``capacity_per_s`` at most."""
        roots: np.ndarray = np.clip((self.at_zero - 1) / self.slope, 0, capacity_per_s)
        return roots


def fit(rates_per_s: np.ndarray, relative: np.ndarray, weights: np.ndarray, capacity_per_s: float) -> Lines:
    """Fit lines through percentiles ``relative`` to their limit, shape (k, n), at ``rates_per_s``, shape (n,).

    An infinite percentile stands for a saturated run. In M/M/1, and near saturation in every queue with one server, the
    inverse of a percentile falls in proportion to the capacity that is left. The inverse of a noisy number is too high
    on average, and would make every answer too high, so the line is fitted as a regression with inverse link, whose
    estimating equation is unbiased [McCullagh and Nelder, Generalized Linear Models, 1989]: the sum over runs of weight
    x (relative - mean) / mean^2 is 0, mean being 1 / line. Weights fall with the distance from the root. A share of the
    weight holds the line to (capacity, 0), because runs at almost equal rates say little about a slope. No run pulls
    more than a saturated one does.
    """
    rates = np.append(rates_per_s, capacity_per_s)
    lines = _weighted_lines(rates, 1 / relative, np.broadcast_to(weights, relative.shape))
    for _ in range(_ROUNDS):
        distance = np.abs(rates_per_s - lines.roots(capacity_per_s)[:, None]) / capacity_per_s
        fitted = np.maximum(lines.at(rates_per_s), _MIN_INVERSE)
        pulls = np.minimum(relative * fitted, 2)
        lines = _weighted_lines(rates, fitted * (2 - pulls), weights * np.exp(-distance / _REACH))
    return lines


def _weighted_lines(rates: np.ndarray, inverse: np.ndarray, weights: np.ndarray) -> Lines:
    """Fit by weighted least squares; the last of ``rates`` is the anchor, where the inverse is 0."""
    weights = np.column_stack([weights, _ANCHOR * weights.sum(axis=1)])
    weights = weights / weights.sum(axis=1, keepdims=True)
    inverse = np.column_stack([inverse, np.zeros(len(inverse))])
    middle, level = weights @ rates, (weights * inverse).sum(axis=1)
    away = rates - middle[:, None]
    spread = np.maximum((weights * away**2).sum(axis=1), (_MIN_SPREAD * rates[-1]) ** 2)
    slope = np.maximum(-(weights * away * inverse).sum(axis=1) / spread, _MIN_INVERSE / rates[-1])
    return Lines(at_zero=level + slope * middle, slope=slope)


def fit_points(points: Sequence[FitPoint], capacity_per_s: float) -> Lines:
    """Fit one line for each threshold."""
    return fit(_rates(points), np.column_stack([point.relative for point in points]), _weights(points), capacity_per_s)


def root_interval(points: Sequence[FitPoint], capacity_per_s: float) -> tuple[float, float]:
    """Return a 95 % interval of the lowest root of all thresholds, from lines through the resampled points.

    Drawing from so few blocks understates the spread, by a known factor, which is made up for. Blocks not much longer
    than a queue remembers understate it too, which is not: benchmarks/claims/rate_search.py counts how often the
    truth is in.
    """
    resampled = np.stack([point.resampled for point in points], axis=-1)
    rates, weights = _rates(points), _weights(points)
    roots = [fit(rates, relative, weights, capacity_per_s).roots(capacity_per_s) for relative in resampled]
    low, middle, high = np.percentile(np.min(roots, axis=0), [_TAIL_PERCENT, 50, 100 - _TAIL_PERCENT])
    widening = np.sqrt(_BLOCKS / (_BLOCKS - 1))
    low, high = middle - widening * (middle - low), middle + widening * (high - middle)
    return max(0.0, float(low)), min(capacity_per_s, float(high))


def _rates(points: Sequence[FitPoint]) -> np.ndarray:
    return np.array([point.rate_per_s for point in points])


def _weights(points: Sequence[FitPoint]) -> np.ndarray:
    return np.array([point.weight for point in points], dtype=float)
