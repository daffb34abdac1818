"""``servefit profile``: one configuration, measured; or, with ``--against``, compared with another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from servefit.cli.files import FileOptions
from servefit.cli.job_options import of_job
from servefit.cli.measuring import (
    BatchDependenceOption,
    LoopOptions,
    NoiseOption,
    PrecisionOptions,
    RowsOption,
    SeedOption,
    parse_duration,
    parse_thresholds,
)
from servefit.cli.opening import OpeningOptions
from servefit.cli.options import ModelArgument, QuietOption, TrustOptions, WaitOptions
from servefit.cli.output import FormatOption, OutputFormat, emit, warn
from servefit.cli.progress import showing_stage
from servefit.cli.signatures import option
from servefit.cli.status import TOO_NOISY, status_of_verdict
from servefit.errors import SpecError
from servefit.option_panels import OUTPUT, SEARCH, TRAFFIC
from servefit.profiler.defaults import (
    COMPARISON_S,
    DURATION_S,
    MARGIN,
    MIN_COMPILING_S,
    ROWS_PER_REQUEST,
    SEARCH_S,
    SEED,
)

if TYPE_CHECKING:
    from servefit.profiler.procedures.compare_deployments import Compared
    from servefit.profiler.procedures.prepare import Deployment, Examined, Requests

_START_S = 1.0
"""Time until the worker processes are ready, for the progress alone. A rough estimate."""


class DriverChoice(StrEnum):
    INPROCESS = "inprocess"
    HTTP = "http"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfiledOptions:
    """The deployment that is measured, and what it is compared with."""

    backend: Annotated[str | None, of_job("backend", "Default: the library of the model.")] = None
    profile: Annotated[str | None, of_job("profile", "Instance profile. Default: all of this host.")] = None
    threads: Annotated[int, option("Threads a worker.", SEARCH, "N")] = 1
    workers: Annotated[int, option("Worker processes.", SEARCH, "N")] = 1
    batch: Annotated[int, option("Most requests joined into one call.", SEARCH, "N")] = 1
    batch_delay: Annotated[
        str | None, option("How long the first request of a batch waits for others.", SEARCH, "500us")
    ] = None
    against: Annotated[
        str | None,
        option(
            "Compare with one that differs in model, backend, profile, target, threads, workers or batch. Takes a "
            "minute, longer at low rates.",
            SEARCH,
            "backend=onnxruntime,threads=2",
        ),
    ] = None
    margin: Annotated[
        str | None,
        option(
            f"What counts as no difference in a comparison. Default {100 * MARGIN:g}%.", SEARCH, f"{100 * MARGIN:g}%"
        ),
    ] = None
    target: Annotated[str, option("Processor: cpu or cuda.", SEARCH, "cpu|cuda")] = "cpu"
    allow_batch_dependence: BatchDependenceOption = False
    precision: PrecisionOptions

    def deployment(self) -> Deployment:
        """Return the deployment. Raises SpecError."""
        from servefit.profiler.procedures.prepare import Deployment
        from servefit.quantities import parse_delay_us

        return Deployment(
            backend=self.backend,
            profile=self.profile,
            threads=self.threads,
            workers=self.workers,
            batch=self.batch,
            batch_delay_us=0 if self.batch_delay is None else parse_delay_us("batch_delay", self.batch_delay),
            allow_batch_dependence=self.allow_batch_dependence,
            target=self.target,
            precision=self.precision.limits(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfiledLoopOptions(LoopOptions):
    """The traffic, where what users are usual depends on the deployment."""

    users: Annotated[
        int | None, option("Closed loop: users. Default: workers x batch; more over http.", TRAFFIC, "N")
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuringOptions:
    """The measurement: its limits, its traffic and its time."""

    sla: Annotated[
        list[str] | None,
        of_job("sla", "Decide whether this holds at --rate; without --rate, find the highest rate at which it does."),
    ] = None
    loop: ProfiledLoopOptions
    duration: Annotated[
        str | None,
        option(
            f"How long to measure: {DURATION_S:g}s; {SEARCH_S:g}s for the highest rate, {COMPARISON_S:g}s to compare.",
            TRAFFIC,
            f"{DURATION_S:g}s",
        ),
    ] = None
    service_time: Annotated[bool, option("Time calls alone, in fresh processes: no queue, no traffic.", TRAFFIC)] = (
        False
    )
    layers: Annotated[
        bool, option("Time each layer of a network, alone: by onnxruntime or openvino (--backend).", TRAFFIC)
    ] = False
    driver: Annotated[
        DriverChoice,
        option(
            "inprocess calls the model alone; http sends requests to a real endpoint, from CPUs that the profile "
            "leaves (without --profile: all but one).",
            TRAFFIC,
        ),
    ] = DriverChoice.INPROCESS
    budget: Annotated[
        str | None,
        option(
            "Most time for all of it: opening and compiling too, but not waiting for others. Whatever hangs is named. "
            f"Default: {MIN_COMPILING_S:g}s to compile, more for a large model.",
            TRAFFIC,
            "2m",
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfiledFileOptions(FileOptions):
    """The files, which hold more of a measurement on this machine."""

    save: Annotated[Path | None, option("Keep the raw samples and telemetry in FILE.", OUTPUT, "FILE")] = None


def profile(
    model: ModelArgument,
    opening: OpeningOptions,
    rows_per_request: RowsOption = ROWS_PER_REQUEST,
    *,
    profiled: ProfiledOptions,
    measuring: MeasuringOptions,
    files: ProfiledFileOptions,
    seed: SeedOption = SEED,
    allow_noise: NoiseOption = False,
    waiting: WaitOptions,
    trust: TrustOptions,
    form: FormatOption = OutputFormat.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Measure MODEL in one configuration: throughput, and latency percentiles with their sample counts.

    Exit status: 0, or 3 when the SLA does not hold, 5 when the machine is too noisy to tell, 6 when it stays undecided.

    Example: servefit profile model.ubj --backend onnxruntime --workers 2 --rate 500/s --sla p95=10ms
    """
    from servefit.cli import profiling_output
    from servefit.cli.phases import parse_against
    from servefit.profiler.machine.slot.holding import measuring_slot
    from servefit.profiler.procedures import profile as procedure
    from servefit.profiler.procedures.compare_deployments import compare_deployments
    from servefit.profiler.procedures.prepare import check_there, examine
    from servefit.quantities import parse_share
    from servefit.time_limit import budget_of, within

    loop, against, margin = measuring.loop, profiled.against, profiled.margin
    rate_per_s, users = loop.rate_per_s(), loop.users
    duration_s = parse_duration("duration", measuring.duration)
    thresholds = parse_thresholds(measuring.sla)
    traffic, wait_s = loop.traffic(), waiting.wait_s()
    budget_s = parse_duration("budget", measuring.budget)
    files.check()
    deployment = profiled.deployment()
    sample = opening.sample()
    requests: Requests = {
        "payload": sample,
        "rows_per_request": rows_per_request,
        "seed": seed,
        "trust_pickle": trust.trust_pickle,
        "trust_code": trust.trust_code,
    }
    if margin is not None and against is None:
        raise SpecError("margin", margin, "is for comparing", remedy="say with what: --against")
    alone = _print_layers if measuring.layers else _print_service_time if measuring.service_time else None
    if against is not None or alone is not None:
        _check_mode(profiled, measuring, files)
    subject = opening.said().opened(model, sample, trust)
    if alone is not None and against is None:
        check_there(model, opening.payload)
        examined = cache(partial(examine, subject, deployment, **requests))
        with (
            measuring_slot(f"calls of {model.name}", wait_s=wait_s, before_waiting=examined),
            within(budget_of(budget_s)),
        ):
            alone(examined, duration_s, form, quiet=quiet)
        return
    if against is not None:
        budget_s = COMPARISON_S if duration_s is None else duration_s
        with showing_stage(f"compiling {model.name}", quiet=quiet) as show_stage:
            compared = compare_deployments(
                subject,
                deployment,
                parse_against(against),
                rate=rate_per_s,
                users=users,
                budget_s=budget_s,
                margin=MARGIN if margin is None else parse_share("margin", margin),
                allow_noise=allow_noise,
                wait_s=wait_s,
                on_prepared=lambda: show_stage("comparing", takes_s=budget_s),
                **requests,
            )
        _print_comparison(compared, form)
        return
    searches = bool(thresholds) and rate_per_s is None and users is None and traffic is None
    takes_s = duration_s or (SEARCH_S if searches else DURATION_S)
    if traffic is not None:
        takes_s = traffic.duration_s

    with showing_stage(f"compiling {model.name}", quiet=quiet) as show_stage:
        measured = procedure.profile(
            subject,
            deployment,
            rate=rate_per_s,
            arrivals=loop.shape(),
            users=users,
            traffic=traffic,
            thresholds=thresholds,
            duration_s=duration_s,
            allow_noise=allow_noise,
            driver=measuring.driver.value,
            wait_s=wait_s,
            budget_s=budget_s,
            # The run ends early once a limit is certainly broken.
            on_prepared=lambda: show_stage("measuring", takes_s=_START_S + takes_s, at_most=bool(thresholds)),
            **requests,
        )
    emit(profiling_output.profiled_table(measured), profiling_output.profiled_document(measured), form)
    if measured.steps and form is OutputFormat.TABLE:
        emit(profiling_output.steps_table(measured), {}, form)
    files.write(measured.measurement, measured.run)
    for caution in (*measured.warnings, *loop.deprecations()):
        warn(caution)
    if status := status_of_verdict(measured.verdict):
        raise typer.Exit(status)


