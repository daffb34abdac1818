"""The score that is expected of a configuration, and by how much measuring it is expected to improve on the best so
far.

Expectations are computed in ``predictions``; what is measured because of them is decided in ``proposer``.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, isfinite, log
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from servefit.profiler.record.types import Configuration
    from servefit.search.optimizer.gaussian_process import LognormalEstimate
    from servefit.search.results.objectives.score import Score

FIRST_IMPROVEMENT, CHEAPER_IMPROVEMENT = 1e6, 1e3
"""The improvement by the first that keeps the limits, and by what costs less by the hour. They are no measurements:
each only has to be larger than any improvement of a figure, which is below 1, times any probability worth a test."""

LIKELY = 0.5
"""A configuration with a higher probability of keeping its limits is taken to keep them: it is more likely than not."""

_MAX_SDS = 30.0
"""Nothing is expected of what is further behind the best, in standard deviations: by the normal distribution the chance
is below 1e-190, and the exponential could overflow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedScore:
    """The score that is expected of a configuration, and how sure that is (``sd`` is of the logarithm of the figure).

    ``excess`` is latency as a multiple of the limits, the worst of them; None where there are none.
    ``per_hour`` is the price of the instances that capacity demands, were they divisible, and ``min_per_hour`` of
    those that latency demands; both are 0 where the cost of a rate does not count.
    """

    configuration: Configuration
    score: Score
    sd: float
    excess: LognormalEstimate | None = None
    per_hour: float = 0.0
    min_per_hour: float = 0.0

    @property
    def feasible(self) -> float:
        """The probability that it keeps the latency limits, 0 to 1."""
        return 1.0 if self.excess is None else NormalDist().cdf(-self.excess.log_mean / self.excess.sd)


def improvement(expected_score: ExpectedScore, best: Score | None, nearest: float | None = None) -> float:
    """Return the part by which ``expected_score`` is expected to improve on ``best``, times the probability that it
    keeps the limits: expected improvement of a lognormal figure [Jones et al. 1998; Gardner et al. 2014 for the
    limits].

    What is compared is the price by the hour where it is higher than that of ``best``, since capacity may turn out to
    need fewer instances, and the figure where it is the same. FIRST_IMPROVEMENT where there is no best yet, or none
    with a figure: then what may come closer to the limits than ``nearest``, a multiple of them, counts as well.
    CHEAPER_IMPROVEMENT where it costs less.
    """
    if best is None or not isfinite(best.figure):
        excess = expected_score.excess
        nearer = 0.0 if nearest is None or excess is None else _expected_gain(excess.log_mean - log(nearest), excess.sd)
        return expected_score.feasible * FIRST_IMPROVEMENT + nearer
    mine = expected_score.score
    if (mine.unpriced, mine.per_hour) < (best.unpriced, best.per_hour):
        return expected_score.feasible * CHEAPER_IMPROVEMENT
    ours, theirs = mine.figure, best.figure
    if mine.per_hour > best.per_hour:
        ours, theirs = expected_score.per_hour, best.per_hour
        if expected_score.min_per_hour > best.per_hour:
            return 0.0
    if mine.unpriced > best.unpriced or not (isfinite(ours) and ours > 0 and theirs > 0):
        return 0.0
    return expected_score.feasible * _expected_gain(log(ours / theirs), expected_score.sd)


def _expected_gain(log_ratio: float, sd: float) -> float:
    """Return E[max(0, 1 - x)] for x lognormal with the median exp(``log_ratio``)."""
    if log_ratio > _MAX_SDS * sd:
        return 0.0
    normal, cut = NormalDist(), -log_ratio / sd
    return max(0.0, normal.cdf(cut) - exp(log_ratio + sd**2 / 2) * normal.cdf(cut - sd))
