"""How good the result of a search is, on 210 configurations whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from statistics import mean
from typing import TYPE_CHECKING

import pytest

from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla
from servefit.search.results.ranking import recommend

if TYPE_CHECKING:
    from tests.search.optimizer.search.conftest import MakeSearch, MakeTable, Table

    from servefit.profiler.record.types import Configuration
    from servefit.search.optimizer.search import Search
    from servefit.search.request.job_request import Goal

pytestmark = pytest.mark.usefixtures("unforeseen")

TENTH_OF_THE_GRID = 21


def request_of(seed: int = 0, *, goal: Goal = "cost", sla: Sla | None = None) -> JobRequest:
    return JobRequest(name="job", goal=goal, sla=sla or Sla(), seed=seed, max_tests=TENTH_OF_THE_GRID, budget_s=1000.0)


def limited(limit_ms: float, rate_per_s: float | None = None) -> Sla:
    return Sla(thresholds=(LatencyThreshold(percentile="p95", limit_ms=limit_ms),), rate_per_s=rate_per_s)


def winner(search: Search) -> Configuration:
    return search.recommendations()[0].trial.configuration


def by_chance(table: Table, seed: int) -> Configuration:
    """The best of as many configurations, drawn at random."""
    drawn = Random(seed).sample(table.space.grid, TENTH_OF_THE_GRID - 1)
    trials = [trial for trial in table.load_tests(drawn).values() if trial is not None]
    return recommend(table.space, trials, table.request)[0].trial.configuration


@pytest.mark.integration
@pytest.mark.parametrize("goal", ["cost", pytest.param("throughput", marks=pytest.mark.thorough)])
def test_a_tenth_of_the_grid_finds_what_is_within_three_per_cent_of_the_best(
    table: MakeTable, search: MakeSearch, goal: Goal
) -> None:
    regrets, regrets_by_chance = [], []
    for seed in range(10):
        bench = table(request_of(seed, goal=goal), seed=seed)
        found = search(bench)
        found.carry_out()
        assert bench.clock.tests <= TENTH_OF_THE_GRID
        regrets.append(bench.regret(winner(found)))
        regrets_by_chance.append(bench.regret(by_chance(bench, seed)))
    assert sum(regret <= 0.03 for regret in regrets) >= 9
    assert mean(regrets) < mean(regrets_by_chance) / 20


@pytest.mark.integration
@pytest.mark.parametrize(
    ("sla", "within"),
    [
        # One instance of the smallest envelope will do, for many of them.
        pytest.param(limited(3.0, rate_per_s=5000.0), 0.0, marks=pytest.mark.thorough),
        # Some fifteen instances: a prediction that is 10 % off costs another one or two.
        pytest.param(limited(3.0, rate_per_s=3e6), 0.07, marks=pytest.mark.thorough),
        (limited(0.3), 0.03),
    ],
)
def test_limits_and_a_rate_are_kept_at_the_least_cost(
    table: MakeTable, search: MakeSearch, sla: Sla, within: float
) -> None:
    regrets = []
    for seed in range(4):
        bench = table(request_of(seed, sla=sla), seed=seed)
        found = search(bench)
        found.carry_out()
        assert found.recommendations()[0].trial.verdict == "PASS"
        regrets.append(bench.regret(winner(found)))
    assert sum(regret <= within for regret in regrets) >= 3


@pytest.mark.integration
@pytest.mark.parametrize("rate_per_s", [None, pytest.param(20_000.0, marks=pytest.mark.thorough)])
def test_the_least_latency_is_found_with_a_rate_and_without(
    table: MakeTable, search: MakeSearch, rate_per_s: float | None
) -> None:
    for seed in range(2):
        bench = table(request_of(seed, goal="latency", sla=Sla(rate_per_s=rate_per_s)), seed=seed)
        found = search(bench)
        found.carry_out()
        # Of many that are nearly as quick, the simplest within 2 % is taken.
        assert bench.regret(winner(found)) < 0.05


@pytest.mark.thorough
@pytest.mark.integration
def test_where_nothing_can_keep_the_limits_the_nearest_is_looked_for(table: MakeTable, search: MakeSearch) -> None:
    for seed in range(2):
        bench = table(request_of(seed, sla=limited(0.002)), seed=seed)
        found = search(bench)
        found.carry_out()
        (best, *_) = found.recommendations()
        assert best.trial.verdict == "FAIL"
        nearest_ms = min(bench.p95_ms(configuration, None) for configuration in bench.space.grid)
        assert bench.p95_ms(best.trial.configuration, None) < 1.1 * nearest_ms


def test_a_percentile_that_takes_thousands_of_samples_can_be_searched_for(table: MakeTable, search: MakeSearch) -> None:
    sla = Sla(thresholds=(LatencyThreshold(percentile="p99.995", limit_ms=50.0),), rate_per_s=5000.0)
    bench = table(request_of(sla=sla))
    found = search(bench)
    found.carry_out()
    assert all(
        (score := found.surrogate.expected_score(each)) and score.feasible > 0.9 for each in bench.space.grid[:20]
    )
    assert bench.regret(winner(found)) == 0


def test_a_measurement_that_was_lucky_once_does_not_win(table: MakeTable, search: MakeSearch) -> None:
    for seed in range(3):
        honest = table(request_of(seed), seed=seed)
        ranked = sorted(honest.space.grid, key=honest.figure)
        # The best of those that are worse by more than a tenth, for once measured as if it were the best by a tenth.
        blessed = next(choice for choice in ranked if honest.regret(choice) > 0.1)
        luck = 1.1 * (1 + honest.regret(blessed))
        bench = table(replace(request_of(seed), max_tests=30), seed=seed, luck={blessed: [luck]})
        found = search(bench)
        found.carry_out()
        assert bench.regret(winner(found)) < 0.03
        if blessed in bench.of_kind("load test"):
            assert blessed in bench.of_kind("round")


def test_the_winner_is_measured_again_at_the_end_and_that_figure_is_the_one_given(
    table: MakeTable, search: MakeSearch
) -> None:
    bench = table(request_of())
    found = search(bench)
    found.carry_out()
    assert bench.measured[-1] == ("confirmation", winner(found))
    assert found.recommendations()[0].trial is found.trials[-1]
    assert found.remarks == []


def test_the_same_seed_measures_in_the_same_order_and_another_seed_does_not(
    table: MakeTable, search: MakeSearch
) -> None:
    orders = []
    for seed in (1, 1, 2):
        bench = table(request_of(seed))
        search(bench).carry_out()
        orders.append(bench.measured)
    assert orders[0] == orders[1] != orders[2]


def test_finalists_are_measured_in_rounds_together_with_what_one_would_deploy_without_thinking(
    table: MakeTable, search: MakeSearch
) -> None:
    bench = table(request_of())
    found = search(bench)
    found.carry_out()
    rounds = [trial for trial in found.trials if trial.round is not None]
    first = {trial.configuration for trial in rounds if trial.round == 0}
    assert winner(found) in first
    assert any(
        (configuration.backend, configuration.workers, configuration.max_batch) == ("reference", 1, 1)
        for configuration in first
    )
    assert [trial.round for trial in rounds] == sorted(trial.round or 0 for trial in rounds)


def test_the_importance_of_parameters_is_that_of_the_whole_space(table: MakeTable, search: MakeSearch) -> None:
    bench = table(request_of(goal="throughput"))
    found = search(bench)
    found.carry_out()
    importance = found.importance()
    assert next(iter(importance)) == "max_batch"
    assert importance["workers"] > importance["batch_delay_us"]
    assert all(0 <= share <= 1 for share in importance.values())


@pytest.mark.integration
def test_at_a_rate_what_joins_no_requests_is_tried_beside_the_best_that_does(
    table: MakeTable, search: MakeSearch
) -> None:
    for seed in range(3):
        bench = table(JobRequest(name="job", sla=Sla(rate_per_s=500.0), budget_s=60.0), seed=seed)
        found = search(bench)
        found.carry_out()
        best = found.best()
        assert best is not None
        assert replace(best, max_batch=1, batch_delay_us=0) in bench.of_kind("load test")
