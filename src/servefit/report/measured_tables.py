"""The tables of a report beside its answer: everything that was measured, on which machine, and what went wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servefit.profiler.machine.profiles import GIB
from servefit.quantities import size_text
from servefit.report.sentences import shape
from servefit.report.table import Table
from servefit.search.jobs.document import iso_time
from servefit.search.results.recommendation import Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence, Set

    from servefit.profiler.record.types import Configuration
    from servefit.search.jobs.job import RecommendationJob
    from servefit.search.results.pareto import Candidate
    from servefit.search.results.recommendation import Recommendation
    from servefit.search.storage.steps import Step

_PER_MIB = 2**20


def instances_table(job: RecommendationJob) -> Table:
    """What SageMaker IR says of each instance, and the rest of what a deployment is made of."""
    return Table(
        title="Recommendations, best first",
        columns=(
            "SLA", "profile", "instances", "backend", "environment", "batch", "delay us", "$/hour", "$/million",
            "max a minute", "p50 ms", "p95 ms", "p95 from", "p95 to", "p99 ms", "CPU %", "memory %", "GPU %", "samples",
            "loop", "containment", "id", "step",
        ),
        rows=[_instance(one, asked=not job.request.sla.asks_nothing) for one in job.recommendations],
    )  # fmt: skip


def _instance(one: Recommendation, *, asked: bool) -> tuple[object, ...]:
    trial, judged = one.trial, one.trial.judged
    configuration = trial.configuration
    low, high = judged.latency_ms_ci95.get("p95", (None, None))
    return (
        trial.verdict if asked else None,
        one.profile.name,
        trial.instance_count,
        configuration.backend,
        variables(one.environment | {name: str(value) for name, value in configuration.settings.options}),
        configuration.max_batch,
        configuration.batch_delay_us,
        one.cost_per_hour,
        per_million(one),
        round(one.max_invocations),
        judged.latency_ms["p50"],
        judged.latency_ms["p95"],
        low,
        high,
        judged.latency_ms["p99"],
        judged.cpu_percent,
        100 * trial.measurement.peak_memory_bytes / one.profile.memory_bytes,
        judged.gpu_percent,
        judged.samples,
        judged.loop,
        trial.measurement.containment,
        one.id,
        one.step,
    )


def endpoint_table(job: RecommendationJob) -> Table:
    """The winner measured over HTTP, beside the same without a network."""
    rows: list[tuple[object, ...]] = []
    for one in job.recommendations:
        if one.endpoint is None:
            continue
        for driver, trial in (("in process", one.trial), ("over HTTP", one.endpoint)):
            judged = trial.judged
            inside, overhead = judged.model_latency_ms or {}, judged.overhead_ms or {}
            rows.append(
                (
                    one.profile.name,
                    driver,
                    judged.latency_ms["p50"],
                    judged.latency_ms["p95"],
                    judged.latency_ms["p99"],
                    inside.get("p50") if driver == "over HTTP" else judged.latency_ms["p50"],
                    overhead.get("p50"),
                    overhead.get("p95"),
                    judged.throughput_per_s,
                    round(60 * trial.capacity.throughput_per_s * trial.instance_count),
                    judged.samples,
                    trial.verdict,
                )
            )
    return Table(
        title="The winner as an endpoint",
        columns=(
            "profile", "measured", "response p50 ms", "response p95 ms", "response p99 ms", "model p50 ms",
            "overhead p50 ms", "overhead p95 ms", "answered per s", "max a minute", "samples", "SLA",
        ),
        rows=rows,
    )  # fmt: skip


def configurations_table(
    found: Sequence[Candidate], front: Set[Configuration], unit: str, cost: Callable[[Candidate], float | None]
) -> Table:
    """Configurations by what all their measurements amount to, and what a million inferences ``cost`` in ``unit``."""
    return Table(
        title=f"Configurations by {unit}",
        columns=("configuration", "vCPUs", "profile", unit, "p95 ms", "max a minute", "tests", "on the front", "SLA"),
        rows=[
            (
                shape(one.standing.configuration),
                one.standing.configuration.vcpus,
                one.recommendation.profile.name,
                cost(one),
                finite(one.standing.p95_ms),
                round(60 * one.standing.capacity_per_s * one.standing.trial.instance_count),
                one.standing.measurements,
                one.standing.configuration in front,
                one.standing.trial.verdict,
            )
            for one in found
        ],
    )


def tests_table(job: RecommendationJob) -> Table:
    """Every load test in the order in which they were made."""
    return Table(
        title="All tests",
        columns=(
            "step", "SLA", "kind", "round", "configuration", "vCPUs", "instances", "max a minute", "p50 ms", "p95 ms",
            "p99 ms", "loop", "samples", "CPU %", "memory MiB", "seconds", "reason",
        ),
        rows=[_test(step, step.result) for step in job.steps if isinstance(step.result, Trial)],
    )  # fmt: skip


def _test(step: Step, trial: Trial) -> tuple[object, ...]:
    judged = trial.judged
    return (
        step.number,
        trial.verdict if trial.round is None else None,
        step.kind.replace("_", " "),
        trial.round,
        shape(trial.configuration),
        trial.configuration.vcpus,
        trial.instance_count,
        round(60 * trial.capacity.throughput_per_s * trial.instance_count),
        *(judged.latency_ms[name] for name in ("p50", "p95", "p99")),
        judged.loop,
        judged.samples,
        judged.cpu_percent,
        trial.measurement.peak_memory_bytes / _PER_MIB,
        None if step.ended_at is None else step.ended_at - step.began_at,
        trial.reason or trial.stopped,
    )


def failures_table(job: RecommendationJob) -> Table:
    """What was tried and could not be done."""
    return Table(
        title="What failed",
        columns=("step", "backend", "reason", "kind", "configuration"),
        rows=[
            (
                one.number,
                one.backend,
                one.reason,
                one.kind.replace("_", " "),
                None if one.configuration is None else shape(one.configuration),
            )
            for one in job.steps
            if one.status == "FAILED"
        ],
    )


def skipped_table(job: RecommendationJob) -> Table:
    return Table(
        title="What was left out",
        columns=("kind", "name", "reason"),
        rows=[(one.kind.replace("_", " "), one.name, one.reason) for one in job.skipped],
    )


def host_table(job: RecommendationJob) -> Table:
    """Where it was measured, and what held the workers to their profile."""
    host = job.host
    envelopes = dict.fromkeys(
        f"{one.measurement.envelope} ({one.measurement.containment})" for one in (*job.trials, *_endpoints(job))
    )
    gpus = ", ".join(f"{one.model} ({size_text(one.memory_bytes)})" for one in host.gpus)
    rows: list[tuple[object, ...]] = [
        ("processor", f"{host.cpu_model} ({host.architecture})"),
        ("logical CPUs", host.logical_cpus),
        ("cores", host.physical_cores),
        ("NUMA nodes", host.numa_nodes),
        ("caches", ", ".join(f"L{one.level} {one.kind} {one.size_bytes // 1024:,} KiB" for one in host.caches)),
        ("memory GiB", host.memory_bytes / GIB),
        ("GPUs", gpus or f"none: {host.no_gpu_reason}"),
        ("operating system", f"{host.operating_system}, kernel {host.kernel}"),
        ("virtualisation", host.virtualisation),
        ("CPU governor", host.governor),
        ("steal since boot %", host.steal_percent),
        ("load average at the beginning", ", ".join(f"{load:.2f}" for load in host.load_average)),
        ("envelope", ", ".join(envelopes) or None),
        ("Python", host.python),
        ("servefit", job.header.servefit),
        ("fingerprint", host.fingerprint),
    ]
    return Table(title="Host", columns=("property", "value"), rows=rows)


def noise_table(job: RecommendationJob) -> Table:
    """How far the machine was in the way: what was seen in every test."""
    return Table(
        title="Noise",
        columns=("step", "late p50 us", "late p99 us", "stolen %", "problems", "remedy"),
        rows=[
            (
                step.number,
                _micro(trial.judged.lag_ms.get("p50")),
                _micro(trial.judged.lag_ms.get("p99")),
                trial.judged.steal_percent,
                "; ".join(f"{one.kind}: {one.reason}" for one in trial.problems) or None,
                "; ".join(dict.fromkeys(one.remedy for one in trial.problems)) or None,
            )
            for step, trial in ((one, one.result) for one in job.steps if isinstance(one.result, Trial))
        ],
    )


def subject_table(job: RecommendationJob) -> Table:
    """What was measured, so that somebody else can measure the same."""
    request, model, payload = job.request, job.model, job.payload
    rows: list[tuple[object, ...]] = [
        ("job", job.name),
        ("type", request.job_type),
        ("status", job.status),
        ("created", iso_time(job.header.created_at)),
        ("seconds", job.elapsed_s),
        ("model", model.source),
        ("model format", model.format.value),
        ("model SHA-256", model.digest),
        ("model bytes", model.size_bytes),
        ("payload", f"{payload.source}, {payload.rows:,} rows"),
        ("payload SHA-256", payload.digest),
        ("rows per request", request.rows_per_request),
        ("SLA", None if request.sla.asks_nothing else str(request.sla)),
        ("goal", request.goal),
        ("seed", request.seed),
        *((f"compiled with {one.backend}", one.version) for one in job.compilation if one.version is not None),
    ]
    return Table(title="What was measured", columns=("property", "value"), rows=rows)


def _endpoints(job: RecommendationJob) -> Iterator[Trial]:
    return (one.endpoint for one in job.recommendations if one.endpoint is not None)


def variables(environment: dict[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in environment.items())


def per_million(one: Recommendation) -> float | None:
    return None if one.cost_per_inference is None else one.cost_per_inference * 1e6


def finite(value: float) -> float | None:
    """None for what is not known, which the search counts as infinite."""
    return value if value < float("inf") else None


def _micro(value_ms: float | None) -> float | None:
    return None if value_ms is None else 1000 * value_ms
