"""Costs of fleets by the rate that they are to carry, around the rate of a plan: the cheapest, and of one class.

The hosts are found by ``rate_range``, in a process of its own for all rates together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from servefit.checks import check_above_zero
from servefit.isolation import call_isolated
from servefit.search.fleet.plan.cheapest import FEW_CLASSES
from servefit.search.fleet.plan.demand import Demand, demand_of
from servefit.search.fleet.plan.fleet_plan import FleetPlan, NotCarried
from servefit.search.fleet.plan.losses import fastest, kept_per_s
from servefit.search.fleet.plan.offer import MAX_NUMBER, HostOffer, check_offers
from servefit.search.fleet.plan.rate_range import AskedRates, Hosts, RateSolution, in_steps
from servefit.search.fleet.plan.solver_clock import MAX_SLOWDOWN
from servefit.showing import shown

LIMIT_S = 2.0
"""The search ends after this. A reader who asks for a page waits for it; a few classes take a tenth of it."""

LONGER_LIMIT_S = 5.0
"""The same with more classes than FEW_CLASSES, and where load has a cost: a thousand classes take a second or two."""

MIN_PART = 0.1
"""The lowest rate is this part of the one of the plan. Chosen: what a reader may want to know of less traffic."""

_STARTING_S = 60.0
"""A process that imports scipy on a busy machine takes less."""

HostsOfClass = tuple[str, int]
"""The name of a class and how many of its hosts."""


@shown("rate_per_s", "cost", "one_class_cost")
@dataclass(frozen=True, slots=True, kw_only=True)
class RateCost:
    """The cheapest ``hosts`` that carry ``rate_per_s`` and what they cost; and the cheapest of ``one_class``, None
    where no class carries the rate by itself. The cost is that of exact weights, in the unit of the offers."""

    rate_per_s: float
    hosts: tuple[HostsOfClass, ...]
    cost: float
    one_class: HostsOfClass | None
    one_class_cost: float | None


@shown("points", "gap")
@dataclass(frozen=True, slots=True, kw_only=True)
class RateCosts:
    """The ``points`` are by ascending rate, up to the highest that the hosts on offer carry with those that are spare.
    Costs never fall from one to the next, and no fleet of one class is cheaper than the cheapest.

    With ``in_steps`` load adds nothing to the cost of a host: what a point costs is also what all rates cost that are
    above those of the point before, at most. ``gap`` is the part of its cost by which a fleet may be dearer than
    another one, at most, at any of the rates.
    """

    points: tuple[RateCost, ...]
    in_steps: bool
    gap: float


def rate_costs(offers: Sequence[HostOffer], plan: FleetPlan | NotCarried, *, limit_s: float | None = None) -> RateCosts:
    """Return what fleets of ``offers`` cost by rate, with the spare hosts and under the limits of ``plan``, of which
    the rate is one of the points if it is carried.

    Args:
        offers: The host classes that the plan was made of.
        plan: The plan; its fleet is never beaten by a dearer one.
        limit_s: The search ends after so much CPU time, and the result says how far off it may be. None: LIMIT_S,
            or LONGER_LIMIT_S.

    Returns:
        The costs, without a point where no rate is carried.

    Raises:
        SpecError: no offer, two of one class, or a time limit that is none.
        TimedOut: the search's process did not even start in time.
    """
    check_offers(offers)
    if limit_s is None:
        quick = len(offers) <= FEW_CLASSES and not any(offer.cost_dynamic for offer in offers)
        limit_s = LIMIT_S if quick else LONGER_LIMIT_S
    check_above_zero("time limit", limit_s, most=MAX_NUMBER)
    rates, available = tuple(offer.rate_per_s for offer in offers), tuple(offer.hosts for offer in offers)
    highest_per_s = kept_per_s(rates, fastest(rates, available, plan.most_hosts), plan.spare)
    if isinstance(plan, FleetPlan):
        # It may be above by rounding.
        highest_per_s = max(highest_per_s, plan.rate_per_s)
    lowest_per_s = MIN_PART * min(plan.rate_per_s, highest_per_s)
    demand = demand_of(offers, rate_per_s=lowest_per_s, spare=plan.spare, most_hosts=plan.most_hosts, limit_s=limit_s)
    if not highest_per_s:
        return RateCosts(points=(), in_steps=in_steps(demand), gap=0.0)
    asked = AskedRates(
        demand=demand, highest_per_s=highest_per_s, asked_per_s=plan.rate_per_s, planned=_planned(offers, plan, demand)
    )
    found: tuple[RateSolution, ...] = call_isolated(
        "servefit.search.fleet.plan.rate_range:solve_range", asked, timeout_s=MAX_SLOWDOWN * limit_s + _STARTING_S
    )
    return RateCosts(
        points=tuple(_point(offers, each, demand) for each in found),
        in_steps=in_steps(demand),
        gap=max(max(0.0, 1 - each.bound / each.cost) if each.cost else 0.0 for each in found),
    )


def _planned(offers: Sequence[HostOffer], plan: FleetPlan | NotCarried, demand: Demand) -> Hosts | None:
    if isinstance(plan, NotCarried):
        return None
    hosts = {row.offer.host_class: row.hosts for row in plan.fleet.rows}
    return demand.by_column([hosts.get(offer.host_class, 0) for offer in offers])


def _point(offers: Sequence[HostOffer], found: RateSolution, demand: Demand) -> RateCost:
    one_class = None if found.one_class is None else _named(offers, demand.by_class(found.one_class))[0]
    return RateCost(
        rate_per_s=found.rate_per_s,
        hosts=_named(offers, demand.by_class(found.hosts)),
        cost=found.cost,
        one_class=one_class,
        one_class_cost=found.one_class_cost,
    )


def _named(offers: Sequence[HostOffer], hosts: Hosts) -> tuple[HostsOfClass, ...]:
    return tuple((offer.host_class, count) for offer, count in zip(offers, hosts, strict=True) if count)
