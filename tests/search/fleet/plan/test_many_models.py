"""Several models on one fleet: against all assignments where there are few, and what is refused."""

from __future__ import annotations

from itertools import product
from math import inf, nan
from typing import Any

import numpy as np
import pytest
from tests.search.fleet.plan.conftest import MakeOffer, make_offer

from servefit.errors import SpecError
from servefit.search.fleet.plan.many_models import (
    ManyModelsPlan,
    ModelDemand,
    ModelsNotCarried,
    plan_models,
)
from servefit.search.fleet.plan.program import HostColumn, Program, solve

Hosts = tuple[int, ...]

SAME = 2e-6
"""What the search leaves undecided."""


def program_of(rates: Any, costs: Any, **changed: Any) -> Program:
    """Return the program of ``rates`` by model and class."""
    return Program(
        columns=tuple(
            HostColumn(pool=nth, cost=float(costs[nth]), rates_per_s=((model, float(rate)),))
            for model, of_model in enumerate(rates)
            for nth, rate in enumerate(of_model)
        ),
        **changed,
    )


def any_program(seed: int, spare: int) -> Program:
    """Two models on two classes, at rates that take up to six tenths of all hosts each."""
    rng = np.random.default_rng(seed)
    hosts, rates = rng.integers(1, 4, 2), rng.lognormal(5, 0.6, (2, 2))
    return program_of(
        rates,
        rng.lognormal(3, 0.6, 2),
        asked_per_s=tuple((rng.uniform(0.1, 0.6, 2) * (rates @ hosts) / (1 + spare)).tolist()),
        available=tuple(hosts.tolist()),
        spare=spare,
        limit_s=60.0,
    )


def cost(asked: Program, hosts: Hosts) -> float:
    return sum(column.cost * count for column, count in zip(asked.columns, hosts, strict=True))


def cheapest_cost(asked: Program) -> float | None:
    """Try every assignment."""
    every = product(*(range(count + 1) for count in (*asked.available, *asked.available)))
    return min(
        (
            cost(asked, hosts)
            for hosts in every
            if all(np.add(hosts[:2], hosts[2:]) <= asked.available) and asked.are_carried(hosts)
        ),
        default=None,
    )


@pytest.mark.integration
@pytest.mark.parametrize("spare", [0, 1])
def test_the_bound_holds_and_no_other_hosts_are_cheaper(spare: int) -> None:
    answered = 0
    for seed in range(20):
        asked = any_program(seed, spare)
        least, found = cheapest_cost(asked), solve(asked)
        if least is None:
            assert found.hosts is None
            assert found.part_carried < 1
            continue
        answered += 1
        assert found.hosts is not None
        assert asked.are_carried(found.hosts)
        assert all(np.add(found.hosts[:2], found.hosts[2:]) <= asked.available)
        assert found.bound <= least * (1 + 1e-9)
        assert cost(asked, found.hosts) == pytest.approx(least, rel=SAME)
    assert answered > 5


@pytest.mark.integration
@pytest.mark.usefixtures("solved_apart")
def test_each_model_gets_the_hosts_that_are_fast_for_it() -> None:
    """The classes are alike but for what they are fast at."""
    models = [
        ModelDemand(
            model=model,
            rate_per_s=1800,
            offers=(make_offer("left", rate_per_s=left), make_offer("right", rate_per_s=right)),
        )
        for model, left, right in (("trees", 1000.0, 500.0), ("net", 500.0, 1000.0))
    ]
    found = plan_models(models)
    assert isinstance(found, ManyModelsPlan)
    assert [[(row.offer.host_class, row.hosts) for row in each.fleet.rows] for each in found.models] == [
        [("left", 2)],
        [("right", 2)],
    ]
    assert found.hosts_left == (("left", 2), ("right", 2))
    assert found.cost == pytest.approx(sum(each.fleet.cost for each in found.models))
    assert found.gap < 0.001


