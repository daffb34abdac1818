"""What is best on a grid, and by how much others are worse, for sure or by chance."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

import pytest

from benchmarks.models.fraud import demo_request
from benchmarks.optimizers.truth import WRONG, Truth, near_the_best

if TYPE_CHECKING:
    from benchmarks.data.grid import Figures, Grid
    from benchmarks.optimizers.replay import Choice
    from servefit.profiler.record.types import Configuration


def choice_of(grid: Grid, profile: str, configuration: Configuration) -> Choice:
    return next(known for known in grid.profiles if known.name == profile), configuration


def repeated(grid: Grid, *, spread: float, largest_call: int | None = None, only: int | None = None) -> Grid:
    """Return ten repeats of the configurations of ``grid`` whose p95 differs by ``spread`` from what is true."""
    random = Random(1)

    def repeats(configuration: Configuration) -> tuple[Figures, ...]:
        (first, *_) = grid.tests[configuration]
        p95_ms = grid.truth(configuration).p95_ms
        assert p95_ms is not None
        return tuple(
            replace(first, p95_ms=p95_ms * random.lognormvariate(0, spread), largest_call=largest_call)
            for _ in range(10)
        )

    return replace(grid, tests={configuration: repeats(configuration) for configuration in list(grid.tests)[:only]})


def test_the_best_has_no_regret_and_others_that_cost_the_same_what_they_take_longer(small_grid: Grid) -> None:
    truth = Truth(small_grid, demo_request())
    profile, best = truth.best
    assert (profile.name, truth.regret(truth.best)) == ("ml.m5.large", 0.0)
    best_ms = small_grid.truth(best).p95_ms
    assert best_ms is not None
    for configuration in small_grid.tests:
        if configuration.vcpus == 2 and small_grid.truth(configuration).instances == 1:
            p95_ms = small_grid.truth(configuration).p95_ms
            assert p95_ms is not None
            assert truth.regret((profile, configuration)) == pytest.approx(p95_ms / best_ms - 1)


def test_by_throughput_others_regret_what_they_answer_less(small_grid: Grid) -> None:
    truth = Truth(small_grid, demo_request("throughput"))
    profile, best = truth.best
    capacity = small_grid.truth(best).capacity_per_s
    for configuration in small_grid.tests:
        if configuration.vcpus == 2:
            regret = capacity / small_grid.truth(configuration).capacity_per_s - 1
            assert truth.regret((profile, configuration)) == pytest.approx(regret)


def test_regret_goes_by_the_cost_per_hour_where_that_differs(small_grid: Grid) -> None:
    best = Truth(small_grid, demo_request()).best[1]
    rival = next(
        configuration for configuration in small_grid.tests if configuration.vcpus == 2 and configuration != best
    )
    three = tuple(replace(repeat, instances=3) for repeat in small_grid.tests[rival])
    grid = replace(small_grid, tests={**small_grid.tests, rival: three})
    assert Truth(grid, demo_request()).regret(choice_of(grid, "ml.m5.large", rival)) == pytest.approx(2.0)


def test_what_has_no_price_or_breaks_the_sla_is_wrong(small_grid: Grid) -> None:
    best = Truth(small_grid, demo_request()).best[1]
    rival = next(
        configuration for configuration in small_grid.tests if configuration.vcpus == 2 and configuration != best
    )
    broken = tuple(replace(repeat, verdict="FAIL", violation=0.1) for repeat in small_grid.tests[rival])
    grid = replace(small_grid, tests={**small_grid.tests, rival: broken})
    truth = Truth(grid, demo_request())
    assert truth.regret(choice_of(grid, "local-2c", best)) >= WRONG
    assert truth.regret(choice_of(grid, "ml.m5.large", rival)) >= WRONG


def test_a_configuration_is_no_choice_of_a_profile_that_it_does_not_fit(small_grid: Grid) -> None:
    truth = Truth(small_grid, demo_request("throughput"))
    smaller = next(configuration for configuration in small_grid.tests if configuration.vcpus == 1)
    assert choice_of(small_grid, "local-1c", smaller) in truth.choices
    assert truth.best[1].vcpus == 2
    assert choice_of(small_grid, "local-1c", truth.best[1]) not in truth.choices


def test_regret_that_repeats_do_not_show_is_not_sure(small_grid: Grid) -> None:
    request = demo_request("latency")
    scattered = Truth(small_grid, request, repeated(small_grid, spread=1.0))
    exact = Truth(small_grid, request, repeated(small_grid, spread=0.001))
    worse = [choice for choice in exact.choices if 0.02 < exact.regret(choice) < WRONG]
    assert worse
    for choice in worse:
        assert exact.sure_regret(choice) == pytest.approx(exact.regret(choice), abs=0.01)
    by_chance = [choice for choice in scattered.choices if 0 < scattered.regret(choice) < 0.5]
    assert by_chance
    assert all(scattered.sure_regret(choice) < scattered.regret(choice) for choice in by_chance)
    assert any(scattered.sure_regret(choice) == 0 for choice in by_chance)


def test_what_joined_no_requests_has_the_latency_of_all_that_did_the_same(small_grid: Grid) -> None:
    truth = Truth(small_grid, demo_request("latency"), repeated(small_grid, spread=0.3, largest_call=1))
    regrets: dict[Choice, set[float]] = {}
    for profile, configuration in truth.choices:
        if not configuration.batch_delay_us:
            arm = profile, replace(configuration, max_batch=1)
            regrets.setdefault(arm, set()).add(round(truth.regret((profile, configuration)), 6))
    assert all(len(of_arm) == 1 for of_arm in regrets.values())
    assert len(set.union(*regrets.values())) > 1


def test_what_was_not_repeated_keeps_the_truth_of_the_grid(small_grid: Grid) -> None:
    request = demo_request("throughput")
    some = Truth(small_grid, request, repeated(small_grid, spread=0.1, only=3))
    assert set(some.choices) == set(Truth(small_grid, request).choices)


def test_the_best_is_near_itself_with_all_that_may_do_the_same(small_grid: Grid) -> None:
    near = near_the_best(small_grid)
    assert {Truth(small_grid, demo_request(goal)).best[1] for goal in ("cost", "latency", "throughput")} <= set(near)
    assert len(near) < len(small_grid.tests)
    without_batch = {replace(configuration, max_batch=1) for configuration in near}
    assert all(
        configuration in near
        for configuration in small_grid.tests
        if replace(configuration, max_batch=1) in without_batch
    )
