"""The tables of ``servefit profile``: figures of one configuration, of its steps, or a comparison of two."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from servefit.quantities import duration_text, number_text, percent_text, size_text
from servefit.report.measured_texts import missed_text
from servefit.report.table import Estimate, Table
from servefit.search.figures.registry import figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servefit.backends.libraries.layer_times import LayerTimes
    from servefit.backends.payload import UsedSizes
    from servefit.profiler.evidence.summary import Summary
    from servefit.profiler.procedures.compare_deployments import Compared
    from servefit.profiler.procedures.microbenchmark.service_time import ServiceTime
    from servefit.profiler.procedures.prepare import Prepared
    from servefit.profiler.procedures.profile import Profiled
    from servefit.profiler.procedures.tried_rates import HighestRate


def profiled_table(profiled: Profiled) -> Table:
    summary, measurement = profiled.summary, profiled.measurement
    configuration = measurement.configuration
    limit = measurement.memory_limit_bytes
    rows: list[list[Any]] = [
        ["profile", profiled.profile.name],
        ["envelope", f"{measurement.envelope}, CPUs {', '.join(map(str, measurement.cpus))}"],
        ["memory limit", None if limit is None else size_text(limit)],
        ["backend", configuration.backend],
        *([] if profiled.compilation.quality is None else [["quality", profiled.compilation.quality.text]]),
        ["workers x threads", f"{configuration.workers} x {configuration.settings.threads}"],
        ["driver", profiled.run.driver],
        *_answer_rows(profiled),
        _figure_row("loop", summary),
        ["throughput per s", summary.throughput_per_s],
        _figure_row("samples", summary),
    ]
    rows += latency_rows("latency", summary)
    rows += [[f"service {name} ms", value] for name, value in summary.service_ms.items()]
    rows += _client_rows(profiled)
    if summary.lag_ms["p99"] is not None:
        rows.append(["schedule lag p99 ms", summary.lag_ms["p99"]])
    rows += [
        _figure_row("cpu_utilization", summary),
        ["memory %", summary.memory_percent],
        _figure_row("gpu_utilization", summary),
        *(row for name in ("package_power_w", "gpu_power_w") if (row := _figure_row(name, summary))[1] is not None),
        ["payload", profiled.payload_source],
        *_sizes_row(profiled.payload_sizes),
        *_script_rows(profiled),
    ]
    return Table(columns=("figure", "value"), rows=rows)


def _sizes_row(sizes: Sequence[UsedSizes]) -> list[list[Any]]:
    """Return the row about the sizes that requests have for themselves; none where they have none."""
    return [["sizes", "; ".join(map(str, sizes))]] if sizes else []


def _figure_row(name: str, summary: Summary) -> list[Any]:
    declared = figure(name)
    return [declared.title, declared.cell(summary)]


def _client_rows(profiled: Profiled) -> list[list[Any]]:
    """Return the rows of a run over HTTP: model latency and overhead, failures, and the client's CPU."""
    summary, client = profiled.summary, profiled.run.client
    if client is None:
        return []
    rows: list[list[Any]] = []
    for label, percentiles in (("model latency", summary.model_latency_ms), ("overhead", summary.overhead_ms)):
        rows += [[f"{label} {name} ms", value] for name, value in (percentiles or {}).items()]
    if client.errors:
        rows.append(["failed", ", ".join(f"{count:,} x {kind}" for kind, count in client.errors.items())])
    return [
        *rows,
        ["connections", client.connections],
        ["client CPU %", client.cpu_percent],
        ["client CPUs", ", ".join(map(str, client.cpus)) + (" (the server's too)" if client.shares_cpus else "")],
    ]


def _answer_rows(profiled: Profiled) -> list[list[Any]]:
    """Return the rows of the verdict and of the highest rate, if these were requested."""
    rows: list[list[Any]] = verdict_rows(profiled.verdict, profiled.reason, profiled.summary)
    if profiled.highest is None:
        return rows
    offered_per_s = profiled.summary.offered_per_s
    return [
        *rows,
        *highest_rows(profiled.highest),
        ["figures below are of", f"{number_text(offered_per_s)} requests/s" if offered_per_s else "-"],
    ]


def verdict_rows(verdict: str | None, reason: str | None, summary: Summary) -> list[list[Any]]:
    """Return the row of a verdict with its reason, or with what a PASS says nothing of; none without a verdict."""
    if verdict == "PASS":
        reason = missed_text(summary)
    return [] if verdict is None else [["verdict", verdict + ("" if reason is None else f": {reason}")]]


