"""The integer program of a plan: the cheapest whole numbers of hosts that carry the rates of one or several models,
also after the loss of any ``spare`` hosts of each.

A model's hosts x of rates c carry sum(c x) less what the ``spare`` fastest of them carry. With rates in descending
order, the latter is the sum of (c[i] - c[i+1]) min(spare, n[i]), where n[i] is the number of hosts of the rates c[0] to
c[i]. Each minimum is a variable m[i] with a choice w[i] of 0 or 1: m[i] >= spare w[i], and m[i] >= n[i] - (most[i] -
spare) w[i], where most[i] bounds n[i]. Rates above the one asked count as the one asked: what is left carries it
either way.

Fifty classes take a fraction of a second. Runs in an isolated process, since HiGHS prints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil, inf
from time import monotonic
from typing import Any

import numpy as np

from servefit.search.fleet.plan.losses import ROUNDING, carries

GAP = 1e-6
"""The part of the cost by which an answer may be off the best: far below what costs are known to."""

FEWER_HOSTS = 1e-8
"""A host costs this part of the mean cost more, so that of answers that cost the same the one of fewer hosts is found.
It is small beside GAP."""

_ROW = 1000.0
"""Rows are scaled to this: HiGHS keeps rows within 1e-6, so that it keeps them within 1e-9 of themselves."""

_NEEDS = (1.0, 1 + 1e-8, 1 + 1e-5)
"""The parts of the rates that are asked of HiGHS: more than all where its hosts do not carry them but for its own
rounding."""

_MIN_LIMIT_S = 1.0
"""The search for the part of the rates that is carried has so much time at least. Chosen, not measured."""

_INFEASIBLE = 2
"""The status of scipy.optimize's programs that nothing meets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostColumn:
    """A number of hosts to choose: they are of ``pool``, each costs ``cost``, and serves the models of ``rates_per_s``
    at these rates."""

    pool: int
    cost: float
    rates_per_s: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """The ``columns`` take ``available`` hosts of each pool, ``most_hosts`` of all at most, and carry ``asked_per_s``
    of each model after the loss of any ``spare`` of its hosts. The search ends after ``limit_s``."""

    columns: tuple[HostColumn, ...]
    available: tuple[int, ...]
    asked_per_s: tuple[float, ...]
    spare: int
    most_hosts: int | None = None
    limit_s: float

    def serving(self, model: int) -> list[tuple[float, int]]:
        """Return the rates of all columns that serve ``model``, descending, and which columns these are."""
        rates = (
            (rate, nth) for nth, column in enumerate(self.columns) for of, rate in column.rates_per_s if of == model
        )
        return sorted(rates, reverse=True)

    def are_carried(self, hosts: Sequence[int]) -> bool:
        """Return whether ``hosts`` of each column carry all rates, in numbers that the solver did not round."""
        for model, asked_per_s in enumerate(self.asked_per_s):
            rates, counts = zip(*((rate, hosts[nth]) for rate, nth in self.serving(model)), strict=True)
            if sum(counts) <= self.spare or not carries(rates, counts, asked_per_s, self.spare):
                return False
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """The cheapest ``hosts`` of each column that were found, None if none were; no others cost less than ``bound``.

    ``part_carried`` of every rate is carried by hosts that were found, and more than ``part_at_most`` by none.
    """

    hosts: tuple[int, ...] | None
    bound: float
    part_carried: float = 1.0
    part_at_most: float = 1.0


def solve(program: Program) -> Solution:
    """Return the cheapest hosts, or which part of all rates can be carried."""
    ends_s = monotonic() + program.limit_s
    costs = np.array([column.cost for column in program.columns])
    # Where everything is for nothing, hosts count.
    host_cost = FEWER_HOSTS * float(costs.mean()) or 1.0
    bound, at_most = 0.0, 1.0
    for need in _NEEDS:
        result = _Rows(program, whole=True).solve(costs + host_cost, (need, need), ends_s - monotonic())
        if need == _NEEDS[0]:
            if result.status == _INFEASIBLE:
                break
            if (bound_of_rows := result.mip_dual_bound) is not None and np.isfinite(bound_of_rows):
                bound = max(0.0, bound_of_rows - host_cost * sum(program.available))
        if result.x is None:
            break
        hosts = tuple(int(count) for count in result.x[: len(costs)].round())
        if program.are_carried(hosts):
            return Solution(hosts=hosts, bound=min(bound, float(costs @ hosts)))
    result = _Rows(program, whole=False).solve(None, (0.0, 1.0), max(_MIN_LIMIT_S, ends_s - monotonic()))
    if (bound_of_rows := result.mip_dual_bound) is not None and np.isfinite(bound_of_rows):
        at_most = min(1.0, -bound_of_rows)
    if result.x is None:
        return Solution(hosts=None, bound=bound, part_carried=0.0, part_at_most=at_most)
    hosts, part = tuple(int(count) for count in result.x[: len(costs)].round()), float(result.x[len(costs)])
    carried = hosts if program.are_carried(hosts) else None
    return Solution(hosts=carried, bound=bound, part_carried=part, part_at_most=max(part, at_most))


