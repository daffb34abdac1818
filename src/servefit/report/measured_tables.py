"""The tables of a report beside its answer: all measurements, failures, the host and its noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from servefit.profiler.machine.profiles import GIB
from servefit.quantities import size_text
from servefit.report.figure_columns import FigureColumns, columns_for, table_of_tests
from servefit.report.job_tables import unasked
from servefit.report.local_paths import local_path
from servefit.report.sentences import shape
from servefit.report.table import Table
from servefit.search.figures.cost import in_their_currency
from servefit.search.figures.registry import figure, figures
from servefit.search.jobs.document import iso_time
from servefit.search.results.instances import per_minute
from servefit.search.results.recommendation import Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence, Set

    from servefit.profiler.record.types import Configuration
    from servefit.search.figures.contract import Figure
    from servefit.search.jobs.job import RecommendationJob
    from servefit.search.results.pareto import Candidate
    from servefit.search.storage.steps import Step

_INSTANCES = (
    "instance_profile", "verdict", "cost_per_inference", "max_invocations", "model_latency_ms.p95", "cost_per_hour",
    "vcpu_s_per_million", "instance_count", "backend", "environment", "settings.max_batch",
    "settings.batch_delay_us", "model_latency_ms.p50", "model_latency_ms_ci95.p95[0]", "model_latency_ms_ci95.p95[1]",
    "model_latency_ms.p99",
    "cpu_utilization", "memory_utilization", "gpu_utilization", "samples", "loop", "basis", "containment", "id",
    "step",
)  # fmt: skip


def instances_table(job: RecommendationJob) -> Table:
    """Return the table of the recommendations with all figures that SageMaker IR has of an instance, and the other
    parameters of the deployment."""
    shown = in_their_currency(_with_instances(_INSTANCES), job.recommendations)
    return columns_for(shown, job.recommendations, hidden=unasked(job)).table(
        "Recommendations, best first", job.recommendations
    )


def _with_instances(names: Sequence[str]) -> tuple[Figure, ...]:
    """Return these figures for a report, which has room for a longer title of the count."""
    return tuple(column.titled("instances") if column.name == "instance_count" else column for column in figures(names))


_PERCENTILES = ("p50", "p95", "p99")
_OVER_HTTP = (
    "endpoint.overhead_latency_ms.p50", "endpoint.overhead_latency_ms.p95", "measured_rate_per_s", "max_invocations",
    "samples", "verdict",
)  # fmt: skip


def endpoint_table(job: RecommendationJob) -> Table:
    """Return the table of the winner as an endpoint, over HTTP or predicted, and as the model alone, in process."""
    response = FigureColumns(
        figures=tuple(figure(f"model_latency_ms.{name}").titled(f"response {name} ms") for name in _PERCENTILES)
    )
    others = FigureColumns(figures=figures(_OVER_HTTP))
    profile = figure("instance_profile")
    rows: list[tuple[object, ...]] = []
    for chosen in job.recommendations:
        alone, endpoint = chosen.model_alone, chosen.endpoint
        if alone is None or endpoint is None:
            continue
        over_http = "over HTTP" if endpoint.basis == "measured" else "predicted"
        for measured, trial in (("in process", alone), (over_http, endpoint)):
            inside = trial.judged.latency_ms if trial is alone else trial.judged.model_latency_ms or {}
            rows.append(
                (profile.cell(chosen), measured, *response.cells(trial), inside.get("p50"), *others.cells(trial))
            )
    return Table(
        title="The winner as an endpoint",
        columns=(profile.title, "measured", *response.titles, "model p50 ms", *others.titles),
        rows=rows,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CostColumn:
    """A cost of configurations, in ``unit``. ``of`` gives that of one, None where it is not known, and ``front`` those
    that no other beats in it and in latency."""

    unit: str
    of: Callable[[Candidate], float | None]
    front: Set[Configuration]


def configurations_table(measured: Sequence[Candidate], of_a_million: CostColumn, at_rate: CostColumn | None) -> Table:
    """Return the table of the configurations, each with its pooled measurements and its costs: of a million inferences
    at full load, and of the asked rate if there is one. Latency and throughput are means of several tests, so they are
    no figures of one."""
    costs = [of_a_million] if at_rate is None else [at_rate, of_a_million]
    fronts = [("on the front", of_a_million.front)]
    if at_rate is not None:
        fronts.append(("on the front at the rate", at_rate.front))
    profile, verdict = figure("instance_profile"), figure("verdict")
    return Table(
        title=f"Configurations by {of_a_million.unit}",
        columns=(
            "configuration",
            "vCPUs",
            profile.title,
            *(cost.unit for cost in costs),
            "p95 ms",
            "max a minute",
            "tests",
            *(title for title, _ in fronts),
            verdict.title,
        ),
        rows=[
            (
                shape(candidate.pooled.configuration),
                candidate.pooled.configuration.vcpus,
                profile.cell(candidate.recommendation),
                *(cost.of(candidate) for cost in costs),
                finite(candidate.pooled.p95_ms),
                round(per_minute(candidate.pooled.capacity_per_s, candidate.pooled.trial.instance_count)),
                candidate.pooled.measurements,
                *(candidate.pooled.configuration in front for _, front in fronts),
                verdict.cell(candidate.pooled.trial),
            )
            for candidate in measured
        ],
    )


_OF_A_TEST = (
    "instance_count", "max_invocations", "model_latency_ms.p50", "model_latency_ms.p95", "model_latency_ms.p99",
    "loop", "samples", "cpu_utilization", "memory_bytes",
)  # fmt: skip


def tests_table(job: RecommendationJob) -> Table:
    """Return the table of all load tests in the order in which they were made."""
    return table_of_tests(
        _with_instances(_OF_A_TEST),
        [
            (_left_cells(step, step.result), step.result, _right_cells(step, step.result))
            for step in job.steps
            if isinstance(step.result, Trial)
        ],
        title="All tests",
        before=("step", "SLA", "kind", "round", "configuration", "vCPUs"),
        after=("seconds", "reason"),
    )


def _left_cells(step: Step, trial: Trial) -> tuple[object, ...]:
    return (
        step.number,
        trial.verdict if trial.round is None else None,
        step.kind.replace("_", " "),
        trial.round,
        shape(trial.configuration),
        trial.configuration.vcpus,
    )


def _right_cells(step: Step, trial: Trial) -> tuple[object, ...]:
    seconds = None if step.ended_at is None else step.ended_at - step.began_at
    return seconds, trial.reason or trial.stopped


def failures_table(job: RecommendationJob) -> Table:
    """Return the table of the steps that failed."""
    return Table(
        title="What failed",
        columns=("step", "backend", "reason", "kind", "configuration"),
        rows=[
            (
                step.number,
                step.backend,
                step.reason,
                step.kind.replace("_", " "),
                None if step.configuration is None else shape(step.configuration),
            )
            for step in job.steps
            if step.status == "FAILED"
        ],
    )


def skipped_table(job: RecommendationJob) -> Table:
    return Table(
        title="What was left out",
        columns=("kind", "name", "reason"),
        rows=[(skipped.kind.replace("_", " "), skipped.name, skipped.reason) for skipped in job.skipped],
    )


def host_table(job: RecommendationJob) -> Table:
    """Return the table of the host that measured, and of how it limited workers to their profile."""
    host = job.host
    envelopes = dict.fromkeys(
        f"{trial.measurement.envelope} ({trial.measurement.containment})" for trial in (*job.trials, *_endpoints(job))
    )
    gpus = ", ".join(f"{gpu.model} ({size_text(gpu.memory_bytes)})" for gpu in host.gpus)
    rows: list[tuple[object, ...]] = [
        ("processor", f"{host.cpu_model} ({host.architecture})"),
        ("logical CPUs", host.logical_cpus),
        ("cores", host.physical_cores),
        ("NUMA nodes", host.numa_nodes),
        (
            "caches",
            ", ".join(f"L{cache.level} {cache.kind} {cache.size_bytes // 1024:,} KiB" for cache in host.caches),
        ),
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
    """Return the table of the noise in every test."""
    return Table(
        title="Noise",
        columns=("step", "late p50 us", "late p99 us", "stolen %", "problems", "remedy"),
        rows=[
            (
                step.number,
                _micro(trial.judged.lag_ms.get("p50")),
                _micro(trial.judged.lag_ms.get("p99")),
                trial.judged.steal_percent,
                "; ".join(f"{problem.kind}: {problem.reason}" for problem in trial.problems) or None,
                "; ".join(dict.fromkeys(problem.remedy for problem in trial.problems)) or None,
            )
            for step, trial in ((step, step.result) for step in job.steps if isinstance(step.result, Trial))
        ],
    )


def subject_table(job: RecommendationJob) -> Table:
    """Return the table of the model, the payload and the request, for a repetition of the job."""
    request, model, payload = job.request, job.model, job.payload
    rows: list[tuple[object, ...]] = [
        ("job", job.name),
        ("type", request.job_type),
        ("status", job.status),
        ("created", iso_time(job.header.created_at)),
        ("seconds", job.elapsed_s),
        ("model", local_path(model.source)),
        ("model format", model.format.value),
        ("model SHA-256", model.digest),
        ("model bytes", model.size_bytes),
        ("payload", f"{payload.source}, {payload.rows:,} rows"),
        *((("sizes of requests", "; ".join(map(str, payload.sizes))),) if payload.sizes else ()),
        ("payload SHA-256", payload.digest),
        ("rows per request", request.rows_per_request),
        ("SLA", None if request.sla.asks_nothing else str(request.sla)),
        ("goal", request.goal),
        ("seed", request.seed),
        *(
            (f"compiled with {compiled.backend}", compiled.version)
            for compiled in job.compilation
            if compiled.version is not None
        ),
    ]
    return Table(title="What was measured", columns=("property", "value"), rows=rows)


def _endpoints(job: RecommendationJob) -> Iterator[Trial]:
    return (recommendation.endpoint for recommendation in job.recommendations if recommendation.endpoint is not None)


def finite(value: float) -> float | None:
    """Return ``value``, or None for infinity, which is an unknown value of the search."""
    return value if value < float("inf") else None


def _micro(value_ms: float | None) -> float | None:
    return None if value_ms is None else 1000 * value_ms
