"""From measurements to recommendations, best first.

Whatever the goal, what meets the SLA comes before what is undecided, that before what was measured badly, and that
before what does not meet it, where the smallest violation comes first. A profile without a price is ranked after those
that have one when cost is the goal. A tie goes to the cheaper, then to the simpler.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from servefit.search.results.ids import recommendation_id
from servefit.search.results.objectives.guarded import figure_of_standing, figure_of_trial
from servefit.search.results.objectives.registry import context_of, objective_of
from servefit.search.results.objectives.score import Score, score_of_figure
from servefit.search.results.price import Price
from servefit.search.results.ratios import ratio
from servefit.search.results.recommendation import Recommendation
from servefit.search.results.standings import Standing, standings

if TYPE_CHECKING:
    from servefit.profiler.machine.instance_profile import InstanceProfile
    from servefit.profiler.record.types import Configuration
    from servefit.search.request.job_request import JobRequest
    from servefit.search.request.space import Space
    from servefit.search.results.recommendation import Trial

TIE = 0.02
"""Configurations this close to the best tie with it, unless rounds of measuring both in turns told them apart."""

MIN_DIFFERENCE = 0.01
"""Nobody changes a deployment for less than 1 %."""

_VERDICT_ORDER = {"PASS": 0, "UNDECIDED": 1, "INVALID": 2, "FAIL": 3}


def recommend(space: Space, trials: Sequence[Trial], request: JobRequest) -> tuple[Recommendation, ...]:
    """The best configuration of every profile that has any measured, best profile first; ``trials`` are all tests."""
    standing = standings(trials)
    chosen = []
    for profile, fitting in space.profiles:
        mine = [one for one in standing if one.configuration in fitting]
        if (best := best_for(profile, mine, request, trials)) is not None:
            chosen.append((profile, best))
    chosen.sort(key=lambda one: order(one[1], one[0], request))
    return tuple(recommendation(profile, one.trial) for profile, one in _ties_broken(chosen, request))


def best_for(
    profile: InstanceProfile, standing: Iterable[Standing], request: JobRequest, trials: Sequence[Trial]
) -> Standing | None:
    """What serves ``profile`` best, the simplest of those that tie; None if nothing fits its memory. Rounds among
    ``trials`` may tell apart what is close."""
    candidates = [one for one in standing if one.trial.measurement.peak_memory_bytes <= profile.memory_bytes]
    if not candidates:
        return None
    best = min(candidates, key=lambda one: order(one, profile, request))
    ties = [
        one
        for one in candidates
        if _close(order(best, profile, request), order(one, profile, request))
        and not told_apart(best.configuration, one.configuration, request, trials)
    ]
    return min(ties, key=lambda one: (simplicity(one.configuration), order(one, profile, request)))


def order(one: Standing, profile: InstanceProfile, request: JobRequest) -> tuple[int, Score]:
    """What to sort by, best first: the verdict, then the score."""
    verdict = _VERDICT_ORDER[one.trial.verdict]
    if one.trial.verdict == "FAIL":
        return verdict, Score(unpriced=False, per_hour=0.0, figure=one.trial.violation)
    objective = objective_of(request)
    context = context_of(request, Price.of(profile.price_per_hour, profile.vcpus))
    figure = figure_of_standing(objective, one, context)
    return verdict, score_of_figure(objective, figure, context, instances=one.trial.instance_count)


def score_of(trial: Trial, price: Price, request: JobRequest) -> Score:
    """The score of one measurement. Raises ObjectiveError."""
    objective, context = objective_of(request), context_of(request, price)
    figure = figure_of_trial(objective, trial, context)
    return score_of_figure(objective, figure, context, instances=trial.instance_count)


def _close(best: tuple[int, Score], other: tuple[int, Score]) -> bool:
    """Whether ``other`` differs from ``best`` by no more than a tie in the figure alone."""
    (verdict, mine), (other_verdict, theirs) = best, other
    same = (verdict, mine.unpriced, mine.per_hour) == (other_verdict, theirs.unpriced, theirs.per_hour)
    return same and theirs.figure <= mine.figure + abs(mine.figure) * TIE


def told_apart(one: Configuration, other: Configuration, request: JobRequest, trials: Sequence[Trial]) -> bool:
    """Whether rounds among ``trials`` show for certain that ``one`` is better than ``other``."""
    found = ratio(trials, one, other, request)
    return found is not None and found.ci95 is not None and found.ci95[0] > 1 + MIN_DIFFERENCE


def _ties_broken(
    chosen: list[tuple[InstanceProfile, Standing]], request: JobRequest
) -> list[tuple[InstanceProfile, Standing]]:
    """Put the cheapest of the profiles that tie with the first at the top, and of those the simplest."""
    if not chosen:
        return chosen
    best = order(chosen[0][1], chosen[0][0], request)
    tied = [one for one in chosen if _close(best, order(one[1], one[0], request))]

    def preference(one: tuple[InstanceProfile, Standing]) -> tuple[bool, float, tuple[int, ...]]:
        price = Price.of(one[0].price_per_hour, one[0].vcpus)
        count = one[1].trial.instance_count
        return price.unpriced, price.per_hour * count, simplicity(one[1].configuration)

    tied.sort(key=preference)
    return [*tied, *(one for one in chosen if one not in tied)]


def simplicity(configuration: Configuration) -> tuple[int, int, int, int, int]:
    """The smaller, the simpler to run: batching, delays, threads in all, threads of a worker, and variables."""
    return (
        configuration.max_batch,
        configuration.batch_delay_us,
        configuration.workers * configuration.settings.threads,
        configuration.settings.threads,
        len(configuration.environment),
    )


def recommendation(profile: InstanceProfile, trial: Trial) -> Recommendation:
    """``trial`` as a recommendation for ``profile``, with what it costs there."""
    max_invocations = 60 * trial.capacity.throughput_per_s * trial.instance_count
    cost_per_hour = None if profile.price_per_hour is None else profile.price_per_hour * trial.instance_count
    return Recommendation(
        id=recommendation_id(profile.name, trial.configuration),
        profile=profile,
        trial=trial,
        cost_per_hour=cost_per_hour,
        cost_per_inference=(
            cost_per_hour / (60 * max_invocations) if cost_per_hour is not None and max_invocations else None
        ),
        max_invocations=max_invocations,
    )
