"""The proposals of Optuna's Parzen estimator."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servefit.backends.types import Settings, Target
from servefit.profiler.record.types import Configuration
from servefit.search.optimizer.parzen import Outcome, ParzenEstimator, choices, parameters

if TYPE_CHECKING:
    from collections.abc import Sequence


def grid(backends: int = 3, sizes: tuple[int, ...] = (1, 2, 4, 8)) -> list[Configuration]:
    return [
        Configuration(
            vcpus=8,
            backend=f"backend{nth}",
            workers=workers,
            max_batch=batch,
            settings=Settings(options=(("spin", True),) if nth == 0 else ()),
        )
        for nth, workers, batch in product(range(backends), sizes, sizes)
    ]


def cost(configuration: Configuration) -> float:
    """One best point: backend1, 4 workers, batch 2."""
    return (
        abs(configuration.workers - 4)
        + abs(configuration.max_batch - 2)
        + (0 if configuration.backend == "backend1" else 5)
    )


def measured(
    everything: Sequence[Configuration], tests: int, *, seed: int = 1, fail: bool = False
) -> list[Configuration]:
    estimator = ParzenEstimator(everything, objectives=1, seed=seed)
    left = dict.fromkeys(everything)
    seen: list[Configuration] = []
    while left and len(seen) < tests:
        configuration = estimator.next(left.keys())
        del left[configuration]
        seen.append(configuration)
        estimator.learn(configuration, None if fail else Outcome(objectives=(cost(configuration),), violation=0.0))
    return seen


def test_a_variable_that_only_some_configurations_set_hides_none_of_them() -> None:
    everything = [
        Configuration(vcpus=2, backend="b", workers=workers, environment=environment)
        for workers in (1, 2)
        for environment in ((), (("FLAG", "on"),), (("FLAG", "off"),))
    ]
    assert set(measured(everything, 20)) == set(everything)


@pytest.mark.parametrize("fail", [True, False])
def test_every_configuration_that_is_left_is_proposed_in_the_end(fail: bool) -> None:
    everything = grid(backends=2, sizes=(1, 2, 4))
    seen = measured(everything, 1000, fail=fail)
    assert len(seen) == len(set(seen)) == len(everything)


@given(st.sets(st.integers(0, 47), min_size=1), st.integers(0, 2**16))
@settings(max_examples=30, deadline=None)
def test_only_what_is_left_is_proposed(numbers: set[int], seed: int) -> None:
    everything = grid()
    left = [everything[nth] for nth in sorted(numbers)]
    assert ParzenEstimator(everything, objectives=1, seed=seed).next(left) in left


@pytest.mark.integration
def test_the_same_seed_proposes_in_the_same_order_and_another_seed_does_not() -> None:
    orders = [measured(grid(), 15, seed=seed) for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]


@pytest.mark.thorough
@pytest.mark.integration
def test_the_best_point_is_found_sooner_than_by_chance() -> None:
    everything = grid(backends=6, sizes=(1, 2, 3, 4, 6, 8))
    found = sum(min(map(cost, measured(everything, 54, seed=seed))) == 0 for seed in range(3))
    # 54 of 216 points drawn by chance hold the best one with probability 1/4: 3 of 3 times, with 0.016.
    assert found == 3


def test_what_is_learnt_need_not_have_been_proposed() -> None:
    everything = grid()
    estimator = ParzenEstimator(everything, objectives=2, seed=0)
    for configuration in everything[:40]:
        outcome = Outcome(
            objectives=(cost(configuration), 1.0 / configuration.workers), violation=float(configuration.workers - 4)
        )
        estimator.learn(configuration, None if configuration.max_batch == 1 else outcome)
        estimator.learn(configuration, outcome)
    assert estimator.next(everything[40:]) in everything[40:]


def test_what_violates_the_limits_is_avoided() -> None:
    """More workers are better, and more than four violate the limits, or do not."""

    def violating(*, limited: bool) -> int:
        everything = grid(backends=6, sizes=(1, 2, 3, 4, 5, 6, 7, 8))
        estimator = ParzenEstimator(everything, objectives=1, seed=0)
        left = dict.fromkeys(everything)
        for _ in range(40):
            configuration = estimator.next(left.keys())
            del left[configuration]
            violation = float(configuration.workers - 4) if limited else 0.0
            estimator.learn(configuration, Outcome(objectives=(1.0 / configuration.workers,), violation=violation))
        return sum(configuration.workers > 4 for configuration in everything if configuration not in left)

    assert violating(limited=True) < 0.7 * violating(limited=False)


def test_optunas_own_verbosity_is_left_as_it_was() -> None:
    before = optuna.logging.get_verbosity()
    ParzenEstimator(grid(), objectives=1, seed=0)
    assert optuna.logging.get_verbosity() == before


def test_parameters_tell_all_configurations_apart_and_come_in_the_order_of_importance() -> None:
    everything = [
        *grid(),
        Configuration(vcpus=8, backend="backend1", target=Target.CUDA, gpu=1),
        Configuration(vcpus=8, backend="backend1", batch_delay_us=1000, max_batch=2),
        Configuration(vcpus=8, backend="backend1", environment=(("FLAG", "on"),)),
    ]
    points = [parameters(configuration) for configuration in everything]
    assert len({tuple(sorted(map(repr, point.items()))) for point in points}) == len(everything)
    names = list(choices(points))
    assert names[:3] == ["vcpus", "backend", "threads"]
    assert {"gpu", "batch_delay_us", "option spin", "env FLAG"} <= set(names)


def test_what_a_point_leaves_alone_is_a_choice_of_its_own() -> None:
    assert choices([{"a": 1}, {"a": 2, "b": "x"}]) == {"a": [1, 2], "b": [None, "x"]}
