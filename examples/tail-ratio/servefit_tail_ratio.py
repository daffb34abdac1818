"""A figure for servefit: p99 divided by p50.

A figure is one declaration. docs/adding-a-figure.md explains it.
"""

from typing import TYPE_CHECKING

from servefit.search.figures.contract import Figure

if TYPE_CHECKING:
    from servefit.profiler.evidence.summary import Summary

__version__ = "1.0"


def tail_ratio(summary: "Summary") -> float | None:
    """Return p99 / p50, None if there are too few samples for either."""
    p50_ms, p99_ms = summary.latency_ms["p50"], summary.latency_ms["p99"]
    return None if p99_ms is None or not p50_ms else p99_ms / p50_ms


TAIL_RATIO = Figure(
    name="tail_ratio",
    title="p99 / p50",
    unit=None,
    digits=2,
    meaning="How many times the median response time the 99th percentile is: near 1, all requests fare alike.",
    of_summary=tail_ratio,
)
