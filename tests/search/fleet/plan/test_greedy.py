"""Fleets that are found without a solver, against all fleets where there are few."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from tests.search.fleet.plan.every_fleet import cheapest_cost, demands, survives

from servefit.search.fleet.plan.cheapest import cheapest_at_once, cheapest_hosts
from servefit.search.fleet.plan.demand import Demand


@given(demand=demands())
def test_a_fleet_that_is_found_at_once_carries_the_rate_and_is_not_below_its_bound(demand: Demand) -> None:
    least = cheapest_cost(demand)
    if least is None:
        return
    found = cheapest_at_once(demand)
    assert survives(demand.rates_per_s, found.hosts, demand.rate_per_s, demand.spare)
    assert sum(found.hosts) <= (demand.most_hosts or sum(demand.available))
    assert found.bound <= least * (1 + 1e-9)


@pytest.mark.integration
@given(demand=demands())
def test_a_search_without_time_is_never_dearer_than_what_is_found_at_once(demand: Demand) -> None:
    if cheapest_cost(demand) is None:
        return
    found = cheapest_hosts(replace(demand, limit_s=0.0))
    assert demand.cost(found.hosts) <= demand.cost(cheapest_at_once(demand).hosts) + 1e-9


def test_the_hosts_of_the_best_class_are_topped_up_by_one_of_another() -> None:
    demand = Demand(
        rates_per_s=(1000.0, 300.0),
        available=(4, 4),
        costs_idle=(100.0, 40.0),
        costs_dynamic=(0.0, 0.0),
        rate_per_s=2200.0,
        spare=0,
        most_hosts=None,
        limit_s=0.0,
    )
    assert cheapest_at_once(demand).hosts == (2, 1)
    assert cheapest_at_once(replace(demand, most_hosts=2, rate_per_s=1200.0)).hosts in {(2, 0), (1, 1)}
    assert cheapest_at_once(replace(demand, spare=1, rate_per_s=1000.0)).hosts == (2, 0)
