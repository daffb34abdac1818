"""Costs of the cheapest fleet by what each class may carry, for many such cases, to say which of them matter; and the
rate that each host of a plan is to carry.

Small fleets are gone through whole. Of large ones hosts are taken for divisible, by which the cost is off by less than
a host. The plan of a job is made by ``fleet.plan``, and not here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, prod
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from servefit.search.fleet.plan.fleet_plan import FleetPlan


def planned_rates(plan: FleetPlan) -> Mapping[str, float]:
    """Return what a host of each class of ``plan`` is given by its weights once the heaviest other hosts are lost, in
    requests a second. A host that was confirmed at that rate is never overloaded; see ``plan.weights``."""
    rows = plan.fleet.rows
    total = sum(row.hosts * row.weight for row in rows)
    # As many of each class as may be lost, and one more, which is the host itself.
    heaviest = sorted((row.weight for row in rows for _ in range(min(row.hosts, plan.spare + 1))), reverse=True)
    rates = {}
    for row in rows:
        others = list(heaviest)
        others.remove(row.weight)
        rates[row.offer.host_class] = plan.rate_per_s * row.weight / (total - sum(others[: plan.spare]))
    return rates


MAX_MIXES = 50_000
"""As many mixes of hosts are gone through in ten milliseconds."""

_MAX_FASTEST = 10
"""Of many classes so many, evenly among all, are tried as the fastest that is used."""

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """The cheapest hosts of each class that were found, and what they cost together. Where no mix ``carries`` the rate,
    they are all, and cost the more the less they carry."""

    hosts: tuple[float, ...]
    cost: float
    carries: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanCosts:
    """Costs of fleets of classes that have so many hosts ``available``, at ``costs`` each, for a rate that they carry
    after the loss of any ``spare`` hosts; no more than ``most_hosts`` serve."""

    available: tuple[int, ...]
    costs: tuple[float, ...]
    rate_per_s: float
    spare: int = 0
    most_hosts: int | None = None

    def cheapest(self, rates_per_s: Sequence[float]) -> Mix:
        """Return the cheapest mix where a host of each class carries so much."""
        # A rate above the one asked makes no difference, and infinite rates cannot be added up.
        rates = np.minimum(np.array(rates_per_s, dtype=float), self.rate_per_s)
        useful = [self._useful(count, rate) for count, rate in zip(self.available, rates, strict=True)]
        mixes = self._whole(rates, useful) if prod(count + 1 for count in useful) <= MAX_MIXES else self._parts(rates)
        if mixes is not None:
            return mixes
        carried_per_s = float(self._carried(rates, np.array([self.available], dtype=float))[0])
        short = self.rate_per_s / max(carried_per_s, self.rate_per_s * _ROUNDING)
        every = np.array(self.available, dtype=float) @ np.array(self.costs)
        return Mix(hosts=tuple(map(float, self.available)), cost=float(every * (1 + short)), carries=False)

    def _useful(self, available: int, rate_per_s: float) -> int:
        """Return how many hosts of a class may be of use: those that carry all by themselves, and the spare ones."""
        if rate_per_s <= 0:
            return 0
        return min(available, ceil(self.rate_per_s * (1 - _ROUNDING) / rate_per_s) + self.spare)

    def _whole(self, rates: np.ndarray, useful: Sequence[int]) -> Mix | None:
        """Go through all mixes of whole hosts."""
        counts = np.indices([count + 1 for count in useful]).reshape(len(useful), -1).T.astype(float)
        fits = self._carried(rates, counts) >= self.rate_per_s * (1 - _ROUNDING)
        if self.most_hosts is not None:
            fits &= counts.sum(axis=1) <= self.most_hosts
        if not fits.any():
            return None
        counts = counts[fits]
        costs = counts @ np.array(self.costs)
        best = int(np.argmin(costs))
        return Mix(hosts=tuple(counts[best].tolist()), cost=float(costs[best]))

    def _carried(self, rates: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Return what is left of the rates of each row of ``counts`` after the loss of the fastest hosts."""
        order = np.argsort(-rates, kind="stable")
        sorted_counts, sorted_rates = counts[:, order], rates[order]
        before = np.cumsum(sorted_counts, axis=1) - sorted_counts
        lost = np.clip(self.spare - before, 0, sorted_counts)
        carried: np.ndarray = (sorted_counts - lost) @ sorted_rates
        return carried

    def _parts(self, rates: np.ndarray) -> Mix | None:
        """Fill up with the hosts that cost least for what they carry. The fastest that are used are those that may be
        lost, so each class is tried as the fastest."""
        costs, available = np.array(self.costs), np.array(self.available, dtype=float)
        most = np.inf if self.most_hosts is None else float(self.most_hosts)
        best: Mix | None = None
        tried = np.unique(rates[rates > 0])
        if len(tried) > _MAX_FASTEST:
            tried = tried[np.linspace(0, len(tried) - 1, _MAX_FASTEST).round().astype(int)]
        for fastest in tried:
            used = (rates > 0) & (rates <= fastest * (1 + _ROUNDING))
            needed = self.rate_per_s + self.spare * fastest
            order = np.flatnonzero(used)[np.argsort((costs / np.where(rates > 0, rates, 1.0))[used], kind="stable")]
            reach = np.cumsum(available[order] * rates[order])
            before = reach - available[order] * rates[order]
            taken = np.clip(needed - before, 0, available[order] * rates[order]) / rates[order]
            if reach[-1] < needed * (1 - _ROUNDING) or taken.sum() > most + _ROUNDING:
                continue
            cost = float(taken @ costs[order])
            if best is None or cost < best.cost:
                hosts = np.zeros(len(rates))
                hosts[order] = taken
                best = Mix(hosts=tuple(hosts.tolist()), cost=cost)
        return best
