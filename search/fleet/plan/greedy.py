"""A fleet that is found at once, without a solver: what a search for the cheapest begins with, and the answer where
that has no time.

Hosts are taken in the order of what they cost for what they count under a threshold (``covering``), and the rest of the
rate is left to the class that carries it cheapest. What is too much then is taken out again. Of all thresholds, and of
the fleets of one class, the cheapest counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from servefit.search.fleet.plan.losses import ROUNDING, carries, fastest
from servefit.search.fleet.plan.one_class import cheapest_of_one_class

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from servefit.search.fleet.plan.demand import Demand

    Numbers = NDArray[np.float64]

_MAX_THRESHOLDS = 10
"""Of more rates so many are tried as thresholds, evenly among all: a thousand classes take a quarter of a second."""

_PRICES = (0.0, 0.5, 1.0, 2.0, 5.0, 20.0)
"""Additional prices of a host, as parts of the mean cost, where the number of hosts is limited: fast ones are taken
then. Chosen, not measured."""


def greedy_hosts(demand: Demand) -> tuple[int, ...]:
    """Return hosts of each class that carry the rate. All hosts together, or the fastest ``most_hosts``, must carry
    it."""
    strongest = tuple(fastest(demand.rates_per_s, demand.available, demand.most_hosts))
    found = [strongest]
    if (one := cheapest_of_one_class(demand)) is not None:
        found.append(one.hosts)
    limit = sum(strongest)
    rates = np.array(demand.rates_per_s)
    costs = np.array(demand.costs_idle) + np.array(demand.costs_dynamic)
    for price in _PRICES if limit < sum(demand.available) else _PRICES[:1]:
        dearer = costs + (price * costs.mean() or price)
        for threshold in _thresholds(rates, demand.spare):
            hosts = _covered(demand, rates, dearer, threshold)
            if hosts is not None and sum(hosts) <= limit and _is_carried(demand, hosts):
                found.append(hosts)
    return min(found, key=lambda hosts: (demand.cost(hosts), sum(hosts)))


def _thresholds(rates: Numbers, spare: int) -> Iterator[float]:
    values = np.unique(rates) if spare else rates.max(keepdims=True)
    if len(values) > _MAX_THRESHOLDS:
        values = values[np.linspace(0, len(values) - 1, _MAX_THRESHOLDS).round().astype(int)]
    yield from (float(each) for each in values)


def _covered(demand: Demand, rates: Numbers, costs: Numbers, threshold: float) -> tuple[int, ...] | None:
    """Return hosts that cover the rate under a threshold, None where all together do not."""
    need = demand.rate_per_s + demand.spare * threshold
    row = np.minimum(np.minimum(rates, threshold), need)
    order = np.argsort(costs / row, kind="stable")
    row, costs, available = row[order], costs[order], np.array(demand.available, dtype=float)[order]
    before = np.cumsum(row * available) - row * available
    need *= 1 - ROUNDING
    spent = np.cumsum(costs * available) - costs * available
    nth, best, hosts = np.arange(len(row)), np.inf, None
    for rounded_down in (np.floor(np.maximum(0.0, need - before) / row), np.zeros_like(row)):
        # The first few classes of the order, then so many of the next one, and one that comes later has the rest.
        part = np.minimum(available, rounded_down)
        rest = np.maximum(0.0, need - before - part * row)
        counts = np.ceil(rest[:, None] / row[None, :])
        fits = (counts + np.diag(part) <= available[None, :]) & (nth[None, :] >= nth[:, None])
        totals = np.where(fits, (spent + part * costs)[:, None] + counts * costs[None, :], np.inf)
        taken, last = np.unravel_index(int(np.argmin(totals)), totals.shape)
        if totals[taken, last] < best:
            best = totals[taken, last]
            hosts = np.where(nth < taken, available, np.where(nth == taken, part, 0.0))
            hosts[last] += counts[taken, last]
    if hosts is None:
        return None
    spared = float(row @ hosts) - need
    for each in np.argsort(-costs * (hosts > 0), kind="stable"):
        out = min(hosts[each], spared // row[each]) if spared > 0 else 0.0
        hosts[each] -= out
        spared -= out * row[each]
    found = np.zeros(len(row), dtype=int)
    found[order] = hosts
    return tuple(int(each) for each in found)


def _is_carried(demand: Demand, hosts: tuple[int, ...]) -> bool:
    return sum(hosts) > demand.spare and carries(demand.rates_per_s, hosts, demand.rate_per_s, demand.spare)