@pytest.mark.integration
def test_spare_hosts_are_those_of_each_model() -> None:
    models = [ModelDemand(model=name, rate_per_s=900, offers=(make_offer(hosts=4),)) for name in "ab"]
    found = plan_models(models, spare=1)
    assert isinstance(found, ManyModelsPlan)
    assert [each.fleet.hosts for each in found.models] == [2, 2]
    assert all(each.fleet.kept_rate_per_s >= 900 for each in found.models)
    assert found.hosts_left == ()


@pytest.mark.integration
def test_a_spare_host_for_each_of_many_models_with_little_to_do_is_found_in_little_time() -> None:
    """Ten models on twenty classes of unlike hosts, most of which carry far more than is asked for."""
    rng = np.random.default_rng(1)
    models, classes = 10, 20
    speeds, costs = rng.lognormal(0, 0.5, classes), rng.lognormal(3, 0.6, classes)
    rates = 400 * speeds * rng.lognormal(0, 0.15, (models, classes)) * rng.lognormal(0, 1, (models, 1))
    asked = program_of(
        rates,
        costs,
        asked_per_s=tuple((400 * rng.pareto(1.2, models) + 20).tolist()),
        available=(10,) * classes,
        spare=1,
        limit_s=60.0,
    )
    found = solve(asked)
    assert found.hosts is not None
    assert asked.are_carried(found.hosts)
    assert cost(asked, found.hosts) == pytest.approx(found.bound, rel=SAME)


@pytest.mark.integration
@pytest.mark.parametrize("spare", [0, 1])
def test_rates_that_are_too_high_are_a_result_that_says_which_part_is_carried(spare: int) -> None:
    models = [
        ModelDemand(model=name, rate_per_s=2000 * (1 + spare), offers=(make_offer(hosts=2 + 2 * spare),))
        for name in "ab"
    ]
    found = plan_models(models, spare=spare)
    assert isinstance(found, ModelsNotCarried)
    assert found.part_carried == pytest.approx(0.5 if not spare else 0.25)
    assert found.part_carried <= found.part_at_most < 1
    assert found.hosts == 2 + 2 * spare


@pytest.mark.integration
def test_whole_hosts_that_do_not_carry_what_parts_of_them_would_are_told() -> None:
    """One host for two models that each need half of it."""
    models = [ModelDemand(model=name, rate_per_s=500, offers=(make_offer(hosts=1),)) for name in "ab"]
    found = plan_models(models)
    assert isinstance(found, ModelsNotCarried)
    assert found.part_carried == found.part_at_most == pytest.approx(0)


def demand(offer: MakeOffer, model: str = "a", **changed: Any) -> ModelDemand:
    return ModelDemand(**{"model": model, "rate_per_s": 100.0, "offers": (offer(),), **changed})


@pytest.mark.parametrize(
    "changed",
    [{"rate_per_s": nan}, {"rate_per_s": inf}, {"rate_per_s": -1}, {"rate_per_s": 0}, {"model": " "}, {"offers": ()}],
)
def test_a_demand_that_is_none_is_refused(offer: MakeOffer, changed: dict[str, Any]) -> None:
    with pytest.raises(SpecError):
        demand(offer, **changed)


def test_models_that_do_not_go_together_are_refused(offer: MakeOffer) -> None:
    with pytest.raises(SpecError, match="are none"):
        plan_models([])
    with pytest.raises(SpecError, match="'a' is there twice"):
        plan_models([demand(offer), demand(offer)])
    with pytest.raises(SpecError, match="has other hosts"):
        plan_models([demand(offer), demand(offer, "b", offers=(offer(hosts=5),))])
    with pytest.raises(SpecError, match="another cost"):
        plan_models([demand(offer), demand(offer, "b", offers=(offer(cost_idle=1),))])
    with pytest.raises(SpecError, match="leaves no host to serve a"):
        plan_models([demand(offer)], spare=4)
    with pytest.raises(SpecError, match="spare"):
        plan_models([demand(offer)], spare=-1)
    with pytest.raises(SpecError, match="time limit"):
        plan_models([demand(offer)], limit_s=nan)
