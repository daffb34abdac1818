"""The problem that the solver of a plan gets. A column is a number of hosts of one class that cost the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from servefit.search.fleet.plan.losses import total_per_s

if TYPE_CHECKING:
    from servefit.search.fleet.plan.offer import HostOffer


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """The problem of the solver: the numbers of all columns, of which those of a class are together, the cheapest
    first. ``classes`` are those of the columns; empty where each has a class of its own.

    ``limit_s`` is its CPU time, and ``gap`` the part of the cost by which the answer may be off the best; None leaves
    it to the number of columns.
    """

    rates_per_s: tuple[float, ...]
    available: tuple[int, ...]
    costs_idle: tuple[float, ...]
    costs_dynamic: tuple[float, ...]
    rate_per_s: float
    spare: int
    most_hosts: int | None
    limit_s: float
    gap: float | None = None
    classes: tuple[int, ...] = ()

    def cost(self, hosts: tuple[int, ...]) -> float:
        """Return what ``hosts`` cost when each runs at the same part of its rate."""
        load = self.rate_per_s / total_per_s(self.rates_per_s, hosts)
        each = zip(self.costs_idle, self.costs_dynamic, hosts, strict=True)
        return sum(count * (idle + load * dynamic) for idle, dynamic, count in each)

    def columns(self) -> tuple[tuple[int, ...], ...]:
        """Return the columns of each class."""
        classes = self.classes or range(len(self.rates_per_s))
        return tuple(tuple(group) for _, group in groupby(range(len(self.rates_per_s)), key=lambda nth: classes[nth]))

    def by_class(self, hosts: Sequence[int]) -> tuple[int, ...]:
        """Return how many ``hosts`` there are of each class, from those of each column."""
        return tuple(sum(hosts[nth] for nth in columns) for columns in self.columns())

    def by_column(self, hosts: Sequence[int]) -> tuple[int, ...]:
        """Return how many there are in each column, from those of each class: its cheapest."""
        found: list[int] = []
        for count, columns in zip(hosts, self.columns(), strict=True):
            for nth in columns:
                found.append(min(count, self.available[nth]))
                count -= found[-1]
        return tuple(found)


def demand_of(
    offers: Sequence[HostOffer], *, rate_per_s: float, spare: int, most_hosts: int | None, limit_s: float
) -> Demand:
    """Return what is asked of the solver for ``offers``."""
    columns = [(nth, offer, *price) for nth, offer in enumerate(offers) for price in offer.prices]
    return Demand(
        rates_per_s=tuple(offer.rate_per_s for _, offer, _, _ in columns),
        available=tuple(hosts for *_, hosts in columns),
        costs_idle=tuple(cost for _, _, cost, _ in columns),
        costs_dynamic=tuple(offer.cost_dynamic for _, offer, _, _ in columns),
        rate_per_s=rate_per_s,
        spare=spare,
        most_hosts=most_hosts,
        limit_s=limit_s,
        classes=tuple(nth for nth, *_ in columns),
    )
