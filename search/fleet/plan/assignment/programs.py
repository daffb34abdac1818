"""The programs of an assignment, as HiGHS is given them.

A model's hosts are covered as in ``covering``: for one of its thresholds ``t`` they must have ``sum min(c, t) x >= R +
spare t``. Which one is a whole number of the program, too: ``sum min(c, t) x >= (R + spare t) chosen``, and one is
chosen for each model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from servefit.search.fleet.plan.losses import ROUNDING

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from servefit.search.fleet.plan.assignment.problem import AssignmentProblem
    from servefit.search.fleet.plan.solver_clock import SolverClock

    Numbers = NDArray[np.float64]
    Places = NDArray[np.intp]

CLOSE = 1e-4
"""The part of the cost by which an answer may be off the best: what costs are known to."""

DEAR = 0.15
"""Numbers of hosts whose reduced cost is a larger part of their cost are left out of large programs. On synthetic
fleets a tenth is left, and answers in the same time are nearer the bound than with all."""

_ROW = 1000.0
"""Rows are scaled to this: HiGHS keeps rows within 1e-6."""

_MIN_LIMIT_S, _MIN_LIMIT_OF_PART_S = 0.1, 1.0
"""A program has so much CPU time at least, the last one more. Chosen, not measured."""

_INFEASIBLE = 2
"""The status of scipy.optimize's programs that nothing meets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelThresholds:
    """Thresholds and the model of each. ``complete``: no better ones are missing."""

    models: Places
    values: Numbers
    complete: bool

    @classmethod
    def one_each(cls, problem: AssignmentProblem, values: Numbers) -> Self:
        """Return one for each model."""
        return cls(models=np.arange(len(values)), values=values, complete=not problem.spare)

    @classmethod
    def all_of(cls, problem: AssignmentProblem) -> Self:
        """Return all rates of every model, or without spare hosts the fastest, which is enough."""
        if not problem.spare:
            return cls.one_each(problem, problem.fastest)
        pairs = np.unique(np.column_stack([problem.model, problem.rates]), axis=0)
        return cls(models=pairs[:, 0].astype(np.intp), values=pairs[:, 1], complete=True)

    @classmethod
    def fastest_and_slowest(cls, problem: AssignmentProblem) -> Self:
        """Return two for each model."""
        models = np.arange(len(problem.asked))
        return cls(
            models=np.concatenate([models, models]),
            values=np.concatenate([problem.fastest, problem.slowest]),
            complete=not problem.spare,
        )

    def need(self, problem: AssignmentProblem) -> Numbers:
        """Return what hosts must carry by each, all counted at the threshold at most."""
        return problem.asked[self.models] + problem.spare * self.values

    def counted(self, problem: AssignmentProblem) -> Any:
        """Return what a host of each column counts in each row."""
        from scipy.sparse import csr_array

        servings = [np.flatnonzero(problem.model == model) for model in range(len(problem.asked))]
        rows = np.concatenate([np.full(len(servings[model]), row) for row, model in enumerate(self.models)])
        places = np.concatenate([servings[model] for model in self.models])
        counted = np.minimum(problem.rates[places], np.minimum(self.values, self.need(problem))[rows])
        shape = len(self.models), len(problem.host_class)
        return csr_array((counted, (rows, problem.column[places])), shape=shape)

    def of_models(self, problem: AssignmentProblem) -> Any:
        """Return which ones are of which model."""
        from scipy.sparse import csr_array

        count = len(self.models)
        return csr_array((np.ones(count), (self.models, np.arange(count))), shape=(len(problem.asked), count))


def cheapest(
    problem: AssignmentProblem, costs: Numbers, thresholds: ModelThresholds, *, clock: SolverClock, limit_s: float
) -> Numbers | None:
    """Return the whole numbers of hosts that are cheapest at fixed ``costs`` of a host, None if none were found."""
    kept = np.arange(len(costs)) if problem.is_small else cheap_columns(problem, costs, thresholds)
    return _cheapest_of(problem, costs, thresholds, kept, clock, limit_s) if len(kept) else None


def cheap_columns(problem: AssignmentProblem, costs: Numbers, thresholds: ModelThresholds) -> Places:
    """Return the columns of low reduced cost, none where the relaxation has no answer."""
    from scipy.optimize import linprog
    from scipy.sparse import diags, vstack

    rows = diags(_ROW / thresholds.need(problem)) @ thresholds.counted(problem)
    matrix = vstack([-rows, problem.of_class]).tocsr()
    limits = np.append(np.full(len(thresholds.values), -_ROW), problem.available)
    found: Any = linprog(costs, A_ub=matrix, b_ub=limits, method="highs")
    if found.x is None:
        return np.zeros(0, dtype=np.intp)
    reduced = costs - matrix.T @ found.ineqlin.marginals
    return np.flatnonzero((reduced <= DEAR * problem.full) | (found.x > 0))


