"""``servefit profile``: one configuration, measured; or, with ``--against``, compared with another."""

from __future__ import annotations

from enum import StrEnum
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypedDict

import typer

from servefit.cli.completion import backend_names, one_of, profile_names
from servefit.cli.files import check_files
from servefit.cli.opening import (
    AcceptOption,
    ContentTypeOption,
    EachLineOption,
    InputsOption,
    PadOption,
    SaidOfInputs,
    SizesOption,
    with_headers,
)
from servefit.cli.options import (
    ArrivalsOption,
    BatchDependenceOption,
    ConstantOption,
    DeviationOption,
    DropOption,
    HistogramOption,
    MetricOption,
    ModelArgument,
    NoiseOption,
    NoWaitOption,
    PayloadOption,
    PhaseOption,
    PrecisionOption,
    QualityOption,
    QuietOption,
    RateOption,
    RowsOption,
    SeedOption,
    StairsOption,
    TrustCodeOption,
    TrustOption,
    WaitOption,
    deprecations,
    parse_arrivals,
    parse_wait_s,
)
from servefit.cli.output import FormatOption, OutputFormat, emit, warn
from servefit.cli.progress import showing_stage
from servefit.cli.status import SLA_UNMET, TOO_NOISY
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
    from collections.abc import Callable

    from servefit.backends.payload.bodies import Bodies
    from servefit.profiler.procedures.compare_deployments import Compared
    from servefit.profiler.procedures.prepare import Examined
    from servefit.profiler.procedures.profile import Profiled

    class Requests(TypedDict):
        """The parameters of the requests."""

        payload: Path | Bodies | None
        rows_per_request: int
        seed: int
        trust_pickle: bool
        trust_code: bool


_START_S = 1.0
"""Time until the worker processes are ready, for the progress alone. A rough estimate."""


class DriverChoice(StrEnum):
    INPROCESS = "inprocess"
    HTTP = "http"


