"""The ranking of recommendations from measurements."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from servefit.backends.types import Settings
from servefit.profiler.machine.instance_profile import InstanceProfile
from servefit.profiler.record.types import Configuration
from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla
from servefit.search.request.space import Space
from servefit.search.results.choices import choices
from servefit.search.results.objectives.score import Score
from servefit.search.results.pooled_trials import pool_trials
from servefit.search.results.price import Price
from servefit.search.results.ranking import (
    best_for,
    is_surely_better,
    ranking_key,
    recommend,
    recommendation,
    score_of,
    simplicity,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.search.conftest import MakeTrial

    from servefit.search.request.job_request import Goal
    from servefit.search.results.recommendation import Trial, TrialVerdict

FAST = Configuration(vcpus=2, backend="fast", workers=2)
SLOW = Configuration(vcpus=2, backend="slow", workers=2)
BATCHED = Configuration(vcpus=2, backend="fast", workers=2, max_batch=8)
THREADED = Configuration(vcpus=2, backend="fast", settings=Settings(threads=2))


def profile(name: str, vcpus: int = 2, price_per_hour: float | None = None) -> InstanceProfile:
    return InstanceProfile(name=name, vcpus=vcpus, memory_bytes=2**30, price_per_hour=price_per_hour)


def request_of(goal: Goal = "cost", *, at_rate: bool = False, **asked: Any) -> JobRequest:
    return JobRequest(name="job", goal=goal, sla=Sla(rate_per_s=100.0 if at_rate else None), **asked)


def names(
    profiles: list[InstanceProfile], trials: list[Trial], goal: Goal = "cost", *, at_rate: bool = False
) -> list[str]:
    everything = frozenset(trial.configuration for trial in trials)
    space = Space(profiles=tuple((profile, everything) for profile in profiles), grid=tuple(everything))
    return [recommended.profile.name for recommended in recommend(space, trials, request_of(goal, at_rate=at_rate))]


def best(trials: list[Trial], request: JobRequest | None = None) -> Configuration | None:
    found = best_for(profile("a"), pool_trials(trials), request or request_of(), trials)
    return None if found is None else found.configuration


def in_turns(
    trial: MakeTrial, configuration: Configuration, factors: tuple[float, ...], per_s: float = 1000.0
) -> list[Trial]:
    """A load test, and a round for each of ``factors``."""
    return [
        trial(configuration, throughput_per_s=per_s),
        *(trial(configuration, throughput_per_s=per_s * each, nth_round=nth) for nth, each in enumerate(factors)),
    ]


def test_what_rounds_show_to_be_worse_for_certain_does_not_win_by_those_that_it_missed(trial: MakeTrial) -> None:
    # The machine became slower after the third round, when the worse one had left.
    better = in_turns(trial, FAST, (1.0, 1.01, 0.99, 0.5, 0.51, 0.5))
    worse = in_turns(trial, BATCHED, (0.9, 0.91, 0.89))
    assert best([*better, *worse], request_of("throughput")) == FAST


def test_the_price_of_an_inference_is_that_of_sagemaker(trial: MakeTrial) -> None:
    found = recommendation(profile("a", price_per_hour=0.36), trial(FAST, throughput_per_s=100.0, instances=2))
    assert found.max_invocations == 2 * 60 * 100
    assert found.cost_per_hour == pytest.approx(0.72)
    assert found.cost_per_inference == pytest.approx(0.72 / (60 * 12000))


def test_what_answered_nothing_has_no_price_an_inference(trial: MakeTrial) -> None:
    found = recommendation(profile("a", price_per_hour=0.36), trial(FAST, throughput_per_s=0.0))
    assert (found.max_invocations, found.cost_per_inference) == (0.0, None)


def test_what_costs_nothing_has_a_price_and_comes_before_what_has_none(trial: MakeTrial) -> None:
    free = recommendation(profile("free", price_per_hour=0.0), trial(FAST))
    assert free.cost_per_inference == 0.0
    assert names([profile("unpriced"), profile("free", price_per_hour=0.0)], [trial(FAST)]) == ["free", "unpriced"]


def test_what_meets_the_sla_comes_before_what_may_and_that_before_what_does_not(trial: MakeTrial) -> None:
    trials = [
        trial(SLOW, throughput_per_s=10.0, verdict="PASS"),
        trial(FAST, throughput_per_s=1000.0, verdict="UNDECIDED"),
        trial(BATCHED, throughput_per_s=9000.0, verdict="FAIL", violation=0.1),
    ]
    for expected in (SLOW, FAST, BATCHED):
        assert best(trials) == expected
        trials = [trial for trial in trials if trial.configuration != expected]


def test_when_nothing_meets_the_sla_the_nearest_comes_first(trial: MakeTrial) -> None:
    trials = [trial(FAST, verdict="FAIL", violation=0.9), trial(SLOW, verdict="FAIL", violation=0.2)]
    assert best(trials) == SLOW


def test_what_was_measured_badly_comes_after_what_is_undecided_and_before_what_fails(trial: MakeTrial) -> None:
    verdicts: list[TrialVerdict] = ["FAIL", "INVALID", "UNDECIDED", "PASS"]
    ranked = sorted(
        (pooled for verdict in verdicts for pooled in pool_trials([trial(FAST, verdict=verdict)])),
        key=lambda pooled: ranking_key(pooled, profile("a"), request_of()),
    )
    assert [pooled.trial.verdict for pooled in ranked] == verdicts[::-1]


@pytest.mark.parametrize(
    ("goal", "expected"), [("cost", FAST), ("throughput", FAST), ("latency", SLOW), ("balanced", FAST)]
)
def test_every_goal_has_its_own_best(trial: MakeTrial, goal: Goal, expected: Configuration) -> None:
    trials = [trial(FAST, throughput_per_s=5000.0, p95_ms=9.0), trial(SLOW, throughput_per_s=1000.0, p95_ms=3.0)]
    assert best(trials, request_of(goal)) == expected


def test_the_balance_shifts_with_the_weight(trial: MakeTrial) -> None:
    trials = [trial(FAST, throughput_per_s=5000.0, p95_ms=9.0), trial(SLOW, throughput_per_s=1000.0, p95_ms=3.0)]
    assert best(trials, request_of("balanced", cost_weight=0.2)) == SLOW
    assert best(trials, request_of("balanced", cost_weight=0.9)) == FAST


def test_a_tie_goes_to_the_simpler_configuration(trial: MakeTrial) -> None:
    trials = [trial(BATCHED, throughput_per_s=1010.0), trial(FAST, throughput_per_s=1000.0)]
    assert best(trials) == FAST
    assert best([trial(BATCHED, throughput_per_s=1030.0), trials[1]]) == BATCHED


def test_what_rounds_told_apart_is_no_tie(trial: MakeTrial) -> None:
    factors = (1.0, 1.001, 0.999, 1.0)
    plain = in_turns(trial, FAST, factors)
    slightly_better = in_turns(trial, BATCHED, tuple(1.015 * factor for factor in factors))
    assert best([*plain, *slightly_better]) == BATCHED
    assert is_surely_better(BATCHED, FAST, request_of(), [*plain, *slightly_better])
    assert not is_surely_better(FAST, BATCHED, request_of(), [*plain, *slightly_better])


def test_a_difference_that_nobody_would_deploy_for_stays_a_tie_however_sure_it_is(trial: MakeTrial) -> None:
    plain = in_turns(trial, FAST, (1.0, 1.0, 1.0, 1.0))
    hardly_better = in_turns(trial, BATCHED, (1.005, 1.005, 1.005, 1.005))
    assert best([*plain, *hardly_better]) == FAST


def test_a_difference_that_rounds_are_not_sure_of_stays_a_tie(trial: MakeTrial) -> None:
    plain = in_turns(trial, FAST, (1.0, 0.95, 1.05))
    unsure = in_turns(trial, BATCHED, (1.1, 0.94, 1.01))
    assert best([*plain, *unsure]) == FAST


@pytest.mark.parametrize(
    ("rounds_ms", "expected"), [((0.15, 0.15, 0.15, 0.15), BATCHED), ((0.08, 0.3, 0.12, 0.22), FAST)]
)
def test_at_a_rate_a_latency_that_rounds_are_not_sure_of_is_a_tie(
    trial: MakeTrial, rounds_ms: tuple[float, ...], expected: Configuration
) -> None:
    apart, tested = ([trial(FAST, p95_ms=0.2), trial(BATCHED, p95_ms=p95_ms)] for p95_ms in (0.12, 0.15))
    rounds = rounds_of(trial, {FAST: [0.2] * 4, BATCHED: rounds_ms})
    assert best(apart, request_of(at_rate=True)) == BATCHED
    assert best(tested, request_of(at_rate=True)) == FAST
    assert best([*tested, *rounds], request_of(at_rate=True)) == expected


@pytest.mark.parametrize(
    ("rounds_ms", "expected"),
    [((0.15, 0.15, 0.15, 0.15), BATCHED), ((0.08, 0.3, 0.12, 0.22), FAST), ((), BATCHED)],
    ids=["sure", "not sure", "no rounds"],
)
def test_the_lowest_latency_is_a_tie_where_rounds_are_not_sure_of_it(
    trial: MakeTrial, rounds_ms: tuple[float, ...], expected: Configuration
) -> None:
    tests = [trial(FAST, p95_ms=0.2), trial(BATCHED, p95_ms=0.15)]
    rounds = rounds_of(trial, {FAST: [0.2] * len(rounds_ms), BATCHED: rounds_ms})
    assert best([*tests, *rounds], request_of("latency")) == expected


def test_a_latency_of_one_lucky_test_does_not_beat_what_rounds_know_to_be_about_as_low(trial: MakeTrial) -> None:
    def found(lucky_ms: float) -> Configuration | None:
        tests = [trial(FAST, p95_ms=0.2), trial(THREADED, p95_ms=0.21), trial(BATCHED, p95_ms=lucky_ms)]
        rounds = rounds_of(trial, {FAST: [0.19, 0.21, 0.2], THREADED: [0.2, 0.22, 0.21]})
        return best([*tests, *rounds], request_of("latency"))

    assert found(0.15) == FAST
    assert found(0.1) == BATCHED


def test_of_profiles_whose_latencies_rounds_do_not_tell_apart_the_cheaper_comes_first(trial: MakeTrial) -> None:
    small, large = profile("small", 2, price_per_hour=0.1), profile("large", 4, price_per_hour=9.0)
    on_large = replace(FAST, vcpus=4, workers=4)
    space = Space(profiles=((small, frozenset([FAST])), (large, frozenset([on_large]))), grid=(FAST, on_large))

    def first(rounds_ms: list[float]) -> str:
        tests = [trial(FAST, p95_ms=0.2), trial(on_large, p95_ms=0.15)]
        rounds = rounds_of(trial, {FAST: [0.2, 0.2, 0.2], on_large: rounds_ms})
        return recommend(space, [*tests, *rounds], request_of("latency"))[0].profile.name

    assert first([0.08, 0.3, 0.12]) == "small"
    assert first([0.15, 0.15, 0.15]) == "large"


def test_where_the_price_does_not_count_a_tie_does_not_go_to_a_larger_profile_for_having_one(trial: MakeTrial) -> None:
    small, large = profile("small", 2), profile("large", 4, price_per_hour=0.1)
    on_large = replace(FAST, vcpus=4, workers=4)
    space = Space(profiles=((large, frozenset([on_large])), (small, frozenset([FAST]))), grid=(FAST, on_large))
    tests = [trial(FAST, p95_ms=0.2), trial(on_large, p95_ms=0.15)]
    rounds = rounds_of(trial, {FAST: [0.2, 0.2, 0.2], on_large: [0.08, 0.3, 0.12]})

    def first(goal: Goal) -> str:
        return recommend(space, [*tests, *rounds], request_of(goal))[0].profile.name

    assert first("latency") == "small"
    assert first("cost") == "large"


def test_what_is_surely_worse_than_the_best_does_not_win_by_a_tie_with_what_ties_with_the_best(
    trial: MakeTrial,
) -> None:
    small, large = profile("small", 1), profile("large", 2)
    one, two = replace(FAST, vcpus=1), replace(FAST, settings=Settings(threads=2))
    joining = replace(two, max_batch=8)
    space = Space(profiles=((small, frozenset([one])), (large, frozenset([two, joining]))), grid=(one, two, joining))
    tests = [trial(each, p95_ms=p95_ms) for each, p95_ms in ((one, 0.111), (two, 0.1), (joining, 0.09))]
    rounds_ms = {one: [0.111, 0.114, 0.109], two: [0.094, 0.092, 0.106], joining: [0.09, 0.086, 0.085]}
    trials = [*tests, *rounds_of(trial, rounds_ms)]
    first, second = recommend(space, trials, request_of("latency"))
    assert (first.profile, first.trial.configuration, second.profile) == (large, two, small)
    reasons = {
        preference.rival.profile.name: preference.by
        for preference in choices(space, trials, request_of("latency"), first)
    }
    assert reasons == {"large": "simplicity", "small": "figure"}


def test_a_third_profile_without_a_price_does_not_change_which_of_two_with_one_is_cheaper(trial: MakeTrial) -> None:
    small, large = profile("small", 2, price_per_hour=0.1), profile("large", 4, price_per_hour=0.05)
    for vcpus, ranked in ((8, ["large", "small", "local"]), (1, ["local", "large", "small"])):
        assert names([profile("local", vcpus), small, large], [trial(FAST)], "latency") == ranked


def test_a_profile_that_rounds_show_to_be_slower_is_not_first_by_a_lucky_test(trial: MakeTrial) -> None:
    small, large = profile("small", 2, price_per_hour=0.1), profile("large", 4, price_per_hour=9.0)
    on_large = replace(FAST, vcpus=4, workers=4)
    space = Space(profiles=((small, frozenset([FAST])), (large, frozenset([on_large]))), grid=(FAST, on_large))
    tests = [trial(FAST, p95_ms=0.05), trial(on_large, p95_ms=0.2)]
    rounds = rounds_of(trial, {FAST: [0.2, 0.21, 0.19], on_large: [0.15, 0.155, 0.145]})
    assert recommend(space, [*tests, *rounds], request_of("latency"))[0].profile.name == "large"


def test_rounds_say_nothing_of_profiles_whose_prices_differ_where_the_price_of_an_inference_counts(
    trial: MakeTrial,
) -> None:
    small, large = profile("small", 2), profile("large", 4)
    on_large = replace(FAST, vcpus=4, workers=4)
    space = Space(profiles=((small, frozenset([FAST])), (large, frozenset([on_large]))), grid=(FAST, on_large))
    tests = [trial(FAST, throughput_per_s=1100.0), trial(on_large, throughput_per_s=2210.0)]
    rounds = [replace(each, round=nth) for each in tests for nth in range(3)]
    assert recommend(space, [*tests, *rounds], request_of("cost"))[0].profile.name == "small"


@pytest.mark.parametrize("reverse", [False, True])
def test_of_configurations_that_did_the_same_the_one_that_was_in_rounds_speaks_for_all(
    trial: MakeTrial, *, reverse: bool
) -> None:
    def joining(configuration: Configuration, p95_ms: float) -> Trial:
        tested = trial(configuration, p95_ms=p95_ms)
        assert tested.at_rate is not None
        return replace(tested, at_rate=replace(tested.at_rate, largest_call=2))

    fewer = replace(BATCHED, max_batch=4)
    tests = [joining(fewer, 0.15), joining(BATCHED, 0.15), joining(FAST, 0.2)]
    rounds = rounds_of(trial, {fewer: [0.15] * 4, FAST: [0.2] * 4})
    asked = JobRequest(name="job", goal="latency", sla=Sla(rate_per_s=100.0))
    assert best([*(tests[::-1] if reverse else tests), *rounds], asked) == fewer


def test_rounds_in_which_the_machine_got_in_the_way_make_nothing_better_known(trial: MakeTrial) -> None:
    tests = [trial(FAST, p95_ms=0.2), trial(BATCHED, p95_ms=0.15)]
    rounds = [replace(each, verdict="INVALID") for each in rounds_of(trial, {FAST: [0.2, 0.2, 0.2]})]
    assert best([*tests, *rounds], request_of("latency")) == BATCHED


def rounds_of(trial: MakeTrial, p95_ms: Mapping[Configuration, Sequence[float]]) -> list[Trial]:
    return [
        trial(configuration, p95_ms=each_ms, nth_round=nth)
        for configuration, all_ms in p95_ms.items()
        for nth, each_ms in enumerate(all_ms)
    ]


def test_the_mean_of_all_measurements_decides_and_not_the_luckiest_of_them(trial: MakeTrial) -> None:
    lucky = [trial(BATCHED, throughput_per_s=1300.0), trial(BATCHED, throughput_per_s=900.0)]
    steady = [trial(FAST, throughput_per_s=1150.0), trial(FAST, throughput_per_s=1150.0)]
    assert best([*lucky, *steady]) == FAST


@pytest.mark.parametrize(
    ("simpler", "less_simple"),
    [
        (FAST, BATCHED),
        (BATCHED, replace(BATCHED, batch_delay_us=1000)),
        (BATCHED, replace(BATCHED, max_batch=2, batch_delay_us=1000)),
        (replace(FAST, workers=1), FAST),
        (FAST, THREADED),
        (FAST, replace(FAST, environment=(("FLAG", "on"),))),
    ],
)
def test_simpler_is_what_has_less_to_it(simpler: Configuration, less_simple: Configuration) -> None:
    assert simplicity(simpler) < simplicity(less_simple)


def test_a_profile_without_the_memory_is_not_recommended(trial: MakeTrial) -> None:
    assert best([trial(FAST, memory_bytes=2**31)]) is None
    assert best([]) is None
    assert names([profile("a")], [trial(FAST, memory_bytes=2**31)]) == []


def test_the_cheaper_profile_comes_first_and_those_without_a_price_last(trial: MakeTrial) -> None:
    profiles = [profile("unpriced"), profile("dear", price_per_hour=1.0), profile("cheap", price_per_hour=0.1)]
    for at_rate in (False, True):
        assert names(profiles, [trial(FAST)], at_rate=at_rate) == ["cheap", "dear", "unpriced"]


def test_a_tie_between_profiles_goes_to_the_cheaper_then_to_the_simpler(trial: MakeTrial) -> None:
    profiles = [profile("dear", price_per_hour=1.0), profile("unpriced"), profile("cheap", price_per_hour=0.1)]
    for goal in ("latency", "throughput"):
        assert names(profiles, [trial(FAST)], goal) == ["cheap", "dear", "unpriced"]
    small, large = profile("small", 2, price_per_hour=0.1), profile("large", 4, price_per_hour=0.1)
    on_large = replace(FAST, vcpus=4, workers=4)
    trials = [trial(on_large, p95_ms=1.0), trial(FAST, p95_ms=1.01)]
    space = Space(profiles=((large, frozenset([on_large])), (small, frozenset([FAST]))), grid=(FAST, on_large))
    assert [recommended.profile.name for recommended in recommend(space, trials, request_of("latency"))] == [
        "small",
        "large",
    ]


def test_a_profile_that_is_clearly_better_is_first_whatever_it_costs(trial: MakeTrial) -> None:
    small, large = profile("small", 2, price_per_hour=0.1), profile("large", 4, price_per_hour=9.0)
    on_large = replace(FAST, vcpus=4, workers=4)
    trials = [trial(on_large, p95_ms=1.0), trial(FAST, p95_ms=1.5)]
    space = Space(profiles=((small, frozenset([FAST])), (large, frozenset([on_large]))), grid=(FAST, on_large))
    assert [recommended.profile.name for recommended in recommend(space, trials, request_of("latency"))] == [
        "large",
        "small",
    ]


def test_at_a_given_rate_the_hourly_price_counts_and_at_full_load_that_of_an_inference(trial: MakeTrial) -> None:
    small, large = profile("small", 1, price_per_hour=0.1), profile("large", 4, price_per_hour=0.2)
    on_small = Configuration(vcpus=1, backend="fast")
    on_large = Configuration(vcpus=4, backend="fast", workers=4)
    trials = [trial(on_small, throughput_per_s=100.0), trial(on_large, throughput_per_s=1000.0)]
    space = Space(profiles=((small, frozenset([on_small])), (large, frozenset([on_large]))), grid=(on_small, on_large))
    at_rate = recommend(space, trials, request_of(at_rate=True))
    full_load = recommend(space, trials, request_of())
    assert [recommended.profile.name for recommended in at_rate] == ["small", "large"]
    assert [recommended.profile.name for recommended in full_load] == ["large", "small"]


def test_all_instances_that_a_rate_takes_are_paid_for(trial: MakeTrial) -> None:
    small, large = profile("small", 1, price_per_hour=0.1), profile("large", 4, price_per_hour=0.25)
    on_small = Configuration(vcpus=1, backend="fast")
    on_large = Configuration(vcpus=4, backend="fast", workers=4)
    trials = [trial(on_small, instances=3), trial(on_large, instances=1)]
    space = Space(profiles=((small, frozenset([on_small])), (large, frozenset([on_large]))), grid=(on_small, on_large))
    first, second = recommend(space, trials, request_of(at_rate=True))
    assert (first.profile.name, first.cost_per_hour) == ("large", 0.25)
    assert second.cost_per_hour == pytest.approx(0.3)


def test_where_no_latency_is_known_and_that_is_the_goal_the_simplest_is_taken(trial: MakeTrial) -> None:
    trials = [trial(BATCHED, p95_ms=None), trial(FAST, p95_ms=None)]
    assert best(trials, request_of("latency")) == FAST
    assert best([*trials, trial(SLOW, p95_ms=500.0)], request_of("latency")) == SLOW


def test_the_score_of_a_single_measurement_is_that_of_its_own_figures(trial: MakeTrial) -> None:
    tested = trial(FAST, throughput_per_s=100.0, p95_ms=4.0, instances=2)
    price = Price(unpriced=False, per_hour=0.5)
    at_full_load = score_of(tested, price, request_of())
    assert (at_full_load.unpriced, at_full_load.per_hour) == (False, 0.0)
    assert at_full_load.figure == pytest.approx(1e6 * 0.005 / 3600)
    # At a rate all instances are paid for, and what they would answer at full load was not asked.
    at_rate = score_of(tested, price, request_of(at_rate=True))
    assert at_rate == Score(unpriced=False, per_hour=1.0, figure=4.0)
    before = score_of(tested, price, request_of(at_rate=True, decided_at="capacity"))
    assert (before.unpriced, before.per_hour) == (False, 1.0)
    assert before.figure == pytest.approx(1e6 * 0.005 / 3600)
    assert score_of(tested, price, request_of("latency")) == Score(unpriced=False, per_hour=0.0, figure=4.0)


def test_an_id_stands_for_a_profile_and_a_configuration(trial: MakeTrial) -> None:
    ids = {
        recommendation(offered, trial(configuration)).id
        for offered in (profile("a"), profile("b"))
        for configuration in (FAST, THREADED)
    }
    assert len(ids) == 4
    assert recommendation(profile("a"), trial(FAST)).id in ids
