"""Who is measured again in turns, and who is out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servefit.search.results.ranking import order, told_apart
from servefit.search.results.ratios import ratio
from servefit.search.results.standings import standings

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from servefit.profiler.record.types import Configuration
    from servefit.search.request.job_request import JobRequest
    from servefit.search.request.space import Space
    from servefit.search.results.recommendation import Recommendation, Trial

MAX_FINALISTS = 3
MAX_ROUNDS = 6

WITHIN = 0.15
"""A configuration whose single measurement is further behind the best is no finalist."""


def finalists(
    recommendations: Sequence[Recommendation], space: Space, trials: Sequence[Trial], request: JobRequest
) -> list[Configuration]:
    """The configurations of the first profile that may turn out to be the best one: the one recommended so far, which
    may be the simplest of those that tie, then the others, best first. Where there is no other, the runner-up is there
    to be compared with."""
    if not recommendations:
        return []
    profile, recommended = recommendations[0].profile, recommendations[0].trial.configuration
    fitting = dict(space.profiles)[profile]
    ranked = sorted(
        (
            (order(one, profile, request), one)
            for one in standings(trials)
            if one.configuration in fitting and one.trial.measurement.peak_memory_bytes <= profile.memory_bytes
        ),
        key=lambda pair: pair[0],
    )
    (verdict, best), _ = ranked[0]
    alike = [
        (score.figure, one.configuration)
        for (rank, score), one in ranked
        if (rank, score.unpriced, score.per_hour) == (verdict, best.unpriced, best.per_hour)
    ]
    close = [one for figure, one in alike if figure <= best.figure + abs(best.figure) * WITHIN]
    chosen = list(dict.fromkeys([recommended, *close]))[:MAX_FINALISTS]
    if len(chosen) == 1:
        chosen += [one for _, one in alike if one not in chosen][:1]
    return chosen


def still_in(
    chosen: Sequence[Configuration],
    naive: Configuration | None,
    trials: Sequence[Trial],
    request: JobRequest,
    failed: Collection[Configuration],
) -> tuple[list[Configuration], Configuration | None]:
    """Who takes part in the next round: nobody whom the leader beats for certain, and the naive default only until the
    leader does."""
    alive = [one for one in chosen if one not in failed]
    if not alive:
        return [], None
    leader = alive[0]
    for one in alive[1:]:
        found = ratio(trials, one, leader, request)
        if found is not None and found.ratio > 1:
            leader = one

    left = [leader, *(one for one in alive if one != leader and not told_apart(leader, one, request, trials))]
    naive_is_out = naive is None or naive in failed or told_apart(leader, naive, request, trials)
    return left, None if naive_is_out else naive
