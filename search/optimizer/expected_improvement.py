"""What measuring a configuration promises, and by how much that is expected to improve on the best so far.

What is expected of it is computed in ``predictions``; what is measured because of it, in ``proposer``.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, isfinite, log
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from servefit.profiler.record.types import Configuration
    from servefit.search.optimizer.gaussian_process import Estimate
    from servefit.search.results.objectives.score import Score

FIRST, CHEAPER = 1e6, 1e3
"""What counts as the improvement of the first that keeps the limits, and of what costs less by the hour."""

_HOPELESS_SDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What a configuration is expected to score, and how sure that is (``sd`` is of the logarithm of the figure).

    ``excess`` is by how many times latency exceeds the limits, the worst of them; None where there are none.
    ``per_hour`` is the price of the instances that capacity demands, were they divisible, and ``least_per_hour`` of
    those that latency demands; both are 0 where nobody asked what a rate costs.
    """

    configuration: Configuration
    score: Score
    sd: float
    excess: Estimate | None = None
    per_hour: float = 0.0
    least_per_hour: float = 0.0

    @property
    def feasible(self) -> float:
        """How likely it keeps the latency limits."""
        return 1.0 if self.excess is None else NormalDist().cdf(-self.excess.log_mean / self.excess.sd)


def improvement(promise: Promise, best: Score | None, nearest: float | None = None) -> float:
    """By which part ``promise`` is expected to improve on ``best``, times the probability that it keeps the limits:
    expected improvement of a lognormal figure [Jones et al. 1998; Gardner et al. 2014 for the limits].

    What is compared is the price by the hour where it is higher than that of ``best``, since capacity may turn out to
    need fewer instances, and the figure where it is the same. FIRST where there is no best yet, or none with a figure:
    then what may come closer to the limits than ``nearest``, a multiple of them, counts as well. CHEAPER where it costs
    less.
    """
    if best is None or not isfinite(best.figure):
        excess = promise.excess
        nearer = 0.0 if nearest is None or excess is None else _expected(excess.log_mean - log(nearest), excess.sd)
        return promise.feasible * FIRST + nearer
    mine = promise.score
    if (mine.unpriced, mine.per_hour) < (best.unpriced, best.per_hour):
        return promise.feasible * CHEAPER
    ours, theirs = mine.figure, best.figure
    if mine.per_hour > best.per_hour:
        ours, theirs = promise.per_hour, best.per_hour
        if promise.least_per_hour > best.per_hour:
            return 0.0
    if mine.unpriced > best.unpriced or not (isfinite(ours) and ours > 0 and theirs > 0):
        return 0.0
    return promise.feasible * _expected(log(ours / theirs), promise.sd)


def _expected(log_ratio: float, sd: float) -> float:
    """E[max(0, 1 - x)] for x lognormal with the median exp(``log_ratio``)."""
    if log_ratio > _HOPELESS_SDS * sd:
        return 0.0
    normal, cut = NormalDist(), -log_ratio / sd
    return max(0.0, normal.cdf(cut) - exp(log_ratio + sd**2 / 2) * normal.cdf(cut - sd))