def _cheapest_of(
    problem: AssignmentProblem,
    costs: Numbers,
    thresholds: ModelThresholds,
    kept: Places,
    clock: SolverClock,
    limit_s: float,
) -> Numbers | None:
    from scipy.optimize import Bounds, LinearConstraint
    from scipy.sparse import bmat, diags

    rows = (diags(_ROW / thresholds.need(problem)) @ thresholds.counted(problem)).tocsr()[:, kept]
    chosen = len(thresholds.values)
    matrix = bmat(
        [
            [rows, -_ROW * diags(np.ones(chosen))],
            [None, thresholds.of_models(problem)],
            [-problem.of_class[:, kept], None],
        ]
    ).tocsr()
    found = clock.solve(
        np.append(costs[kept], np.zeros(chosen)),
        limit_s=max(_MIN_LIMIT_S, limit_s),
        gap=CLOSE / 2,
        constraints=LinearConstraint(
            matrix, np.concatenate([np.zeros(chosen), np.ones(len(problem.asked)), -problem.available]), np.inf
        ),
        integrality=np.ones(len(kept) + chosen),
        bounds=Bounds(0, np.append(problem.available[problem.host_class[kept]], np.ones(chosen))),
    )
    if found.x is None:
        return None
    hosts = np.zeros(len(costs))
    hosts[kept] = np.round(found.x[: len(kept)])
    return hosts if problem.carried(hosts) else None


def cost_bound(problem: AssignmentProblem, *, whole: bool, clock: SolverClock, limit_s: float) -> float | None:
    """Return what no assignment costs less than; None where not even parts of hosts carry all rates.

    Variables are hosts, ``whole`` or parts, and the part of its model's requests that each serving has, wherever that
    is cheapest. Without its ``spare`` fastest hosts, which have at least the slowest rate each, a model's fleet carries
    its rate.
    """
    from scipy.optimize import Bounds, LinearConstraint
    from scipy.sparse import bmat, diags

    asked, models = problem.asked[problem.model], np.ones(len(problem.asked))
    columns, servings = len(problem.host_class), len(problem.rates)
    need = problem.asked + problem.spare * problem.slowest
    least_hosts = problem.spare + np.ceil(problem.asked * (1 - ROUNDING) / problem.fastest)
    matrix = bmat(
        [
            [diags(problem.rates / asked) @ problem.of_column, -diags(np.ones(servings))],
            [(problem.of_model * (problem.rates / need[problem.model])) @ problem.of_column, None],
            [problem.of_model @ problem.of_column, None],
            [-problem.of_class, None],
            [None, problem.of_model],
        ]
    ).tocsr()
    least = np.concatenate([np.zeros(servings), models, least_hosts, -problem.available, models])
    found = clock.solve(
        np.concatenate([problem.idle, problem.dynamic / problem.rates * asked]),
        limit_s=max(_MIN_LIMIT_S, limit_s),
        gap=CLOSE / 2,
        constraints=LinearConstraint(matrix, least, np.inf),
        integrality=np.repeat([int(whole), 0], [columns, servings]),
        bounds=Bounds(0, np.concatenate([problem.available[problem.host_class], np.ones(servings)])),
    )
    if found.status == _INFEASIBLE:
        return None
    known = found.mip_dual_bound if whole else found.fun
    return 0.0 if known is None or not np.isfinite(known) else max(0.0, float(known))


def largest_part(
    problem: AssignmentProblem, thresholds: ModelThresholds, *, clock: SolverClock, limit_s: float
) -> tuple[float, Numbers | None, float]:
    """Return the largest part of all rates, up to 1, for which hosts were found, these, and the part that no hosts
    carry more than."""
    from scipy.optimize import Bounds, LinearConstraint
    from scipy.sparse import bmat, diags

    columns, chosen, asked = len(problem.host_class), len(thresholds.values), problem.asked[thresholds.models]
    lost = problem.spare * thresholds.values / asked
    # sum min(c, t) x / R >= part + lost for the chosen, and nothing for the others.
    matrix = bmat(
        [
            [diags(1 / asked) @ thresholds.counted(problem), -diags(1 + lost), -np.ones((chosen, 1))],
            [None, thresholds.of_models(problem), None],
            [-problem.of_class, None, None],
        ]
    ).tocsr()
    least = np.concatenate([-np.ones(chosen), np.ones(len(problem.asked)), -problem.available])
    found = clock.solve(
        np.append(np.zeros(columns + chosen), -1.0),
        limit_s=max(_MIN_LIMIT_OF_PART_S, limit_s),
        gap=CLOSE,
        constraints=LinearConstraint(matrix, least, np.inf),
        integrality=np.append(np.ones(columns + chosen), 0),
        bounds=Bounds(0, np.concatenate([problem.available[problem.host_class], np.ones(chosen + 1)])),
    )
    known = found.mip_dual_bound if thresholds.complete else None
    at_most = 0.0 if found.status == _INFEASIBLE and thresholds.complete else 1.0
    if known is not None and np.isfinite(known):
        at_most = min(1.0, -float(known))
    if found.x is None:
        return 0.0, None, at_most
    return float(found.x[-1]), np.round(found.x[:columns]), at_most
