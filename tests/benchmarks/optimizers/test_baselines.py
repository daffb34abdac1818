"""Searches that are played back on a made-up grid."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.claims.regret import Paths, play
from benchmarks.models.fraud import demo_request
from benchmarks.optimizers.baselines import SEARCHERS, Axes, Climb, Measured
from benchmarks.optimizers.replay import Noise, Table
from benchmarks.optimizers.truth import GOALS, Truth
from servefit.profiler.record.types import Configuration
from servefit.search.results.objectives.cost import CostAtRate

if TYPE_CHECKING:
    from tests.benchmarks.conftest import MakeGrid

    from benchmarks.data.grid import Grid

pytestmark = pytest.mark.thorough

LONGEST_TEST_S = 2.1
SHARE = 0.15


@pytest.fixture(scope="session")
def exact(made_up_grid: MakeGrid) -> Grid:
    """Every measurement is the truth, and so is every prediction."""
    return made_up_grid(spread=0.0, bias=0.0)


def table_of(grid: Grid, *, seed: int = 0, budget_s: float = 1e9) -> Table:
    return Table(grid, Noise.of(grid), demo_request(seed=seed), seed=seed, budget_s=budget_s)


@pytest.mark.parametrize("name", SEARCHERS)
def test_a_search_keeps_to_its_time_and_chooses_what_it_measured(small_grid: Grid, name: str) -> None:
    budget_s = SHARE * small_grid.seconds
    table = table_of(small_grid, budget_s=budget_s)
    choice = SEARCHERS[name](table)
    assert choice is not None
    assert choice in Truth(small_grid, demo_request()).choices
    assert table.clock.tests > 0
    assert table.now_s <= budget_s + LONGEST_TEST_S


@pytest.mark.thorough
@pytest.mark.integration
@pytest.mark.parametrize("name", ["tpe", "random", "hill_climb"])
def test_with_time_for_everything_a_baseline_measures_all_of_it_once_and_finds_the_best(exact: Grid, name: str) -> None:
    # What the Parzen estimator takes grows with the square of the tests.
    grid = replace(
        exact,
        tests={
            configuration: repeats
            for configuration, repeats in exact.tests.items()
            if configuration.max_batch in (1, 8, 64)
        },
    )
    table = table_of(grid)
    choice = SEARCHERS[name](table)
    assert choice is not None
    assert table.clock.tests == len(grid.tests) > 60
    assert Truth(grid, demo_request()).regret(choice) == 0.0


@pytest.mark.thorough
def test_where_predictions_are_right_servefit_finds_a_configuration_that_ties_with_the_best(exact: Grid) -> None:
    table = table_of(exact, budget_s=SHARE * exact.seconds)
    choice = SEARCHERS["servefit"](table)
    assert choice is not None
    assert Truth(exact, demo_request()).regret(choice) <= CostAtRate.tie


def test_a_hill_is_climbed_from_its_foot_to_its_top(exact: Grid) -> None:
    alone = {
        configuration: repeats for configuration, repeats in exact.tests.items() if configuration.backend == "xgboost"
    }
    grid = replace(exact, tests=alone)
    table = table_of(grid)
    axes, measured = Axes(tuple(alone)), Measured(table)
    assert axes.backends["xgboost"][axes.smallest("xgboost")] == Configuration(vcpus=1, backend="xgboost")
    Climb(axes, measured, "xgboost").carry_out(axes.smallest("xgboost"))
    choice = measured.best()
    assert choice is not None
    assert Truth(grid, demo_request()).regret(choice) < 0.05
    assert table.clock.tests < len(alone) / 2


def test_one_seed_plays_the_same_search_again(small_grid: Grid, tmp_path: Path) -> None:
    path = tmp_path / "grid.json"
    small_grid.write(path)
    for name in (*SEARCHERS, "perfect"):
        first, again = (play(Paths(grid=path, repeated=path), "cost", name, 5, SHARE) for _ in range(2))
        assert (first.regret, first.tests) == (again.regret, again.tests)
        # The confirmation takes what is left of the time, which the search thinks in too.
        assert first.seconds == pytest.approx(again.seconds, rel=0.1)


@pytest.mark.parametrize("goal", GOALS)
def test_measuring_everything_is_seldom_far_from_the_best(small_grid: Grid, tmp_path: Path, goal: str) -> None:
    path = tmp_path / "grid.json"
    small_grid.write(path)
    outcomes = [
        play(Paths(grid=path, repeated=path), next(known for known in GOALS if known == goal), "perfect", seed, SHARE)
        for seed in range(20)
    ]
    assert all(outcome.tests == len(small_grid.tests) and outcome.regret >= 0 for outcome in outcomes)
    assert sorted(outcome.regret for outcome in outcomes)[10] < 0.1
