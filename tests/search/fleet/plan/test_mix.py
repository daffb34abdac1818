"""The cheapest fleet, against all fleets where there are few, and what the plan says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import nan
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from tests.example_counts import examples
from tests.search.fleet.plan.conftest import MakeOffer, make_offer
from tests.search.fleet.plan.every_fleet import cheapest_cost, demands, survives

from servefit.errors import SpecError
from servefit.quantities import percent_text
from servefit.search.fleet.plan.cheapest import Demand, cheapest_at_once, cheapest_hosts
from servefit.search.fleet.plan.fleet_plan import FleetPlan, NotCarried
from servefit.search.fleet.plan.mix import plan_fleet
from servefit.time_limit import time_limit

if TYPE_CHECKING:
    from servefit.search.fleet.plan.offer import HostOffer

pytestmark = pytest.mark.integration

SAME = 2e-6
"""What the search leaves undecided with few classes."""


@pytest.mark.integration
@pytest.mark.thorough
@settings(max_examples=examples(30, drawn=60))
@given(demand=demands())
def test_no_other_fleet_is_cheaper(demand: Demand) -> None:
    least = cheapest_cost(demand)
    if least is None:
        return
    found = cheapest_hosts(demand)
    assert demand.cost(found.hosts) <= least * (1 + SAME) + 1e-9
    assert found.bound <= least * (1 + 1e-9)
    assert sum(found.hosts) <= (demand.most_hosts or sum(demand.available))
    assert survives(demand.rates_per_s, found.hosts, demand.rate_per_s, demand.spare)


@given(demand=demands())
def test_a_fleet_that_is_found_without_a_solver_carries_the_rate_and_is_not_below_its_bound(demand: Demand) -> None:
    least = cheapest_cost(demand)
    if least is None:
        return
    found = cheapest_at_once(demand)
    assert survives(demand.rates_per_s, found.hosts, demand.rate_per_s, demand.spare)
    assert sum(found.hosts) <= (demand.most_hosts or sum(demand.available))
    assert found.bound <= least * (1 + 1e-9)


@pytest.mark.thorough
def test_two_hundred_fleets_are_as_cheap_as_by_trying_every_fleet() -> None:
    """Of up to four classes of unlike rates and costs, and up to two spare hosts."""
    for seed in range(200):
        rng = np.random.default_rng(seed)
        offers = tuple(
            make_offer(
                f"class-{nth}",
                hosts=int(rng.integers(1, 5)),
                rate_per_s=float(rng.lognormal(6, 0.5)),
                cost_idle=float(rng.lognormal(4, 0.4)),
            )
            for nth in range(rng.integers(1, 5))
        )
        demand = Demand(offers=offers, rate_per_s=1.0, spare=seed % 3, most_hosts=None, limit_s=60.0)
        if sum(demand.available) <= demand.spare:
            continue
        demand = replace(demand, rate_per_s=float(rng.uniform(0.05, 1)) * demand.kept_per_s(demand.available))
        found = cheapest_hosts(demand)
        least = cheapest_cost(demand)
        assert least is not None
        assert demand.cost(found.hosts) <= least * (1 + SAME), seed
        assert least * (1 - SAME) <= found.bound <= least * (1 + 1e-9), seed
        assert survives(demand.rates_per_s, found.hosts, demand.rate_per_s, demand.spare), seed


def plan(offers: Sequence[HostOffer], **asked: Any) -> FleetPlan:
    found = plan_fleet(offers, **asked)
    assert isinstance(found, FleetPlan)
    return found


def by_class(found: FleetPlan) -> dict[str, int]:
    return {row.offer.host_class: row.hosts for row in found.fleet.rows}


def test_a_plan_mixes_classes_where_that_is_cheaper_than_any_class_alone(offer: MakeOffer) -> None:
    offers = [
        offer("large", rate_per_s=1000, cost_idle=100),
        offer("small", rate_per_s=300, cost_idle=40),
    ]
    found = plan(offers, rate_per_s=2200)
    assert by_class(found) == {"large": 2, "small": 1}
    assert found.fleet.cost == pytest.approx(240)
    assert found.best_of_one_class is not None
    assert [(row.offer.host_class, row.hosts) for row in found.best_of_one_class.rows] == [("large", 3)]
    assert found.best_of_one_class.cost == pytest.approx(300)
    assert found.all_hosts.hosts == 8
    assert found.all_hosts.cost == pytest.approx(4 * 140)
    assert found.gap <= SAME


def test_a_plan_survives_the_loss_of_any_hosts_that_are_spare_and_says_so_of_each(offer: MakeOffer) -> None:
    offers = [offer("large", rate_per_s=1000), offer("small", rate_per_s=300)]
    found = plan(offers, rate_per_s=2250, spare=2)
    rates = [row.offer.rate_per_s for row in found.fleet.rows]
    assert survives(rates, [row.hosts for row in found.fleet.rows], 2250, 2)
    lost = {loss.lost: loss for loss in found.losses}
    assert {(("large", 1),), (("small", 1),)} <= set(lost)
    assert lost[(("large", 1),)].left_rate_per_s == pytest.approx(found.fleet.confirmed_rate_per_s - 1000)
    assert not any(loss.overloads for loss in found.losses)
    (worst,) = [loss for loss in found.losses if sum(count for _, count in loss.lost) == 2]
    assert worst.left_rate_per_s == pytest.approx(found.fleet.kept_rate_per_s)


def test_without_spare_hosts_the_loss_of_one_is_told_to_overload_the_others(offer: MakeOffer) -> None:
    found = plan([offer(rate_per_s=1000)], rate_per_s=3000)
    (loss,) = found.losses
    assert (loss.lost, loss.left_rate_per_s) == ((("old", 1),), 2000)
    assert loss.overloads
    assert loss.highest_load == pytest.approx(1.5)


def test_rows_add_up_to_the_rate_and_the_cost(offer: MakeOffer) -> None:
    offers = [offer("a", rate_per_s=1234.5), offer("b", rate_per_s=777)]
    found = plan(offers, rate_per_s=5000, spare=1)
    rows = found.fleet.rows
    assert sum(row.hosts * row.share for row in rows) == pytest.approx(1)
    assert sum(row.hosts * row.rate_per_s for row in rows) == pytest.approx(5000)
    assert sum(row.hosts * row.cost for row in rows) == pytest.approx(found.fleet.cost)
    for row in rows:
        assert row.load == pytest.approx(5000 / found.fleet.confirmed_rate_per_s, rel=1e-3)
        assert row.cost == row.offer.cost_idle


def test_no_more_hosts_are_used_than_may_be(offer: MakeOffer) -> None:
    offers = [offer("large", hosts=2, rate_per_s=1000, cost_idle=500), offer("small", hosts=9, rate_per_s=300)]
    assert by_class(plan(offers, rate_per_s=1200)) == {"small": 4}
    assert plan(offers, rate_per_s=1200, most_hosts=2).fleet.hosts == 2


def test_the_cheapest_hosts_of_a_class_serve_and_each_has_its_own_price(offer: MakeOffer) -> None:
    prices = (30.0, 10.0, 20.0, 10.0)
    uneven = offer("uneven", rate_per_s=1000, cost_idle=30, costs_idle=prices)
    even = offer("even", rate_per_s=1000, cost_idle=15)
    found = plan([uneven, even], rate_per_s=4000)
    assert by_class(found) == {"uneven": 2, "even": 2}
    assert [(row.offer.host_class, row.cost) for row in found.fleet.rows] == [("uneven", 10), ("even", 15)]
    assert found.fleet.cost == 50
    assert found.all_hosts.cost == sum(prices) + 4 * 15
    assert found.best_of_one_class is not None
    assert found.best_of_one_class.cost == 60
    alone = plan([uneven], rate_per_s=3000)
    assert (alone.fleet.hosts, alone.fleet.cost) == (3, 40)
    assert alone.best_of_one_class is not None
    assert alone.best_of_one_class.cost == 40


def test_prices_of_other_hosts_than_there_are_are_refused(offer: MakeOffer) -> None:
    for prices in ((10.0, 20.0), (10.0, 10.0, 10.0, 10.0)):
        with pytest.raises(SpecError, match="costs of host class old"):
            offer(cost_idle=20, costs_idle=prices)


def test_there_may_be_no_fleet_of_one_class(offer: MakeOffer) -> None:
    offers = [offer("a", hosts=1, rate_per_s=1000), offer("b", hosts=1, rate_per_s=900)]
    assert plan(offers, rate_per_s=1500).best_of_one_class is None


@pytest.mark.parametrize(
    ("spare", "most_hosts", "carried"), [(0, None, 2300), (1, None, 1300), (0, 2, 2000), (1, 2, 1000)]
)
def test_a_rate_that_is_too_high_is_a_result_that_says_what_is_carried(
    offer: MakeOffer, spare: int, most_hosts: int | None, carried: float
) -> None:
    offers = [offer("small", hosts=1, rate_per_s=300), offer("large", hosts=2, rate_per_s=1000)]
    found = plan_fleet(offers, rate_per_s=1e6, spare=spare, most_hosts=most_hosts)
    assert isinstance(found, NotCarried)
    assert found.carries_per_s == pytest.approx(carried)
    at_most = plan_fleet(offers, rate_per_s=found.carries_per_s, spare=spare, most_hosts=most_hosts)
    assert isinstance(at_most, FleetPlan)


def test_hosts_that_cost_nothing_are_not_all_used(offer: MakeOffer) -> None:
    assert plan([offer(cost_idle=0)], rate_per_s=1500).fleet.hosts == 2


def test_a_balancer_of_small_weights_says_by_which_part_the_rate_must_fall(offer: MakeOffer) -> None:
    """One host is a thousand times as fast as another, and no weights up to 256 have that ratio."""
    offers = [offer("large", hosts=1, rate_per_s=1000), offer("tiny", hosts=1, rate_per_s=1)]
    exact = plan(offers, rate_per_s=1001)
    assert exact.rate_must_fall_by == 0
    coarse = plan(offers, rate_per_s=1001, balancer="haproxy")
    assert [row.weight for row in coarse.fleet.rows] == [256, 1]
    assert coarse.fleet.carries_per_s == pytest.approx(257)
    assert coarse.rate_must_fall_by == pytest.approx(1 - 257 / 1001)
    assert coarse.fleet.weights_off_by == pytest.approx(1001 / 257 - 1)
    assert coarse.warnings == (
        "a host of tiny gets 289 % more than its part of the requests: no whole-number weights up to 256, the largest "
        "of haproxy, are nearer to the proportion of the rates",
    )


def many_offers(classes: int) -> list[HostOffer]:
    rng = np.random.default_rng(1)
    return [
        make_offer(
            f"class-{index}", hosts=5, rate_per_s=float(rng.lognormal(6, 1)), cost_idle=float(rng.uniform(50, 200))
        )
        for index in range(classes)
    ]


def test_a_search_that_has_no_time_has_a_cheap_fleet_and_warns_how_far_off_it_may_be() -> None:
    found = plan(many_offers(200), rate_per_s=20_000, spare=1, limit_s=0.001)
    assert found.fleet.kept_rate_per_s >= 20_000
    assert found.fleet.cost < 0.1 * found.all_hosts.cost
    assert 0 < found.gap < 0.2
    assert found.warnings == (
        f"this plan was not proven to be the cheapest: another one may be cheaper by {percent_text(found.gap)} at most",
    )


@pytest.mark.usefixtures("solved_apart")
def test_a_search_that_cannot_start_has_the_same_fleet_as_one_without_time() -> None:
    offers = many_offers(30)
    with time_limit(lambda: 0.0):
        found = plan(offers, rate_per_s=20_000, spare=1)
    assert found.fleet.kept_rate_per_s >= 20_000
    assert found.fleet.cost < 0.5 * found.all_hosts.cost
    assert "not proven to be the cheapest" in found.warnings[0]


def test_a_plan_that_was_proven_to_be_the_cheapest_has_no_warning(offer: MakeOffer) -> None:
    assert plan([offer(), replace(offer("b"), rate_per_s=777.0)], rate_per_s=2500, spare=1).warnings == ()


@pytest.mark.parametrize(
    "asked",
    [{"rate_per_s": nan}, {"spare": 4}, {"spare": 99}, {"most_hosts": 0}, {"balancer": "apache"}, {"limit_s": 0}],
)
def test_what_cannot_be_asked_is_refused(offer: MakeOffer, asked: dict[str, Any]) -> None:
    with pytest.raises(SpecError):
        plan_fleet([offer()], **{"rate_per_s": 100.0, **asked})


@pytest.mark.usefixtures("solved_apart")
def test_nothing_is_printed_by_the_solver(offer: MakeOffer, capfd: pytest.CaptureFixture[str]) -> None:
    plan([offer(), replace(offer("b"), rate_per_s=777.0)], rate_per_s=2500, spare=1)
    assert capfd.readouterr().out == ""