def highest_rows(highest: HighestRate) -> list[list[Any]]:
    """Return the rows of the highest rate within limits, and of the search for it."""
    root_per_s = highest.root_per_s
    return [
        ["confirmed rate per s", highest.rate_per_s],
        [
            "estimated limit per s",
            None if root_per_s is None else Estimate(value=root_per_s, interval=highest.interval_per_s),
        ],
        *([] if highest.ratio is None or _is_one(highest.ratio) else [["measured over replayed", highest.ratio]]),
        ["search", f"{highest.ended}, {len(highest.tried)} runs"],
    ]


def _is_one(ratio: float) -> bool:
    """Return whether a ratio is 1 as far as it is shown, as it always is of calls that were inferred from answers."""
    return abs(ratio - 1) < 0.005


def latency_rows(label: str, summary: Summary) -> list[list[Any]]:
    """Return the rows of the percentiles of ``summary`` with their intervals, named after ``label``."""
    return [
        [
            f"{label} {name} ms",
            None if value is None else Estimate(value=value, interval=summary.latency_ms_ci95.get(name)),
        ]
        for name, value in summary.latency_ms.items()
    ]


def _script_rows(profiled: Profiled) -> list[list[Any]]:
    """Return the rows on the cost of a script: the functions around its prediction, and the comparison with the model
    file that it loads, if that was measured. Other models have none."""
    rows = []
    if took := profiled.compilation.function_s:
        own = [name for name in took if name != "predict_fn"]
        own_s, whole_s = sum(took[name] for name in own), sum(took.values())
        text = f"{' and '.join(own)} {duration_text(own_s, digits=2)} of {duration_text(whole_s, digits=2)} a request"
        rows.append(["script, when it was tried", text])
    if (cost := profiled.script_cost) is not None and cost.reason is None:
        rows += [["script", cost.text], ["predictions", cost.predictions_text]]
    return rows


def steps_table(profiled: Profiled) -> Table:
    names = list(profiled.steps[0].latency_ms)
    return Table(
        title="Steps",
        columns=("users", "seconds", "throughput per s", "samples", *(f"{name} ms" for name in names), "CPU %"),
        rows=[
            [
                step.users,
                step.duration_s,
                step.throughput_per_s,
                step.samples,
                *(step.latency_ms[name] for name in names),
                step.cpu_percent,
            ]
            for step in profiled.steps
        ],
    )


def profiled_document(profiled: Profiled) -> dict[str, Any]:
    from servefit.search.endpoints.load_result import decision_document
    from servefit.search.jobs.document import model_document, quality_document, script_cost_document

    measurement = profiled.measurement
    run = profiled.run
    return {
        "schema": 1,
        "model": model_document(profiled.model),
        "payload": profiled.payload_source,
        "sizes": [dataclasses.asdict(size) for size in profiled.payload_sizes],
        "host": dataclasses.asdict(profiled.host),
        "instance_profile": dataclasses.asdict(profiled.profile),
        "configuration": dataclasses.asdict(measurement.configuration),
        "driver": run.driver,
        "containment": measurement.containment,
        "envelope": measurement.envelope,
        "memory_limit_bytes": measurement.memory_limit_bytes,
        "cpus": list(measurement.cpus),
        "load_s": measurement.load_s,
        "threads_per_worker": list(run.threads_per_worker),
        "traffic": dataclasses.asdict(run.traffic),
        "client": None if run.client is None else dataclasses.asdict(run.client),
        "summary": dataclasses.asdict(profiled.summary),
        "steps": [dataclasses.asdict(step) for step in profiled.steps],
        "quality": quality_document(profiled.compilation.quality),
        "script_function_s": dict(profiled.compilation.function_s) or None,
        "script_cost": script_cost_document(profiled.script_cost),
        "verdict": profiled.verdict,
        "reason": profiled.reason,
        "decision": decision_document(profiled.decision),
        "highest_rate": None if profiled.highest is None else dataclasses.asdict(profiled.highest),
        "problems": [dataclasses.asdict(problem) for problem in profiled.problems],
        "telemetry": [dataclasses.asdict(point) for point in run.telemetry],
        "warnings": list(profiled.warnings),
    }


def comparison_table(compared: Compared) -> Table:
    comparison = compared.comparison
    rows: list[list[Any]] = [
        ["a", _described(compared.one)],
        ["b", _described(compared.other)],
        *_quality_rows(compared.one, "quality of a"),
        *_quality_rows(compared.other, "quality of b"),
        ["payload", compared.one.payload.source],
        ["compared", compared.metric],
    ]
    if comparison is None:
        reasons = "; ".join(problem.reason for problem in compared.problems)
        return Table(columns=("figure", "value"), rows=[*rows, ["outcome", f"{compared.outcome}: {reasons}"]])
    rows += [
        ["outcome", comparison.outcome],
        ["b / a", Estimate(value=comparison.ratio, interval=comparison.ci95)],
        ["counts as no difference", f"less than {percent_text(comparison.margin)}"],
        ["blocks", f"{len(comparison.log_ratios)} of four measurements, ended by: {comparison.stopped}"],
    ]
    return Table(columns=("figure", "value"), rows=rows)


