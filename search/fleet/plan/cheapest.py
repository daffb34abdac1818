"""The cheapest hosts when a host costs what its load makes of it: idle, and a part that grows with its requests.

Under weights in proportion to their rates all hosts run at the same part ``R / C`` of them, of which ``C`` is the sum.
So ``x`` hosts of classes of rates ``c`` cost ``sum idle x + R sum dynamic x / C(x)``, which is not linear. The answer
is found by solving a linear program at full load, setting the load to ``R / C`` of the hosts found, and solving again,
until they stay the same. That loop may end beside the best, so the rest is ruled out by branching on ``C``:

With ``e = dynamic / c``, what a request costs beside idling, the second term is ``R`` times the mean of ``e`` over all
requests: ``R min e + R sum (e - min e) c x / C``. Where ``C <= high`` that is at least ``R min e + (R / high) sum (e -
min e) c x``, which is linear, and equal for ``C = high``. Ranges of ``C`` whose bound is not below the best hosts so
far are done; the others are split: below hosts that were found where the loop goes on, else in the middle.

Runs in an isolated process, since HiGHS prints.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from typing import TYPE_CHECKING

import numpy as np

from servefit.search.fleet.plan.covering import Cover, Covering, Thresholds, bounds_of_parts, cover, relax
from servefit.search.fleet.plan.greedy import greedy_hosts
from servefit.search.fleet.plan.losses import fastest, total_per_s
from servefit.search.fleet.plan.solver_clock import SolverClock

if TYPE_CHECKING:
    from servefit.search.fleet.plan.demand import Demand

FEW_CLASSES = 50
"""With as many classes or fewer, answers to within EXACT take less than a second."""

EXACT = 1e-6
"""The part of the cost by which an answer may be off the best: far below what costs are known to."""

CLOSE = 1e-4
"""The same with more classes: what costs are known to, and a tenth of the time."""

FEWER_HOSTS = 1e-8
"""A host costs this part of the mean cost more, so that of answers that cost the same the one of fewer hosts is found.
It is small beside the gaps."""

WIDE = 1.02
"""Ranges above known hosts whose ends differ by more are split by the bound of parts of hosts alone, which is fast."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cheapest:
    """The cheapest ``hosts`` of each class that were found. ``bound``: none cost less."""

    hosts: tuple[int, ...]
    bound: float


def cheapest_hosts(demand: Demand) -> Cheapest:
    """Return the cheapest hosts that carry the rate. All hosts together, or the fastest ``most_hosts``, must carry it.
    Those that ``greedy`` finds are the answer where nothing cheaper is found in time."""
    return _Search(demand).answer(SolverClock())


def cheapest_at_once(demand: Demand) -> Cheapest:
    """Return the hosts that ``greedy`` finds, and a bound from parts of hosts: what can be said without a solver."""
    return _Search(demand).at_once()


@dataclass(order=True, frozen=True, slots=True)
class _Range:
    """Hosts that together carry ``low_per_s`` to ``high_per_s``, and cost at least ``bound``.

    ``above``: hosts that carry ``low_per_s`` are known, and cheap ones of the range are just above them.
    """

    bound: float
    low_per_s: float = field(compare=False)
    high_per_s: float = field(compare=False)
    above: bool = field(compare=False)
    thresholds: Thresholds = field(compare=False)


