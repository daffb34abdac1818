"""The linear program under the plan: the cheapest whole numbers of hosts that cover a rate after any loss.

With ``x`` hosts of each class of rates ``c``, ``sum c x`` without the ``spare`` fastest hosts in use must be at least
the rate ``R``: the robust counterpart of [Bertsimas and Sim, The Price of Robustness, 2004]. What the fastest lose is
the least over thresholds ``t`` of ``spare t + sum x max(0, c - t)``, which is reached at a ``t`` among the rates. So
the hosts carry ``R`` exactly when for one of the rates as ``t``

    ``sum min(c, t) x >= R + spare t``

and the robust program is as many plain ones as there are rates, with one row each [Bertsimas and Sim, Robust discrete
optimization and network flows, 2003, theorem 3]. The relaxation of one row is solved by sorting; only programs whose
relaxation is cheaper than the best hosts so far are solved in whole numbers, mostly one or two.

Runs where HiGHS may print: in an isolated process.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from servefit.search.fleet.plan.losses import carries

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from servefit.search.fleet.plan.solver_clock import SolverClock

    Numbers = NDArray[np.float64]

_ROW = 1000.0
"""Rows are scaled to this right side: HiGHS keeps rows within 1e-6, so that it keeps them within 1e-9 of themselves."""

_ROW_WITHIN = 1e-9
"""The tolerance of HiGHS for rows, as a part of the right side."""

INFEASIBLE = 2
"""The status of scipy.optimize's programs that nothing meets."""

_ROUNDS = 2
"""The number of times that prices of the side conditions are asked of the relaxation. More did not leave out more
programs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Covering:
    """A covering program: ``available`` hosts of each class with ``rates_per_s`` are to carry ``rate_per_s`` after the
    loss of any ``spare``. At most ``most_hosts`` are used, and together they carry ``low_per_s``. The
    answer may be off the best by ``gap``, a part of the cost."""

    rates_per_s: Numbers
    available: Numbers
    rate_per_s: float
    spare: int
    most_hosts: int
    low_per_s: float
    gap: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """The ``values`` of ``t`` under which hosts of less than some cost may lie, and a bound on the cost for each."""

    values: Numbers
    bounds: Numbers

    @classmethod
    def of(cls, program: Covering) -> Self:
        """Return all that there are."""
        rates = program.rates_per_s
        values = np.unique(rates)[::-1] if program.spare else rates.max(keepdims=True)
        return cls(values=values, bounds=np.zeros_like(values))

    def below(self, cost: float) -> Self:
        """Return those whose bounds are below ``cost``."""
        kept = self.bounds < cost
        return replace(self, values=self.values[kept], bounds=self.bounds[kept])

    def bounded(self, bounds: Numbers) -> Self:
        """Return the same with higher ``bounds`` where these are higher."""
        return replace(self, bounds=np.maximum(self.bounds, bounds))


def cover(
    program: Covering, costs: Numbers, thresholds: Thresholds, *, below: float, clock: SolverClock, ends_s: float
) -> Cover:
    """Return the cheapest whole numbers of hosts, each of which costs the one of ``costs`` of its class.

    Args:
        program: What they must carry.
        costs: Cost of a host of each class, none below zero.
        thresholds: What :func:`relax` returned for the same.
        below: Only hosts that cost less than this are looked for.
        clock: What the time is taken by.
        ends_s: When to end, by ``clock``.
    """
    bounds, best, hosts = thresholds.bounds.copy(), below, None
    for index in np.argsort(bounds, kind="stable"):
        if bounds[index] >= best * (1 - program.gap) or clock.now_s() >= ends_s:
            break
        found, bound = _whole(program, costs, float(thresholds.values[index]), clock, ends_s)
        bounds[index] = max(bounds[index], bound)
        if found is not None and (cost := float(costs @ found)) < best:
            best, hosts = cost, found
    return Cover(
        hosts=None if hosts is None else tuple(int(each) for each in hosts), thresholds=thresholds.bounded(bounds)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cover:
    """The cheapest ``hosts`` that were found, None if none were below the cost asked for; and what is known of the
    ``thresholds`` then."""

    hosts: tuple[int, ...] | None
    thresholds: Thresholds


def relax(program: Covering, costs: Numbers, thresholds: Thresholds) -> Thresholds:
    """Return ``thresholds`` with bounds from parts of hosts, infinite where all hosts together do not cover the rate.

    Side conditions are priced at what they cost in the relaxation of the cheapest threshold [Lagrange]; each price
    gives bounds for all thresholds, of which the highest count.
    """
    known = thresholds.bounded(bounds_of_parts(program, costs, thresholds.values))
    rows, limits = _conditions(program)
    for _ in range(_ROUNDS if len(limits) and len(known.values) else 0):
        cheapest = int(np.argmin(known.bounds))
        prices = _prices(program, costs, float(known.values[cheapest]), rows, limits)
        if prices is None:
            known.bounds[cheapest] = np.inf
        else:
            found = bounds_of_parts(program, costs + prices @ rows, known.values)
            known = known.bounded(found - prices @ limits)
    return known


def bounds_of_parts(program: Covering, costs: Numbers, thresholds: Numbers) -> Numbers:
    """Return for each of ``thresholds`` what parts of hosts cost at least, without the side conditions."""
    return np.array([_sorted_bound(program.available, costs, _row(program, each)) for each in thresholds])


def _conditions(program: Covering) -> tuple[Numbers, Numbers]:
    """Return the rows and right sides of what holds beside the threshold's row: rows @ x <= right sides."""
    rows, limits = [], []
    if program.most_hosts < program.available.sum():
        rows.append(np.ones_like(program.rates_per_s))
        limits.append(float(program.most_hosts))
    if program.low_per_s > program.rate_per_s:
        rows.append(program.rates_per_s * (-_ROW / program.low_per_s))
        limits.append(-_ROW)
    return np.array(rows).reshape(len(rows), len(program.rates_per_s)), np.array(limits)


