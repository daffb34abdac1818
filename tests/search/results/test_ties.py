"""What ties, what rounds tell apart, and who wins a tie."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.search.results.ranking_cases import (
    BATCHED,
    FAST,
    SLOW,
    THREADED,
    best,
    in_turns,
    names,
    profile,
    request_of,
    rounds_of,
)

from servefit.backends.types import Settings
from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla
from servefit.search.request.space import Space
from servefit.search.results.choices import choices
from servefit.search.results.objectives.score import Score
from servefit.search.results.pooled_trials import pool_trials
from servefit.search.results.ranking import (
    best_for,
    costs_less,
    differs_by_luck,
    is_surely_better,
    is_tie,
    ranking_key,
    recommend,
    rounds_leave_open,
)
from servefit.search.results.unranked import VERDICT_ORDER

if TYPE_CHECKING:
    from tests.search.conftest import MakeTrial

    from servefit.profiler.record.types import Configuration
    from servefit.search.request.job_request import Goal
    from servefit.search.results.recommendation import Trial


def test_what_rounds_show_to_be_worse_for_certain_does_not_win_by_those_that_it_missed(trial: MakeTrial) -> None:
    # The machine became slower after the third round, when the worse one had left.
    better = in_turns(trial, FAST, (1.0, 1.01, 0.99, 0.5, 0.51, 0.5))
    worse = in_turns(trial, BATCHED, (0.9, 0.91, 0.89))
    assert best([*better, *worse], request_of("throughput")) == FAST


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


@pytest.mark.parametrize(
    ("other", "by_luck"),
    [
        (Score(unpriced=False, per_hour=0.1, figure=1.52), True),
        (Score(unpriced=False, per_hour=0.1, figure=1.53), False),
        (Score(unpriced=False, per_hour=0.2, figure=1.0), False),
        (Score(unpriced=True, per_hour=0.1, figure=1.0), False),
    ],
)
def test_luck_makes_latencies_differ_by_half_and_never_prices(other: Score, by_luck: bool) -> None:
    assert differs_by_luck(Score(unpriced=False, per_hour=0.1, figure=1.0), other) == by_luck


@pytest.mark.parametrize(("violation", "ties"), [(0.51, True), (0.52, False), (0.2, True)])
def test_what_fails_ties_within_a_fiftieth_of_the_violation(trial: MakeTrial, violation: float, ties: bool) -> None:
    (best,), (other,) = (pool_trials([trial(FAST, verdict="FAIL", violation=each)]) for each in (0.5, violation))
    for request in (request_of(), request_of(at_rate=True)):
        keys = [ranking_key(each, profile("a", price_per_hour=9.0), request) for each in (best, other)]
        assert keys[0] == (VERDICT_ORDER["FAIL"], Score(unpriced=False, per_hour=0.0, figure=0.5))
        assert is_tie(keys[0], keys[1], request) == ties
        assert not is_tie(keys[0], (VERDICT_ORDER["PASS"], keys[0][1]), request)


@pytest.mark.parametrize(
    ("goal", "instances", "less"),
    [("latency", 1, True), ("latency", 4, False), ("latency", 5, False), ("cost", 1, False)],
)
def test_cpus_decide_between_what_has_a_price_and_what_has_none_unless_the_price_counts(
    trial: MakeTrial, goal: Goal, instances: int, less: bool
) -> None:
    (unpriced,), (priced,) = (pool_trials([trial(FAST, instances=number)]) for number in (instances, 2))
    one, other = (profile("local", 1), unpriced), (profile("large", 2, price_per_hour=0.1), priced)
    assert costs_less(one, other, request_of(goal)) == less
    assert costs_less(other, one, request_of(goal)) == (goal == "cost" or instances == 5)


@pytest.mark.parametrize(("instances", "less"), [(2, True), (3, False)])
def test_all_instances_count_in_what_costs_less(trial: MakeTrial, instances: int, less: bool) -> None:
    (several,), (single,) = (pool_trials([trial(FAST, instances=number)]) for number in (instances, 1))
    one, other = (profile("a", price_per_hour=0.1), several), (profile("b", price_per_hour=0.3), single)
    assert costs_less(one, other, request_of()) == less


@pytest.mark.parametrize(("per_s", "expected"), [(1099.0, FAST), (1101.0, SLOW)])
@pytest.mark.parametrize("goal", ["latency", "cost"])
def test_of_what_is_as_simple_and_as_good_at_a_rate_more_than_a_tenth_of_capacity_decides(
    trial: MakeTrial, goal: Goal, per_s: float, expected: Configuration
) -> None:
    tests = [trial(FAST, p95_ms=1.0), trial(SLOW, p95_ms=1.01, throughput_per_s=per_s)]
    assert best(tests, request_of(goal, at_rate=True)) == expected


@pytest.mark.parametrize(
    ("times", "sure", "left_open"), [(1.009, False, True), (1.011, True, True), (1.021, True, False)]
)
def test_rounds_make_sure_of_a_hundredth_and_leave_a_tie_open(
    trial: MakeTrial, times: float, sure: bool, left_open: bool
) -> None:
    rounds = rounds_of(trial, {FAST: [1.0] * 3, BATCHED: [times] * 3})
    assert is_surely_better(FAST, BATCHED, request_of("latency"), rounds) == sure
    assert rounds_leave_open(FAST, BATCHED, request_of("latency"), rounds) == left_open
    fewer = [each for each in rounds if each.round != 0]
    assert not is_surely_better(FAST, BATCHED, request_of("latency"), fewer)
    assert rounds_leave_open(FAST, BATCHED, request_of("latency"), fewer) is None
    assert rounds_leave_open(FAST, BATCHED, request_of("latency"), []) is None


def test_at_a_rate_20_us_are_a_tie_however_surely_rounds_tell_them_apart(trial: MakeTrial) -> None:
    tests = [trial(FAST, p95_ms=0.11), trial(BATCHED, p95_ms=0.1)]
    rounds = rounds_of(trial, {FAST: [0.11] * 4, BATCHED: [0.1] * 4})
    assert is_surely_better(BATCHED, FAST, request_of(at_rate=True), rounds)
    assert best([*tests, *rounds], request_of(at_rate=True)) == FAST
    assert best([*tests, *rounds], request_of("latency")) == BATCHED


@pytest.mark.parametrize(("rounds_of_best", "expected"), [(0, FAST), (2, FAST), (3, BATCHED)])
def test_what_was_in_fewer_rounds_than_an_interval_takes_is_ahead_by_luck(
    trial: MakeTrial, rounds_of_best: int, expected: Configuration
) -> None:
    tests = [trial(FAST, p95_ms=0.2), trial(BATCHED, p95_ms=0.15)]
    of_rival = rounds_of(trial, {FAST: [0.2] * 3})
    # Rounds of its own, which compare it with nothing.
    of_best = [replace(each, round=10 + nth) for nth, each in enumerate([tests[1]] * rounds_of_best)]
    assert best([*tests, *of_rival, *of_best], request_of("latency")) == expected


def test_what_is_less_exact_is_taken_where_it_is_better_and_where_there_is_nothing_else(trial: MakeTrial) -> None:
    def found(*tests: Trial) -> Configuration | None:
        one = best_for(profile("a"), pool_trials(tests), request_of("throughput"), tests, less_exact={"fast"})
        return None if one is None else one.configuration

    exact, tie, better = (trial(SLOW), trial(FAST, throughput_per_s=1010.0), trial(FAST, throughput_per_s=2000.0))
    assert [found(exact, tie), found(exact, better), found(tie)] == [SLOW, FAST, FAST]
