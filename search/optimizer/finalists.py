"""The finalists: the configurations that are measured again in turns, and those of them that are still in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servefit.search.results.pooled_trials import pool_trials
from servefit.search.results.ranking import is_surely_better, ranking_key
from servefit.search.results.ratios import ratio

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from servefit.profiler.record.types import Configuration
    from servefit.search.request.job_request import JobRequest
    from servefit.search.request.space import Space
    from servefit.search.results.recommendation import Recommendation, Trial

MAX_FINALISTS = 3
"""Each takes a test of every round, and a job has few. Chosen, not measured."""

MAX_ROUNDS = 6
"""What so many rounds have not told apart is taken for equal. Chosen, not measured."""

FAR_BEHIND = 4.0
"""Times the figure of the leader: what one round shows to be so far behind is not so by luck. On the noisiest day two
measurements of one p95 differed by more than twice (benchmarks/claims/endpoint_prediction.py, again)."""

MAX_GAP = 0.15
"""A configuration whose single measurement is further behind the best, as a part of its figure, is no finalist. Chosen,
not measured."""


def finalists(
    recommendations: Sequence[Recommendation], space: Space, trials: Sequence[Trial], request: JobRequest
) -> list[Configuration]:
    """Return the configurations of the first profile that may turn out to be the best: the one recommended so far,
    which may be the simplest of those that tie, then the others, best first. Where there is no other, the runner-up is
    there to be compared with."""
    if not recommendations:
        return []
    profile, recommended = recommendations[0].profile, recommendations[0].trial.configuration
    fitting = dict(space.profiles)[profile]
    together = pool_trials(trials)
    arms = {pooled.configuration: pooled.arm for pooled in together}
    ranked = sorted(
        (
            (ranking_key(pooled, profile, request), pooled)
            for pooled in together
            if pooled.configuration in fitting and pooled.trial.measurement.peak_memory_bytes <= profile.memory_bytes
        ),
        key=lambda pair: pair[0],
    )
    (verdict, best), _ = ranked[0]
    alike = [
        (score.figure, pooled.configuration)
        for (rank, score), pooled in ranked
        if (rank, score.unpriced, score.per_hour) == (verdict, best.unpriced, best.per_hour)
    ]
    close = [configuration for figure, configuration in alike if figure <= best.figure + abs(best.figure) * MAX_GAP]
    others = [configuration for configuration in close if arms[configuration] != arms[recommended]]
    chosen = [recommended, *_one_of_each_arm(others, arms)][:MAX_FINALISTS]
    if len(chosen) == 1:
        chosen += [rival for _, rival in alike if rival not in chosen and arms[rival] != arms[recommended]][:1]
    return chosen


def _one_of_each_arm(
    configurations: Sequence[Configuration], arms: Mapping[Configuration, Configuration]
) -> list[Configuration]:
    """Return the first of ``configurations`` of each arm: those of one arm do the same."""
    firsts: dict[Configuration, Configuration] = {}
    for configuration in configurations:
        firsts.setdefault(arms[configuration], configuration)
    return list(firsts.values())


def remaining_finalists(
    chosen: Sequence[Configuration],
    naive: Configuration | None,
    trials: Sequence[Trial],
    request: JobRequest,
    failed: Collection[Configuration],
) -> tuple[list[Configuration], Configuration | None]:
    """Return the finalists that take part in the next round, the leader first, and the naive default, None where it is
    out: whatever the leader beats for certain is."""
    alive = [finalist for finalist in chosen if finalist not in failed]
    if not alive:
        return [], None
    leader = alive[0]
    for finalist in alive[1:]:
        found = ratio(trials, finalist, leader, request)
        if found is not None and found.ratio > 1:
            leader = finalist

    rivals = [finalist for finalist in alive if finalist != leader]
    left = [leader, *(rival for rival in rivals if not is_surely_better(leader, rival, request, trials))]
    naive_is_out = naive is None or naive in failed or is_surely_better(leader, naive, request, trials)
    return left, None if naive_is_out else naive


def is_far_behind(rival: Configuration, leader: Configuration, trials: Sequence[Trial], request: JobRequest) -> bool:
    """Return whether the rounds among ``trials``, be it one, show ``rival`` to be behind ``leader`` beyond all luck."""
    found = ratio(trials, leader, rival, request)
    return found is not None and found.ratio >= FAR_BEHIND
