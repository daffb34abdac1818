"""The reasons for the winner over its nearest rivals: by what each choice was decided.

The order is that of the ranking, with its exception for predicted answers: the SLA, then what the rate costs by the
hour, then the figure of the objective, then precision, then simplicity, then capacity.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Literal, TypeAlias

from servefit.search.results.objectives.missing import MissingObjective
from servefit.search.results.objectives.registry import context_of, objective_of
from servefit.search.results.pooled_trials import pool_trials
from servefit.search.results.price import Price
from servefit.search.results.ranking import (
    MORE_CAPACITY,
    as_good,
    best_for,
    costs_less,
    ranking_key,
    recommendation,
    simplicity,
)
from servefit.showing import shown

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from servefit.profiler.machine.instance_profile import InstanceProfile
    from servefit.search.request.job_request import JobRequest
    from servefit.search.request.space import Space
    from servefit.search.results.pooled_trials import PooledTrials
    from servefit.search.results.recommendation import Recommendation, Trial

DecidedBy: TypeAlias = Literal["sla", "price", "figure", "precision", "simplicity", "capacity"]


@shown()
@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """A rival of the winner, and what decided between the two. ``figures`` are those of the objective, of the winner
    and of the rival, over all their tests; None where it has none."""

    rival: Recommendation
    by: DecidedBy
    figures: tuple[float, float] | None


def choices(space: Space, trials: Sequence[Trial], request: JobRequest, best: Recommendation) -> tuple[Preference, ...]:
    """Return why ``best`` was chosen over the next best configuration of its profile, and over the best one of the next
    best size of instance; less where there are none."""
    objective = objective_of(request)
    if isinstance(objective, MissingObjective):
        return ()
    together = pool_trials(trials)
    mine = next(pooled for pooled in together if pooled.configuration == best.trial.configuration)
    rivals = []
    members = dict(space.profiles)
    others = [pooled for pooled in together if pooled.configuration in members[best.profile] and pooled.arm != mine.arm]
    rivals.append((best.profile, best_for(best.profile, others, request, trials, space.less_exact)))
    sizes = [
        (
            profile,
            best_for(
                profile,
                [pooled for pooled in together if pooled.configuration in fitting],
                request,
                trials,
                space.less_exact,
            ),
        )
        for profile, fitting in space.profiles
        if profile.vcpus != best.profile.vcpus
    ]
    measured = [(profile, winner) for profile, winner in sizes if winner is not None]
    rivals.append(min(measured, key=lambda pair: ranking_key(pair[1], pair[0], request), default=(best.profile, None)))
    chosen = []
    key = ranking_key(mine, best.profile, request)
    for profile, rival in rivals:
        if rival is None:
            continue
        other = ranking_key(rival, profile, request)
        by: DecidedBy = "figure"
        if other[0] < key[0]:  # the rival is predicted to meet the SLA (see ``ranking``)
            by = "price"
        # Configurations that do not meet the SLA are compared by their distance to it alone.
        elif key[0] != other[0] or mine.trial.verdict == "FAIL":
            by = "sla"
        elif (key[1].unpriced, key[1].per_hour) != (other[1].unpriced, other[1].per_hour):
            by = "price"
        elif other < key or as_good(mine, rival, (best.profile, profile), request, trials):
            by = _preferred_by((best.profile, mine), (profile, rival), request, space.less_exact)
        ours, theirs = _figure(mine, best.profile, request), _figure(rival, profile, request)
        figures = None if ours is None or theirs is None else (ours, theirs)
        chosen.append(Preference(rival=recommendation(profile, rival.trial), by=by, figures=figures))
    return tuple(chosen)


def _preferred_by(
    mine: tuple[InstanceProfile, PooledTrials],
    rival: tuple[InstanceProfile, PooledTrials],
    request: JobRequest,
    less_exact: Collection[str],
) -> DecidedBy:
    """Return what decided between two that tie: the figure, where the rival would have been preferred, as it does not
    tie with the best that there is."""
    if costs_less(mine, rival, request):
        return "price"
    if costs_less(rival, mine, request):
        return "figure"
    inexact, other_inexact = (pair[1].configuration.backend in less_exact for pair in (mine, rival))
    if inexact != other_inexact:
        return "precision" if other_inexact else "figure"
    simple, other = simplicity(mine[1].configuration), simplicity(rival[1].configuration)
    if simple != other:
        return "simplicity" if simple < other else "figure"
    return "capacity" if mine[1].capacity_per_s > MORE_CAPACITY * rival[1].capacity_per_s else "figure"


def _figure(pooled: PooledTrials, profile: InstanceProfile, request: JobRequest) -> float | None:
    """Return the figure of the objective, None where it has none."""
    context = context_of(request, Price.of(profile.price_per_hour, profile.vcpus))
    figure = objective_of(request).of_pooled_trials(pooled, context)
    return figure if figure is not None and isfinite(figure) else None
