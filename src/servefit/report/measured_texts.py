"""Measured figures as people read them: in the unit that fits, with the digits that their intervals support."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servefit.profiler.evidence.rare_disturbances import LONG_S, disturbance_excluded_in_s, disturbance_excluded_s
from servefit.quantities import duration_text, is_wide, ms_text, rate_text

if TYPE_CHECKING:
    from servefit.profiler.evidence.summary import Summary
    from servefit.search.results.recommendation import Trial

CAPACITY_DIGITS = 2
"""Of a capacity, and of what follows from it, for which no interval is known. Chosen: the same configuration measured
again differs by some per cent."""

PREDICTED = "~"
"""Stands before a figure that was predicted and not measured; what shows it also says so in words."""


def latency_text(summary: Summary, percentile: str) -> str | None:
    """Return a percentile of the response time, "59 us"; None where it is not known."""
    value = summary.latency_ms.get(percentile)
    return None if value is None else ms_text(value, summary.latency_ms_ci95.get(percentile))


def latency_cell(summary: Summary, percentile: str) -> str | None:
    """Return ``latency_text`` as it fits into a column: "14 us to 104 us" where the interval is wide."""
    interval_ms = summary.latency_ms_ci95.get(percentile)
    if summary.latency_ms.get(percentile) is None or interval_ms is None or not is_wide(interval_ms):
        return latency_text(summary, percentile)
    low, high = map(ms_text, interval_ms)
    return f"{low} to {high}"


def missed_text(summary: Summary) -> str | None:
    """Return what a PASS after this run says nothing of; None where that has as much traffic behind it as it takes, or
    is of a closed loop."""
    excluded_s = disturbance_excluded_s(summary)
    if excluded_s is None or excluded_s >= disturbance_excluded_in_s(LONG_S):
        return None
    return f"disturbances that come less often than every {duration_text(excluded_s)} may not have shown"


def capacity_text(per_s: float) -> str:
    """Return the most that is answered, "0.7 M/s"."""
    return rate_text(per_s, digits=CAPACITY_DIGITS)


def marked(trial: Trial, figure: str | None) -> str | None:
    """Return a figure of ``trial`` as text, with a mark if it was predicted."""
    return figure if figure is None or trial.basis == "measured" else f"{PREDICTED} {figure}"
