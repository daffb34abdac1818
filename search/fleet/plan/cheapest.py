"""The cheapest hosts of one model, by class: by the integer program, or without a solver where there is no time."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, inf
from typing import TYPE_CHECKING

from servefit.search.fleet.plan.losses import ROUNDING, carries, fastest, kept_per_s
from servefit.search.fleet.plan.program import HostColumn, Program, solve

if TYPE_CHECKING:
    from servefit.search.fleet.plan.offer import HostOffer

Hosts = tuple[int, ...]
"""Hosts of each class, in the order of the offers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """Hosts of ``offers`` are to carry ``rate_per_s`` after the loss of any ``spare``. At most ``most_hosts`` serve.
    The search ends after ``limit_s``."""

    offers: tuple[HostOffer, ...]
    rate_per_s: float
    spare: int
    most_hosts: int | None
    limit_s: float

    @property
    def available(self) -> Hosts:
        """All hosts of each class."""
        return tuple(offer.hosts for offer in self.offers)

    @property
    def rates_per_s(self) -> tuple[float, ...]:
        """The rate that a host of each class carries."""
        return tuple(offer.rate_per_s for offer in self.offers)

    @property
    def strongest(self) -> Hosts:
        """The hosts that carry most: all, or the fastest ``most_hosts``."""
        return tuple(fastest(self.rates_per_s, self.available, self.most_hosts))

    def cost(self, hosts: Sequence[int]) -> float:
        """Return what the cheapest ``hosts`` of each class cost."""
        return sum(offer.cost_of(count) for offer, count in zip(self.offers, hosts, strict=True))

    def kept_per_s(self, hosts: Sequence[int]) -> float:
        """Return what ``hosts`` carry after the worst loss."""
        return kept_per_s(self.rates_per_s, hosts, self.spare)

    def is_carried(self, hosts: Sequence[int]) -> bool:
        """Return whether ``hosts`` carry the rate after any loss."""
        return sum(hosts) > self.spare and carries(self.rates_per_s, hosts, self.rate_per_s, self.spare)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cheapest:
    """The cheapest ``hosts`` of each class that were found. ``bound``: none cost less."""

    hosts: Hosts
    bound: float


def cheapest_hosts(demand: Demand) -> Cheapest:
    """Return the cheapest hosts that carry the rate, which ``strongest`` must carry. No answer costs more than that of
    ``cheapest_at_once``. Runs in an isolated process."""
    priced = [
        (nth, price, offer.rate_per_s, hosts)
        for nth, offer in enumerate(demand.offers)
        for price, hosts in offer.prices
    ]
    solution = solve(
        Program(
            columns=tuple(
                HostColumn(pool=pool, cost=price, rates_per_s=((0, rate_per_s),))
                for pool, (_, price, rate_per_s, _) in enumerate(priced)
            ),
            available=tuple(hosts for *_, hosts in priced),
            asked_per_s=(demand.rate_per_s,),
            spare=demand.spare,
            most_hosts=demand.most_hosts,
            limit_s=demand.limit_s,
        )
    )
    at_once = cheapest_at_once(demand)
    answers = [at_once.hosts]
    if solution.hosts is not None:
        by_class = [0] * len(demand.offers)
        for (nth, *_), count in zip(priced, solution.hosts, strict=True):
            by_class[nth] += count
        answers.insert(0, tuple(by_class))
    hosts = min(answers, key=demand.cost)
    return Cheapest(hosts=hosts, bound=min(max(solution.bound, at_once.bound), demand.cost(hosts)))


def cheapest_at_once(demand: Demand) -> Cheapest:
    """Return cheap hosts that are found without a solver, and a bound from parts of hosts.

    Classes are taken in the order of what they cost for what they carry. The last host may be replaced by those of any
    other class. Then the dearest hosts that are not needed are taken out again.
    """
    costs = [offer.cost_idle for offer in demand.offers]
    order = sorted(range(len(costs)), key=lambda nth: costs[nth] / demand.rates_per_s[nth])
    hosts, last = [0] * len(costs), 0
    for last in order:
        hosts[last] = demand.available[last]
        if demand.is_carried(hosts):
            break
    hosts[last] = _fewest(demand, hosts, last)
    candidates = [demand.strongest, tuple(hosts)]
    for other in order:
        topped_up = [count - (nth == last) for nth, count in enumerate(hosts)]
        if other != last:
            topped_up[other] = demand.available[other]
            if demand.is_carried(topped_up):
                for nth in (other, *sorted(order, key=lambda nth: -costs[nth])):
                    topped_up[nth] = _fewest(demand, topped_up, nth)
                candidates.append(tuple(topped_up))
    if (one := cheapest_of_one_class(demand)) is not None:
        candidates.append(one)
    limit = sum(demand.available) if demand.most_hosts is None else demand.most_hosts
    best = min(
        (candidate for candidate in candidates if sum(candidate) <= limit),
        key=lambda candidate: (demand.cost(candidate), sum(candidate)),
    )
    return Cheapest(hosts=best, bound=min(_bound_of_parts(demand), demand.cost(best)))


def _fewest(demand: Demand, hosts: Sequence[int], nth: int) -> int:
    """Return the fewest hosts of the class ``nth``, at most those of ``hosts``, with which all carry the rate."""
    return bisect_left(
        range(hosts[nth]), True, key=lambda count: demand.is_carried([*hosts[:nth], count, *hosts[nth + 1 :]])
    )


def _bound_of_parts(demand: Demand) -> float:
    """Return what hosts cost at least if they were divisible.

    Without the ``spare`` fastest, hosts of rates ``c`` carry the rate ``R`` if and only if ``sum min(c, t) >= R + spare
    t`` for one of the rates as ``t`` [Bertsimas and Sim, Robust discrete optimization and network flows, 2003].
    """
    thresholds = set(demand.rates_per_s) if demand.spare else {max(demand.rates_per_s)}
    return min(_cost_of_parts(demand, threshold) for threshold in thresholds)


def _cost_of_parts(demand: Demand, threshold_per_s: float) -> float:
    """Return the cost for one threshold, infinite where all hosts are too few for it."""
    left_per_s, cost = demand.rate_per_s + demand.spare * threshold_per_s, 0.0
    counted = [min(rate, threshold_per_s, left_per_s) for rate in demand.rates_per_s]
    priced = [
        (price / rate, rate * hosts)
        for offer, rate in zip(demand.offers, counted, strict=True)
        for price, hosts in offer.prices
    ]
    for cost_of_rate, carried_per_s in sorted(priced):
        cost += cost_of_rate * min(carried_per_s, left_per_s)
        left_per_s -= min(carried_per_s, left_per_s)
    return cost if left_per_s <= demand.rate_per_s * ROUNDING else inf


def cheapest_of_one_class(demand: Demand) -> Hosts | None:
    """Return the cheapest hosts that are all of one class, None where no class carries the rate by itself. Of one
    class, the fewest hosts that carry the rate are the cheapest."""
    fleets: list[Hosts] = []
    for nth, offer in enumerate(demand.offers):
        count = ceil(demand.rate_per_s * (1 - ROUNDING) / offer.rate_per_s) + demand.spare
        if count <= offer.hosts and (demand.most_hosts is None or count <= demand.most_hosts):
            fleets.append(tuple(count if nth == other else 0 for other in range(len(demand.offers))))
    return min(fleets, key=lambda hosts: (demand.cost(hosts), sum(hosts)), default=None)
