"""The search for the cheapest assignment.

It begins with a greedy one: one model after the other, each with the hosts that are left. Costs follow from loads as in
``cheapest``: a program is solved at full load, then at the loads of the hosts found, until they stay the same. With
spare hosts a model has one threshold at a time, first the rate that it is asked for, as far as its hosts have such a
one, then that of the last host that its fleet would lose; in small problems all thresholds are tried after that, for
which there may be too little time. In large ones numbers of hosts that are dear in the relaxation are left out. All of
these are heuristics.

How far off the answer may be is known from another program, with all numbers and the true cost, which rests on nothing
that was left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from servefit.search.fleet.plan.assignment.problem import Assigned, Assignment, AssignmentProblem
from servefit.search.fleet.plan.assignment.programs import CLOSE, ModelThresholds, cheapest, cost_bound, largest_part
from servefit.search.fleet.plan.demand import Demand
from servefit.search.fleet.plan.greedy import greedy_hosts
from servefit.search.fleet.plan.losses import carries
from servefit.search.fleet.plan.solver_clock import SolverClock

if TYPE_CHECKING:
    from servefit.search.fleet.plan.assignment.problem import Numbers

_ROUNDS = 2
"""As many programs are solved from one start. Later ones changed nothing."""

_STARTS = (1.0, 0.5, 0.2)
"""The loads to begin with in small problems, since the loop may end beside the best; large ones begin at full load, as
most of their hosts are at it, and so do those in which load costs the same everywhere."""

_AFTERWARDS = 0.2
"""The part of the time that is kept for the whole bound, or for which part of the rates is carried if not all are."""


def assign(asked: Assignment) -> Assigned:
    """Return the cheapest assignment that was found in time, or which part of all rates can be carried."""
    problem, clock = AssignmentProblem(asked), SolverClock()
    bound = cost_bound(problem, whole=False, clock=clock, limit_s=asked.limit_s)
    if bound is None:
        return _part(problem, None, clock, asked.limit_s)
    best = _one_after_the_other(asked, problem)
    best_cost = np.inf if best is None else problem.cost(best)
    starts = _STARTS if problem.is_small and problem.dearer.any() else _STARTS[:1]
    tries = [(start, True) for start in starts] if problem.is_small or not problem.spare else []
    if problem.spare:
        tries.insert(0, (_STARTS[0], False))
    ends_s = (1 - _AFTERWARDS) * asked.limit_s
    for done, (start, complete) in enumerate(tries):
        part_ends_s = clock.now_s() + (ends_s - clock.now_s()) / (len(tries) - done)
        for found in _rounds(problem, start, clock, part_ends_s, complete=complete):
            if problem.cost(found) < best_cost:
                best, best_cost = found, problem.cost(found)
    if best is None:
        return _part(problem, bound, clock, asked.limit_s)
    if problem.is_small and best_cost * (1 - CLOSE) > bound:
        left_s = asked.limit_s - clock.now_s()
        bound = max(bound, cost_bound(problem, whole=True, clock=clock, limit_s=left_s) or 0.0)
    return Assigned(
        hosts=tuple(int(each) for each in best), bound=min(bound, best_cost), part_carried=1.0, part_at_most=1.0
    )


def _one_after_the_other(asked: Assignment, problem: AssignmentProblem) -> Numbers | None:
    """Return hosts of one model each, found without a solver: the model that needs the largest part of the fleet
    chooses first. None where they do not carry all rates."""
    columns: list[list[int]] = [[] for _ in asked.asked_per_s]
    for column, model in enumerate(asked.models):
        columns[model].append(column)
    parts = asked.asked_per_s / problem.totals(problem.available[problem.host_class])
    hosts, left = np.zeros(len(problem.host_class)), problem.available.copy()
    for model in np.argsort(-parts, kind="stable"):
        own = [column for column in columns[model] if left[asked.classes[column]] >= 1]
        rates = tuple(asked.rates_per_s[column] for column in own)
        available = tuple(int(left[asked.classes[column]]) for column in own)
        rate_per_s = asked.asked_per_s[model]
        if sum(available) <= asked.spare or not carries(rates, available, rate_per_s, asked.spare):
            return None
        demand = Demand(
            rates_per_s=rates,
            available=available,
            costs_idle=tuple(asked.costs_idle[column] for column in own),
            costs_dynamic=tuple(asked.costs_dynamic[column] for column in own),
            rate_per_s=rate_per_s,
            spare=asked.spare,
            most_hosts=None,
            limit_s=0.0,
        )
        for column, count in zip(own, greedy_hosts(demand), strict=True):
            hosts[column] += count
            left[asked.classes[column]] -= count
    return hosts if problem.carried(hosts) else None


def _rounds(
    problem: AssignmentProblem, start: float, clock: SolverClock, ends_s: float, *, complete: bool
) -> Iterator[Numbers]:
    """Yield the hosts that are cheapest at the load ``start``, and then at the loads of those before, by all thresholds
    where that is to be ``complete``."""
    loads = np.full_like(problem.asked, start)
    thresholds = ModelThresholds.all_of(problem)
    if not complete:
        thresholds = ModelThresholds.one_each(problem, np.clip(problem.asked, problem.slowest, problem.fastest))
    for rounds_left in range(_ROUNDS, 0, -1):
        limit_s = (ends_s - clock.now_s()) / rounds_left
        costs = problem.column_costs(loads)
        found = cheapest(problem, costs, thresholds, clock=clock, limit_s=limit_s) if limit_s > 0 else None
        if found is None:
            return
        yield found
        if complete and not problem.dearer.any():
            return  # the next program would be the same
        loads = np.minimum(1.0, problem.asked / problem.totals(found))
        if not complete:
            thresholds = ModelThresholds.one_each(problem, problem.last_lost(found))


def _part(problem: AssignmentProblem, bound: float | None, clock: SolverClock, ends_s: float) -> Assigned:
    """Return which part of the rates can be carried, and the hosts if it is all of them after all."""
    thresholds = ModelThresholds.all_of(problem) if problem.is_small else ModelThresholds.fastest_and_slowest(problem)
    part, hosts, at_most = largest_part(problem, thresholds, clock=clock, limit_s=ends_s - clock.now_s())
    carried = hosts is not None and bound is not None and problem.carried(hosts)
    return Assigned(
        hosts=tuple(int(each) for each in hosts) if carried and hosts is not None else None,
        bound=bound or 0.0,
        part_carried=part,
        part_at_most=max(part, at_most),
    )
