"""``servefit profile``: one configuration, measured."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from servefit.cli.options import ModelArgument, PayloadOption, QuietOption, RowsOption, SeedOption, TrustOption
from servefit.cli.output import Format, FormatOption, Table, emit, warn
from servefit.cli.progress import saying

if TYPE_CHECKING:
    from servefit.profiler.profiling import Profiled


def profile(
    model: ModelArgument,
    payload: PayloadOption = None,
    rows_per_request: RowsOption = 1,
    backend: Annotated[str | None, typer.Option("--backend", "-b", help="Default: the model's own library.")] = None,
    profile: Annotated[
        str | None, typer.Option("--profile", help="Instance profile. Default: all of this host.")
    ] = None,
    threads: Annotated[int, typer.Option(help="Threads a worker.")] = 1,
    workers: Annotated[int, typer.Option(help="Worker processes.")] = 1,
    batch: Annotated[int, typer.Option(help="Most requests joined into one call.")] = 1,
    rate: Annotated[
        str | None, typer.Option("--rate", metavar="500/s", help="Open loop: Poisson arrivals at this rate.")
    ] = None,
    users: Annotated[int | None, typer.Option(help="Closed loop: users. Default: workers x batch.")] = None,
    duration: Annotated[str, typer.Option(metavar="5s", help="How long to measure.")] = "5s",
    target: Annotated[str, typer.Option(help="Processor: cpu or cuda.")] = "cpu",
    seed: SeedOption = 0,
    trust_pickle: TrustOption = False,
    form: FormatOption = Format.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Measure MODEL in one configuration: throughput, and latency percentiles with their sample counts.

    Example: servefit profile model.ubj --backend onnxruntime --workers 2 --rate 500/s --duration 10s
    """
    from servefit.profiler.profiling import profile as measure
    from servefit.search.sla import parse_duration_s, parse_rate_per_s

    rate_per_s = None if rate is None else parse_rate_per_s(rate)
    with saying("measuring", quiet=quiet):
        found = measure(
            model,
            payload=payload,
            backend=backend,
            profile=profile,
            threads=threads,
            workers=workers,
            batch=batch,
            rate=rate_per_s,
            users=users,
            duration_s=parse_duration_s("duration", duration),
            rows_per_request=rows_per_request,
            target=target,
            seed=seed,
            trust_pickle=trust_pickle,
        )
    emit(_table(found), _document(found), form)
    for caution in found.warnings:
        warn(caution)


def _table(found: Profiled) -> Table:
    summary, configuration = found.summary, found.measurement.configuration
    rows: list[list[Any]] = [
        ["profile", found.profile.name],
        ["backend", configuration.backend],
        ["workers x threads", f"{configuration.workers} x {configuration.settings.threads}"],
        ["loop", summary.loop],
        ["throughput per s", summary.throughput_per_s],
        ["samples", summary.samples],
    ]
    for name, value in summary.latency_ms.items():
        interval = summary.latency_ms_ci95.get(name)
        within = "" if interval is None else f"  ({interval[0]:.4g} to {interval[1]:.4g})"
        rows.append([f"latency {name} ms", None if value is None else f"{value:.4g}{within}"])
    rows += [[f"service {name} ms", value] for name, value in summary.service_ms.items()]
    rows += [
        ["CPU %", summary.cpu_percent],
        ["memory %", summary.memory_percent],
        ["GPU %", summary.gpu_percent],
        ["payload", found.payload_source],
    ]
    return Table(columns=("figure", "value"), rows=rows)


def _document(found: Profiled) -> dict[str, Any]:
    from servefit.search.document import model_document

    measurement = found.measurement
    return {
        "schema": 1,
        "model": model_document(found.model),
        "payload": found.payload_source,
        "host": dataclasses.asdict(found.host),
        "instance_profile": dataclasses.asdict(found.profile),
        "configuration": dataclasses.asdict(measurement.configuration),
        "driver": "inprocess",
        "containment": measurement.containment,
        "cpus": list(measurement.cpus),
        "load_s": measurement.load_s,
        "threads_per_worker": list(measurement.runs[0].threads_per_worker),
        "summary": dataclasses.asdict(found.summary),
        "telemetry": [dataclasses.asdict(point) for point in measurement.runs[0].telemetry],
        "warnings": list(found.warnings),
    }
