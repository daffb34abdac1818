"""The drop of a share of right rows, from outcomes in pairs: each row is right or wrong for the reference, and for the
candidate.

Rows on which both are right, or both wrong, say nothing of a difference (McNemar, Psychometrika 12, 1947), but bound
how often they differ. The bound inverts the score test of a difference of paired shares (Tango, Equivalence test and
confidence interval for the difference in proportions for the paired-sample design, Statistics in Medicine 17, 1998),
which keeps to its error rate with few rows that differ, too. Where none differ in favour of one side, the bound is no
tighter than the exact one of a single share, which the score test falls short of there.
"""

from __future__ import annotations

from math import ceil, sqrt
from statistics import NormalDist

from servefit.backends.quality.binomial import ERROR_RATE, MAX_ROWS, upper_bound

_HALVINGS = 60


def most_drop(lost: float, won: float, rows: int, error_rate: float = ERROR_RATE) -> float:
    """Return the share below which the true drop lies, where the candidate is wrong and the reference right on ``lost``
    of ``rows`` rows, and the other way round on ``won``."""
    normal = NormalDist().inv_cdf(1 - error_rate)
    low, high = (lost - won) / rows, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _score(lost, won, rows, middle) > -normal else (low, middle)
    return max(high, upper_bound(lost, rows, error_rate)) if won == 0 else high


def least_drop(lost: int, won: int, rows: int) -> float:
    """Return the share above which the true drop lies. The score test is a little too sure of a drop that is there, so
    it is held to half the error rate, which keeps to all of it."""
    return -most_drop(won, lost, rows, ERROR_RATE / 2)


def rows_to_keep(limit: float, lost: float, won: float, rows: int) -> int | None:
    """Return how many rows would show that a drop is at most ``limit``, if as large a part of them is lost and won;
    None where no number would, or only one above MAX_ROWS."""
    if lost - won >= limit * rows:
        return None
    needed = rows
    while needed <= MAX_ROWS:
        if most_drop(lost * needed / rows, won * needed / rows, needed) <= limit:
            return needed
        needed = ceil(needed * 1.05)
    return None


def _score(lost: float, won: float, rows: int, drop: float) -> float:
    """Return Tango's statistic of the hypothesis that the true drop is ``drop``, normal where it is."""
    quadratic, linear = 2.0 * rows, -lost - won + (2.0 * rows - lost + won) * drop
    constant = -won * drop * (1 - drop)
    won_share = (sqrt(max(0.0, linear**2 - 4 * quadratic * constant)) - linear) / (2 * quadratic)
    variance = rows * (2 * won_share + drop * (1 - drop))
    difference = lost - won - rows * drop
    if variance <= 0:
        return 0.0 if difference == 0 else float("inf") if difference > 0 else float("-inf")
    return difference / sqrt(variance)
