"""The JSON form of a job, as programs read it. Its names are a contract; ``schema`` rises when one changes."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from math import isfinite
from typing import TYPE_CHECKING, Any

from servefit.profiler.queueing.service import ServiceTimes
from servefit.profiler.record.script_cost import ScriptCost
from servefit.search.figures.outside import outside_values
from servefit.search.figures.registry import values
from servefit.search.results.recommendation import CompilationReport, Trial
from servefit.search.simulation.endpoint import EndpointCosts

if TYPE_CHECKING:
    from servefit.backends.model import Model
    from servefit.backends.quality.findings import Quality
    from servefit.search.jobs.job import RecommendationJob
    from servefit.search.optimizer.importance import Explanation, PairedComparison
    from servefit.search.request.sla import Sla
    from servefit.search.results.recommendation import Recommendation, Skipped
    from servefit.search.storage.steps import Step

SCHEMA = 1
"""It rises when a name in the document changes."""

_COST = ("cost_per_hour", "cost_per_inference", "currency", "region", "price_date", "vcpu_s_per_million")
"""Figures of cost, and what is known of the price."""

_ENERGY = ("energy_j_per_million", "package_power_w", "gpu_power_w")
"""Figures of energy, known where the machine has counters of them that this user may read."""


def job_document(job: RecommendationJob) -> dict[str, Any]:
    """Return the whole job."""
    return {
        "schema": SCHEMA,
        "job": job.name,
        "job_type": job.request.job_type,
        "status": job.status,
        "owner": None if job.owner is None else str(job.owner),
        "model": model_document(job.model),
        "payload": {
            "source": job.payload.source,
            "rows": job.payload.rows,
            "rows_per_request": job.request.rows_per_request,
            "synthetic": job.payload.synthetic,
            "sizes": [dataclasses.asdict(size) for size in job.payload.sizes],
        },
        "host": dataclasses.asdict(job.host),
        "sla": None if job.request.sla.asks_nothing else sla_document(job.request.sla),
        "arrivals": job.request.arrivals,
        "goal": job.goal,
        "elapsed_s": round(job.elapsed_s, 3),
        "tests": job.tests,
        "recommendations": [recommendation_document(recommendation) for recommendation in job.recommendations],
        "pareto": [recommendation_document(recommendation) for recommendation in job.pareto],
        "why": why_document(job.why),
        "compilation": [compilation_document(report) for report in job.compilation],
        "script_cost": script_cost_document(job.script_cost),
        "skipped": [skipped_document(skipped) for skipped in job.skipped],
        "failed_tests": [
            {"step": failed.step, "configuration": dataclasses.asdict(failed.configuration), "reason": failed.reason}
            for failed in job.failed
        ],
        "warnings": list(job.warnings),
    }


def model_document(model: Model) -> dict[str, Any]:
    """Return what is known of the model, without the path of its files."""
    return {
        "source": model.source,
        "format": model.format.value,
        "library": model.library.value,
        "digest": model.digest,
        "size_bytes": model.size_bytes,
        "signature": {**dataclasses.asdict(model.signature), "task": model.signature.task.value},
        "trees": None if model.trees is None else dataclasses.asdict(model.trees),
        "batch_dependent": model.batch_dependent,
    }


def sla_document(sla: Sla) -> dict[str, Any]:
    """Return the limits of an SLA, and the rate that they are to hold at."""
    return {
        "thresholds": [
            {"percentile": threshold.percentile, "limit_ms": threshold.limit_ms} for threshold in sla.thresholds
        ],
        "rate_per_s": sla.rate_per_s,
    }


def recommendation_document(recommendation: Recommendation) -> dict[str, Any]:
    """Return a row of the answer: the columns of SageMaker IR, and what stands behind them."""
    trial, endpoint, alone = recommendation.trial, recommendation.endpoint, recommendation.model_alone
    beside, confirmation = recommendation.beside_step, recommendation.confirmation
    configuration, judged = trial.configuration, trial.judged
    return {
        **values(recommendation, "id", "instance_profile", "instance_count", "backend"),
        "deployment": recommendation.deployment,
        "capacity": dataclasses.asdict(recommendation.capacity),
        "quality": quality_document(recommendation.quality),
        "target": configuration.target.value,
        "environment": recommendation.environment,
        "settings": {
            "max_batch": configuration.max_batch,
            "batch_delay_us": configuration.batch_delay_us,
            **dict(configuration.settings.options),
        },
        **values(recommendation, *_COST, "max_invocations"),
        "same_as": list(recommendation.same_as),
        "model_latency_ms": dict(judged.latency_ms),
        "model_latency_ms_ci95": {name: list(interval) for name, interval in judged.latency_ms_ci95.items()},
        "overhead_latency_ms": None if endpoint is None else endpoint.judged.overhead_ms,
        **values(
            recommendation, "cpu_utilization", "memory_utilization", "gpu_utilization", *_ENERGY, "containment", "basis"
        ),
        "envelope": trial.measurement.envelope,
        "memory_limit_bytes": trial.measurement.memory_limit_bytes,
        **values(recommendation, "verdict"),
        "reason": trial.reason,
        "confirmed": None if confirmation is None else confirmation.is_confirmed,
        "not_confirmed_because": None if confirmation is None else confirmation.reason,
        "stopped": trial.stopped,
        "problems": [dataclasses.asdict(problem) for problem in trial.problems],
        **values(recommendation, "samples", "disturbance_excluded_s", "left_out_s"),
        **values(recommendation, "requests_per_cpu_s", "measured_rate_per_s", "loop"),
        "driver": trial.driver,
        **values(recommendation, "step"),
        "measurement": trial.kept_in,
        "endpoint": (
            None
            if endpoint is None
            else endpoint_document(endpoint, recommendation.step if endpoint is trial else beside)
        ),
        "model_alone": None if alone is None or alone is trial else model_alone_document(alone, beside),
        "figures": outside_values(recommendation),
    }


def endpoint_document(trial: Trial, step: int | None) -> dict[str, Any]:
    """Return the winner measured over HTTP, all latencies apart: what the client saw, what the model took, and the
    rest."""
    judged, capacity = trial.judged, trial.capacity
    return {
        **values(trial, "verdict"),
        "reason": trial.reason,
        **values(trial, "instance_count", "max_invocations"),
        "response_ms": dict(judged.latency_ms),
        "response_ms_ci95": {name: list(interval) for name, interval in judged.latency_ms_ci95.items()},
        "model_latency_ms": judged.model_latency_ms,
        "overhead_latency_ms": judged.overhead_ms,
        **values(trial, "loop", "samples", "disturbance_excluded_s", "left_out_s", "measured_rate_per_s"),
        "errors": {**capacity.errors, **judged.errors},
        **values(trial, "cpu_utilization", *_ENERGY),
        "client_cpu_utilization": judged.client_cpu_percent,
        "problems": [dataclasses.asdict(problem) for problem in trial.problems],
        "driver": trial.driver,
        "basis": trial.basis,
        "step": step,
        "measurement": trial.kept_in,
    }


def model_alone_document(trial: Trial, step: int | None) -> dict[str, Any]:
    """Return the winner of a job that deploys an endpoint, called in process."""
    judged = trial.judged
    return {
        "capacity_rate_per_s": trial.capacity.throughput_per_s,
        **values(trial, "max_invocations"),
        "latency_ms": dict(judged.latency_ms),
        "latency_ms_ci95": {name: list(interval) for name, interval in judged.latency_ms_ci95.items()},
        **values(trial, "loop", "samples", "disturbance_excluded_s", "left_out_s", "measured_rate_per_s"),
        **values(trial, "requests_per_cpu_s", "cpu_utilization"),
        "driver": trial.driver,
        "basis": trial.basis,
        "step": step,
        "measurement": trial.kept_in,
    }


def why_document(why: Explanation) -> dict[str, Any]:
    """Return the reasons for the first recommendation. Ratios say how many times better it is, with their 95 %
    intervals."""
    return {
        "runner_up": against_document(why.runner_up),
        "naive_default": against_document(why.naive),
        "importance": dict(why.importance),
        "what_would_have_to_change": list(why.changes),
        "choices": [
            {
                "instance_profile": choice.rival.profile.name,
                "configuration": dataclasses.asdict(choice.rival.trial.configuration),
                "decided_by": choice.by,
            }
            for choice in why.choices
        ],
    }


def against_document(against: PairedComparison | None) -> dict[str, Any] | None:
    """Return a comparison of the first recommendation with another configuration, None where there is none."""
    if against is None:
        return None
    return {
        "configuration": dataclasses.asdict(against.configuration),
        "metric": against.ratio.metric,
        "ratio": against.ratio.ratio,
        "ci95": None if against.ratio.ci95 is None else list(against.ratio.ci95),
        "rounds": against.ratio.rounds,
        "answered_per_s": against.answered_per_s,
    }


def step_document(step: Step) -> dict[str, Any]:
    """Return a step, with the metrics of what was measured."""
    return {
        "step": step.number,
        "kind": step.kind,
        "status": step.status,
        "backend": step.backend,
        "configuration": None if step.configuration is None else dataclasses.asdict(step.configuration),
        "began_at": iso_time(step.began_at),
        "ended_at": None if step.ended_at is None else iso_time(step.ended_at),
        "seconds": None if step.ended_at is None else round(step.ended_at - step.began_at, 3),
        "host": step.host_fingerprint,
        "reason": step.reason,
        "metrics": _metrics(step),
        # On this host a job measures itself, and there is no attempt to tell of.
        **({} if step.attempt is None else {"attempt": dataclasses.asdict(step.attempt)}),
    }


def _metrics(step: Step) -> dict[str, Any] | None:
    """Return what was measured in ``step``, None where nothing was."""
    result = step.result
    if isinstance(result, Trial):
        return {
            **values(result, "verdict"),
            "reason": result.reason,
            **values(result, "max_invocations", "instance_count"),
            "model_latency_ms": dict(result.judged.latency_ms),
            **values(result, "loop", "samples", "disturbance_excluded_s", "left_out_s"),
            **values(result, "requests_per_cpu_s", "cpu_utilization", "memory_bytes", *_ENERGY),
            "stopped": result.stopped,
            "round": result.round,
            "driver": result.driver,
            "basis": result.basis,
            "measurement": result.kept_in,
        }
    if isinstance(result, ServiceTimes):
        return {"mean_ms_by_requests": {batch.requests: batch.mean_ns / 1e6 for batch in result.batches}}
    if isinstance(result, EndpointCosts):
        return {"request_ms": result.request_ns / 1e6, "call_ms": result.call_ns / 1e6}
    if isinstance(result, ScriptCost):
        return script_cost_document(result)
    if isinstance(result, CompilationReport):
        return {"seconds": round(result.seconds, 3), "cached": result.cached}
    return None


def iso_time(seconds: float) -> str:
    """Return seconds since 1970 as local time with its offset, in the form of ISO 8601."""
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="milliseconds")


def compilation_document(report: CompilationReport) -> dict[str, Any]:
    """Return how the compilation with a backend turned out."""
    return {
        "backend": report.backend,
        "target": report.target.value,
        "status": report.status,
        "seconds": round(report.seconds, 3),
        "cached": report.cached,
        "speedup": report.speedup,
        "reason": report.reason,
        "quality": quality_document(report.quality),
    }


def script_cost_document(cost: ScriptCost | None) -> dict[str, Any] | None:
    """Return the cost of a script compared with the model file that it loads, None where it was not measured."""
    if cost is None:
        return None
    text = None if cost.reason is not None else f"script: {cost.text}"
    return {**dataclasses.asdict(cost), "tried_s": dict(cost.tried_s), "text": text}


def quality_document(quality: Quality | None) -> dict[str, Any] | None:
    """Return what was found of an artifact that predicts less exactly, None of an exact one. A deviation from a row
    of zeros is no share of it, and has no number."""
    if quality is None:
        return None
    document = dataclasses.asdict(quality)
    largest = quality.largest_deviation if isfinite(quality.largest_deviation) else None
    return {**document, "largest_deviation": largest, "verdict": quality.verdict, "text": quality.text}


def skipped_document(skipped: Skipped) -> dict[str, Any]:
    """Return what was left out, under its kind, and why."""
    return {skipped.kind: skipped.name, "reason": skipped.reason}
