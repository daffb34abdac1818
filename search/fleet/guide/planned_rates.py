"""The rate that each host of a plan is to carry: at most, which is after the worst loss of the hosts that are spare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

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
