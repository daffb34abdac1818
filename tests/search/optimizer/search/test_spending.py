"""The tests, time and CPUs that a search uses, also where it has few."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from servefit.profiler.record.traffic import ClosedLoop
from servefit.search.optimizer.bench import OutOfTime
from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla, parse_sla

if TYPE_CHECKING:
    from tests.search.optimizer.search.conftest import MakeSearch, MakeTable, Table

    from servefit.profiler.record.types import Configuration

pytestmark = pytest.mark.usefixtures("unforeseen")

NOT_CONFIRMED = "the winner was not confirmed: "
CUT_SHORT = "the comparison of the best in turns was cut short: the budget of 42 s ran out (--budget 84s)"


def request_of(**asked: Any) -> JobRequest:
    return JobRequest(name="job", **{"budget_s": 1000.0, **asked})


@pytest.mark.parametrize("most", [1, 2, 3, 10, 12, 13])
def test_no_more_tests_are_made_than_were_asked_for_and_there_is_an_answer(
    table: MakeTable, search: MakeSearch, most: int
) -> None:
    bench = table(request_of(max_tests=most))
    found = search(bench)
    found.carry_out()
    assert 1 <= bench.clock.tests <= most
    assert len(found.trials) == bench.clock.tests
    assert found.recommendations()
    assert (bench.measured[-1][0] == "confirmation") == (most > 1)
    tests = "the limit of 1 test was reached (--max-tests)"
    assert (found.remarks == [f"{NOT_CONFIRMED}{tests}"]) == (most == 1)


@pytest.mark.parametrize("budget_s", [3.0, 10.0, 42.0, 90.0])
def test_no_more_time_is_spent_than_was_given(table: MakeTable, search: MakeSearch, budget_s: float) -> None:
    bench = table(request_of(budget_s=budget_s))
    found = search(bench)
    found.carry_out()
    assert found.recommendations()
    # A test that has begun is ended.
    assert bench.now_s <= budget_s + 2.0
    assert (bench.measured[-1][0] == "confirmation") == (budget_s >= 10)


def test_calls_are_timed_for_a_part_of_the_time_and_the_rest_is_for_tests(table: MakeTable, search: MakeSearch) -> None:
    bench = table(request_of(budget_s=10.0))
    search(bench).carry_out()
    assert len(bench.timed) * 0.4 <= 0.45 * 10 + 0.4
    assert bench.of_kind("load test")


@pytest.mark.parametrize("vcpus", [(1,), (1, 2, 4)], ids=["everything could be tested", "not everything"])
def test_what_is_less_exact_and_not_quicker_is_not_tested(
    table: MakeTable, search: MakeSearch, vcpus: tuple[int, ...]
) -> None:
    bench = table(request_of(max_tests=40), sizes=(16, 64), vcpus=vcpus)
    found = search(bench, space=replace(bench.space, less_exact=frozenset(["quick"])))
    found.carry_out()
    assert found.exhaustive == (vcpus == (1,))
    assert bench.measured
    assert "quick" not in {configuration.backend for _, configuration in bench.measured}
    (remark,) = (each for each in found.remarks if "left out" in each)
    assert re.fullmatch(
        r"quick was left out: it predicts less exactly than (reference|batching), and at best a call takes "
        r"\d\.\d+ times as long",
        remark,
    )


def test_calls_are_timed_although_compiling_took_all_of_their_share(table: MakeTable, search: MakeSearch) -> None:
    bench = table(request_of(budget_s=25.0))
    bench.now_s = 12.0
    found = search(bench)
    found.carry_out()
    assert 0 < len(bench.timed) * 0.4 <= (25 - 12) / 4 + 0.4
    assert bench.of_kind("load test")[0] != found.naive(found.recommendations()[0].trial.configuration.vcpus)


def test_few_tests_do_not_keep_calls_from_being_timed_where_compiling_took_long(
    table: MakeTable, search: MakeSearch
) -> None:
    bench = table(request_of(max_tests=3))
    bench.now_s = 20.0
    search(bench).carry_out()
    assert 0 < len(bench.timed) * 0.4 <= 0.45 * 3 * 2.0 + 0.4


def test_a_space_that_the_tests_are_enough_for_is_measured_whole_and_no_calls_are_timed(
    table: MakeTable, search: MakeSearch
) -> None:
    bench = table(request_of(max_tests=40), sizes=(1, 16), vcpus=(1, 2))
    found = search(bench)
    found.carry_out()
    assert len(bench.space.grid) == 36
    assert bench.timed == []
    assert set(bench.of_kind("load test")) == set(bench.space.grid)
    assert bench.regret(found.recommendations()[0].trial.configuration) < 0.03


def test_the_search_ends_by_itself_once_nothing_promises_to_gain_anything(table: MakeTable, search: MakeSearch) -> None:
    bench = table(request_of(budget_s=400.0))
    search(bench).carry_out()
    assert len(bench.of_kind("load test")) < len(bench.space.grid) / 4


def test_no_configuration_is_put_under_load_twice_but_finalists(table: MakeTable, search: MakeSearch) -> None:
    bench = table(request_of(max_tests=60))
    search(bench).carry_out()
    tested = bench.of_kind("load test")
    assert len(tested) == len(set(tested))
    assert len(bench.timed) == len(set(bench.timed))


def test_every_profile_is_tried(table: MakeTable, search: MakeSearch) -> None:
    bench = table(request_of(max_tests=6))
    found = search(bench)
    found.carry_out()
    assert {recommendation.profile.name for recommendation in found.recommendations()} == {"1c", "2c", "4c"}
    assert list(found.untried()) == []


def test_a_profile_that_no_test_was_left_for_is_named(table: MakeTable, search: MakeSearch) -> None:
    bench = table(request_of(max_tests=2))
    found = search(bench)
    found.carry_out()
    assert list(found.untried()) == ["1c", "2c"]


def test_tests_run_at_once_where_they_fit_and_are_counted_one_by_one(table: MakeTable, search: MakeSearch) -> None:
    bench = table(request_of(max_tests=21, max_parallel_tests=4))
    found = search(bench)
    found.carry_out()
    assert max(map(len, bench.batches)) > 1
    assert all(bench.fit_at_once([configuration.vcpus for configuration in batch]) for batch in bench.batches)
    tested = bench.of_kind("load test")
    assert len(tested) == len(set(tested))
    assert bench.clock.tests <= 21
    assert bench.regret(found.recommendations()[0].trial.configuration) < 0.03


@pytest.mark.integration
@pytest.mark.parametrize("most", [9, *(pytest.param(most, marks=pytest.mark.thorough) for most in (10, 12, 20))])
def test_few_tests_suffice_for_a_round_and_the_confirmation(table: MakeTable, search: MakeSearch, most: int) -> None:
    bench = table(request_of(max_tests=most, goal="latency", sla=Sla(rate_per_s=5000.0)))
    found = search(bench)
    found.carry_out()
    assert any(trial.round is not None for trial in found.trials)
    assert bench.measured[-1][0] == "confirmation"


@pytest.mark.integration
def test_at_a_low_rate_the_best_take_no_turns_and_the_job_says_so(table: MakeTable, search: MakeSearch) -> None:
    found = search(table(request_of(goal="latency", sla=Sla(rate_per_s=20.0))))
    found.carry_out()
    assert "the best were not compared in turns: at so low a rate a turn takes too long" in found.remarks
    assert found.confirmed


def test_a_job_of_which_every_test_fails_ends_without_an_answer(table: MakeTable, search: MakeSearch) -> None:
    bench = table(request_of(max_tests=20), failing=lambda _: True)
    found = search(bench)
    found.carry_out()
    assert found.recommendations() == ()
    assert bench.clock.tests <= 20
    assert found.failed == set(bench.of_kind("load test"))
    assert found.trials == []


def test_a_backend_that_fails_under_load_is_given_up_for_one_that_does_not(
    table: MakeTable, search: MakeSearch
) -> None:
    def batching(configuration: Configuration) -> bool:
        return configuration.backend == "batching"

    bench = table(request_of(max_tests=60, goal="throughput"), failing=batching)
    found = search(bench)
    found.carry_out()
    best = found.recommendations()[0].trial.configuration
    assert best.backend == "reference"
    rest = [configuration for configuration in bench.space.grid if not batching(configuration)]
    assert bench.figure(best) <= 1.03 * min(map(bench.figure, rest))


def test_where_every_test_is_disturbed_the_answer_says_so(table: MakeTable, search: MakeSearch) -> None:
    bench = table(request_of(max_tests=20), disturbed=lambda _: True)
    found = search(bench)
    found.carry_out()
    assert {recommendation.trial.verdict for recommendation in found.recommendations()} == {"INVALID"}
    tested = bench.of_kind("load test")
    assert len(tested) == len(set(tested))


def test_a_disturbed_measurement_does_not_win_over_a_good_one(table: MakeTable, search: MakeSearch) -> None:
    quiet = table(request_of(max_tests=21))
    ranked = sorted(quiet.space.grid, key=quiet.figure)
    bench = table(request_of(max_tests=21), disturbed=lambda configuration: configuration == ranked[0])
    found = search(bench)
    found.carry_out()
    best = found.recommendations()[0].trial
    assert best.verdict == "PASS"
    assert bench.figure(best.configuration) < 1.03 * bench.figure(ranked[1])


@pytest.mark.thorough
@pytest.mark.integration
def test_a_winner_that_fails_when_it_is_confirmed_gives_way(table: MakeTable, search: MakeSearch) -> None:
    calm = table(request_of())
    search(calm).carry_out()
    fragile = calm.measured[-1][1]
    bench: Table = table(
        request_of(), failing=lambda configuration: configuration == fragile and fragile in bench.of_kind("round")
    )
    found = search(bench)
    found.carry_out()
    assert found.recommendations()[0].trial.configuration != fragile
    assert fragile in found.failed


def test_a_winner_whose_confirmation_leaves_it_open_is_not_measured_once_more(
    table: MakeTable, search: MakeSearch
) -> None:
    """It had all the traffic that there was time for: a second measurement would know less."""
    bench = table(request_of(max_tests=40), left_open=1)
    found = search(bench)
    found.carry_out()
    first, *others = bench.of_kind("confirmation")
    assert first not in others
    assert [trial.verdict for trial in found.trials if trial.configuration == first][-1] == "UNDECIDED"
    assert found.best() in others


def test_the_naive_default_leaves_its_time_to_those_that_may_win_where_that_is_short(
    table: MakeTable, search: MakeSearch
) -> None:
    def rounds_of_naive(budget_s: float) -> tuple[int, int]:
        bench = table(request_of(budget_s=budget_s, goal="throughput"), start_s=0.6)
        found = search(bench)
        found.carry_out()
        turns = bench.of_kind("round")
        naive = found.naive(turns[0].vcpus)
        assert naive is not None
        return turns.count(naive), max(map(turns.count, turns))

    short, long = rounds_of_naive(30.0), rounds_of_naive(120.0)
    assert short[0] == 1
    assert short[1] > 1
    assert long[0] >= 3


@pytest.mark.thorough
def test_traffic_in_phases_is_limited_to_ten_tests_and_has_no_rounds(table: MakeTable, search: MakeSearch) -> None:
    phases = ClosedLoop.constant(users=4, duration_s=120)
    bench = table(JobRequest(name="job", phases=phases))
    search(bench).carry_out()
    assert bench.clock.tests <= 10
    assert bench.of_kind("round") == []


@pytest.mark.thorough
def test_a_confirmation_in_phases_that_would_outlast_the_time_is_not_begun(
    table: MakeTable, search: MakeSearch
) -> None:
    bench = table(request_of(phases=ClosedLoop.constant(users=4, duration_s=120), budget_s=200.0))
    found = search(bench)
    found.carry_out()
    assert bench.of_kind("confirmation") == []
    assert re.fullmatch(rf"{NOT_CONFIRMED}the budget of 200 s ran out \(--budget 3\d\ds\)", found.remarks[-1])


def test_a_backend_that_hangs_is_given_up_and_none_of_its_configurations_is_tried(
    table: MakeTable, search: MakeSearch
) -> None:
    bench: Table = table(request_of(budget_s=60.0), failing=lambda configuration: configuration.backend == "quick")
    found = search(bench)

    def give_up() -> None:
        if bench.timed and bench.timed[-1].backend == "quick":
            found.give_up(bench.timed[-1])

    bench.before = give_up
    found.carry_out()
    assert [configuration.backend for configuration in bench.timed].count("quick") == 1
    assert "quick" not in {configuration.backend for _, configuration in bench.measured}
    assert found.recommendations()


def test_a_backend_that_hangs_is_not_given_up_where_there_is_no_other(table: MakeTable, search: MakeSearch) -> None:
    bench = table(request_of(max_tests=6))
    found = search(bench)
    for backend in ("reference", "batching", "quick"):
        found.give_up(next(configuration for configuration in bench.space.grid if configuration.backend == backend))
    found.carry_out()
    assert {configuration.backend for _, configuration in bench.measured} == {"quick"}


def test_what_is_cut_short_by_the_time_ends_the_search_with_what_it_knows(table: MakeTable, search: MakeSearch) -> None:
    bench: Table = table(request_of(budget_s=42.0))

    def run_out() -> None:
        if len(bench.of_kind("round")) == 2:
            raise OutOfTime("the comparison of the best in turns")

    bench.before = run_out
    found = search(bench)
    found.carry_out()
    assert found.recommendations()
    assert found.failed == set()
    cut_short, not_confirmed = found.remarks
    assert cut_short == CUT_SHORT
    assert re.fullmatch(rf"{NOT_CONFIRMED}the budget of 42 s ran out \(--budget \d\ds\)", not_confirmed)


def test_a_stage_that_is_cut_short_leaves_the_confirmation_its_time(table: MakeTable, search: MakeSearch) -> None:
    bench: Table = table(request_of(budget_s=42.0))
    cut = iter([True])

    def run_out() -> None:
        if len(bench.of_kind("round")) == 2 and next(cut, False):
            raise OutOfTime("the comparison of the best in turns")

    bench.before = run_out
    found = search(bench)
    found.carry_out()
    assert bench.measured[-1][0] == "confirmation"
    assert found.best() in found.confirmed
    assert found.remarks == [CUT_SHORT]


def test_what_comes_before_the_confirmation_leaves_time_for_it_and_for_what_follows(
    table: MakeTable, search: MakeSearch
) -> None:
    bench = table(request_of(budget_s=42.0))
    found = search(bench)
    found.carry_out()
    alone_s = found.kept_for_the_end_s()
    found.closing_s = lambda _: 4.0
    assert found.kept_for_the_end_s() == alone_s + 4.0
    assert alone_s > 1.5


def test_nothing_is_begun_that_cannot_be_ended_in_the_time(table: MakeTable, search: MakeSearch) -> None:
    bench = table(request_of(budget_s=0.5))
    found = search(bench)
    found.carry_out()
    assert bench.measured == []
    assert found.recommendations() == ()


def test_tests_that_all_fail_go_on_no_longer_than_there_is_time(table: MakeTable, search: MakeSearch) -> None:
    bench = table(request_of(budget_s=20.0), failing=lambda _: True)
    search(bench).carry_out()
    assert bench.now_s <= 20.0 + 2.0


def test_a_naive_default_that_was_not_tested_shares_a_rate_that_is_too_much_for_it(
    table: MakeTable, search: MakeSearch
) -> None:
    rate_per_s = 40_000.0
    bench = table(request_of(budget_s=120.0, goal="latency", sla=Sla(rate_per_s=rate_per_s)), start_s=0.6)
    found = search(bench)
    found.carry_out()
    naive = found.naive(found.recommendations()[0].trial.configuration.vcpus)
    assert naive is not None
    assert naive in bench.of_kind("round")
    assert naive not in bench.of_kind("load test")
    assert rate_per_s / bench.instances[naive] < bench.capacity_per_s(naive) < rate_per_s


@pytest.mark.integration
def test_where_a_round_of_all_takes_too_long_the_best_is_compared_with_the_naive_default(
    table: MakeTable, search: MakeSearch
) -> None:
    sla = Sla(thresholds=parse_sla("p95=100ms"), rate_per_s=500.0)
    alone_with_naive = 0
    for budget_s in range(30, 70, 4):
        found = search(table(request_of(sla=sla, budget_s=float(budget_s)), start_s=0.6))
        found.carry_out()
        best = found.recommendations()[0].trial.configuration
        turns = [trial.configuration for trial in found.trials if trial.round is not None]
        assert not turns or best in found.confirmed, "a round leaves the confirmation its time"
        assert bool(turns) != any("not compared in turns: the budget of" in remark for remark in found.remarks)
        alone_with_naive += set(turns) == {best, found.naive(best.vcpus)}
    assert alone_with_naive > 0
