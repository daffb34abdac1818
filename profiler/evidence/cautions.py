"""Cautions for whoever reads figures, whatever they are figures of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servefit.profiler.evidence.summary import rank_of, samples_needed
from servefit.quantities import duration_text

if TYPE_CHECKING:
    from servefit.profiler.evidence.summary import Summary


def cautions_of(summary: Summary) -> tuple[str, ...]:
    """Return a line for each: failed requests, disturbances, a closed loop, saturation, percentiles that lack
    samples."""
    cautions = []
    if summary.errors:
        kinds = ", ".join(f"{count:,} x {kind}" for kind, count in summary.errors.items())
        cautions.append(
            f"{sum(summary.errors.values()):,} requests failed ({kinds}) and count as slower than all others"
        )
    if summary.left_out_s:
        cautions.append(
            f"{duration_text(summary.left_out_s, digits=2)} were left out: the machine got in the way for so long"
        )
    if summary.loop == "closed":
        cautions.append("closed loop: arrivals waited for answers, so latency at a given rate may be higher")
    if summary.saturated:
        cautions.append(f"saturated: {summary.backlog:,} requests were still waiting at the end")
    needed = {name: samples_needed(rank_of(name)) for name, value in summary.latency_ms.items() if value is None}
    if few := [name for name, samples in needed.items() if summary.samples < samples]:
        cautions.append(
            f"{summary.samples:,} samples are too few for {', '.join(few)} ({few[-1]} takes {needed[few[-1]]})"
        )
    return tuple(cautions)
