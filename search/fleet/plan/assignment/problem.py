"""The problem that the solver of assignments gets, as fields and as arrays, and figures of the hosts that it gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from servefit.search.fleet.plan.losses import carries

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

FEW_COLUMNS = 500
"""With as many numbers of hosts or fewer there is time for programs that leave nothing out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedColumn:
    """Hosts of ``host_class`` that serve two ``models`` at the same time, each at its rate. A host costs ``cost_idle``,
    and what each model adds to that at its rate."""

    host_class: int
    cost_idle: float
    models: tuple[int, int]
    rates_per_s: tuple[float, float]
    costs_dynamic: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """An assignment to solve: column ``i`` is ``classes[i]`` for ``models[i]``, of a rate, and costs at that class for
    it. The ``shared`` columns come after these. ``asked_per_s`` are of models, and ``available`` of classes.
    ``limit_s`` is the solver's time."""

    models: tuple[int, ...]
    classes: tuple[int, ...]
    rates_per_s: tuple[float, ...]
    costs_idle: tuple[float, ...]
    costs_dynamic: tuple[float, ...]
    asked_per_s: tuple[float, ...]
    available: tuple[int, ...]
    spare: int
    limit_s: float
    shared: tuple[SharedColumn, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Assigned:
    """``hosts`` of each column, None where none were found that carry all rates, and a ``bound`` on the cost.

    ``part_carried`` of every rate is carried by hosts that were found, and more than ``part_at_most`` by none.
    """

    hosts: tuple[int, ...] | None
    bound: float
    part_carried: float
    part_at_most: float


class AssignmentProblem:
    """An assignment as arrays.

    A column is a number of hosts: of ``host_class``, each ``idle`` without requests and ``full`` at all rates. A
    serving is what a host of a ``column`` does for one ``model``: most columns have one, shared ones two. Of servings
    are ``rates``, ``dynamic`` and ``dearer``; ``asked`` is of models and ``available`` of classes. ``of_model`` says
    which servings are of a model, ``of_class`` which columns of a class, and ``of_column`` which column a serving is
    of.
    """

    def __init__(self, asked: Assignment) -> None:
        from scipy.sparse import csr_array

        self.spare, shared = asked.spare, asked.shared
        self.host_class = np.array([*asked.classes, *(each.host_class for each in shared)])
        self.idle = np.array([*asked.costs_idle, *(each.cost_idle for each in shared)])
        single, columns = len(asked.models), len(self.host_class)
        self.column = np.concatenate([np.arange(single), np.repeat(np.arange(single, columns), 2)])
        self.model = np.array([*asked.models, *(model for each in shared for model in each.models)])
        self.rates = np.array([*asked.rates_per_s, *(rate for each in shared for rate in each.rates_per_s)])
        self.dynamic = np.array([*asked.costs_dynamic, *(cost for each in shared for cost in each.costs_dynamic)])
        self.asked, self.available = np.array(asked.asked_per_s), np.array(asked.available, dtype=float)
        servings, models = len(self.model), len(self.asked)
        places, ones = np.arange(servings), np.ones(servings)
        self.of_model = csr_array((ones, (self.model, places)), shape=(models, servings))
        self.of_column = csr_array((ones, (places, self.column)), shape=(servings, columns))
        self.of_class = csr_array(
            (np.ones(columns), (self.host_class, np.arange(columns))), shape=(len(self.available), columns)
        )
        self.fastest, self.slowest = np.zeros(models), np.full(models, np.inf)
        np.maximum.at(self.fastest, self.model, self.rates)
        np.minimum.at(self.slowest, self.model, self.rates)
        least = np.full(models, np.inf)
        np.minimum.at(least, self.model, self.dynamic / self.rates)
        # What a host costs beside what its model's requests cost anywhere, as in ``cheapest``.
        self.dearer = np.maximum(0.0, self.dynamic - least[self.model] * self.rates)
        self.full = self.idle + self.of_column.T @ self.dynamic
        self.is_small = columns <= FEW_COLUMNS

    def totals(self, hosts: Numbers) -> Numbers:
        """Return what the hosts of each model carry together."""
        return np.asarray(self.of_model @ (self.rates * hosts[self.column]))

    def cost(self, hosts: Numbers) -> float:
        """Return what ``hosts`` cost when all of a model run at the same part of their rates."""
        loads = self.asked / self.totals(hosts)
        return float(hosts @ self.idle + hosts[self.column] @ (loads[self.model] * self.dynamic))

    def column_costs(self, loads: Numbers) -> Numbers:
        """Return what a host of each column costs where the hosts of each model run at such ``loads``, beside what
        requests cost anywhere."""
        return np.asarray(self.idle + self.of_column.T @ (loads[self.model] * self.dearer))

    def last_lost(self, hosts: Numbers) -> Numbers:
        """Return the rate of the last host of each model that is lost in its worst loss: the best threshold for it."""
        found = self.fastest.copy()
        left = np.full(len(self.asked), self.spare)
        serving = hosts[self.column]
        for nth in np.argsort(-self.rates, kind="stable"):
            model = self.model[nth]
            if left[model] > 0 and serving[nth] > 0:
                found[model] = self.rates[nth]
                left[model] -= int(serving[nth])
        return found

    def carried(self, hosts: Numbers) -> bool:
        """Return whether ``hosts`` carry every rate, in numbers that the solver did not round."""
        if (self.of_class @ hosts > self.available).any():
            return False
        serving = hosts[self.column]
        for model, asked_per_s in enumerate(self.asked):
            own = self.model == model
            rates, counts = [float(rate) for rate in self.rates[own]], [int(count) for count in serving[own]]
            if sum(counts) <= self.spare or not carries(rates, counts, float(asked_per_s), self.spare):
                return False
        return True
