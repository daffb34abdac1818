"""``--goal cost``: the price of an inference; where a rate is asked, the price of carrying it.

All instances that a rate takes are paid for, used or not. So what costs the same to carry the rate is told apart by its
latency there, and not by what it would answer at full load, which was not asked. Without a price, vCPUs
stand for it.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, ClassVar

from servefit.quantities import count_text, money_text, number_text
from servefit.search.results.objectives.latency import Latency
from servefit.search.results.objectives.performance import PerformanceObjective
from servefit.search.results.price import INFERENCES, Price

if TYPE_CHECKING:
    from servefit.search.results.objectives.contract import Context
    from servefit.search.results.recommendation import Recommendation, Trial

TIE_MS = 0.02
"""Latencies that differ by 20 us are equal to a client behind a network. Chosen, not measured."""

S_PER_HOUR = 3600  # prices are by the hour, and capacities by the second


class Cost(PerformanceObjective):
    """The price of a million inferences at full load."""

    name: ClassVar[str] = "cost"
    unit: ClassVar[str] = "per million"
    aim: ClassVar[str] = "the lowest price"
    needs_rate: ClassVar[bool] = False
    needs_latency: ClassVar[bool] = False
    priced: ClassVar[bool] = True
    paid_by_the_hour: ClassVar[bool] = True

    def figure(self, capacity_per_s: float, p95_ms: float, context: Context) -> float:  # noqa: ARG002
        return price_per_million(capacity_per_s, context.price)

    @property
    def axis(self) -> str:
        return "vCPU-s per million"

    def compared_by(self, context: Context) -> str:  # noqa: ARG002
        return "throughput"

    def times_better(self, context: Context) -> str:  # noqa: ARG002
        return "times the throughput"

    def figure_text(self, best: Recommendation, context: Context) -> str:  # noqa: ARG002
        return price_or_rate(best)


class CostAtRate(Latency):
    """The p95 at the rate asked, of what carries that rate at the lowest price."""

    name: ClassVar[str] = Cost.name
    aim: ClassVar[str] = "the lowest price and p95 at the rate asked"
    tie: ClassVar[float] = 0.05
    priced: ClassVar[bool] = True
    paid_by_the_hour: ClassVar[bool] = True

    def ties(self, best: float, other: float) -> bool:
        return super().ties(best, other) or other <= best + TIE_MS

    def figure_text(self, best: Recommendation, context: Context) -> str:  # noqa: ARG002
        if best.cost_per_hour is not None:
            return f"{money_text(best.cost_per_hour, best.profile.currency)} an hour"
        return f"takes {count_text(best.vcpus, 'vCPU')}"


def price_per_million(capacity_per_s: float, price: Price) -> float:
    """Return what a million inferences cost at full load, in the currency of the price; in vCPU-seconds where nobody
    stated a price."""
    if not capacity_per_s:
        return inf
    per_s = price.per_hour if price.unpriced else price.per_hour / S_PER_HOUR
    return INFERENCES * per_s / capacity_per_s


def vcpu_s_per_million(trial: Trial) -> float | None:
    """Return the vCPU-seconds of a million inferences of ``trial`` with the instance fully used: its cost where nobody
    stated a price.

    Args:
        trial: One test of a job.

    Returns:
        vCPU-seconds per million inferences; None where nothing was answered.

    Example:
        ``vcpu_s_per_million(job.best.trial)``
    """
    cost = price_per_million(trial.capacity.throughput_per_s, Price.in_vcpus(trial.configuration.vcpus))
    return None if cost == inf else cost


def price_or_rate(best: Recommendation) -> str:
    """Return in words what a million inferences cost: money, or vCPU-seconds where there is no price; how many are
    answered a minute where nothing tells."""
    if best.cost_per_inference is not None:
        return f"{money_text(best.cost_per_inference * INFERENCES, best.profile.currency)} a million"
    vcpu_s = vcpu_s_per_million(best.trial)
    return rate(best) if vcpu_s is None else f"{number_text(vcpu_s)} vCPU-s a million"


def rate(best: Recommendation) -> str:
    """Return in words how many inferences all instances answer a minute."""
    return f"{number_text(float(best.max_invocations))} a minute"
