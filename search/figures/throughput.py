"""Figures of throughput: at most, by the CPU time that it takes, and while the latency was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servefit.search.figures.contract import Figure
from servefit.search.results.instances import per_minute

if TYPE_CHECKING:
    from servefit.search.results.recommendation import Trial


def _per_cpu_s(trial: Trial) -> float | None:
    cpu_percent, configuration = trial.capacity.cpu_percent, trial.configuration
    if not cpu_percent or configuration.gpu is not None or configuration.settings.threads > 1:
        return None
    return 100 * trial.capacity.throughput_per_s / cpu_percent


MAX_INVOCATIONS = Figure(
    name="max_invocations",
    title="max a minute",
    unit="requests a minute",
    meaning="The most that all instances answer, found by a closed loop that keeps them busy.",
    of_trial=lambda trial: round(per_minute(trial.capacity.throughput_per_s, trial.instance_count)),
)

PER_CPU_S = Figure(
    name="requests_per_cpu_s",
    title="requests/CPU-s",
    unit="requests a CPU-second",
    meaning=(
        "What workers of one thread each answer for a second of CPU time that they get, kept busy: times the CPUs, the "
        "most that they answer where nobody else uses these."
    ),
    only_where_known=True,
    of_trial=_per_cpu_s,
)

MEASURED_RATE = Figure(
    name="measured_rate_per_s",
    title="answered per s",
    unit="requests/s",
    meaning="What one instance answered while the latency was measured.",
    of_summary=lambda summary: summary.throughput_per_s,
)
