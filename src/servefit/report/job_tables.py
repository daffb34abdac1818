"""The tables of a job that every output has: its recommendations, and the results of compiling."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servefit.report.figure_columns import columns_for
from servefit.report.table import Table
from servefit.search.figures.cost import in_their_currency
from servefit.search.figures.registry import figures

if TYPE_CHECKING:
    from servefit.search.jobs.job import RecommendationJob


RECOMMENDED = (
    "id", "instance_profile", "instance_count", "backend", "environment.MODEL_SERVER_WORKERS",
    "environment.OMP_NUM_THREADS", "settings.max_batch", "settings.batch_delay_us", "cost_per_hour",
    "cost_per_inference", "vcpu_s_per_million", "max_invocations", "model_latency_ms.p50", "model_latency_ms.p95",
    "model_latency_ms.p99",
    "cpu_utilization", "memory_utilization", "verdict", "basis", "step",
)  # fmt: skip
"""SageMaker IR's columns, and the parameters of a deployment."""


def recommendations_table(job: RecommendationJob) -> Table:
    """Return the table of the recommendations: SageMaker IR's columns, and to their right other known figures."""
    shown = in_their_currency(figures(RECOMMENDED), job.recommendations)
    return columns_for(shown, job.recommendations, hidden=unasked(job)).table(
        recommendations_title(job, " (some predicted)"), job.recommendations
    )


def recommendations_title(job: RecommendationJob, predicted: str) -> str:
    """Return the title of a table of recommendations, with what they are of. It ends with ``predicted`` where some
    are."""
    some = any(recommendation.trial.basis == "predicted" for recommendation in job.recommendations)
    return f"Recommendations {_deployed(job)}, best first{predicted if some else ''}"


def _deployed(job: RecommendationJob) -> str:
    """Return what is deployed: what the recommendations are of, or if there are none, what was asked for."""
    deployment = job.request.deployment if job.best is None else job.best.deployment
    return "as an endpoint" if deployment == "endpoint" else "as a library"


def unasked(job: RecommendationJob) -> tuple[str, ...]:
    """Return the names of the figures that are meaningless in ``job``: the verdict, if there is no SLA."""
    return ("verdict",) if job.request.sla.asks_nothing else ()


def compilation_table(job: RecommendationJob) -> Table:
    return Table(
        title="Compilation",
        columns=("backend", "status", "seconds", "cached", "speedup", "note"),
        rows=[
            [
                compiled.backend,
                compiled.status,
                compiled.seconds,
                compiled.cached,
                compiled.speedup,
                "; ".join(filter(None, (compiled.reason, compiled.quality.text if compiled.quality else None))) or None,
            ]
            for compiled in job.compilation
        ],
    )
