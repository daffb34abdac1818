"""The finalists: the configurations that are measured again in turns, and those of them that are still in.

Finalists are chosen by their probability of being the best, as the surrogate has it: of many that were measured once
the best was partly lucky, and one that is expected to be as good may have had bad luck.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, log, log1p, sqrt
from typing import TYPE_CHECKING

import numpy as np

from servefit.search.optimizer.gaussian_process import CAPACITY_NOISE, LATENCY_NOISE
from servefit.search.optimizer.leads import is_preferred_for_now, may_still_win
from servefit.search.results.objectives.registry import objective_of
from servefit.search.results.pooled_trials import pool_trials
from servefit.search.results.price import Price, cheapest
from servefit.search.results.ranking import is_surely_better, ranking_key
from servefit.search.results.ratios import ratio
from servefit.search.results.unranked import VERDICT_ORDER

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from servefit.profiler.machine.instance_profile import InstanceProfile
    from servefit.profiler.record.types import Configuration
    from servefit.search.optimizer.expected_improvement import ExpectedScore
    from servefit.search.request.job_request import JobRequest
    from servefit.search.request.space import Space
    from servefit.search.results.objectives.score import Score
    from servefit.search.results.pooled_trials import PooledTrials
    from servefit.search.results.recommendation import Recommendation, Trial

MAX_FINALISTS = 5
"""Each takes a test of every round, and a job has few. Chosen, not measured."""

MAX_MISSED = 0.05
"""The probability that the best is not among the finalists, as far as there is time for as many."""

_DRAWS = 2000
"""By which probabilities err by 0.5 % at the least chance."""

MAX_ROUNDS = 10
"""Finalists that so many rounds have not told apart are taken for equal. Chosen, not measured."""

_MIN_FIGURE = 1e-300
"""Objectives may have figures of zero, which have no logarithm."""


def finalists(
    recommendations: Sequence[Recommendation],
    space: Space,
    trials: Sequence[Trial],
    request: JobRequest,
    *,
    expected: Callable[[Configuration], ExpectedScore | None],
    most: int = MAX_FINALISTS,
) -> list[Configuration]:
    """Return up to ``most`` configurations that may turn out to be the best. The one recommended so far comes first,
    which may be the simplest of those that tie. The others meet the SLA as well and cost the same, or are of any
    profile where the price does not count; the likeliest come first. Without any, the runner-up stands in, to have
    something to compare with. Configurations of one arm count as one.

    ``expected`` gives the score that is expected of a configuration given all measurements, None if unknown."""
    if not recommendations:
        return []
    recommended, objective = recommendations[0].trial.configuration, objective_of(request)
    # Rounds compare performance, and not the cost of instances.
    price = _price(recommendations[0].profile) if objective.priced else None
    ranked = sorted(_ranked(space, trials, request, price), key=lambda entry: entry[0])
    (verdict, best), *_ = ranked[0]
    alike = [
        _Measured(pooled=pooled, score=score, profile=profile)
        for (rank, score), pooled, profile in ranked
        if (rank, score.unpriced, score.per_hour) == (verdict, best.unpriced, best.per_hour)
    ]
    arms = {pooled.configuration: pooled.arm for _, pooled, _ in ranked}
    one_of_each = [measured for measured in _one_of_each_arm(alike, recommended) if isfinite(measured.score.figure)]

    def estimate(measured: _Measured) -> tuple[float, float]:
        """Return the logarithm of a figure, and its standard deviation."""
        score, measurements = measured.score, measured.pooled.measurements
        noise = objective.uncertainty(CAPACITY_NOISE, LATENCY_NOISE) / sqrt(measurements)
        if verdict == VERDICT_ORDER["FAIL"]:  # then the figure is by which part a limit is exceeded
            return log1p(score.figure), LATENCY_NOISE / sqrt(measurements)
        # What is expected is of the cheapest profile that a configuration fits.
        comparable = not objective.priced or cheapest(space, measured.configuration) == _price(measured.profile)
        outlook = expected(measured.configuration) if comparable else None
        if outlook is not None and isfinite(outlook.score.figure):
            return log(max(outlook.score.figure, _MIN_FIGURE)), outlook.sd
        return log(max(score.figure, _MIN_FIGURE)), noise

    chances = _chances([estimate(candidate) for candidate in one_of_each])
    by_chance = sorted(
        zip(chances, (candidate.configuration for candidate in one_of_each), strict=True), key=lambda pair: -pair[0]
    )
    others, missing = [], 1.0
    for chance, configuration in by_chance:
        if missing > MAX_MISSED and chance:
            others.append(configuration)
        missing -= chance
    chosen = [recommended, *(other for other in others if arms[other] != arms[recommended])][: max(2, most)]
    if len(chosen) == 1:
        rivals = [rival.configuration for rival in alike]
        chosen += [rival for rival in rivals if arms[rival] != arms[recommended]][:1]
    return chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    """The tests of a configuration, pooled, with its score on the ``profile`` where it ranks best."""

    pooled: PooledTrials
    score: Score
    profile: InstanceProfile

    @property
    def configuration(self) -> Configuration:
        return self.pooled.configuration


def _ranked(
    space: Space, trials: Sequence[Trial], request: JobRequest, price: Price | None
) -> Iterator[tuple[tuple[int, Score], PooledTrials, InstanceProfile]]:
    """Yield what ``trials`` amount to for each configuration that fits a profile of that ``price``, or any where it is
    None: its rank on the best of these."""
    profiles = [(profile, fitting) for profile, fitting in space.profiles if price is None or price == _price(profile)]
    for pooled in pool_trials(trials):
        ranks = [
            (ranking_key(pooled, profile, request), pooled, profile)
            for profile, fitting in profiles
            if pooled.configuration in fitting and pooled.trial.measurement.peak_memory_bytes <= profile.memory_bytes
        ]
        if ranks:
            yield min(ranks, key=lambda entry: entry[0])


def _price(profile: InstanceProfile) -> Price:
    return Price.of(profile.price_per_hour, profile.vcpus)


def _one_of_each_arm(alike: Sequence[_Measured], recommended: Configuration) -> list[_Measured]:
    """Return the first of each arm, and of its arm the one ``recommended``: configurations of one arm do the same."""
    firsts: dict[Configuration, _Measured] = {}
    for measured in alike:
        if measured.pooled.arm not in firsts or measured.configuration == recommended:
            firsts[measured.pooled.arm] = measured
    return list(firsts.values())


def _chances(estimates: Sequence[tuple[float, float]]) -> list[float]:
    """Return the probability of each that its figure is the least, by draws of all of them."""
    if not estimates:
        return []
    means, sds = np.array(estimates).T
    drawn = means + sds * np.random.default_rng(0).standard_normal((_DRAWS, len(estimates)))
    return list(np.bincount(drawn.argmin(axis=1), minlength=len(estimates)) / _DRAWS)


def remaining_finalists(
    chosen: Sequence[Configuration],
    naive: Configuration | None,
    trials: Sequence[Trial],
    request: JobRequest,
    failed: Collection[Configuration],
) -> tuple[list[Configuration], Configuration | None]:
    """Return the finalists that take part in the next round, the leader first, and the naive default, None where it is
    out: the leader beats it for certain. Of the others those are out that are unlikely to be better by more than
    anybody cares."""
    alive = [finalist for finalist in chosen if finalist not in failed]
    if not alive:
        return [], None
    leader = alive[0]
    for finalist in alive[1:]:
        lead = ratio(trials, finalist, leader, request)
        if lead is not None and lead.ratio > 1:
            leader = finalist

    rivals = [finalist for finalist in alive if finalist != leader]
    may_win = [
        rival
        for rival in rivals
        if may_still_win(rival, leader, trials, request) or is_preferred_for_now(rival, leader, trials, request)
    ]
    left = [leader, *may_win]
    naive_is_out = naive is None or naive in failed or is_surely_better(leader, naive, request, trials)
    return left, None if naive_is_out else naive
