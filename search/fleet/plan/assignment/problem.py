"""What is asked of the solver, and what is worked out of it and of the hosts that it gives."""

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
class Assignment:
    """What is asked: column ``i`` is ``classes[i]`` for ``models[i]``, of a rate, and costs at that class for it.
    ``asked_per_s`` are of models, and ``available`` of classes. ``limit_s`` is the solver's time."""

    models: tuple[int, ...]
    classes: tuple[int, ...]
    rates_per_s: tuple[float, ...]
    costs_idle: tuple[float, ...]
    costs_dynamic: tuple[float, ...]
    asked_per_s: tuple[float, ...]
    available: tuple[int, ...]
    spare: int
    limit_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Assigned:
    """``hosts`` of each column, None where none were found that carry all rates, and a ``bound`` on the cost.

    ``part_carried`` of every rate is carried by hosts that were found, and more than ``part_at_most`` by none.
    """

    hosts: tuple[int, ...] | None
    bound: float
    part_carried: float
    part_at_most: float


class Problem:
    """An assignment as arrays: of columns, but for ``asked`` of models and ``available`` of classes."""

    def __init__(self, asked: Assignment) -> None:
        from scipy.sparse import csr_array

        self.spare = asked.spare
        self.model, self.host_class = np.array(asked.models), np.array(asked.classes)
        self.rates, self.idle = np.array(asked.rates_per_s), np.array(asked.costs_idle)
        self.dynamic, self.asked = np.array(asked.costs_dynamic), np.array(asked.asked_per_s)
        self.available = np.array(asked.available, dtype=float)
        columns, models = len(self.model), len(self.asked)
        places, ones = np.arange(columns), np.ones(columns)
        self.of_model = csr_array((ones, (self.model, places)), shape=(models, columns))
        self.of_class = csr_array((ones, (self.host_class, places)), shape=(len(self.available), columns))
        self.fastest, self.slowest = np.zeros(models), np.full(models, np.inf)
        np.maximum.at(self.fastest, self.model, self.rates)
        np.minimum.at(self.slowest, self.model, self.rates)
        least = np.full(models, np.inf)
        np.minimum.at(least, self.model, self.dynamic / self.rates)
        # What a host costs beside what its model's requests cost anywhere, as in ``cheapest``.
        self.dearer = np.maximum(0.0, self.dynamic - least[self.model] * self.rates)
        self.is_small = columns <= FEW_COLUMNS

    def totals(self, hosts: Numbers) -> Numbers:
        """Return what the hosts of each model carry together."""
        return np.asarray(self.of_model @ (self.rates * hosts))

    def cost(self, hosts: Numbers) -> float:
        """Return what ``hosts`` cost when all of a model run at the same part of their rates."""
        loads = self.asked / self.totals(hosts)
        return float(hosts @ (self.idle + loads[self.model] * self.dynamic))

    def last_lost(self, hosts: Numbers) -> Numbers:
        """Return the rate of the last host of each model that is lost in its worst loss: the best threshold for it."""
        found = self.fastest.copy()
        left = np.full(len(self.asked), self.spare)
        for column in np.argsort(-self.rates, kind="stable"):
            model = self.model[column]
            if left[model] > 0 and hosts[column] > 0:
                found[model] = self.rates[column]
                left[model] -= int(hosts[column])
        return found

    def carried(self, hosts: Numbers) -> bool:
        """Return whether ``hosts`` carry every rate, in numbers that the solver did not round."""
        if (self.of_class @ hosts > self.available).any():
            return False
        for model, asked_per_s in enumerate(self.asked):
            own = self.model == model
            rates, counts = [float(rate) for rate in self.rates[own]], [int(count) for count in hosts[own]]
            if sum(counts) <= self.spare or not carries(rates, counts, float(asked_per_s), self.spare):
                return False
        return True
