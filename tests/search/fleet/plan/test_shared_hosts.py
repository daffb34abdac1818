"""Hosts that two models share: against all assignments where there are few, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from math import inf, nan
from typing import Any

import numpy as np
import pytest
from tests.search.fleet.plan.conftest import make_offer

from servefit.errors import SpecError
from servefit.search.fleet.plan.many_models import ManyModelsPlan, ModelDemand, ModelsNotCarried, plan_models
from servefit.search.fleet.plan.program import HostColumn, Program, solve
from servefit.search.fleet.plan.shared_hosts import SharedHosts, SharedOffer

Hosts = tuple[int, ...]

MODELS, CLASSES = 2, 2


def any_program(seed: int) -> Program:
    """Two models on two classes, whose hosts they may share at up to their rates; one in three may lose a host of each
    model."""
    rng = np.random.default_rng(seed)
    spare = seed % 3 // 2
    hosts, rates = rng.integers(1, 5, CLASSES), rng.lognormal(5, 0.6, (MODELS, CLASSES))
    costs, parts = rng.lognormal(3, 0.6, CLASSES), rng.uniform(0.4, 1, (MODELS, CLASSES))
    columns = [
        HostColumn(pool=nth, cost=float(costs[nth]), rates_per_s=((model, float(rates[model, nth])),))
        for model, nth in product(range(MODELS), range(CLASSES))
    ]
    for nth in range(CLASSES):
        both_rates = tuple((model, float(rates[model, nth] * parts[model, nth])) for model in range(MODELS))
        columns.append(HostColumn(pool=nth, cost=float(costs[nth]), rates_per_s=both_rates))
    return Program(
        columns=tuple(columns),
        available=tuple(hosts.tolist()),
        asked_per_s=tuple((rng.uniform(0.1, 0.7, MODELS) * (rates @ hosts) / (1 + spare)).tolist()),
        spare=spare,
        limit_s=60.0,
    )


def cost(asked: Program, hosts: Hosts) -> float:
    return sum(column.cost * count for column, count in zip(asked.columns, hosts, strict=True))


def all_hosts(asked: Program) -> Iterator[Hosts]:
    """Every number of hosts of each column that carries all rates."""
    kinds = [[each for each in product(range(count + 1), repeat=3) if sum(each) <= count] for count in asked.available]
    for (one_0, other_0, both_0), (one_1, other_1, both_1) in product(*kinds):
        hosts = (one_0, one_1, other_0, other_1, both_0, both_1)
        if asked.are_carried(hosts):
            yield hosts


@pytest.mark.integration
@pytest.mark.thorough
def test_shared_hosts_are_assigned_as_cheaply_as_by_trying_all_of_them() -> None:
    answered = sharing = 0
    for seed in range(100):
        asked = any_program(seed)
        fleets, found = list(all_hosts(asked)), solve(asked)
        if not fleets:
            assert found.hosts is None
            assert found.part_carried < 1
            continue
        answered += 1
        assert found.hosts in fleets  # which all respect the hosts of each class, and the spare ones of each model
        least = min(cost(asked, hosts) for hosts in fleets)
        assert found.bound <= least * (1 + 1e-9)
        assert cost(asked, found.hosts) == pytest.approx(least, rel=2e-6)
        sharing += any(found.hosts[MODELS * CLASSES :])
    assert answered > 50
    assert sharing > 20


def demands(rate_per_s: float, hosts: int = 4, **changed: Any) -> list[ModelDemand]:
    return [
        ModelDemand(model=name, rate_per_s=rate_per_s, offers=(make_offer(hosts=hosts, **changed),)) for name in "ab"
    ]


def both(rate_per_s: float = 1000.0, **changed: Any) -> SharedOffer:
    return SharedOffer(
        **{"host_class": "old", "models": ("a", "b"), "rates_per_s": (rate_per_s, rate_per_s), **changed}
    )


@pytest.mark.integration
def test_two_models_share_the_hosts_that_carry_both() -> None:
    alone = plan_models(demands(900))
    found = plan_models(demands(900), shared=[both()])
    assert isinstance(alone, ManyModelsPlan)
    assert isinstance(found, ManyModelsPlan)
    assert (alone.shared, alone.hosts_left) == ((), (("old", 2),))
    shared = SharedHosts(host_class="old", models=("a", "b"), rates_per_s=(1000.0, 1000.0), hosts=1)
    assert found.shared == (shared,)
    assert found.hosts_left == (("old", 3),)
    rows = [row for each in found.models for row in each.fleet.rows]
    assert [(row.hosts, row.offer.configuration) for row in rows] == [
        (1, "xgboost, 4 workers, beside b"),
        (1, "xgboost, 4 workers, beside a"),
    ]
    assert found.cost == pytest.approx(40)
    assert found.cost == pytest.approx(alone.cost - 40)


@pytest.mark.integration
def test_each_model_keeps_its_rate_after_the_loss_of_any_shared_host() -> None:
    found = plan_models(demands(1900), shared=[both()], spare=1)
    assert isinstance(found, ManyModelsPlan)
    assert [(each.hosts, each.models) for each in found.shared] == [(3, ("a", "b"))]
    assert [each.fleet.kept_rate_per_s for each in found.models] == [2000, 2000]


@pytest.mark.integration
def test_a_model_may_have_shared_hosts_and_some_of_its_own() -> None:
    models = [replace(each, rate_per_s=rate) for each, rate in zip(demands(1), (2500, 600), strict=True)]
    found = plan_models(models, shared=[both(600)])
    assert isinstance(found, ManyModelsPlan)
    assert [each.hosts for each in found.shared] == [1]
    assert [sorted((row.offer.rate_per_s, row.hosts) for row in each.fleet.rows) for each in found.models] == [
        [(600, 1), (1000, 2)],
        [(600, 1)],
    ]
    assert found.hosts_left == (("old", 1),)


@pytest.mark.integration
def test_one_host_carries_two_models_that_would_need_two() -> None:
    assert isinstance(plan_models(demands(500, hosts=1)), ModelsNotCarried)
    found = plan_models(demands(500, hosts=1), shared=[both()])
    assert isinstance(found, ManyModelsPlan)
    assert found.hosts_left == ()


@pytest.mark.integration
def test_rates_that_shared_hosts_do_not_carry_either_are_told_with_the_part_that_is() -> None:
    found = plan_models(demands(2000, hosts=1), shared=[both()])
    assert isinstance(found, ModelsNotCarried)
    assert found.part_carried == pytest.approx(0.5)


def test_hosts_that_nobody_can_share_are_refused() -> None:
    with pytest.raises(SpecError, match="cannot share a host with itself"):
        both(models=("a", "a"))
    for rate in (0.0, -1.0, nan, inf):
        with pytest.raises(SpecError, match="rate of a"):
            both(rate)
    with pytest.raises(SpecError, match="'c' is not known"):
        plan_models(demands(1), shared=[both(models=("a", "c"))])
    with pytest.raises(SpecError, match="is not offered to a alone"):
        plan_models(demands(1), shared=[both(host_class="new")])
    with pytest.raises(SpecError, match="is offered twice to b and a together"):
        plan_models(demands(1), shared=[both(), both(models=("b", "a"))])
