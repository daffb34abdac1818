"""Costs of fleets by the rate that they are to carry, around the rate of a plan: the cheapest, and of one class.

The cost rises in steps: a fleet that is the cheapest for a rate is so for all rates up to the highest that it carries.
So the rates are the ends of these steps, each of which begins just above the one before. Where there may be more steps
than a plot has room for, rates are apart by a factor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from time import monotonic

from servefit.checks import check_above_zero
from servefit.isolation import call_isolated
from servefit.search.fleet.plan.cheapest import (
    Cheapest,
    Demand,
    Hosts,
    cheapest_at_once,
    cheapest_hosts,
    cheapest_of_one_class,
)
from servefit.search.fleet.plan.fleet_plan import MIN_GAP, FleetPlan, NotCarried
from servefit.search.fleet.plan.losses import ROUNDING
from servefit.search.fleet.plan.mix import STARTING_S, part_below
from servefit.search.fleet.plan.offer import MAX_NUMBER, HostOffer, check_offers
from servefit.showing import shown

LIMIT_S = 10.0
"""The search for all rates together ends after this: a reader who asks for a page waits for it."""

MIN_PART = 0.1
"""The lowest rate is this part of the one of the plan. Chosen: what a reader may want to know of less traffic."""

MAX_STEPS = 100
"""With no more possible fleets, every step of the cost is found. Chosen: what a plot has room for."""

RATES = 30
"""About so many rates are solved where there may be more steps. Chosen: enough for a curve."""

_ABOVE = 1e-6
"""The next step begins this part above the end of one: more than the rounding of sums, and less than rates are known
to."""

HostsOfClass = tuple[str, int]
"""The name of a class and how many of its hosts."""


@shown("rate_per_s", "cost", "one_class_cost")
@dataclass(frozen=True, slots=True, kw_only=True)
class RateCost:
    """The cheapest ``hosts`` that carry ``rate_per_s`` and what they cost; and the cheapest of ``one_class``, None
    where no class carries the rate by itself. The cost is in the unit of the offers."""

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

    What a point costs is also what all rates cost that are above those of the point before, at most. ``gap`` is the
    part of its cost by which a fleet may be dearer than another one, at most, at any of the rates.
    """

    points: tuple[RateCost, ...]
    gap: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedRates:
    """The rates to solve ``demand`` for: from its own to ``highest_per_s``, the highest that the hosts carry. Its
    ``limit_s`` is for all of them together.

    ``asked_per_s`` is one of the rates if it is in the range; ``planned`` are hosts that are known to carry it.
    """

    demand: Demand
    highest_per_s: float
    asked_per_s: float
    planned: Hosts | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RateSolution:
    """The cheapest hosts for ``rate_per_s`` that were ``found``, and those of ``one_class``, None where no class
    carries the rate by itself."""

    rate_per_s: float
    found: Cheapest
    one_class: Hosts | None


def rate_costs(offers: Sequence[HostOffer], plan: FleetPlan | NotCarried, *, limit_s: float = LIMIT_S) -> RateCosts:
    """Return what fleets of ``offers`` cost by rate, with the spare hosts and under the limits of ``plan``, of which
    the rate is one of the points if it is carried.

    Args:
        offers: The host classes that the plan was made of.
        plan: The plan; its fleet is never beaten by a dearer one.
        limit_s: The search ends after so much time, and the result says how far off it may be.

    Returns:
        The costs, without a point where no rate is carried.

    Raises:
        SpecError: no offer, two of one class, or a time limit that is none.
        TimedOut: the search's process did not even start in time.
    """
    check_offers(offers)
    check_above_zero("time limit", limit_s, most=MAX_NUMBER)
    demand = Demand(
        offers=tuple(offers),
        rate_per_s=plan.rate_per_s,
        spare=plan.spare,
        most_hosts=plan.most_hosts,
        limit_s=limit_s,
    )
    highest_per_s, planned = demand.kept_per_s(demand.strongest), None
    if isinstance(plan, FleetPlan):
        # It may be above by rounding.
        highest_per_s = max(highest_per_s, plan.rate_per_s)
        used = {row.offer.host_class: row.hosts for row in plan.fleet.rows}
        planned = tuple(used.get(offer.host_class, 0) for offer in offers)
    if not highest_per_s:
        return RateCosts(points=(), gap=0.0)
    asked = AskedRates(
        demand=replace(demand, rate_per_s=MIN_PART * min(plan.rate_per_s, highest_per_s)),
        highest_per_s=highest_per_s,
        asked_per_s=plan.rate_per_s,
        planned=planned,
    )
    solutions: tuple[RateSolution, ...] = call_isolated(
        "servefit.search.fleet.plan.rate_costs:solve_range", asked, timeout_s=limit_s + STARTING_S
    )
    return RateCosts(
        points=tuple(_point(demand, solution) for solution in solutions),
        gap=max(part_below(demand.cost(solution.found.hosts), solution.found.bound) for solution in solutions),
    )


