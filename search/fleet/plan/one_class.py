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
    """So many ``hosts`` of each column of the demand, all of one class. They cost ``cost`` at its rate, and carry
    ``carries_per_s`` after the loss of the spare hosts."""

    hosts: tuple[int, ...]
    cost: float
    carries_per_s: float


def cheapest_of_one_class(demand: Demand) -> OneClass | None:
    """Return the cheapest fleet of hosts of one class, None where no class carries the rate by itself. Of one class,
    the fewest hosts that carry the rate are the cheapest."""
    found: list[OneClass] = []
    classes = demand.columns()
    for index, columns in enumerate(classes):
        rate_per_s, available = demand.rates_per_s[columns[0]], sum(demand.available[nth] for nth in columns)
        serving = ceil(demand.rate_per_s * (1 - ROUNDING) / rate_per_s)
        count = serving + demand.spare
        if count <= available and (demand.most_hosts is None or count <= demand.most_hosts):
            hosts = demand.by_column([count if nth == index else 0 for nth in range(len(classes))])
            found.append(OneClass(hosts=hosts, cost=demand.cost(hosts), carries_per_s=serving * rate_per_s))
    return min(found, key=lambda each: (each.cost, sum(each.hosts)), default=None)
