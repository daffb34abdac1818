"""Measured figures as people read them: in the unit that fits, with the digits that their intervals support."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servefit.quantities import ms_text, rate_text

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


def capacity_text(per_s: float) -> str:
    """Return the most that is answered, "0.7 M/s"."""
    return rate_text(per_s, digits=CAPACITY_DIGITS)


def marked(trial: Trial, figure: str | None) -> str | None:
    """Return a figure of ``trial`` as text, with a mark if it was predicted."""
    return figure if figure is None or trial.basis == "measured" else f"{PREDICTED} {figure}"
