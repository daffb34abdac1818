from itertools import product

import optuna
import pytest

from servefit.backends.types import Settings
from servefit.profiler.types import Configuration
from servefit.search.study import Outcome, Proposals


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


def cost(one: Configuration) -> float:
    """One best point: backend1, 4 workers, batch 2."""
    return abs(one.workers - 4) + abs(one.max_batch - 2) + (0 if one.backend == "backend1" else 5)


def measured(proposals: Proposals, tests: int) -> list[Configuration]:
    seen: list[Configuration] = []
    while len(seen) < tests and (one := proposals.next()) is not None:
        seen.append(one)
        proposals.learn(Outcome(objectives=(cost(one),), violation=0.0))
    return seen


@pytest.mark.parametrize("exhaustive", [True, False])
def test_a_variable_that_only_some_configurations_set_hides_none_of_them(exhaustive: bool) -> None:
    everything = [
        Configuration(vcpus=2, backend="b", workers=workers, environment=environment)
        for workers in (1, 2)
        for environment in ((), (("FLAG", "on"),), (("FLAG", "off"),))
    ]
    seen = measured(Proposals(everything, objectives=1, seed=1, exhaustive=exhaustive), 20)
    assert len(seen) == len(set(seen)) == len(everything)


@pytest.mark.parametrize("exhaustive", [True, False])
def test_every_configuration_is_proposed_once_and_then_none_is(exhaustive: bool) -> None:
    everything = grid()
    proposals = Proposals(everything, objectives=1, seed=1, exhaustive=exhaustive)
    seen = measured(proposals, 1000)
    assert len(seen) == len(set(seen)) == len(everything)
    assert proposals.next() is None


def test_the_same_seed_proposes_in_the_same_order_and_another_seed_does_not() -> None:
    orders = [measured(Proposals(grid(), objectives=1, seed=seed, exhaustive=False), 30) for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]


def test_the_best_point_is_found_sooner_than_by_chance() -> None:
    everything = grid(backends=6, sizes=(1, 2, 3, 4, 6, 8))
    found = 0
    for seed in range(6):
        seen = measured(Proposals(everything, objectives=1, seed=seed, exhaustive=False), 54)
        found += min(map(cost, seen)) == 0
    # 54 of 216 points drawn by chance hold the best one with probability 1/4: 5 or 6 of 6 times, with 0.005.
    assert found >= 5


def test_what_failed_is_not_proposed_again() -> None:
    proposals = Proposals(grid(backends=1, sizes=(1, 2)), objectives=1, seed=0, exhaustive=False)
    seen = []
    while (one := proposals.next()) is not None:
        seen.append(one)
        proposals.fail()
    assert len(seen) == len(set(seen)) == 4


def test_two_objectives_can_be_minimised_together() -> None:
    proposals = Proposals(grid(), objectives=2, seed=0, exhaustive=False)
    for _ in range(20):
        one = proposals.next()
        assert one is not None
        proposals.learn(Outcome(objectives=(cost(one), 1.0 / one.workers), violation=float(one.workers - 4)))


def test_optunas_own_verbosity_is_left_as_it_was() -> None:
    before = optuna.logging.get_verbosity()
    Proposals(grid(), objectives=1, seed=0, exhaustive=False)
    assert optuna.logging.get_verbosity() == before