@dataclass(slots=True)
class _Rows:
    """The rows and variables of a program: numbers of hosts, the part of all rates that is carried, and for each model
    what is lost. ``whole``: that part is 1 at least, which allows rows that rule out much of what cannot be."""

    program: Program
    whole: bool
    most: list[float] = field(default_factory=list)
    integral: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    places: list[tuple[int, int]] = field(default_factory=list)
    least: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        program = self.program
        for column in program.columns:
            self._variable(self._useful(column), whole=True)
        part = self._variable(inf)
        for model in range(len(program.asked_per_s)):
            self._carry(model, part)
        for pool, available in enumerate(program.available):
            self._row([(nth, -1) for nth, column in enumerate(program.columns) if column.pool == pool], -available)
        if program.most_hosts is not None:
            self._row([(nth, -1) for nth in range(part)], -program.most_hosts)

    def solve(self, costs: Any, part: tuple[float, float], limit_s: float) -> Any:
        """Return what HiGHS finds: the least of ``costs`` where the part of all rates lies within ``part``, or the
        largest part without ``costs``."""
        from scipy.optimize import Bounds, LinearConstraint, milp
        from scipy.sparse import csr_array

        variables, nth_part = len(self.most), len(self.program.columns)
        objective, lowest, highest = np.zeros(variables), np.zeros(variables), np.array(self.most)
        lowest[nth_part], highest[nth_part] = part
        if costs is None:
            objective[nth_part] = -1
        else:
            objective[:nth_part] = costs
        rows, columns = zip(*self.places, strict=True)
        matrix = csr_array((self.values, (rows, columns)), shape=(len(self.least), variables))
        return milp(
            objective,
            constraints=LinearConstraint(matrix, self.least, inf),
            integrality=self.integral,
            bounds=Bounds(lowest, highest),
            options={"time_limit": max(0.0, limit_s), "mip_rel_gap": GAP},
        )

    def _useful(self, column: HostColumn) -> int:
        """Return how many hosts of a column may be of use to one model: those that carry its rate by themselves, and
        the spare ones."""
        available = self.program.available[column.pool]
        if len(column.rates_per_s) > 1:
            return available
        ((model, rate_per_s),) = column.rates_per_s
        serving = ceil(self.program.asked_per_s[model] / rate_per_s * (1 - ROUNDING))
        return min(available, serving + self.program.spare)

    def _variable(self, most: float, *, whole: bool = False) -> int:
        self.most.append(most)
        self.integral.append(int(whole))
        return len(self.most) - 1

    def _row(self, entries: Sequence[tuple[int, float]], least: float) -> None:
        """Add: the sum of ``entries``, which are variables and factors, is ``least`` at least."""
        for variable, factor in entries:
            self.places.append((len(self.least), variable))
            self.values.append(factor)
        self.least.append(least)

    def _carry(self, model: int, part: int) -> None:
        """Add that the hosts of ``model`` carry its rate."""
        asked_per_s, spare = self.program.asked_per_s[model], self.program.spare
        serving = [(min(rate, asked_per_s), nth) for rate, nth in self.program.serving(model)]
        entries = [(nth, _ROW * rate / asked_per_s) for rate, nth in serving]
        rates = sorted({rate for rate, _ in serving}, reverse=True)
        if spare and self.whole:
            hosts = spare + ceil(asked_per_s / rates[0] * (1 - ROUNDING))
            self._row([(nth, 1) for _, nth in serving], hosts)
            need_per_s = asked_per_s + spare * rates[-1]
            self._row([(nth, _ROW * rate / need_per_s) for rate, nth in serving], _ROW)
        for rate, lower in zip(rates, [*rates[1:], 0.0], strict=True) if spare else ():
            lost = self._variable(spare)
            entries.append((lost, -_ROW * (rate - lower) / asked_per_s))
            faster = [nth for of, nth in serving if of >= rate]
            hosts = int(sum(self.most[nth] for nth in faster))
            counted = [(lost, 1.0), *((nth, -1.0) for nth in faster)]
            if hosts > spare:
                all_lost = self._variable(1, whole=True)
                self._row([(lost, 1), (all_lost, -spare)], 0)
                counted.append((all_lost, hosts - spare))
            self._row(counted, 0)
        self._row([*entries, (part, -_ROW)], 0)
