"""Costs of the cheapest fleets, as the searches are guided by them, against all mixes there are; and planned rates."""

from __future__ import annotations

from itertools import product
from math import inf, prod

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from servefit.search.fleet.guide import plan_costs
from servefit.search.fleet.guide.plan_costs import PlanCosts, planned_rates
from servefit.search.fleet.plan.fleet_plan import FleetPlan
from servefit.search.fleet.plan.mix import fleet_of
from servefit.search.fleet.plan.offer import HostOffer

RATES = st.floats(1.0, 1000.0)


@st.composite
def fleets(draw: st.DrawFn) -> tuple[PlanCosts, list[float]]:
    classes = draw(st.integers(1, 3))
    available = tuple(draw(st.integers(1, 4)) for _ in range(classes))
    spare = draw(st.integers(0, 2))
    costs = tuple(draw(st.floats(0.1, 10.0)) for _ in range(classes))
    rate_per_s = draw(st.floats(1.0, 3000.0))
    most = draw(st.one_of(st.none(), st.integers(spare + 1, 12)))
    asked = PlanCosts(available=available, costs=costs, rate_per_s=rate_per_s, spare=spare, most_hosts=most)
    return asked, [draw(RATES) for _ in range(classes)]


def brute_force(asked: PlanCosts, rates: list[float]) -> float | None:
    """The least cost of all mixes that carry the rate, None where none does."""
    best = None
    for hosts in product(*(range(count + 1) for count in asked.available)):
        if asked.most_hosts is not None and sum(hosts) > asked.most_hosts:
            continue
        each = sorted((rate for rate, count in zip(rates, hosts, strict=True) for _ in range(count)), reverse=True)
        if sum(each[asked.spare :]) >= asked.rate_per_s * (1 - 1e-9):
            cost = sum(cost * count for cost, count in zip(asked.costs, hosts, strict=True))
            best = cost if best is None else min(best, cost)
    return best


@given(fleets())
def test_small_fleets_cost_what_the_cheapest_of_all_mixes_costs(fleet: tuple[PlanCosts, list[float]]) -> None:
    asked, rates = fleet
    expected = brute_force(asked, rates)
    found = asked.cheapest(rates)
    if expected is None:
        every = sum(cost * count for cost, count in zip(asked.costs, asked.available, strict=True))
        assert found.cost > every
        assert found.hosts == tuple(map(float, asked.available))
    else:
        assert found.cost == pytest.approx(expected)


@given(fleets())
def test_divisible_hosts_cost_what_whole_ones_do_but_for_a_host_and_the_spare_ones(
    fleet: tuple[PlanCosts, list[float]],
) -> None:
    asked, rates = fleet
    expected = brute_force(asked, rates)
    assume(expected is not None)
    assert expected is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan_costs, "MAX_MIXES", 0)
        found = asked.cheapest(rates)
    if found.cost <= sum(cost * count for cost, count in zip(asked.costs, asked.available, strict=True)):
        assert found.cost <= expected + (1 + asked.spare) * max(asked.costs) + 1e-9


@pytest.mark.parametrize("carried", [0.0, 1.0, inf])
def test_nothing_and_everything_are_rates(carried: float) -> None:
    asked = PlanCosts(available=(2, 1), costs=(1.0, 5.0), rate_per_s=100.0)
    found = asked.cheapest([carried, 100.0])
    assert found.hosts == ((1.0, 0.0) if carried == inf else (0.0, 1.0))


def test_fleets_that_carry_less_cost_more() -> None:
    asked = PlanCosts(available=(2,), costs=(1.0,), rate_per_s=100.0)
    costs = [asked.cheapest([rate]).cost for rate in (100.0, 50.0, 49.0, 25.0, 0.0)]
    assert costs == sorted(costs)
    assert costs[0] == 1.0
    assert costs[1] == 2.0
    assert costs[2] > 2.0


def test_many_classes_are_no_matter_of_seconds() -> None:
    asked = PlanCosts(available=(20,) * 300, costs=tuple(1 + nth / 100 for nth in range(300)), rate_per_s=1e5, spare=2)
    assert prod(each + 1 for each in asked.available) > plan_costs.MAX_MIXES
    found = asked.cheapest([100.0] * 300)
    assert sum(found.hosts) == pytest.approx(1002)


@st.composite
def planned(draw: st.DrawFn) -> FleetPlan:
    counts = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    offers = [
        HostOffer(host_class=f"class {nth}", hosts=count, rate_per_s=draw(RATES), cost_idle=1, configuration="")
        for nth, count in enumerate(counts)
    ]
    spare = draw(st.integers(0, min(3, sum(counts) - 1)))
    rate_per_s = draw(st.floats(1.0, 100.0))
    fleet = fleet_of(offers, counts, rate_per_s=rate_per_s, spare=spare, balancer="haproxy")
    return FleetPlan(
        rate_per_s=rate_per_s,
        spare=spare,
        most_hosts=None,
        balancer="haproxy",
        fleet=fleet,
        gap=0.0,
        losses=(),
        best_of_one_class=None,
        all_hosts=fleet,
        rate_must_fall_by=0.0,
    )


@settings(deadline=None)
@given(planned())
def test_no_host_gets_more_than_its_planned_rate_and_after_some_loss_it_gets_that(plan: FleetPlan) -> None:
    rates = planned_rates(plan)
    weights = {row.offer.host_class: row.weight for row in plan.fleet.rows}
    total = sum(row.hosts * row.weight for row in plan.fleet.rows)
    worst = dict.fromkeys(weights, 0.0)
    for lost in product(*(range(min(row.hosts, plan.spare) + 1) for row in plan.fleet.rows)):
        if sum(lost) > plan.spare:
            continue
        left = total - sum(count * row.weight for count, row in zip(lost, plan.fleet.rows, strict=True))
        for count, row in zip(lost, plan.fleet.rows, strict=True):
            if count < row.hosts:
                name = row.offer.host_class
                worst[name] = max(worst[name], plan.rate_per_s * weights[name] / left)
    assert rates == pytest.approx(worst)