def _check_mode(profiled: ProfiledOptions, measuring: MeasuringOptions, files: FileOptions) -> None:
    """Refuse options that have no meaning for a comparison (``against`` is given) or for calls alone."""
    loop, against = measuring.loop, profiled.against
    field = "against" if against is not None else "layers" if measuring.layers else "service-time"
    if measuring.layers and (measuring.service_time or against is not None):
        raise SpecError("layers", None, "are timed by themselves", remedy="leave out --service-time and --against")
    if measuring.driver is not DriverChoice.INPROCESS:
        raise SpecError("driver", measuring.driver.value, "is for measuring one deployment, with traffic")
    other = {loop.stairs, loop.arrivals, files.save, files.histogram} != {None}
    if other or measuring.sla or loop.phase or loop.constant:
        raise SpecError(field, against, "takes no SLA, phases, spacing of arrivals or files to write")
    if against is not None and measuring.budget is not None:
        raise SpecError(
            "budget", measuring.budget, "is for measuring one deployment", remedy="a comparison takes --duration"
        )
    if against is None and (loop.rate is not None or loop.users is not None):
        raise SpecError(field, None, "takes no traffic: calls are timed alone")


def _print_comparison(compared: Compared, form: OutputFormat) -> None:
    from servefit.cli.profiling_output import comparison_document, comparison_table

    emit(comparison_table(compared), comparison_document(compared), form)
    for caution in compared.warnings:
        warn(caution)
    if compared.comparison is None:
        raise typer.Exit(TOO_NOISY)


