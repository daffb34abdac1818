"""Figures of throughput: at most, and while the latency was measured."""

from __future__ import annotations

from servefit.search.figures.contract import Figure
from servefit.search.results.instances import per_minute

MAX_INVOCATIONS = Figure(
    name="max_invocations",
    title="max a minute",
    unit="requests a minute",
    meaning="The most that all instances answer, found by a closed loop that keeps them busy.",
    of_trial=lambda trial: round(per_minute(trial.capacity.throughput_per_s, trial.instance_count)),
)

MEASURED_RATE = Figure(
    name="measured_rate_per_s",
    title="answered per s",
    unit="requests/s",
    meaning="What one instance answered while the latency was measured.",
    of_summary=lambda summary: summary.throughput_per_s,
)
