"""The ranking of measured configurations, which makes recommendations of them, best first.

Whatever the goal, what meets the SLA comes before what is undecided, that before what was measured badly, and that
before what does not meet it, where the smallest violation comes first. One exception: where the cost of a rate is the
goal and nothing was measured to meet the SLA, what is predicted to do so comes after what costs less, is undecided, and
kept the limits as far as it was measured. A profile without a price is ranked after those that have one when cost is
the goal. A tie goes to the cheaper, then to what predicts as the model does, then to the simpler, then, at a rate, to
what answers more. Where the price does not count, what has none and fewer CPUs comes before what has one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from servefit.search.results.ids import recommendation_id
from servefit.search.results.instances import per_minute
from servefit.search.results.objectives.contract import Objective
from servefit.search.results.objectives.cost import CostAtRate
from servefit.search.results.objectives.latency import Latency
from servefit.search.results.objectives.missing import MissingObjective
from servefit.search.results.objectives.registry import context_of, objective_of
from servefit.search.results.objectives.score import Score, score_of_figure
from servefit.search.results.pooled_trials import PooledTrials, pool_trials, without_disturbed_rounds
from servefit.search.results.price import Price
from servefit.search.results.ratios import MIN_ROUNDS, ratio
from servefit.search.results.recommendation import Recommendation
from servefit.search.results.same_shape import with_same_as
from servefit.search.results.unranked import VERDICT_ORDER, unranked

if TYPE_CHECKING:
    from servefit.profiler.machine.instance_profile import InstanceProfile
    from servefit.profiler.record.types import Configuration
    from servefit.search.request.job_request import JobRequest
    from servefit.search.request.space import Space
    from servefit.search.results.recommendation import Trial

MIN_PER_HOUR = 60  # prices are by the hour, and invocations by the minute

MAX_LUCK = 0.52
"""By which part the best of a search may be ahead of its equal. One pair in ten of measurements of the p95 of one
endpoint differs by half of this part or more, on a quiet machine (docs/adr/0010-what-is-deployed.md).
Twice that, since of several the best had good luck, and the one that it is compared with may have had bad luck."""

MORE_CAPACITY = 1.1
"""Of two that tie, the one that answers so many times as much is left with more room. Measurements of one capacity
differ by half of that (benchmarks/README.md, what a search misses)."""

MIN_DIFFERENCE = 0.01
"""A gain below 1 % is no reason to change a deployment. Chosen, not measured."""


def recommend(
    space: Space, trials: Sequence[Trial], request: JobRequest, *, answers: Collection[Configuration] = ()
) -> tuple[Recommendation, ...]:
    """Return the best configuration of every profile that has any measured, best profile first; ``trials`` are all
    tests, and ``answers`` the configurations that were measured over HTTP, which count where nothing can be ranked."""
    ranked = pool_trials(trials)
    if isinstance(objective_of(request), MissingObjective):
        return with_same_as(
            [recommendation(profile, pooled.trial) for profile, pooled in unranked(space, ranked, answers)]
        )
    chosen, unbeaten = [], []
    for profile, fitting in space.profiles:
        rivals = [(profile, candidate) for candidate in _fitting(profile, ranked) if candidate.configuration in fitting]
        if rivals:
            unbeaten.append(_not_beaten(rivals, request, trials))
            chosen.append((profile, _simplest_as_good(unbeaten[-1], rivals, request, trials, space.less_exact)))
    if not chosen:
        return ()
    chosen.sort(key=lambda pair: ranking_key(pair[1], pair[0], request))
    best_of_all = _not_beaten(unbeaten, request, trials)
    ordered = _measured_before_predicted(_break_ties(chosen, best_of_all, request, trials, space.less_exact), request)
    return with_same_as([recommendation(profile, pooled.trial) for profile, pooled in ordered])


def best_for(
    profile: InstanceProfile,
    pooled: Iterable[PooledTrials],
    request: JobRequest,
    trials: Sequence[Trial],
    less_exact: Collection[str] = (),
) -> PooledTrials | None:
    """Return what serves ``profile`` best, of those that tie what is of no ``less_exact`` backend, the simplest, and at
    a rate of these one that answers much; None if nothing fits its memory. Rounds among ``trials`` may tell apart what
    is close."""
    rivals = [(profile, rival) for rival in _fitting(profile, pooled)]
    if not rivals:
        return None
    return _simplest_as_good(_not_beaten(rivals, request, trials), rivals, request, trials, less_exact)


def _simplest_as_good(
    unbeaten: tuple[InstanceProfile, PooledTrials],
    rivals: Sequence[tuple[InstanceProfile, PooledTrials]],
    request: JobRequest,
    trials: Sequence[Trial],
    less_exact: Collection[str],
) -> PooledTrials:
    """Return the simplest of ``rivals``, all on one profile, that ties with the ``unbeaten`` of them, and at a rate one
    that answers much. What is of a ``less_exact`` backend has to be better than all that is exact."""
    profile, best = unbeaten
    ties = [rival for _, rival in rivals if as_good(best, rival, (profile, profile), request, trials)]
    ties = [rival for rival in ties if rival.configuration.backend not in less_exact] or ties
    simplest = min(simplicity(rival.configuration) for rival in ties)
    simple = [rival for rival in ties if simplicity(rival.configuration) == simplest]
    if isinstance(objective_of(request), Latency):
        most = max(rival.capacity_per_s for rival in simple)
        simple = [rival for rival in simple if MORE_CAPACITY * rival.capacity_per_s >= most]
    return min(simple, key=lambda rival: ranking_key(rival, profile, request))


def _not_beaten(
    rivals: Sequence[tuple[InstanceProfile, PooledTrials]], request: JobRequest, trials: Sequence[Trial]
) -> tuple[InstanceProfile, PooledTrials]:
    """Return the first of ``rivals``, each on a profile, or, where rounds show another of its verdict and price to be
    better for certain, that one: figures are of all rounds that a configuration took part in, and those that left early
    missed some. Of those that share their figure the one that was in most rounds is first, as it can be compared."""
    rounds = _rounds_by_configuration(trials)

    def key(rival: tuple[InstanceProfile, PooledTrials]) -> tuple[int, Score]:
        return ranking_key(rival[1], rival[0], request)

    ranked = sorted(rivals, key=lambda rival: (key(rival), -rounds[rival[1].configuration]))
    best, seen = ranked[0], {ranked[0][1].configuration}
    while True:
        better = next(
            (
                rival
                for rival in ranked
                if rival[1].configuration not in seen
                and _same_but_for_figure(key(best), key(rival))
                and _cost_the_same(best[0], rival[0], request)
                and is_surely_better(rival[1].configuration, best[1].configuration, request, trials)
            ),
            None,
        )
        if better is None:
            return best
        best = better
        seen.add(best[1].configuration)


def _rounds_by_configuration(trials: Iterable[Trial]) -> Counter[Configuration]:
    """Return how many rounds each configuration was in that count."""
    return Counter(trial.configuration for trial in without_disturbed_rounds(trials) if trial.round is not None)


def _cost_the_same(first: InstanceProfile, second: InstanceProfile, request: JobRequest) -> bool:
    """Return whether what rounds say of two profiles is all that the objective asks: they compare what two do on
    instances of the same price."""
    prices = {Price.of(profile.price_per_hour, profile.vcpus) for profile in (first, second)}
    return len(prices) == 1 or not objective_of(request).priced


def as_good(
    best: PooledTrials,
    rival: PooledTrials,
    profiles: tuple[InstanceProfile, InstanceProfile],
    request: JobRequest,
    trials: Sequence[Trial],
) -> bool:
    """Return whether ``rival`` is as good as the ``best``, each on its own of the two ``profiles``: by their figures,
    and by rounds of both. Where there were no such, some luck is allowed for if the price comes first, or if the rival
    was in rounds and so is better known."""
    keys = ranking_key(best, profiles[0], request), ranking_key(rival, profiles[1], request)
    alike = is_tie(*keys, request)
    if not _cost_the_same(*profiles, request):
        return alike
    if not isinstance(objective_of(request), Latency):
        return alike and not is_surely_better(best.configuration, rival.configuration, request, trials)
    # A difference in latency below the tie does not matter, however certain it is. A larger one may be luck, so the
    # less simple configuration has to be shown to be better.
    either_way = alike and is_tie(keys[1], keys[0], request)
    if either_way or keys[0][0] == VERDICT_ORDER["FAIL"] or not _same_but_for_figure(*keys):
        return alike
    if (left_open := rounds_leave_open(best.configuration, rival.configuration, request, trials)) is not None:
        return left_open
    with_luck = isinstance(objective_of(request), CostAtRate) or _is_better_known(rival, best, trials)
    return alike or (with_luck and differs_by_luck(keys[0][1], keys[1][1]))


def _is_better_known(rival: PooledTrials, best: PooledTrials, trials: Sequence[Trial]) -> bool:
    """Return whether ``rival`` was in as many rounds among ``trials`` as an interval takes, and ``best`` was not."""
    rounds = _rounds_by_configuration(trials)
    return rounds[rival.configuration] >= MIN_ROUNDS > rounds[best.configuration]


def rounds_leave_open(
    best: Configuration, rival: Configuration, request: JobRequest, trials: Sequence[Trial]
) -> bool | None:
    """Return whether rounds among ``trials``, as many as an interval takes, leave open that the two are equal; None
    where there were fewer."""
    lead = ratio(trials, best, rival, request)
    if lead is None or lead.ci95 is None:
        return None
    return lead.ci95[0] <= 1 + objective_of(request).tie


def differs_by_luck(best: Score, other: Score) -> bool:
    """Return whether ``other`` costs as much as ``best`` by the hour, and its latency differs by no more than luck may
    do."""
    same = (best.unpriced, best.per_hour) == (other.unpriced, other.per_hour)
    return same and other.figure <= best.figure * (1 + MAX_LUCK)


def ranking_key(pooled: PooledTrials, profile: InstanceProfile, request: JobRequest) -> tuple[int, Score]:
    """Return what to sort by, best first: the verdict, then the score."""
    trial = pooled.trial
    verdict = VERDICT_ORDER[trial.verdict]
    if trial.verdict == "FAIL":
        return verdict, Score(unpriced=False, per_hour=0.0, figure=trial.violation)
    objective = objective_of(request)
    context = context_of(request, Price.of(profile.price_per_hour, profile.vcpus))
    figure = objective.of_pooled_trials(pooled, context)
    return verdict, score_of_figure(objective, figure, context, instances=trial.instance_count)


def score_of(trial: Trial, price: Price, request: JobRequest) -> Score:
    """Return the score of one measurement. Raises ObjectiveError."""
    objective, context = objective_of(request), context_of(request, price)
    figure = objective.of_trial(trial, context)
    return score_of_figure(objective, figure, context, instances=trial.instance_count)


def is_tie(best: tuple[int, Score], other: tuple[int, Score], request: JobRequest) -> bool:
    """Return whether ``other`` differs from ``best`` in the figure alone, and by too little to matter."""
    (verdict, mine), (_, theirs) = best, other
    same = _same_but_for_figure(best, other)
    if verdict == VERDICT_ORDER["FAIL"]:  # figures are by which part limits were exceeded
        return same and theirs.figure <= mine.figure + abs(mine.figure) * Objective.tie
    return same and objective_of(request).ties(mine.figure, theirs.figure)


def _same_but_for_figure(best: tuple[int, Score], other: tuple[int, Score]) -> bool:
    (verdict, mine), (other_verdict, theirs) = best, other
    return (verdict, mine.unpriced, mine.per_hour) == (other_verdict, theirs.unpriced, theirs.per_hour)


def is_surely_better(better: Configuration, worse: Configuration, request: JobRequest, trials: Sequence[Trial]) -> bool:
    """Return whether rounds among ``trials`` show for certain that ``better`` is better than ``worse``."""
    lead = ratio(trials, better, worse, request)
    return lead is not None and lead.ci95 is not None and lead.ci95[0] > 1 + MIN_DIFFERENCE


def _break_ties(
    chosen: list[tuple[InstanceProfile, PooledTrials]],
    best_of_all: tuple[InstanceProfile, PooledTrials],
    request: JobRequest,
    trials: Sequence[Trial],
    less_exact: Collection[str],
) -> list[tuple[InstanceProfile, PooledTrials]]:
    """Put the cheapest of the profiles that are as good as the best of all at the top, and of those what is of no
    ``less_exact`` backend, then the simplest. What was ``chosen`` for a profile may itself be there for being simple,
    so it is not what others are held against."""
    profile, best = best_of_all
    tied = [pair for pair in chosen if as_good(best, pair[1], (profile, pair[0]), request, trials)]

    def key(pair: tuple[InstanceProfile, PooledTrials]) -> tuple[Price, bool, tuple[int, ...]]:
        configuration = pair[1].configuration
        return _paid(pair), configuration.backend in less_exact, simplicity(configuration)

    tied.sort(key=key)
    unpriced = next((pair for pair in tied if pair[0].price_per_hour is None), tied[0])
    if costs_less(unpriced, tied[0], request):
        tied.remove(unpriced)
        tied.insert(0, unpriced)
    return [*tied, *(pair for pair in chosen if pair not in tied)]


def _measured_before_predicted(
    ordered: list[tuple[InstanceProfile, PooledTrials]], request: JobRequest
) -> list[tuple[InstanceProfile, PooledTrials]]:
    """Put the first that costs less than a predicted answer, is undecided and kept the limits as far as it was measured
    before that answer, if the price of the rate counts: nobody pays more for a prediction where more traffic may show
    enough."""
    answer = ordered[0]
    passed = any(pooled.trial.basis == "measured" and pooled.trial.verdict == "PASS" for _, pooled in ordered)
    by_price = objective_of(request).paid_by_the_hour and request.sla.rate_per_s is not None
    if passed or answer[1].trial.basis == "measured" or not by_price:
        return ordered
    for pair in ordered:
        trial = pair[1].trial
        seen = all(trial.judged.latency_ms.get(limit.percentile) is not None for limit in request.sla.thresholds)
        kept = trial.verdict == "UNDECIDED" and trial.violation <= 0 and seen
        if trial.basis == "measured" and kept and costs_less(pair, answer, request):
            return [pair, *(other for other in ordered if other is not pair)]
    return ordered


def costs_less(
    one: tuple[InstanceProfile, PooledTrials], other: tuple[InstanceProfile, PooledTrials], request: JobRequest
) -> bool:
    """Return whether all instances of ``one`` cost less by the hour than those of the ``other``. Money and CPUs cannot
    be compared: where only one of them has a price, that is no merit unless the price counts, and CPUs decide."""
    ours, theirs = _paid(one), _paid(other)
    if ours.unpriced != theirs.unpriced and not objective_of(request).priced:
        return _cpus(one) < _cpus(other)
    return ours < theirs


def _paid(pair: tuple[InstanceProfile, PooledTrials]) -> Price:
    """Return what all instances cost by the hour."""
    profile, pooled = pair
    price = Price.of(profile.price_per_hour, profile.vcpus)
    return replace(price, per_hour=price.per_hour * pooled.trial.instance_count)


def _cpus(pair: tuple[InstanceProfile, PooledTrials]) -> int:
    """Return the CPUs of all instances."""
    return pair[0].vcpus * pair[1].trial.instance_count


def _fitting(profile: InstanceProfile, pooled: Iterable[PooledTrials]) -> list[PooledTrials]:
    """Return those that the memory of ``profile`` is enough for."""
    return [candidate for candidate in pooled if candidate.trial.measurement.peak_memory_bytes <= profile.memory_bytes]


def simplicity(configuration: Configuration) -> tuple[int, int, int, int, int]:
    """Return numbers that are the smaller, the simpler a configuration is to run: delays, batching, threads in all,
    threads of a worker, and variables."""
    return (
        configuration.batch_delay_us,
        configuration.max_batch,
        configuration.workers * configuration.settings.threads,
        configuration.settings.threads,
        len(configuration.environment),
    )


def recommendation(profile: InstanceProfile, trial: Trial) -> Recommendation:
    """Return ``trial`` as a recommendation for ``profile``, with what it costs there."""
    max_invocations = per_minute(trial.capacity.throughput_per_s, trial.instance_count)
    cost_per_hour = None if profile.price_per_hour is None else profile.price_per_hour * trial.instance_count
    return Recommendation(
        id=recommendation_id(profile.name, trial.configuration),
        profile=profile,
        trial=trial,
        cost_per_hour=cost_per_hour,
        cost_per_inference=(
            cost_per_hour / (MIN_PER_HOUR * max_invocations) if cost_per_hour is not None and max_invocations else None
        ),
        max_invocations=max_invocations,
    )
