"""The cheapest hosts for each of a range of rates, in one process.

Where load adds nothing to what a host costs, the cost rises in steps: a fleet that is the cheapest for a rate is so for
all rates up to the highest that it carries. So the rates are the ends of these steps, each of which begins just above
the one before. Where there may be more steps than a plot has room for, or where load has a cost, rates are apart by a
factor.

Each fleet also carries all lower rates, and a bound for a rate holds for all higher ones. So a fleet of a higher rate
is taken where it is cheaper than what was found in time, and the cost never falls as the rate rises.

Runs in an isolated process, since HiGHS prints.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING

from servefit.search.fleet.plan.cheapest import CLOSE, FEW_CLASSES, Cheapest, cheapest_at_once, cheapest_hosts
from servefit.search.fleet.plan.losses import ROUNDING, carries, kept_per_s
from servefit.search.fleet.plan.one_class import OneClass, cheapest_of_one_class
from servefit.search.fleet.plan.solver_clock import SolverClock

if TYPE_CHECKING:
    from servefit.search.fleet.plan.demand import Demand

Hosts = tuple[int, ...]

MAX_STEPS = 100
"""With no more possible fleets, every step of the cost is found. Chosen: what a plot has room for."""

RATES = 30
"""About so many rates are solved where there may be more steps. Chosen: enough for a curve."""

FEWER_RATES = 8
"""The same where one takes a part of a second: with more classes than FEW_CLASSES, and where load has a cost."""

LOOSE = 1e-3
"""The part of the cost by which an answer may be off where load has a cost: less than a plot shows, and half the time
of what a plan takes."""

_ABOVE = 1e-6
"""The next step begins this part above the end of one: more than the rounding of sums, and less than rates are known
to."""


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
    """The cheapest ``hosts`` of each class for ``rate_per_s``, of which none cost less than ``bound``; and those of one
    class, None where no class carries the rate by itself."""

    rate_per_s: float
    hosts: Hosts
    cost: float
    bound: float
    one_class: Hosts | None
    one_class_cost: float | None


def in_steps(demand: Demand) -> bool:
    """Return whether the cost rises in steps: load adds nothing to the cost of any host."""
    return not any(demand.costs_dynamic)


def solve_range(asked: AskedRates) -> tuple[RateSolution, ...]:
    """Return the cheapest hosts by ascending rate, up to the highest. Where time is over before that, only the rate
    asked and the highest follow, which all hosts carry."""
    found = list(_Walk(asked).solutions())
    bound, above = 0.0, None
    for nth, each in enumerate(found):
        bound = max(bound, each.bound)
        found[nth] = replace(each, bound=bound)
    for nth, each in reversed(list(enumerate(found))):
        known = (each.hosts, above, each.one_class, asked.planned if each.rate_per_s <= asked.asked_per_s else None)
        demand = replace(asked.demand, rate_per_s=each.rate_per_s)
        above = min((hosts for hosts in known if hosts is not None), key=demand.cost)
        cost = demand.cost(above)
        found[nth] = replace(each, hosts=above, cost=cost, bound=min(cost, each.bound))
    return tuple(found)


class _Walk:
    """From the lowest rate to the highest."""

    def __init__(self, asked: AskedRates) -> None:
        self._asked = asked
        self._demand = asked.demand
        self._clock = SolverClock()
        self._in_steps = in_steps(asked.demand)
        few = self._in_steps and len(asked.demand.rates_per_s) <= FEW_CLASSES
        rates = RATES if few else FEWER_RATES
        # Rates that take less leave their part to those that take more.
        self._share_s = 2 * asked.demand.limit_s / rates
        self._gap = None if self._in_steps else LOOSE
        every_step = self._in_steps and prod(count + 1 for count in asked.demand.available) <= MAX_STEPS
        self._factor = 1.0 if every_step else (asked.highest_per_s / asked.demand.rate_per_s) ** (1 / rates)

    def solutions(self) -> Iterator[RateSolution]:
        rate_per_s, before = self._demand.rate_per_s, None
        while before is None or before.rate_per_s < self._asked.highest_per_s:
            if before is not None:
                rate_per_s = self._next(rate_per_s, before.rate_per_s)
            before = self._solution(rate_per_s, before)
            yield before

    def _next(self, begun_per_s: float, done_per_s: float) -> float:
        """Return the next rate to solve: that of one step was begun, and it reaches up to the one that is done."""
        following = max(done_per_s * (1 + _ABOVE), begun_per_s * self._factor)
        if self._left_s <= 0:
            following = self._asked.highest_per_s
        if done_per_s < self._asked.asked_per_s:
            following = min(following, self._asked.asked_per_s)
        return min(following, self._asked.highest_per_s)

    def _solution(self, rate_per_s: float, before: RateSolution | None) -> RateSolution:
        demand = replace(self._demand, rate_per_s=rate_per_s)
        found, one = self._cheapest(demand, before), cheapest_of_one_class(demand)
        end_per_s = rate_per_s
        # The lowest rate is one of its own, so that the first step has a beginning.
        if before is not None and self._is_step(demand, found):
            end_per_s = self._end(demand, found, one)
        if end_per_s >= self._asked.highest_per_s * (1 - ROUNDING):
            end_per_s = self._asked.highest_per_s
        demand = replace(demand, rate_per_s=end_per_s)
        alone = None if one is None else one.hosts
        return RateSolution(
            rate_per_s=end_per_s,
            hosts=found.hosts,
            cost=demand.cost(found.hosts),
            bound=found.bound,
            one_class=alone,
            one_class_cost=None if alone is None else demand.cost(alone),
        )

    def _is_step(self, demand: Demand, found: Cheapest) -> bool:
        """Return whether the hosts that were found are the cheapest for all rates that they carry. Those of a search
        that had no time may be all that there are, and carry any rate."""
        return self._in_steps and found.bound >= demand.cost(found.hosts) * (1 - CLOSE)

    def _end(self, demand: Demand, found: Cheapest, one: OneClass | None) -> float:
        """Return the rate up to which neither the cheapest hosts nor those of one class change."""
        end_per_s = kept_per_s(demand.rates_per_s, found.hosts, demand.spare)
        if one is not None:
            end_per_s = min(end_per_s, one.carries_per_s)
        end_per_s = max(demand.rate_per_s, end_per_s)
        asked_per_s = self._asked.asked_per_s
        return asked_per_s if demand.rate_per_s <= asked_per_s < end_per_s else end_per_s

    def _cheapest(self, demand: Demand, before: RateSolution | None) -> Cheapest:
        if before is not None:
            known = Cheapest(hosts=before.hosts, bound=before.bound)
            if self._is_step(demand, known) and carries(
                demand.rates_per_s, before.hosts, demand.rate_per_s, demand.spare
            ):
                return known
        if self._left_s <= 0:
            return cheapest_at_once(demand)
        return cheapest_hosts(replace(demand, limit_s=min(self._left_s, self._share_s), gap=self._gap))

    @property
    def _left_s(self) -> float:
        return self._demand.limit_s - self._clock.now_s()
