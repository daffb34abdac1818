"""Exact bounds of a share of rows, from a count of them.

Clopper and Pearson, The use of confidence or fiducial limits illustrated in the case of the binomial, Biometrika 26
(1934). With none of n rows counted the upper bound is 1 - 0.05^(1/n), which is the rule of three: 3 / n.
"""

from __future__ import annotations

from math import ceil, exp, lgamma, log, log1p

ERROR_RATE = 0.05
"""Of every one-sided bound and verdict of this package."""

MAX_ROWS = 10_000_000
"""More rows than that are not asked of anybody."""

_HALVINGS = 60
"""Bisections of a share, after which it is known as exactly as a float64 tells."""

_TINY, _EXACT, _MAX_TERMS = 1e-300, 1e-14, 100_000


def upper_bound(count: float, rows: int, error_rate: float = ERROR_RATE) -> float:
    """Return the share below which the true one lies, with an error rate of at most ``error_rate``, where ``count`` of
    ``rows`` independent rows were counted. A count of parts of rows is told as one between."""
    if count >= rows:
        return 1.0
    low, high = count / rows, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _at_most(count, rows, middle) > error_rate else (low, middle)
    return high


def lower_bound(count: int, rows: int, error_rate: float = ERROR_RATE) -> float:
    """Return the share above which the true one lies; as ``upper_bound``."""
    return 1.0 - upper_bound(rows - count, rows, error_rate)


def rows_to_show(least: float, share: float) -> int | None:
    """Return how many rows would show that a share is ``least`` at least, if ``share`` of them are counted; None where
    no number would, or only one above MAX_ROWS."""
    if share <= least or least >= 1:
        return None
    rows = ceil(log(ERROR_RATE) / log(least)) if least > 0 else 1
    while rows <= MAX_ROWS:
        if _at_most(rows - int(share * rows), rows, 1 - least) <= ERROR_RATE:
            return rows
        rows = max(rows + 1, ceil(rows * 1.05))
    return None


def _at_most(count: float, rows: int, share: float) -> float:
    """Return the probability that at most ``count`` of ``rows`` are counted where ``share`` of all are."""
    if count >= rows or share <= 0:
        return 1.0
    if share >= 1:
        return 0.0
    return _incomplete_beta(rows - count, count + 1, 1 - share)


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """Return the regularized incomplete beta function, by its continued fraction (NIST, Digital Library of Mathematical
    Functions, 8.17.22), evaluated from the front (Lentz, Applied Optics 15, 1976)."""
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(b, a, 1 - x)
    factor = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x)) / a
    upper, lower = 1.0, 1 / _away_from_zero(1 - (a + b) * x / (a + 1))
    value = lower
    for nth in range(1, _MAX_TERMS):
        for term in (
            nth * (b - nth) * x / ((a + 2 * nth - 1) * (a + 2 * nth)),
            -(a + nth) * (a + b + nth) * x / ((a + 2 * nth) * (a + 2 * nth + 1)),
        ):
            lower = 1 / _away_from_zero(1 + term * lower)
            upper = _away_from_zero(1 + term / upper)
            value *= lower * upper
        if abs(lower * upper - 1) < _EXACT:
            break
    return factor * value


def _away_from_zero(number: float) -> float:
    return number if abs(number) > _TINY else _TINY
