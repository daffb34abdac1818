"""The tables of a job: what is recommended, what was measured, and what stood in the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servefit.report.table import Table

if TYPE_CHECKING:
    from servefit.search.jobs.job import RecommendationJob
    from servefit.search.results.recommendation import Recommendation


def recommendations_table(job: RecommendationJob) -> Table:
    """SageMaker IR's columns."""
    return Table(
        title="Recommendations, best first",
        columns=(
            "id", "profile", "count", "backend", "workers", "threads", "batch", "delay us", "$/hour", "$/million",
            "max a minute", "p50 ms", "p95 ms", "p99 ms", "CPU %", "memory %", "SLA", "step",
        ),
        rows=[_row(one, asked=not job.request.sla.asks_nothing) for one in job.recommendations],
    )  # fmt: skip


def _row(one: Recommendation, *, asked: bool) -> list[object]:
    trial, configuration, judged = one.trial, one.trial.configuration, one.trial.judged
    return [
        one.id,
        one.profile.name,
        trial.instance_count,
        configuration.backend,
        configuration.workers,
        configuration.settings.threads,
        configuration.max_batch,
        configuration.batch_delay_us,
        one.cost_per_hour,
        None if one.cost_per_inference is None else one.cost_per_inference * 1e6,
        round(one.max_invocations),
        *(judged.latency_ms[name] for name in ("p50", "p95", "p99")),
        judged.cpu_percent,
        100 * trial.measurement.peak_memory_bytes / one.profile.memory_bytes,
        trial.verdict if asked else None,
        one.step,
    ]


def compilation_table(job: RecommendationJob) -> Table:
    return Table(
        title="Compilation",
        columns=("backend", "status", "seconds", "cached", "speedup", "note"),
        rows=[[one.backend, one.status, one.seconds, one.cached, one.speedup, one.reason] for one in job.compilation],
    )
