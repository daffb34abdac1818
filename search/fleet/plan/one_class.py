"""The cheapest fleet whose hosts are all of one class: what a mixed fleet is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from servefit.search.fleet.plan.losses import ROUNDING

if TYPE_CHECKING:
    from servefit.search.fleet.plan.demand import Demand


@dataclass(frozen=True, slots=True, kw_only=True)
class OneClass:
    """So many ``hosts`` of the class at ``index`` among the offers. Together they cost ``cost`` at the rate of the
    demand, and carry ``carries_per_s`` after the loss of the spare hosts."""

    index: int
    hosts: int
    cost: float
    carries_per_s: float


def cheapest_of_one_class(demand: Demand) -> OneClass | None:
    """Return the cheapest fleet of hosts of one class, None where no class carries the rate by itself. Of one class,
    the fewest hosts that carry the rate are the cheapest."""
    found: list[OneClass] = []
    for index, (rate_per_s, available) in enumerate(zip(demand.rates_per_s, demand.available, strict=True)):
        serving = ceil(demand.rate_per_s * (1 - ROUNDING) / rate_per_s)
        hosts = serving + demand.spare
        if hosts <= available and (demand.most_hosts is None or hosts <= demand.most_hosts):
            cost = hosts * demand.costs_idle[index] + demand.rate_per_s / rate_per_s * demand.costs_dynamic[index]
            found.append(OneClass(index=index, hosts=hosts, cost=cost, carries_per_s=serving * rate_per_s))
    return min(found, key=lambda each: (each.cost, each.hosts, each.index), default=None)