def profile(
    model: ModelArgument,
    payload: PayloadOption = None,
    content_type: ContentTypeOption = None,
    accept: AcceptOption = None,
    each_line: EachLineOption = False,
    inputs: InputsOption = None,
    sizes: SizesOption = None,
    pad: PadOption = None,
    rows_per_request: RowsOption = ROWS_PER_REQUEST,
    backend: Annotated[
        str | None,
        typer.Option(
            "--backend",
            "-b",
            metavar="NAME",
            autocompletion=backend_names,
            help="Default: the library of the model.",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile",
            metavar="NAME",
            autocompletion=profile_names,
            help="Instance profile. Default: all of this host.",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    threads: Annotated[int, typer.Option(metavar="N", help="Threads a worker.", rich_help_panel=SEARCH)] = 1,
    workers: Annotated[int, typer.Option(metavar="N", help="Worker processes.", rich_help_panel=SEARCH)] = 1,
    batch: Annotated[
        int, typer.Option(metavar="N", help="Most requests joined into one call.", rich_help_panel=SEARCH)
    ] = 1,
    batch_delay: Annotated[
        str | None,
        typer.Option(
            metavar="500us",
            help="How long the first request of a batch waits for others.",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    sla: Annotated[
        list[str] | None,
        typer.Option(
            "--sla",
            metavar="p95=10ms",
            help="Decide whether this holds at --rate; without --rate, find the highest rate at which it does.",
            rich_help_panel=TRAFFIC,
        ),
    ] = None,
    rate: RateOption = None,
    arrivals: ArrivalsOption = None,
    constant: ConstantOption = False,
    users: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Closed loop: users. Default: workers x batch; more over http.",
            rich_help_panel=TRAFFIC,
        ),
    ] = None,
    phase: PhaseOption = None,
    stairs: StairsOption = None,
    duration: Annotated[
        str | None,
        typer.Option(
            metavar=f"{DURATION_S:g}s",
            help=f"How long to measure: {DURATION_S:g}s; {SEARCH_S:g}s for the highest rate, {COMPARISON_S:g}s to "
            "compare.",
            rich_help_panel=TRAFFIC,
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="backend=onnxruntime,threads=2",
            help="Compare with one that differs in model, backend, profile, target, threads, workers or batch. "
            "Takes a minute, longer at low rates.",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    margin: Annotated[
        str | None,
        typer.Option(
            metavar=f"{100 * MARGIN:g}%",
            help=f"What counts as no difference in a comparison. Default {100 * MARGIN:g}%.",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    service_time: Annotated[
        bool,
        typer.Option(
            "--service-time",
            help="Time calls alone, in fresh processes: no queue, no traffic.",
            rich_help_panel=TRAFFIC,
        ),
    ] = False,
    save: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keep the raw samples and telemetry in FILE.", rich_help_panel=OUTPUT),
    ] = None,
    histogram: HistogramOption = None,
    target: Annotated[
        str,
        typer.Option(
            metavar="cpu|cuda",
            autocompletion=one_of("cpu", "cuda"),
            help="Processor: cpu or cuda.",
            rich_help_panel=SEARCH,
        ),
    ] = "cpu",
    driver: Annotated[
        DriverChoice,
        typer.Option(
            help="inprocess calls the model alone; http sends requests to a real endpoint, from CPUs that the profile "
            "leaves (without --profile: all but one).",
            rich_help_panel=TRAFFIC,
        ),
    ] = DriverChoice.INPROCESS,
    seed: SeedOption = SEED,
    allow_noise: NoiseOption = False,
    allow_batch_dependence: BatchDependenceOption = False,
    allow_precision: PrecisionOption = None,
    max_deviation: DeviationOption = None,
    quality: QualityOption = None,
    metric: MetricOption = None,
    quality_drop: DropOption = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="2m",
            help="Most time for all of it: opening and compiling too, but not waiting for others. Whatever hangs is "
            f"named. Default: {MIN_COMPILING_S:g}s to compile, more for a large model.",
            rich_help_panel=TRAFFIC,
        ),
    ] = None,
    wait: WaitOption = None,
    no_wait: NoWaitOption = False,
    trust_pickle: TrustOption = False,
    trust_code: TrustCodeOption = False,
    form: FormatOption = OutputFormat.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Measure MODEL in one configuration: throughput, and latency percentiles with their sample counts.

    Exit status: 0, or 3 when the SLA does not hold or that stays undecided, or 5 when the machine is too noisy to tell.

    Example: servefit profile model.ubj --backend onnxruntime --workers 2 --rate 500/s --sla p95=10ms
    """
    from servefit.backends.quality.limits import PrecisionLimits
    from servefit.cli import profiling_output
    from servefit.cli.phases import parse_against, parse_traffic
    from servefit.profiler.machine.slot.holding import measuring_slot
    from servefit.profiler.procedures import profile as procedure
    from servefit.profiler.procedures.compare_deployments import compare_deployments
    from servefit.profiler.procedures.prepare import Deployment, check_there, examine
    from servefit.quantities import parse_delay_us, parse_duration_s, parse_rate_per_s, parse_share
    from servefit.search.request.sla import Sla, parse_sla
    from servefit.time_limit import budget_of, within

    rate_per_s = None if rate is None else parse_rate_per_s(rate)
    duration_s = None if duration is None else parse_duration_s("duration", duration)
    delay_us = 0 if batch_delay is None else parse_delay_us("batch_delay", batch_delay)
    thresholds = Sla(thresholds=tuple(threshold for text in sla or () for threshold in parse_sla(text))).thresholds
    traffic = parse_traffic(phase or (), stairs)
    wait_s = parse_wait_s(wait, no_wait)
    budget_s = None if budget is None else parse_duration_s("budget", budget)
    check_files(save, histogram)
    deployment = Deployment(
        backend=backend,
        profile=profile,
        threads=threads,
        workers=workers,
        batch=batch,
        batch_delay_us=delay_us,
        allow_batch_dependence=allow_batch_dependence,
        target=target,
        precision=PrecisionLimits.of(
            allow_precision=() if allow_precision is None else allow_precision,
            max_deviation=max_deviation,
            quality=quality,
            metric=metric,
            quality_drop=quality_drop,
        ),
    )
    sample = with_headers(payload, content_type, accept, each_line=each_line)
    requests: Requests = {
        "payload": sample,
        "rows_per_request": rows_per_request,
        "seed": seed,
        "trust_pickle": trust_pickle,
        "trust_code": trust_code,
    }
    if margin is not None and against is None:
        raise SpecError("margin", margin, "is for comparing", remedy="say with what: --against")
    if against is not None or service_time:
        shaped = constant or arrivals is not None
        other = thresholds or traffic is not None or shaped or save is not None or histogram is not None
        if driver is not DriverChoice.INPROCESS:
            raise SpecError("driver", driver.value, "is for measuring one deployment, with traffic")
        _check_mode(against, budget, traffic=rate is not None or users is not None, other=bool(other))
    said = SaidOfInputs.typed(inputs, sizes, pad)
    subject = said.opened(model, sample, trust_pickle=trust_pickle, trust_code=trust_code)
    if service_time and against is None:
        check_there(model, payload)
        examined = cache(partial(examine, subject, deployment, **requests))
        with (
            measuring_slot(f"service time of {model.name}", wait_s=wait_s, before_waiting=examined),
            within(budget_of(budget_s)),
        ):
            _print_service_time(examined, duration_s, form, quiet=quiet)
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
    searches = bool(thresholds) and rate is None and users is None and traffic is None
    takes_s = duration_s or (SEARCH_S if searches else DURATION_S)
    if traffic is not None:
        takes_s = traffic.duration_s

    with showing_stage(f"compiling {model.name}", quiet=quiet) as show_stage:
        found = procedure.profile(
            subject,
            deployment,
            rate=rate_per_s,
            arrivals=parse_arrivals(arrivals, constant=constant),
            users=users,
            traffic=traffic,
            thresholds=thresholds,
            duration_s=duration_s,
            allow_noise=allow_noise,
            driver=driver.value,
            wait_s=wait_s,
            budget_s=budget_s,
            # A limit that is surely broken ends it before.
            on_prepared=lambda: show_stage("measuring", takes_s=_START_S + takes_s, at_most=bool(thresholds)),
            **requests,
        )
    emit(profiling_output.profiled_table(found), profiling_output.profiled_document(found), form)
    if found.steps and form is OutputFormat.TABLE:
        emit(profiling_output.steps_table(found), {}, form)
    _save(found, save, histogram)
    for caution in (*found.warnings, *deprecations(constant=constant)):
        warn(caution)
    if status := _exit_status(found):
        raise typer.Exit(status)


def _check_mode(against: str | None, budget: str | None, *, traffic: bool, other: bool) -> None:
    """Refuse options that have no meaning for a comparison (``against`` is given) or for calls alone."""
    field, given = ("service-time", "") if against is None else ("against", against)
    if other:
        raise SpecError(field, given, "takes no SLA, phases, spacing of arrivals or files to write")
    if against is not None and budget is not None:
        raise SpecError("budget", budget, "is for measuring one deployment", remedy="a comparison takes --duration")
    if against is None and traffic:
        raise SpecError(field, given, "takes no traffic: calls are timed alone")


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
        found = measure_service_time(
            prepared.configuration,
            prepared.compilation.artifact,
            prepared.payload.rows,
            host=prepared.host,
            processes=PUBLISHED_PROCESSES,
            memory_bytes=prepared.profile.memory_bytes,
            rows_per_request=prepared.rows_per_request,
            duration_s=1.0 if duration_s is None else duration_s / PUBLISHED_PROCESSES,
        )
    emit(service_time_table(prepared, found), service_time_document(prepared, found), form)


def _save(found: Profiled, save: Path | None, histogram: Path | None) -> None:
    from servefit.profiler.evidence.hdr_export import save_histogram
    from servefit.profiler.record.storage.measurements import save_measurement

    if save is not None:
        save_measurement(found.measurement, save)
    if histogram is not None:
        save_histogram(found.run, histogram)


def _exit_status(found: Profiled) -> int:
    """Return the exit status: 0 when the SLA holds, or none was asked."""
    if found.verdict == "INVALID":
        return TOO_NOISY
    return 0 if found.verdict in (None, "PASS") else SLA_UNMET
