"""The numbers of hosts of a plan: the cheapest fleet that carries a rate after the loss of any few of them.

The numbers of hosts are found by ``cheapest``, in a process of its own. Every other figure of the plan is worked out
from them here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from servefit.checks import check_above_zero
from servefit.errors import TimedOut
from servefit.isolation import call_isolated
from servefit.quantities import percent_text
from servefit.search.fleet.plan.balancers.kinds import BALANCERS, BalancerName, parse_balancer
from servefit.search.fleet.plan.cheapest import Cheapest, Demand, cheapest_at_once, cheapest_of_one_class
from servefit.search.fleet.plan.fleet_plan import MIN_GAP, Fleet, FleetPlan, Loss, NotCarried, PlanRow
from servefit.search.fleet.plan.losses import kept_per_s, must_fall_by, total_per_s, worst_loss
from servefit.search.fleet.plan.offer import MAX_NUMBER, HostOffer, check_demand, check_offers
from servefit.search.fleet.plan.weights import MAX_OFF, whole_weights

LIMIT_S = 30.0
"""Plans of fifty classes take less than a second where the machine is not busy."""

STARTING_S = 60.0
"""A process that imports scipy on a busy machine takes less."""


def plan_fleet(
    offers: Sequence[HostOffer],
    *,
    rate_per_s: float,
    spare: int = 0,
    most_hosts: int | None = None,
    balancer: str = "nginx",
    limit_s: float = LIMIT_S,
) -> FleetPlan | NotCarried:
    """Plan the cheapest fleet for a rate.

    Args:
        offers: The host classes, of different names.
        rate_per_s: The rate that all hosts together must carry.
        spare: So many hosts may be lost, any of them, and the others still carry the rate.
        most_hosts: No more hosts are used.
        balancer: "nginx", "haproxy" or "envoy": the weights of the plan are whole numbers that it takes.
        limit_s: The search ends after so much time, and the plan says how far off it may be. A plan is never dearer
            than what ``cheapest_at_once`` finds without a solver.

    Returns:
        The plan; NotCarried where all hosts, or the ``most_hosts`` fastest, do not carry the rate with that many spare.

    Raises:
        SpecError: no offer, two of one class, a number that is none, or as many ``spare`` as there may be hosts.

    Example:
        ::

            plan = plan_fleet(offers, rate_per_s=20000, spare=1)
            for row in plan.fleet.rows:
                print(row.offer.host_class, row.hosts, row.weight)
    """
    check_offers(offers)
    check_demand(offers, rate_per_s=rate_per_s, spare=spare, most_hosts=most_hosts)
    check_above_zero("time limit", limit_s, most=MAX_NUMBER)
    kind = parse_balancer(balancer)
    demand = Demand(offers=tuple(offers), rate_per_s=rate_per_s, spare=spare, most_hosts=most_hosts, limit_s=limit_s)
    strongest = demand.strongest
    if not demand.is_carried(strongest):
        return NotCarried(
            rate_per_s=rate_per_s,
            spare=spare,
            most_hosts=most_hosts,
            hosts=sum(strongest),
            carries_per_s=demand.kept_per_s(strongest),
        )
    cheapest = _searched(demand)
    gap = part_below(demand.cost(cheapest.hosts), cheapest.bound)
    fleet = fleet_of(offers, cheapest.hosts, rate_per_s=rate_per_s, spare=spare, balancer=kind)
    one_class = cheapest_of_one_class(demand)
    return FleetPlan(
        rate_per_s=rate_per_s,
        spare=spare,
        most_hosts=most_hosts,
        balancer=kind,
        fleet=fleet,
        gap=gap,
        losses=tuple(_losses(fleet, rate_per_s, spare)),
        best_of_one_class=None
        if one_class is None
        else fleet_of(offers, one_class, rate_per_s=rate_per_s, spare=spare, balancer=kind),
        all_hosts=fleet_of(offers, demand.available, rate_per_s=rate_per_s, spare=spare, balancer=kind),
        rate_must_fall_by=must_fall_by(rate_per_s, fleet.carries_per_s),
        warnings=(*gap_warnings(gap), *weight_warnings(fleet, kind)),
    )


def _searched(demand: Demand) -> Cheapest:
    """Return the cheapest hosts that are found in time, or without a solver where the search cannot even start."""
    try:
        cheapest: Cheapest = call_isolated(
            "servefit.search.fleet.plan.cheapest:cheapest_hosts", demand, timeout_s=demand.limit_s + STARTING_S
        )
    except TimedOut:
        return cheapest_at_once(demand)
    return cheapest


def fleet_of(
    offers: Sequence[HostOffer],
    hosts: Sequence[int],
    *,
    rate_per_s: float,
    spare: int,
    balancer: BalancerName,
) -> Fleet:
    """Return so many ``hosts`` of each of ``offers`` as a fleet that serves ``rate_per_s`` behind ``balancer``."""
    used = [(offer, count) for offer, count in zip(offers, hosts, strict=True) if count]
    rates, counts = [offer.rate_per_s for offer, _ in used], [count for _, count in used]
    weights = whole_weights(rates, counts, spare=spare, most_weight=BALANCERS[balancer].most_weight)
    rows = tuple(
        PlanRow(
            offer=offer,
            hosts=count,
            weight=weight,
            share=share,
            rate_per_s=share * rate_per_s,
            cost=offer.cost_of(count) / count,
        )
        for (offer, count), weight, share in zip(used, weights.weights, weights.shares, strict=True)
    )
    return Fleet(
        rows=rows,
        cost=sum(row.hosts * row.cost for row in rows),
        confirmed_rate_per_s=total_per_s(rates, counts),
        kept_rate_per_s=kept_per_s(rates, counts, spare),
        carries_per_s=weights.carries_per_s,
        weights_off_by=weights.off_by,
    )


def _losses(fleet: Fleet, rate_per_s: float, spare: int) -> Iterator[Loss]:
    """Yield what the loss of a host of each class leaves, and the worst loss of several where these are spare."""
    rates, hosts = [row.offer.rate_per_s for row in fleet.rows], [row.hosts for row in fleet.rows]
    ones = [[int(index == lost) for index in range(len(hosts))] for lost in range(len(hosts))]
    for lost in [*ones, *([worst_loss(rates, hosts, spare)] if spare > 1 else [])]:
        left = np.subtract(hosts, lost)
        if not left.any():
            continue
        weights = np.array([row.weight for row in fleet.rows])
        loads = rate_per_s * weights / (weights @ left) / rates
        yield Loss(
            lost=tuple((row.offer.host_class, count) for row, count in zip(fleet.rows, lost, strict=True) if count),
            left_rate_per_s=total_per_s(rates, [int(count) for count in left]),
            highest_load=float(loads[left > 0].max()),
        )


def part_below(cost: float, bound: float) -> float:
    """Return the part of ``cost`` by which it may be above the least, which ``bound`` is not above."""
    return max(0.0, 1 - bound / cost) if cost else 0.0


def gap_warnings(gap: float) -> Iterator[str]:
    """Yield a warning where a plan was not proven to be the cheapest."""
    if gap >= MIN_GAP:
        yield (
            f"this plan was not proven to be the cheapest: another one may be cheaper by {percent_text(gap)} at most"
        )


def weight_warnings(fleet: Fleet, balancer: BalancerName) -> Iterator[str]:
    """Yield a warning where the weights of a fleet are not in proportion to its rates."""
    if fleet.weights_off_by > MAX_OFF:
        total_per_s = fleet.confirmed_rate_per_s
        row = max(fleet.rows, key=lambda row: abs(row.share * total_per_s / row.offer.rate_per_s - 1))
        off = row.share * total_per_s / row.offer.rate_per_s - 1
        yield (
            f"a host of {row.offer.host_class} gets {percent_text(abs(off))} {'more' if off > 0 else 'less'} than its "
            f"part of the requests: no whole-number weights up to {BALANCERS[balancer].most_weight:,}, "
            f"the largest of {balancer}, are nearer to the proportion of the rates"
        )