def _point(demand: Demand, solution: RateSolution) -> RateCost:
    alone = solution.one_class
    return RateCost(
        rate_per_s=solution.rate_per_s,
        hosts=_named(demand, solution.found.hosts),
        cost=demand.cost(solution.found.hosts),
        one_class=None if alone is None else _named(demand, alone)[0],
        one_class_cost=None if alone is None else demand.cost(alone),
    )


def _named(demand: Demand, hosts: Hosts) -> tuple[HostsOfClass, ...]:
    return tuple((offer.host_class, count) for offer, count in zip(demand.offers, hosts, strict=True) if count)


def solve_range(asked: AskedRates) -> tuple[RateSolution, ...]:
    """Return the cheapest hosts by ascending rate, up to the highest. Where time is over before that, only the rate
    asked and the highest follow, which all hosts carry. Runs in an isolated process.

    Each fleet also carries all lower rates, and a bound for a rate holds for all higher ones. So a fleet of a higher
    rate is taken where it is cheaper than what was found in time, and the cost never falls as the rate rises.
    """
    solutions = list(_walk(asked))
    bounds, bound = [], 0.0
    for solution in solutions:
        bound = max(bound, solution.found.bound)
        bounds.append(bound)
    above: Hosts | None = None
    for nth, solution in reversed(list(enumerate(solutions))):
        candidates = (
            solution.found.hosts,
            above,
            solution.one_class,
            asked.planned if solution.rate_per_s <= asked.asked_per_s else None,
        )
        above = min((hosts for hosts in candidates if hosts is not None), key=asked.demand.cost)
        bound = min(bounds[nth], asked.demand.cost(above))
        solutions[nth] = replace(solution, found=Cheapest(hosts=above, bound=bound))
    return tuple(solutions)


def _walk(asked: AskedRates) -> Iterator[RateSolution]:
    """Yield a solution for each rate, from the lowest to the highest."""
    demand, ends_s = asked.demand, monotonic() + asked.demand.limit_s
    is_small = prod(count + 1 for count in demand.available) <= MAX_STEPS
    factor = 1.0 if is_small else (asked.highest_per_s / demand.rate_per_s) ** (1 / RATES)
    cheapest, end_per_s = None, 0.0
    while end_per_s < asked.highest_per_s:
        left_s = ends_s - monotonic()
        if end_per_s:
            rate_per_s = max(end_per_s * (1 + _ABOVE), demand.rate_per_s * factor)
            if left_s <= 0:
                rate_per_s = asked.highest_per_s
            if end_per_s < asked.asked_per_s:
                rate_per_s = min(rate_per_s, asked.asked_per_s)
            demand = replace(demand, rate_per_s=min(rate_per_s, asked.highest_per_s))
        if cheapest is None or not (_is_proven(demand, cheapest) and demand.is_carried(cheapest.hosts)):
            cheapest = cheapest_hosts(replace(demand, limit_s=left_s)) if left_s > 0 else cheapest_at_once(demand)
        one_class = cheapest_of_one_class(demand)
        # The lowest rate is one of its own, so that the first step has a beginning.
        is_step = end_per_s and _is_proven(demand, cheapest)
        end_per_s = demand.rate_per_s
        if is_step:
            carried = [demand.kept_per_s(hosts) for hosts in (cheapest.hosts, one_class) if hosts is not None]
            end_per_s = max(end_per_s, min(carried))
            if demand.rate_per_s <= asked.asked_per_s < end_per_s:
                end_per_s = asked.asked_per_s
        if end_per_s >= asked.highest_per_s * (1 - ROUNDING):
            end_per_s = asked.highest_per_s
        yield RateSolution(rate_per_s=end_per_s, found=cheapest, one_class=one_class)


def _is_proven(demand: Demand, cheapest: Cheapest) -> bool:
    """Return whether no fleet is cheaper than the one that was found: it is the cheapest for all rates that it carries.
    That of a search that had no time may be all hosts, and carry any rate."""
    return part_below(demand.cost(cheapest.hosts), cheapest.bound) < MIN_GAP
