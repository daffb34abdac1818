"""``--goal latency``: the p95 of the response time at the rate asked, whatever it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from servefit.quantities import ms_text
from servefit.search.results.objectives.performance import PerformanceObjective

if TYPE_CHECKING:
    from servefit.search.results.objectives.contract import Context
    from servefit.search.results.recommendation import Recommendation


class Latency(PerformanceObjective):
    """The p95 that the SLA is held against."""

    name: ClassVar[str] = "latency"
    unit: ClassVar[str] = "ms"
    aim: ClassVar[str] = "the lowest p95"

    def figure(self, capacity_per_s: float, p95_ms: float, context: Context) -> float:  # noqa: ARG002
        return p95_ms

    @property
    def axis(self) -> str:
        return "p95 ms"

    def uncertainty(self, capacity_sd: float, latency_sd: float) -> float:  # noqa: ARG002
        return latency_sd

    def compared_by(self, context: Context) -> str:  # noqa: ARG002
        return "p95 latency"

    def times_better(self, context: Context) -> str:  # noqa: ARG002
        return "times as fast by p95"

    def figure_text(self, best: Recommendation, context: Context) -> str:  # noqa: ARG002
        return p95(best)

    def text(self, figure: float) -> str:
        return f"p95 {ms_text(figure)}"


def p95(best: Recommendation) -> str:
    """Return the p95 that the SLA is held against, in words: the ends of its interval where that is wide."""
    judged = best.trial.judged
    value_ms = judged.latency_ms["p95"]
    return "p95 not known" if value_ms is None else f"p95 {ms_text(value_ms, judged.latency_ms_ci95.get('p95'))}"