def _row(program: Covering, threshold: float) -> Numbers:
    """Return the threshold's row, which is to be at least _ROW. What one host carries beyond it does not count."""
    need = program.rate_per_s + program.spare * threshold
    return np.minimum(np.minimum(program.rates_per_s, threshold), need) * (_ROW / need)


def _sorted_bound(available: Numbers, costs: Numbers, row: Numbers) -> float:
    """Return the least cost of parts of hosts whose ``row`` is at least _ROW: the cheapest for what they cover first,
    and in any case those that cost less than nothing."""
    order = np.argsort(costs / row, kind="stable")
    covered = np.cumsum((row * available)[order])
    if covered[-1] < _ROW * (1 - _ROW_WITHIN):
        return float("inf")
    gained = int(np.count_nonzero(costs < 0))
    last = max(int(np.searchsorted(covered, _ROW)), gained)
    whole = float((costs * available)[order[:last]].sum())
    if last >= len(order):
        return whole
    before = covered[last - 1] if last else 0.0
    return whole + max(0.0, _ROW - before) * float(costs[order[last]] / row[order[last]])


def _prices(program: Covering, costs: Numbers, threshold: float, rows: Numbers, limits: Numbers) -> Numbers | None:
    """Return what each side condition costs in the relaxation, None where nothing meets them all."""
    from scipy.optimize import linprog

    matrix = np.vstack([rows, -_row(program, threshold)])
    found: Any = linprog(
        costs,
        A_ub=matrix,
        b_ub=np.append(limits, -_ROW),
        bounds=np.column_stack([np.zeros_like(program.available), program.available]),
        method="highs",
    )
    if found.status == INFEASIBLE:
        return None
    if found.x is None:
        return np.zeros(len(limits))
    prices: Numbers = np.maximum(0.0, -found.ineqlin.marginals[:-1])
    return prices


def _whole(
    program: Covering, costs: Numbers, threshold: float, clock: SolverClock, ends_s: float
) -> tuple[Numbers | None, float]:
    """Return the cheapest whole numbers of hosts for one threshold, None if none were found, and a bound."""
    from scipy.optimize import Bounds, LinearConstraint

    rows, limits = _conditions(program)
    row = _row(program, threshold)
    for need in (_ROW, _ROW * (1 + 10 * _ROW_WITHIN)):
        found = clock.solve(
            costs,
            limit_s=ends_s - clock.now_s(),
            gap=program.gap / 2,
            constraints=LinearConstraint(
                np.vstack([rows, row]),
                np.append(np.full(len(limits), -np.inf), need),
                np.append(limits, np.inf),
            ),
            integrality=np.ones_like(costs),
            bounds=Bounds(0, program.available),
        )
        bound = np.inf if found.status == INFEASIBLE else found.mip_dual_bound
        if need == _ROW:
            first = 0.0 if bound is None else float(bound)
        if found.x is None:
            return None, first
        hosts = np.round(found.x)
        if _is_whole(program, hosts):
            return hosts, first
    return None, first


def _is_whole(program: Covering, hosts: Numbers) -> bool:
    """Return whether ``hosts`` carry the rate in numbers that were not rounded by the solver."""
    counts = [int(each) for each in hosts]
    return carries([float(each) for each in program.rates_per_s], counts, program.rate_per_s, program.spare)
