"""The probability that a finalist is better than the one that leads the rounds, and the end of the rounds once no more
are worth it.

The ratio of two configurations in a round, both measured one after the other, is taken for lognormal. What is known of
their true ratio after some rounds is a Student distribution around the mean of the logarithms [normal model with
unknown variance, Gelman et al. 2013, Bayesian Data Analysis, 3.2]; the variance is that of the rounds and, as so many
further rounds, the usual one of such ratios, since two rounds that happen to agree do not show that there is no noise.

A rival that is unlikely to be better by a margin that matters leaves the rounds, so the time goes to those that may
be: a race [Maron and Moore 1997]. Those that stay have the same number of turns: unequal numbers [OCBA, Chen and Lee
2010] would leave turns without the one beside them, which has the same arrivals in the same minute, and that is worth
more. A smaller or simpler rival, which would win a tie, stays until it is told whether there is one. The rounds are
over when the leader is alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import atan, cos, fsum, log, pi, sin, sqrt
from typing import TYPE_CHECKING

from servefit.search.results.objectives.latency import Latency
from servefit.search.results.objectives.registry import objective_of
from servefit.search.results.ranking import rounds_leave_open, simplicity
from servefit.search.results.ratios import MIN_ROUNDS, log_ratios, rounds_of_both

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servefit.profiler.record.types import Configuration
    from servefit.search.request.job_request import JobRequest
    from servefit.search.results.recommendation import Trial

ENOUGH = 0.05
"""Nothing more is measured to tell apart what differs by less: 5 %."""

MAX_CHANCE = 0.05
"""That any rival is better by more than that, when the rounds are over."""

FAR_BEHIND = 4.0
"""Times the figure of the leader: what one round shows to be so far behind is not so by luck. On the noisiest day two
measurements of one p95 differed by more than twice (benchmarks/claims/endpoint_prediction.py, again)."""

CAPACITY_SD, LATENCY_SD = 0.04, 0.16
"""The spread of the ratios of capacities, and of p95, of two configurations from round to round (of logarithms). The
former is chosen; by the latter one pair in ten of measurements of one p95 differs by 26 %, as it did on a quiet machine
(docs/adr/0010-what-is-deployed.md)."""

PRIOR_ROUNDS = 2
"""The usual variance counts as so many rounds. Chosen, not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lead:
    """The logarithm of how many times better one is than the other: ``mean`` plus ``scale`` times Student's t with
    ``degrees`` of freedom."""

    mean: float
    scale: float
    degrees: int

    @classmethod
    def of_rounds(cls, logs: Sequence[float], *, usual_sd: float) -> Lead:
        """Return the lead by its logarithms in one round or more."""
        mean = fsum(logs) / len(logs)
        degrees = PRIOR_ROUNDS + len(logs) - 1
        variance = (PRIOR_ROUNDS * usual_sd**2 + fsum((logarithm - mean) ** 2 for logarithm in logs)) / degrees
        return cls(mean=mean, scale=sqrt(variance / len(logs)), degrees=degrees)

    def chance_behind(self, by: float = 0.0) -> float:
        """Return the probability that the other is better, by more than the part ``by``."""
        return student_cdf((-log(1 + by) - self.mean) / self.scale, self.degrees)


def usual_sd(request: JobRequest) -> float:
    """Return how far ratios of two configurations usually differ from round to round, by the figure that ``request`` is
    about (of logarithms)."""
    return objective_of(request).uncertainty(CAPACITY_SD, LATENCY_SD)


def may_still_win(rival: Configuration, leader: Configuration, trials: Sequence[Trial], request: JobRequest) -> bool:
    """Return whether another round is worth it for ``rival``, by the rounds among ``trials``. Those that began the
    rounds share the probability that one of them leaves wrongly. What has no figure in as many rounds as an interval
    takes will have none. Raises ObjectiveError."""
    rounds = rounds_of_both(trials, leader, rival)
    logs = log_ratios(trials, leader, rival, request)
    if len(rounds) < MIN_ROUNDS:
        return not is_far_behind(rival, leader, trials, request)
    if not logs:
        return False
    rivals = len({trial.configuration for trial in trials if trial.round is not None}) - 1
    lead = Lead.of_rounds(logs, usual_sd=usual_sd(request))
    return lead.chance_behind(ENOUGH) >= MAX_CHANCE / max(1, rivals)


def is_preferred_for_now(
    rival: Configuration, leader: Configuration, trials: Sequence[Trial], request: JobRequest
) -> bool:
    """Return whether another round is worth it since ``rival`` would be chosen for being smaller or simpler, though
    ``leader`` may be better by more than anybody would give up for that: what the rounds among ``trials`` leave open is
    a tie where latency decides. Raises ObjectiveError."""
    preferred = (rival.vcpus, simplicity(rival)) < (leader.vcpus, simplicity(leader))
    if not isinstance(objective_of(request), Latency) or not preferred:
        return False
    if not rounds_leave_open(leader, rival, request, trials):
        return False
    lead = Lead.of_rounds(log_ratios(trials, rival, leader, request), usual_sd=usual_sd(request))
    return lead.chance_behind(ENOUGH) >= MAX_CHANCE


def is_far_behind(rival: Configuration, leader: Configuration, trials: Sequence[Trial], request: JobRequest) -> bool:
    """Return whether the rounds among ``trials``, be it one, show ``rival`` to be behind ``leader`` beyond all luck."""
    logs = log_ratios(trials, leader, rival, request)
    return bool(logs) and fsum(logs) / len(logs) >= log(FAR_BEHIND)


def student_cdf(value: float, degrees: int) -> float:
    """Return the probability that Student's t with so many ``degrees`` of freedom, 1 or more, is at most ``value``
    [Abramowitz and Stegun 1964, 26.7.3 and 26.7.4].

    Example:
        >>> round(student_cdf(2.776, 4), 3)
        0.975
    """
    angle = atan(value / sqrt(degrees))
    sine, cosine = sin(angle), cos(angle)
    odd = degrees % 2
    term = total = cosine if odd else 1.0
    for power in range(2 + odd, degrees - 1, 2):
        term *= cosine**2 * (power - 1) / power
        total += term
    if degrees == 1:
        total = 0.0
    within = 2 / pi * (angle + sine * total) if odd else sine * total
    return min(1.0, max(0.0, (1 + within) / 2))  # rounding
