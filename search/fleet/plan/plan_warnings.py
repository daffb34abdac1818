"""The warnings of a plan: it was not proven to be the cheapest, or its weights are not in proportion to the rates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from servefit.quantities import percent_text
from servefit.search.fleet.plan.balancers.kinds import BALANCERS
from servefit.search.fleet.plan.fleet_plan import MIN_GAP
from servefit.search.fleet.plan.weights import MAX_OFF

if TYPE_CHECKING:
    from servefit.search.fleet.plan.balancers.kinds import BalancerName
    from servefit.search.fleet.plan.fleet_plan import Fleet


def gap_warnings(gap: float) -> Iterator[str]:
    """Yield a warning where a plan was not proven to be the cheapest."""
    if gap >= MIN_GAP:
        yield (
            f"this plan was not proven to be the cheapest: another one may be cheaper by {percent_text(gap)} at most"
        )


def weight_warnings(fleet: Fleet, balancer: BalancerName) -> Iterator[str]:
    """Yield a warning where the weights of a fleet are not in proportion to its rates."""
    if fleet.weights_off_by > MAX_OFF:
        total_per_s = fleet.confirmed_rate_per_s
        row = max(fleet.rows, key=lambda each: abs(each.share * total_per_s / each.offer.rate_per_s - 1))
        off = row.share * total_per_s / row.offer.rate_per_s - 1
        yield (
            f"a host of {row.offer.host_class} gets {percent_text(abs(off))} {'more' if off > 0 else 'less'} than its "
            f"part of the requests: no whole-number weights up to {BALANCERS[balancer].most_weight:,}, "
            f"the largest of {balancer}, are nearer to the proportion of the rates"
        )
