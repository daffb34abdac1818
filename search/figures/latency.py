"""Figures of latency: percentiles of the response time, and how certain they are."""

from __future__ import annotations

from servefit.search.figures.contract import Figure


def _percentile(name: str, meaning: str) -> Figure:
    return Figure(
        name=f"model_latency_ms.{name}",
        title=f"{name} ms",
        unit="ms",
        meaning=meaning,
        of_summary=lambda summary: summary.latency_ms.get(name),
    )


P50 = _percentile("p50", "Median response time: from when a request was due to when its prediction was there.")
P90 = _percentile("p90", "Nine in ten requests are answered within it.")
P95 = _percentile("p95", "95 % of the requests are answered within it.")
P99 = _percentile("p99", "99 % of the requests are answered within it.")


def _end_of_p95_interval(end: int, title: str, meaning: str) -> Figure:
    return Figure(
        name=f"model_latency_ms_ci95.p95[{end}]",
        title=title,
        unit="ms",
        meaning=meaning,
        of_summary=lambda summary: summary.latency_ms_ci95.get("p95", (None, None))[end],
    )


P95_LOW = _end_of_p95_interval(0, "p95 from", "Lower end of the 95 % confidence interval of p95.")
P95_HIGH = _end_of_p95_interval(1, "p95 to", "Upper end of the 95 % confidence interval of p95.")


def _overhead(name: str, meaning: str) -> Figure:
    return Figure(
        name=f"endpoint.overhead_latency_ms.{name}",
        title=f"overhead {name} ms",
        unit="ms",
        meaning=meaning,
        of_summary=lambda summary: (summary.overhead_ms or {}).get(name),
    )


OVERHEAD_P50 = _overhead("p50", "Median of the response time over HTTP without what the model took of it.")
OVERHEAD_P95 = _overhead("p95", "95 % of the requests over HTTP have no more overhead than this.")
