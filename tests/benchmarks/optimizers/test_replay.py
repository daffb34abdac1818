"""Replayed measurements: the figures that they give, and the time that they cost."""

from __future__ import annotations

from dataclasses import replace
from math import log
from statistics import fmean, stdev
from typing import TYPE_CHECKING

import pytest

from benchmarks.models.fraud import demo_request
from benchmarks.optimizers.replay import Noise, Table
from servefit.search.optimizer.confirmation_plan import ConfirmationPlan
from servefit.search.results.measure_trial import CONFIRMING, ROUND

if TYPE_CHECKING:
    from benchmarks.data.grid import Grid
    from servefit.search.request.job_request import Goal


def table_of(grid: Grid, *, goal: Goal = "cost", seed: int = 0) -> Table:
    return Table(grid, Noise.of(grid), demo_request(goal), seed=seed, budget_s=100.0)


def test_measurements_of_one_configuration_differ_by_as_much_as_repeats(small_grid: Grid) -> None:
    table = table_of(small_grid)
    spreads, means = [], []
    for configuration in small_grid.tests:
        trials = [table.measure(configuration) for _ in range(100)]
        logs = [log(trial.capacity.throughput_per_s) for trial in trials if trial is not None]
        spreads.append(stdev(logs) ** 2)
        means.append(fmean(logs) - log(small_grid.truth(configuration).capacity_per_s))
    assert fmean(spreads) ** 0.5 == pytest.approx(0.04, rel=0.25)
    assert fmean(means) == pytest.approx(0.0, abs=0.002)


def test_one_seed_sees_the_same_figures_and_another_does_not(small_grid: Grid) -> None:
    configuration = next(iter(small_grid.tests))
    first, again, reseeded = (table_of(small_grid, seed=seed).measure(configuration) for seed in (1, 1, 2))
    assert first == again != reseeded


def test_a_test_costs_what_it_took_and_counts(small_grid: Grid) -> None:
    table = table_of(small_grid)
    table.load_tests(list(small_grid.tests)[:1])
    assert table.clock.elapsed_s == pytest.approx(2.1)
    assert table.clock.tests == 1


def test_a_round_is_shorter_than_a_test_and_a_confirmation_longer(small_grid: Grid) -> None:
    configuration = next(iter(small_grid.tests))
    by_throughput, by_cost = table_of(small_grid, goal="throughput"), table_of(small_grid)
    starting_s = 2.1 - 0.4 - 1.2
    turn = by_throughput.in_turn(configuration, 3, 1)
    assert turn is not None
    assert (turn.round, turn.at_rate, turn.verdict) == (3, None, "PASS")
    assert by_throughput.now_s == pytest.approx(starting_s + ROUND.capacity_s)
    turn = by_cost.in_turn(configuration, 0, 1)
    assert turn is not None
    assert turn.at_rate is not None, "what carries the rate at the same price is told apart by its latency there"
    assert by_cost.now_s == pytest.approx(starting_s + ROUND.capacity_s + ROUND.at_rate_s)
    by_throughput.confirm(configuration, ConfirmationPlan(runs=1, each=CONFIRMING))
    assert by_throughput.now_s == pytest.approx(2 * starting_s + ROUND.capacity_s + CONFIRMING.capacity_s + 2.0)


def test_timing_calls_costs_the_sizes_that_were_asked_for_and_is_no_test(small_grid: Grid) -> None:
    table = table_of(small_grid)
    subject = next(iter(small_grid.timings))
    found = table.time(replace(subject, max_batch=8), (1, 8))
    assert found is not None
    assert [times.requests for times in found.batches] == [1, 8]
    assert table.now_s == pytest.approx(0.4 + 2 * 0.1)
    assert table.clock.tests == 0
    assert table.time(replace(subject, backend="unknown"), (1,)) is None


def test_what_failed_gives_nothing_and_costs_all_the_same(small_grid: Grid) -> None:
    configuration = next(iter(small_grid.tests))
    failed = tuple(replace(repeat, failed="it crashed") for repeat in small_grid.tests[configuration])
    table = table_of(replace(small_grid, tests={**small_grid.tests, configuration: failed}))
    assert (
        table.measure(configuration),
        table.in_turn(configuration, 0, 1),
        table.confirm(configuration, ConfirmationPlan(runs=1, each=CONFIRMING)),
    ) == (None, None, None)
    assert (table.clock.tests, table.now_s > 3) == (3, True)
