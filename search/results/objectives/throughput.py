"""``--goal throughput``: the inferences that an instance answers at full load, whatever it costs."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, ClassVar

from servefit.search.results.objectives.cost import rate
from servefit.search.results.objectives.performance import PerformanceObjective
from servefit.search.results.price import INFERENCES

if TYPE_CHECKING:
    from servefit.search.results.objectives.contract import Context
    from servefit.search.results.recommendation import Recommendation


class Throughput(PerformanceObjective):
    """The time that a million inferences take at full load."""

    name: ClassVar[str] = "throughput"
    unit: ClassVar[str] = "s per million"
    aim: ClassVar[str] = "the most inferences a second"
    needs_rate: ClassVar[bool] = False
    needs_latency: ClassVar[bool] = False

    def figure(self, capacity_per_s: float, p95_ms: float, context: Context) -> float:  # noqa: ARG002
        return INFERENCES / capacity_per_s if capacity_per_s else inf

    @property
    def axis(self) -> str:
        return "s per million"

    def compared_by(self, context: Context) -> str:  # noqa: ARG002
        return "throughput"

    def times_better(self, context: Context) -> str:  # noqa: ARG002
        return "times the throughput"

    def figure_text(self, best: Recommendation, context: Context) -> str:  # noqa: ARG002
        return rate(best)
