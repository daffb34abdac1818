"""The JSON form of a job, as programs read it. Its names are a contract; ``schema`` rises when one changes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from servefit.backends.model import Model
    from servefit.search.job import RecommendationJob
    from servefit.search.recommendation import CompilationReport, Recommendation, Skipped
    from servefit.search.sla import Sla

SCHEMA = 1


def job_document(job: RecommendationJob) -> dict[str, Any]:
    """The whole job."""
    return {
        "schema": SCHEMA,
        "job": job.name,
        "job_type": job.request.job_type,
        "status": job.status,
        "model": model_document(job.model),
        "payload": {
            "source": job.payload.source,
            "rows": len(job.payload.rows),
            "rows_per_request": job.request.rows_per_request,
            "synthetic": job.payload.synthetic,
        },
        "host": dataclasses.asdict(job.host),
        "sla": None if job.request.sla.asks_nothing else sla_document(job.request.sla),
        "goal": job.goal,
        "elapsed_s": round(job.elapsed_s, 3),
        "tests": job.tests,
        "recommendations": [recommendation_document(one) for one in job.recommendations],
        "compilation": [compilation_document(one) for one in job.compilation],
        "skipped": [skipped_document(one) for one in job.skipped],
        "failed_tests": [
            {"configuration": dataclasses.asdict(one.configuration), "reason": one.reason} for one in job.failed
        ],
        "warnings": list(job.warnings),
    }


def model_document(model: Model) -> dict[str, Any]:
    """What the model is, without where its files lie."""
    return {
        "source": model.source,
        "format": model.format.value,
        "library": model.library.value,
        "digest": model.digest,
        "size_bytes": model.size_bytes,
        "signature": {**dataclasses.asdict(model.signature), "task": model.signature.task.value},
        "trees": None if model.trees is None else dataclasses.asdict(model.trees),
    }


def sla_document(sla: Sla) -> dict[str, Any]:
    return {
        "thresholds": [{"percentile": one.percentile, "limit_ms": one.limit_ms} for one in sla.thresholds],
        "rate_per_s": sla.rate_per_s,
    }


def recommendation_document(one: Recommendation) -> dict[str, Any]:
    """One row of the answer: the columns of SageMaker IR, and what stands behind them."""
    trial, configuration, judged = one.trial, one.trial.configuration, one.trial.judged
    return {
        "id": one.id,
        "instance_profile": one.profile.name,
        "instance_count": trial.instance_count,
        "backend": configuration.backend,
        "target": configuration.target.value,
        "environment": one.environment,
        "settings": {"max_batch": configuration.max_batch, **dict(configuration.settings.options)},
        "cost_per_hour": one.cost_per_hour,
        "cost_per_inference": one.cost_per_inference,
        "max_invocations": round(one.max_invocations),
        "model_latency_ms": dict(judged.latency_ms),
        "model_latency_ms_ci95": {name: list(interval) for name, interval in judged.latency_ms_ci95.items()},
        "overhead_latency_ms": None,
        "cpu_utilization": judged.cpu_percent,
        "memory_utilization": 100 * trial.measurement.peak_memory_bytes / one.profile.memory_bytes,
        "gpu_utilization": judged.gpu_percent,
        "containment": trial.measurement.containment,
        "envelope": trial.measurement.envelope,
        "memory_limit_bytes": trial.measurement.memory_limit_bytes,
        "verdict": trial.verdict,
        "reason": trial.reason,
        "problems": [dataclasses.asdict(problem) for problem in trial.problems],
        "samples": judged.samples,
        "measured_rate_per_s": judged.throughput_per_s,
        "loop": judged.loop,
        "driver": "inprocess",
        "measurement": trial.kept_in,
    }


def compilation_document(one: CompilationReport) -> dict[str, Any]:
    return {
        "backend": one.backend,
        "target": one.target.value,
        "status": one.status,
        "seconds": round(one.seconds, 3),
        "cached": one.cached,
        "speedup": one.speedup,
        "reason": one.reason,
    }


def skipped_document(one: Skipped) -> dict[str, Any]:
    return {one.kind: one.name, "reason": one.reason}
