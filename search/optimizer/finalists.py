"""The finalists: the configurations that are measured again in turns, and those of them that are still in.

Finalists are chosen by their probability of being the best, as the surrogate has it: of many that were measured once
the best was partly lucky, and one that is expected to be as good may have had bad luck.
"""

from __future__ import annotations

from math import isfinite, log, sqrt
from typing import TYPE_CHECKING

import numpy as np

from servefit.search.optimizer.gaussian_process import CAPACITY_NOISE, LATENCY_NOISE
from servefit.search.optimizer.leads import may_still_win
from servefit.search.results.objectives.registry import objective_of
from servefit.search.results.pooled_trials import pool_trials
from servefit.search.results.ranking import is_surely_better, ranking_key
from servefit.search.results.ratios import ratio
from servefit.search.results.unranked import VERDICT_ORDER

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from servefit.profiler.record.types import Configuration
    from servefit.search.optimizer.expected_improvement import ExpectedScore
    from servefit.search.request.job_request import JobRequest
    from servefit.search.request.space import Space
    from servefit.search.results.objectives.score import Score
    from servefit.search.results.pooled_trials import PooledTrials
    from servefit.search.results.recommendation import Recommendation, Trial

MAX_FINALISTS = 5
"""Each takes a test of every round, and a job has few. Chosen, not measured."""

MIN_CHANCE = 0.05
"""What is the best with a smaller probability is no finalist."""

_DRAWS = 2000
"""By which probabilities err by 0.5 % at the least chance."""

MAX_ROUNDS = 10
"""What so many rounds have not told apart is taken for equal. Chosen, not measured."""

FAR_BEHIND = 4.0
"""Times the figure of the leader: what one round shows to be so far behind is not so by luck. On the noisiest day two
measurements of one p95 differed by more than twice (benchmarks/claims/endpoint_prediction.py, again)."""


def finalists(
    recommendations: Sequence[Recommendation],
    space: Space,
    trials: Sequence[Trial],
    request: JobRequest,
    *,
    expected: Callable[[Configuration], ExpectedScore | None],
    most: int = MAX_FINALISTS,
) -> list[Configuration]:
    """Return up to ``most`` configurations of the first profile that may turn out to be the best: the one recommended
    so far, which may be the simplest of those that tie, then the others, the likeliest first. Where there is no other,
    the runner-up is there to be compared with. Configurations that do the same are one.

    ``expected`` says what a configuration is expected to score by all that was measured, None where that is not
    known."""
    if not recommendations:
        return []
    profile, recommended = recommendations[0].profile, recommendations[0].trial.configuration
    fitting = dict(space.profiles)[profile]
    ranked = sorted(
        (
            (ranking_key(pooled, profile, request), pooled)
            for pooled in pool_trials(trials)
            if pooled.configuration in fitting and pooled.trial.measurement.peak_memory_bytes <= profile.memory_bytes
        ),
        key=lambda pair: pair[0],
    )
    (verdict, best), _ = ranked[0]
    alike = [
        (pooled, score)
        for (rank, score), pooled in ranked
        if (rank, score.unpriced, score.per_hour) == (verdict, best.unpriced, best.per_hour)
    ]
    arms = {pooled.configuration: pooled.arm for _, pooled in ranked}
    one_of_each = [pair for pair in _one_of_each_arm(alike, recommended) if isfinite(pair[1].figure)]
    if verdict == VERDICT_ORDER["FAIL"]:  # then the figure is how far limits are exceeded
        expected = _nothing_expected
    chances = _chances([_estimate(pooled, score, request, expected) for pooled, score in one_of_each])
    by_chance = sorted(
        zip(chances, (pooled.configuration for pooled, _ in one_of_each), strict=True), key=lambda pair: -pair[0]
    )
    others = [configuration for chance, configuration in by_chance if chance >= MIN_CHANCE]
    chosen = [recommended, *(each for each in others if arms[each] != arms[recommended])][: max(2, most)]
    if len(chosen) == 1:
        rivals = [pooled.configuration for pooled, _ in alike]
        chosen += [rival for rival in rivals if arms[rival] != arms[recommended]][:1]
    return chosen


def _one_of_each_arm(
    alike: Sequence[tuple[PooledTrials, Score]], recommended: Configuration
) -> list[tuple[PooledTrials, Score]]:
    """Return the first of each arm, of its own the one ``recommended``: those of one arm do the same."""
    firsts: dict[Configuration, tuple[PooledTrials, Score]] = {}
    for pooled, score in alike:
        if pooled.arm not in firsts or pooled.configuration == recommended:
            firsts[pooled.arm] = pooled, score
    return list(firsts.values())


def _estimate(
    pooled: PooledTrials,
    score: Score,
    request: JobRequest,
    expected: Callable[[Configuration], ExpectedScore | None],
) -> tuple[float, float]:
    """Return the logarithm of the figure that is expected of what was ``pooled``, and its standard deviation: where
    nothing was predicted, of its own measurements."""
    found = expected(pooled.configuration)
    if found is not None and isfinite(found.score.figure) and found.score.figure > 0:
        return log(found.score.figure), found.sd
    noise = objective_of(request).uncertainty(CAPACITY_NOISE, LATENCY_NOISE)
    return (log(score.figure) if score.figure > 0 else 0.0), noise / sqrt(pooled.measurements)


def _nothing_expected(_: Configuration) -> None:
    return None


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
        found = ratio(trials, finalist, leader, request)
        if found is not None and found.ratio > 1:
            leader = finalist

    rivals = [finalist for finalist in alive if finalist != leader]
    may_win = [rival for rival in rivals if may_still_win(rival, leader, trials, request, rivals=len(rivals))]
    left = [leader, *may_win]
    naive_is_out = naive is None or naive in failed or is_surely_better(leader, naive, request, trials)
    return left, None if naive_is_out else naive


def is_far_behind(rival: Configuration, leader: Configuration, trials: Sequence[Trial], request: JobRequest) -> bool:
    """Return whether the rounds among ``trials``, be it one, show ``rival`` to be behind ``leader`` beyond all luck."""
    found = ratio(trials, leader, rival, request)
    return found is not None and found.ratio >= FAR_BEHIND