class _Search:
    """One search: what does not change in it, and the best hosts so far."""

    def __init__(self, demand: Demand) -> None:
        self._demand = demand
        rates, idle = np.array(demand.rates_per_s), np.array(demand.costs_idle)
        dynamic = np.array(demand.costs_dynamic)
        least = float((dynamic / rates).min())
        # Where everything is for nothing, hosts count.
        self._host_cost = FEWER_HOSTS * float((idle + dynamic).mean()) or 1.0
        self._constant = idle + self._host_cost
        self._dearer = np.maximum(0.0, dynamic - least * rates)
        self._fixed = demand.rate_per_s * least
        self._gap = demand.gap or (EXACT if len(rates) <= FEW_CLASSES else CLOSE)
        strongest = fastest(demand.rates_per_s, demand.available, demand.most_hosts)
        self._highest_per_s = total_per_s(demand.rates_per_s, strongest)
        self._best = greedy_hosts(demand)
        self._best_cost = self._cost(self._best)
        self._program = Covering(
            rates_per_s=rates,
            available=np.array(demand.available, dtype=float),
            rate_per_s=demand.rate_per_s,
            spare=demand.spare,
            most_hosts=sum(strongest),
            low_per_s=demand.rate_per_s,
            gap=self._gap,
        )

    def at_once(self) -> Cheapest:
        every = Thresholds.of(self._program).values
        return self._cheapest(float(bounds_of_parts(self._program, self._least_costs, every).min()) + self._fixed)

    def answer(self, clock: SolverClock) -> Cheapest:
        self._clock, self._ends_s = clock, clock.now_s() + self._demand.limit_s
        every = Thresholds.of(self._program)
        costs = self._constant + self._dearer
        found = self._cover(self._program, costs, relax(self._program, costs, every))
        if not self._dearer.any():
            return self._cheapest(float(found.thresholds.bounds.min()) + self._fixed)
        every = relax(self._program, self._least_costs, every)
        bound = float(every.bounds.min()) + self._fixed
        rate_per_s, found_per_s = self._demand.rate_per_s, self._total(found.hosts or self._best)
        ranges = [_Range(bound, rate_per_s, found_per_s, above=False, thresholds=every)]
        if found_per_s < self._highest_per_s:
            ranges.append(_Range(bound, found_per_s, self._highest_per_s, above=True, thresholds=every))
        bound = np.inf
        while ranges:
            each = heappop(ranges)
            if each.bound >= self._enough or self._clock.now_s() >= self._ends_s:
                # The others that are left have higher bounds.
                bound = min(bound, each.bound)
                break
            parts, known = self._parts(each)
            for part in parts:
                heappush(ranges, part)
            if not parts:
                bound = min(bound, known)
        return self._cheapest(bound)

    def _parts(self, each: _Range) -> tuple[list[_Range], float]:
        """Return what a range is split into, nothing where it is done, and the bound that is known of it."""
        program = replace(self._program, low_per_s=each.low_per_s)
        costs = self._constant + (self._demand.rate_per_s / each.high_per_s) * self._dearer
        thresholds = relax(program, costs, each.thresholds).below(self._enough - self._fixed)
        split = (each.low_per_s + each.high_per_s) / 2
        if len(thresholds.values) and not (each.above and each.high_per_s > WIDE * each.low_per_s):
            found = self._cover(program, costs, thresholds)
            thresholds = found.thresholds.below(self._enough - self._fixed)
            total_per_s = split if found.hosts is None else self._total(found.hosts)
            if not each.above and each.low_per_s < total_per_s < each.high_per_s:
                split = total_per_s
        bound = max(each.bound, min(self._enough, float(thresholds.bounds.min(initial=np.inf)) + self._fixed))
        if bound >= self._enough or not each.low_per_s < split < each.high_per_s:
            return [], bound
        return [
            _Range(bound, each.low_per_s, split, above=each.above, thresholds=thresholds),
            _Range(bound, split, each.high_per_s, above=True, thresholds=thresholds),
        ], bound

    @property
    def _least_costs(self) -> np.ndarray:
        """The cost of a host of each class at the lowest load that there may be."""
        return np.asarray(self._constant + (self._demand.rate_per_s / self._highest_per_s) * self._dearer)

    @property
    def _enough(self) -> float:
        """The cost that a bound has to reach to prove that no fleet is cheaper by more than the gap."""
        return self._best_cost * (1 - self._gap)

    def _cost(self, hosts: tuple[int, ...]) -> float:
        return self._demand.cost(hosts) + self._host_cost * sum(hosts)

    def _cover(self, program: Covering, costs: np.ndarray, thresholds: Thresholds) -> Cover:
        """Solve a program, and keep its hosts if they are the best."""
        below = self._best_cost - self._fixed
        found = cover(program, costs, thresholds, below=below, clock=self._clock, ends_s=self._ends_s)
        if found.hosts is not None and self._cost(found.hosts) < self._best_cost:
            self._best, self._best_cost = found.hosts, self._cost(found.hosts)
        return found

    def _total(self, hosts: tuple[int, ...]) -> float:
        return total_per_s(self._demand.rates_per_s, hosts)

    def _cheapest(self, bound: float) -> Cheapest:
        cost = self._demand.cost(self._best)
        # No better hosts are more than the available ones.
        bound = min(cost, bound - self._host_cost * sum(self._demand.available))
        return Cheapest(hosts=self._best, bound=max(0.0, float(bound)))