def comparison_document(compared: Compared) -> dict[str, Any]:
    from servefit.profiler.procedures.comparing.comparison import Comparison

    comparison = compared.comparison
    names = [field.name for field in dataclasses.fields(Comparison)]
    return {
        "schema": 1,
        "a": _prepared_document(compared.one),
        "b": _prepared_document(compared.other),
        "host": dataclasses.asdict(compared.one.host),
        "payload": compared.one.payload.source,
        "metric": compared.metric,
        **(dict.fromkeys(names) if comparison is None else dataclasses.asdict(comparison)),
        "outcome": compared.outcome,
        "problems": [dataclasses.asdict(problem) for problem in compared.problems],
        "elapsed_s": compared.elapsed_s,
        "warnings": list(compared.warnings),
    }


def service_time_table(prepared: Prepared, service_time: ServiceTime) -> Table:
    rows: list[list[Any]] = [["deployment", _described(prepared)], *_quality_rows(prepared, "quality")]
    rows.append(["payload", prepared.payload.source])
    rows += _sizes_row(prepared.payload.sizes)
    for name in ("p50", "mean"):
        low, high = service_time.ci95_ns[name]
        value = service_time.p50_ns if name == "p50" else service_time.mean_ns
        rows.append([f"service {name} us", Estimate(value=value / 1000, interval=(low / 1000, high / 1000))])
    for name, nanoseconds in service_time.percentiles_ns.items():
        if name != "p50" and nanoseconds is not None:
            rows.append([f"service {name} us", nanoseconds / 1000])
    rows += [
        ["rows a call", service_time.rows_per_call],
        ["timed", "one by one" if service_time.single_calls else "in blocks: percentiles are not known"],
        ["calls", f"{service_time.calls:,} in {len(service_time.processes)} processes"],
        ["outliers", f"{service_time.mild_outliers:,} mild, {service_time.severe_outliers:,} severe"],
        ["steady", "yes" if service_time.reason is None else service_time.reason],
    ]
    return Table(columns=("figure", "value"), rows=rows)


def service_time_document(prepared: Prepared, service_time: ServiceTime) -> dict[str, Any]:
    return {
        "schema": 1,
        **_prepared_document(prepared),
        "payload": prepared.payload.source,
        "host": dataclasses.asdict(prepared.host),
        "service_time": dataclasses.asdict(service_time),
    }


def layers_table(times: LayerTimes) -> Table:
    """The layers that take longest, what all others take together, and a whole call."""
    all_us = sum(layer.mean_us for layer in times.layers)
    by_time = sorted(times.layers, key=lambda layer: -layer.mean_us)
    rows: list[list[Any]] = [
        [layer.name, layer.operator, layer.mean_us, percent_text(layer.mean_us / all_us) if all_us else None]
        for layer in by_time[:_SHOWN_LAYERS]
    ]
    if rest := by_time[_SHOWN_LAYERS:]:
        rest_us = sum(layer.mean_us for layer in rest)
        rows.append([f"{len(rest)} others", None, rest_us, percent_text(rest_us / all_us) if all_us else None])
    rows += [["all layers", None, all_us, None], ["a whole call", None, times.call_us, None]]
    return Table(columns=("layer", "operator", "us a call", "share"), rows=rows)


_SHOWN_LAYERS = 20


def layers_document(prepared: Prepared, times: LayerTimes) -> dict[str, Any]:
    return {
        "schema": 1,
        **_prepared_document(prepared),
        "payload": prepared.payload.source,
        "host": dataclasses.asdict(prepared.host),
        "layers": dataclasses.asdict(times),
    }


def _prepared_document(prepared: Prepared) -> dict[str, Any]:
    from servefit.search.jobs.document import model_document, quality_document

    return {
        "model": model_document(prepared.model),
        "quality": quality_document(prepared.compilation.quality),
        "instance_profile": prepared.profile.name,
        "configuration": dataclasses.asdict(prepared.configuration),
    }


def _quality_rows(prepared: Prepared, name: str) -> list[list[Any]]:
    """Return what was found of an artifact that predicts less exactly, as the rows of a table: none of an exact one."""
    quality = prepared.compilation.quality
    return [] if quality is None else [[name, quality.text]]


def _described(prepared: Prepared) -> str:
    configuration = prepared.configuration
    batch = f", batch {configuration.max_batch}" if configuration.max_batch > 1 else ""
    return (
        f"{prepared.model.source}: {configuration.backend}, {configuration.workers} x "
        f"{configuration.settings.threads}{batch} on {prepared.profile.name}"
    )
