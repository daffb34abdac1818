"""``--goal balanced``: cost against latency, by ``--cost-weight``.

Both are weighted as exponents, so no unit matters: doubling the price weighs as much as doubling the latency where the
weight is a half.
"""

from __future__ import annotations

from math import inf, isnan
from typing import TYPE_CHECKING, ClassVar

from servefit.search.results.objectives.cost import Cost, price_or_rate, price_per_million
from servefit.search.results.objectives.latency import Latency, p95
from servefit.search.results.objectives.performance import PerformanceObjective

if TYPE_CHECKING:
    from servefit.search.results.objectives.contract import Context
    from servefit.search.results.recommendation import Recommendation

_ALONE = {0.0: Latency(), 1.0: Cost()}
"""The objectives at the weights of cost where one of the two is all that counts."""


class Balanced(PerformanceObjective):
    """The price of a million inferences, at the rate asked where one is, to the power of the weight, times p95 to that
    of the rest."""

    name: ClassVar[str] = "balanced"
    unit: ClassVar[str] = "(price x ms)"
    aim: ClassVar[str] = "a low price and a low p95, by their weight"
    priced: ClassVar[bool] = True

    def figure(self, capacity_per_s: float, p95_ms: float, context: Context) -> float:
        weight = context.cost_weight
        figure: float = price_per_million(capacity_per_s, context.price) ** weight * p95_ms ** (1 - weight)
        # Free of charge, at a latency that is not known.
        return inf if isnan(figure) else figure

    def paid_per_s(self, capacity_per_s: float, instances: int, context: Context) -> float:
        if context.carries_rate and context.rate_per_s is not None:
            return context.rate_per_s / instances
        return capacity_per_s

    def compared_by(self, context: Context) -> str:
        alone = _ALONE.get(context.cost_weight)
        return "throughput and p95 latency" if alone is None else alone.compared_by(context)

    def times_better(self, context: Context) -> str:
        alone = _ALONE.get(context.cost_weight)
        return "times as good by throughput and p95 together" if alone is None else alone.times_better(context)

    def figure_text(self, best: Recommendation, context: Context) -> str:  # noqa: ARG002
        return f"{price_or_rate(best)}, {p95(best)}"
