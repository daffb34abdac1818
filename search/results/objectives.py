"""What a goal asks for, as figures that can be compared: of what was measured, and of what is predicted.

All figures are minimised. What comes first is the price of all instances that a rate takes, because that is what is
paid; the price of an inference at full load decides among those that cost the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from servefit.profiler.record.types import Configuration
    from servefit.search.request.job_request import Goal
    from servefit.search.request.space import Space

PLANNED_UTILISATION = 0.8
"""No instance is planned above this part of its capacity: beyond it, queueing makes latency unpredictable."""

LOWER_UTILISATIONS = (0.8, 0.6, 0.4, 0.2)
"""How busy instances are planned to be, one after the other, until the latency limits hold. Below a fifth of what an
instance can do, nearly every request meets an idle one, and more of them do not help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Of one instance, by the hour: in US dollars, or, where nobody stated one, in vCPUs, which stand for it.

    What has no price is ranked behind what has.
    """

    unpriced: bool
    per_hour: float

    @classmethod
    def of(cls, price_per_hour: float | None, vcpus: int) -> Price:
        return cls(unpriced=price_per_hour is None, per_hour=vcpus if price_per_hour is None else price_per_hour)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Score:
    """What is compared, in this order; ``figure`` is what the search tries to improve within the ranks before it."""

    unpriced: bool
    per_hour: float
    figure: float


def score(
    goal: Goal, *, price: Price, capacity_per_s: float, latency_ms: float, instances: int, at_rate: bool, weight: float
) -> Score:
    """The score of a configuration that answers ``capacity_per_s`` on each of ``instances``, with ``latency_ms`` (p95).

    ``at_rate``: a rate was asked, so what counts first is what all instances cost. ``weight`` is that of cost against
    latency where the goal is "balanced": figures are weighted as exponents, so no unit matters.
    """
    if goal == "latency":
        return Score(unpriced=False, per_hour=0.0, figure=latency_ms)
    if goal == "throughput":
        return Score(unpriced=False, per_hour=0.0, figure=1 / capacity_per_s if capacity_per_s else math.inf)
    per_inference = price.per_hour / capacity_per_s if capacity_per_s else math.inf
    if goal == "balanced":
        figure = per_inference**weight * latency_ms ** (1 - weight)
        # Free of charge, at a latency that is not known.
        return Score(unpriced=price.unpriced, per_hour=0.0, figure=math.inf if math.isnan(figure) else figure)
    per_hour = price.per_hour * instances if at_rate else 0.0
    return Score(unpriced=price.unpriced, per_hour=per_hour, figure=per_inference)


def instances_for(rate_per_s: float, capacity_per_s: float, utilisation: float = PLANNED_UTILISATION) -> int:
    """How many instances share a rate so that none is busier than ``utilisation``; one at least."""
    return max(1, math.ceil(rate_per_s / (capacity_per_s * utilisation)))


def instance_counts(rate_per_s: float, capacity_per_s: float) -> list[int]:
    """The numbers of instances to try, ascending: each leaves them less busy."""
    return sorted({instances_for(rate_per_s, capacity_per_s, one) for one in LOWER_UTILISATIONS})


def cheapest(space: Space, configuration: Configuration) -> Price:
    """The lowest price of a profile that may have ``configuration``."""
    prices = [
        Price.of(profile.price_per_hour, profile.vcpus)
        for profile, fitting in space.profiles
        if configuration in fitting
    ]
    return min(prices, key=lambda one: (one.unpriced, one.per_hour))
