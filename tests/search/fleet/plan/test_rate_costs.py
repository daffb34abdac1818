"""What fleets cost by rate: against all fleets where there are few, and what no curve may do."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.search.fleet.plan.conftest import MakeOffer, make_offer
from tests.search.fleet.plan.every_fleet import cheapest_cost, demands, survives

from servefit.errors import SpecError
from servefit.search.fleet.plan.fleet_plan import FleetPlan, NotCarried
from servefit.search.fleet.plan.mix import plan_fleet
from servefit.search.fleet.plan.rate_costs import (
    AskedRates,
    RateCost,
    RateCosts,
    RateSolution,
    rate_costs,
    solve_range,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servefit.search.fleet.plan.cheapest import Demand
    from servefit.search.fleet.plan.offer import HostOffer

SAME = 2e-6
"""What the search leaves undecided."""


def ranged(demand: Demand) -> tuple[RateSolution, ...]:
    """The costs from a tenth of the rate of ``demand``, or of what is carried, upwards."""
    highest_per_s = demand.kept_per_s(demand.strongest)
    lowest = replace(demand, rate_per_s=min(demand.rate_per_s, highest_per_s) / 10)
    asked = AskedRates(demand=lowest, highest_per_s=highest_per_s, asked_per_s=demand.rate_per_s, planned=None)
    found = solve_range(asked)
    assert found[-1].rate_per_s == highest_per_s
    return found


def cost_of(demand: Demand, solution: RateSolution) -> float:
    return demand.cost(solution.found.hosts)


@pytest.mark.integration
@pytest.mark.thorough
@settings(max_examples=12)
@given(demand=demands())
def test_the_cost_never_falls_as_the_rate_rises_and_is_never_above_that_of_one_class(demand: Demand) -> None:
    found = ranged(demand)
    for lower, higher in pairwise(found):
        assert lower.rate_per_s < higher.rate_per_s
        assert cost_of(demand, lower) <= cost_of(demand, higher)
    for each in found:
        assert each.one_class is None or cost_of(demand, each) <= demand.cost(each.one_class)
        assert each.found.bound <= cost_of(demand, each)


@pytest.mark.integration
@settings(max_examples=10)
@given(demand=demands())
def test_the_hosts_of_every_rate_carry_it_after_any_loss_and_no_others_are_cheaper(demand: Demand) -> None:
    for each in ranged(demand):
        asked = replace(demand, rate_per_s=each.rate_per_s)
        assert survives(demand.rates_per_s, each.found.hosts, each.rate_per_s, demand.spare)
        least = cheapest_cost(asked)
        assert least is not None
        assert least * (1 - 1e-9) - 1e-9 <= cost_of(demand, each) <= least * (1 + SAME) + 1e-9


@settings(max_examples=10)
@given(demand=demands(), part=st.floats(0.01, 0.99))
def test_between_two_rates_of_a_staircase_the_cost_is_that_of_the_higher(demand: Demand, part: float) -> None:
    for lower, higher in pairwise(ranged(demand)):
        between = lower.rate_per_s + part * (higher.rate_per_s - lower.rate_per_s)
        if between > lower.rate_per_s * (1 + 2e-6):
            assert cheapest_cost(replace(demand, rate_per_s=between)) == pytest.approx(
                cost_of(demand, higher), rel=2e-6, abs=1e-9
            )


OFFERS = (
    make_offer("large", hosts=3, rate_per_s=1000, cost_idle=100),
    make_offer("small", hosts=4, rate_per_s=300, cost_idle=40),
)

PLANNED = NotCarried(rate_per_s=100, spare=0, most_hosts=None, hosts=7, carries_per_s=4200)


@pytest.fixture(scope="module")
def found() -> RateCosts:
    return costs(rate_per_s=2200)


def costs(offers: tuple[HostOffer, ...] = OFFERS, **asked: Any) -> RateCosts:
    return rate_costs(offers, plan_fleet(offers, **asked))


def at(found: RateCosts, rate_per_s: float) -> RateCost:
    (point,) = [each for each in found.points if each.rate_per_s == pytest.approx(rate_per_s)]
    return point


@pytest.mark.integration
def test_a_mixed_fleet_is_shown_beside_the_best_of_one_class_at_the_rate_of_the_plan(found: RateCosts) -> None:
    asked = at(found, 2200)
    assert asked.hosts == (("large", 2), ("small", 1))
    assert (asked.cost, asked.one_class, asked.one_class_cost) == (240, ("large", 3), 300)
    assert found.gap < 1e-5


@pytest.mark.integration
def test_the_rates_end_where_all_hosts_are_needed_and_no_class_alone_is_enough(found: RateCosts) -> None:
    assert found.points[0].rate_per_s == pytest.approx(220)
    last = found.points[-1]
    assert (last.rate_per_s, last.hosts) == (4200, (("large", 3), ("small", 4)))
    assert (last.one_class, last.one_class_cost) == (None, None)
    assert at(found, 3000).one_class == ("large", 3)


@pytest.mark.integration
def test_hosts_of_a_class_that_cost_different_amounts_are_taken_by_their_price() -> None:
    offers = (make_offer("uneven", hosts=3, cost_idle=30, costs_idle=(30.0, 10.0, 20.0)),)
    found = costs(offers, rate_per_s=2000)
    assert [(point.hosts, point.cost, point.one_class_cost) for point in found.points[1:]] == [
        ((("uneven", 1),), 10, 10),
        ((("uneven", 2),), 30, 30),
        ((("uneven", 3),), 60, 60),
    ]


@pytest.mark.thorough
@pytest.mark.integration
@pytest.mark.usefixtures("solved_apart")
def test_spare_hosts_are_paid_for_at_every_rate() -> None:
    found = costs(rate_per_s=1000, spare=1)
    assert found.points[-1].rate_per_s == 3200
    assert at(found, 1000).hosts == (("large", 2),)
    assert all(sum(count for _, count in each.hosts) > 1 for each in found.points)


@pytest.mark.integration
def test_no_rate_has_more_hosts_than_may_serve() -> None:
    found = costs(rate_per_s=500, most_hosts=2)
    assert found.points[-1].rate_per_s == 2000
    assert max(sum(count for _, count in each.hosts) for each in found.points) == 2


@pytest.mark.integration
def test_a_rate_that_is_not_carried_has_the_costs_up_to_what_is() -> None:
    found = rate_costs(OFFERS, replace(PLANNED, rate_per_s=90_000))
    assert found.points[-1].rate_per_s == 4200
    assert found.points[0].rate_per_s == pytest.approx(420)


def planned(offers: Sequence[HostOffer], **asked: Any) -> FleetPlan:
    plan = plan_fleet(offers, **asked)
    assert isinstance(plan, FleetPlan)
    return plan


@pytest.mark.thorough
@pytest.mark.integration
def test_a_search_that_has_no_time_is_over_soon_and_says_how_far_off_it_may_be() -> None:
    rng = np.random.default_rng(3)
    offers = [
        make_offer(f"class-{nth}", hosts=5, rate_per_s=float(rng.lognormal(6, 1)), cost_idle=float(rng.uniform(50, 90)))
        for nth in range(100)
    ]
    plan = planned(offers, rate_per_s=20_000, spare=1)
    began = time.monotonic()
    found = rate_costs(offers, plan, limit_s=0.01)
    assert time.monotonic() - began < 60
    assert 0 < found.gap <= 1
    # The plan's own fleet is known to carry its rate, however little time there is.
    assert at(found, 20_000).cost <= plan.fleet.cost * (1 + 1e-3)
    assert all(lower.cost <= higher.cost for lower, higher in pairwise(found.points))


@pytest.mark.parametrize("limit_s", [0.0, -1.0, float("nan")])
def test_a_time_that_is_none_is_refused(limit_s: float) -> None:
    with pytest.raises(SpecError, match="time limit"):
        rate_costs(OFFERS, PLANNED, limit_s=limit_s)


def test_offers_that_are_none_or_twice_the_same_are_refused(offer: MakeOffer) -> None:
    with pytest.raises(SpecError, match="has no host"):
        rate_costs([], PLANNED)
    with pytest.raises(SpecError, match="offered twice"):
        rate_costs([offer("a"), offer("a")], PLANNED)


def test_as_many_spare_hosts_as_there_are_leave_no_rate_to_draw() -> None:
    assert rate_costs(OFFERS, replace(PLANNED, spare=7)).points == ()