def _print_service_time(
    examined: Callable[[], Examined], duration_s: float | None, form: OutputFormat, *, quiet: bool
) -> None:
    from servefit.cli.profiling_output import service_time_document, service_time_table
    from servefit.profiler.procedures.microbenchmark.service_time import PUBLISHED_PROCESSES, measure_service_time

    with showing_stage("timing calls", quiet=quiet):
        prepared = examined().compiled()
        service_time = measure_service_time(
            prepared.configuration,
            prepared.compilation.artifact,
            prepared.payload.rows,
            host=prepared.host,
            processes=PUBLISHED_PROCESSES,
            memory_bytes=prepared.profile.memory_bytes,
            rows_per_request=prepared.rows_per_request,
            duration_s=1.0 if duration_s is None else duration_s / PUBLISHED_PROCESSES,
        )
    emit(service_time_table(prepared, service_time), service_time_document(prepared, service_time), form)


def _print_layers(
    examined: Callable[[], Examined], duration_s: float | None, form: OutputFormat, *, quiet: bool
) -> None:
    from servefit.cli.profiling_output import layers_document, layers_table
    from servefit.profiler.procedures.microbenchmark.layers import DURATION_S, measure_layers

    with showing_stage("timing layers", quiet=quiet):
        prepared = examined().compiled()
        times = measure_layers(
            prepared.compilation.artifact,
            prepared.configuration.settings,
            prepared.payload.rows,
            rows_per_request=prepared.rows_per_request,
            duration_s=DURATION_S if duration_s is None else duration_s,
        )
    emit(layers_table(times), layers_document(prepared, times), form)
