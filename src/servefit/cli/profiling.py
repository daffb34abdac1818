"""``servefit profile``: one configuration, measured; or, with ``--against``, compared with another."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from servefit.cli.options import (
    ModelArgument,
    NoiseOption,
    PayloadOption,
    QuietOption,
    RowsOption,
    SeedOption,
    TrustOption,
)
from servefit.cli.output import Format, FormatOption, emit, warn
from servefit.cli.progress import saying
from servefit.cli.status import SLA_UNMET, TOO_NOISY
from servefit.errors import SpecError, StateError

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
    batch_delay: Annotated[
        str | None, typer.Option(metavar="500us", help="How long the first request of a batch waits for others.")
    ] = None,
    sla: Annotated[
        list[str] | None,
        typer.Option(
            "--sla",
            metavar="p95=10ms",
            help="Decide whether this holds at --rate; without --rate, find the highest rate at which it does.",
        ),
    ] = None,
    rate: Annotated[
        str | None, typer.Option("--rate", metavar="500/s", help="Open loop: Poisson arrivals at this rate.")
    ] = None,
    constant: Annotated[bool, typer.Option("--constant", help="Evenly spaced arrivals in place of Poisson.")] = False,
    users: Annotated[int | None, typer.Option(help="Closed loop: users. Default: workers x batch.")] = None,
    phase: Annotated[
        list[str] | None,
        typer.Option(
            "--phase", metavar="users=2,spawn=2/min,duration=120s", help="Closed loop: a phase of it. Repeatable."
        ),
    ] = None,
    stairs: Annotated[
        str | None,
        typer.Option(metavar="steps=4,users=2,duration=30s", help="Closed loop: so many more users every step."),
    ] = None,
    duration: Annotated[
        str | None,
        typer.Option(metavar="5s", help="How long to measure: 5s; 30s for the highest rate, 60s to compare."),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="backend=onnxruntime,threads=2",
            help="Compare with one that differs in model, backend, profile, target, threads, workers or batch. "
            "Takes a minute, longer at low rates.",
        ),
    ] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keep the raw samples and telemetry in FILE.")
    ] = None,
    histogram: Annotated[
        Path | None, typer.Option(metavar="FILE.hlog", help="Export an HdrHistogram: .hlog or .hgrm.")
    ] = None,
    target: Annotated[str, typer.Option(help="Processor: cpu or cuda.")] = "cpu",
    seed: SeedOption = 0,
    allow_noise: NoiseOption = False,
    trust_pickle: TrustOption = False,
    form: FormatOption = Format.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Measure MODEL in one configuration: throughput, and latency percentiles with their sample counts.

    Exit status: 0, or 3 when the SLA does not hold or that stays undecided, or 5 when the machine is too noisy to tell.

    Example: servefit profile model.ubj --backend onnxruntime --workers 2 --rate 500/s --sla p95=10ms
    """
    from servefit.cli import profiling_output
    from servefit.cli.phases import parse_against, parse_phases, parse_stairs
    from servefit.profiler.against import BUDGET_S, compare_deployments
    from servefit.profiler.preparing import Deployment
    from servefit.profiler.profiling import profile as measure
    from servefit.search.sla import Sla, parse_duration_s, parse_rate_per_s, parse_sla

    rate_per_s = None if rate is None else parse_rate_per_s(rate)
    duration_s = None if duration is None else parse_duration_s("duration", duration)
    delay_us = 0 if batch_delay is None else max(1, round(1e6 * parse_duration_s("batch_delay", batch_delay)))
    thresholds = Sla(thresholds=tuple(threshold for text in sla or () for threshold in parse_sla(text))).thresholds
    if phase and stairs is not None:
        raise SpecError("stairs", stairs, "cannot be combined with phases", remedy="give one of the two")
    traffic = parse_phases(phase or ()) if stairs is None else parse_stairs(stairs)
    _check_files(save, histogram)
    if against is not None:
        if thresholds or traffic is not None or constant or save is not None or histogram is not None:
            raise SpecError("against", against, "takes --rate or --users, and no other traffic, SLA or files to write")
        with saying("comparing", quiet=quiet):
            compared = compare_deployments(
                model,
                Deployment(
                    backend=backend,
                    profile=profile,
                    threads=threads,
                    workers=workers,
                    batch=batch,
                    batch_delay_us=delay_us,
                    target=target,
                ),
                parse_against(against),
                payload=payload,
                rate=rate_per_s,
                users=users,
                budget_s=BUDGET_S if duration_s is None else duration_s,
                rows_per_request=rows_per_request,
                seed=seed,
                trust_pickle=trust_pickle,
            )
        emit(profiling_output.comparison_table(compared), profiling_output.comparison_document(compared), form)
        return
    with saying("measuring", quiet=quiet):
        found = measure(
            model,
            payload=payload,
            backend=backend,
            profile=profile,
            threads=threads,
            workers=workers,
            batch=batch,
            batch_delay_us=delay_us,
            rate=rate_per_s,
            arrivals="constant" if constant else "poisson",
            users=users,
            traffic=traffic,
            thresholds=thresholds,
            duration_s=duration_s,
            rows_per_request=rows_per_request,
            target=target,
            seed=seed,
            trust_pickle=trust_pickle,
            allow_noise=allow_noise,
        )
    emit(profiling_output.profiled_table(found), profiling_output.profiled_document(found), form)
    if found.steps and form is Format.TABLE:
        emit(profiling_output.steps_table(found), {}, form)
    _keep(found, save, histogram)
    for caution in found.warnings:
        warn(caution)
    if status := _exit_status(found, allow_noise=allow_noise):
        raise typer.Exit(status)


def _check_files(save: Path | None, histogram: Path | None) -> None:
    """Refuse, before anything is measured, files that could not be written after it."""
    from servefit.profiler.storage.export import check_histogram_name

    if histogram is not None:
        check_histogram_name(histogram)
    for path in (save, histogram):
        if path is not None and not os.access(path.parent, os.W_OK | os.X_OK):
            raise StateError(path, f"{path.parent} is no folder that can be written to", variable=None)
        if path is not None and path.is_dir():
            raise StateError(path, "it is a folder", variable=None)


def _keep(found: Profiled, save: Path | None, histogram: Path | None) -> None:
    from servefit.profiler.storage.export import save_histogram
    from servefit.profiler.storage.measurements import save_measurement

    if save is not None:
        save_measurement(found.measurement, save)
    if histogram is not None:
        save_histogram(found.run, histogram)


def _exit_status(found: Profiled, *, allow_noise: bool) -> int:
    """0 when what was asked holds, or nothing was asked."""
    if found.problems and not allow_noise:
        return TOO_NOISY
    if found.decision is not None and found.decision.verdict != "PASS":
        return SLA_UNMET
    return SLA_UNMET if found.highest is not None and found.highest.rate_per_s is None else 0
