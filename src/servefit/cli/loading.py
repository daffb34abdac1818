"""``servefit load``: an endpoint that runs already, whosever it is, loaded and measured."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from servefit.cli.files import check_files
from servefit.cli.loading_from_clients import (
    FromLabelsOption,
    FromOption,
    LoadStorageOption,
    check_one_client,
    check_several_clients,
    load_from,
)
from servefit.cli.opening import AcceptOption, ContentTypeOption, EachLineOption, with_headers
from servefit.cli.options import (
    ArrivalsOption,
    ConstantOption,
    HistogramOption,
    NoiseOption,
    NoWaitOption,
    PayloadOption,
    PhaseOption,
    QuietOption,
    RateOption,
    RowsOption,
    SeedOption,
    StairsOption,
    WaitOption,
    deprecations,
    parse_arrivals,
    parse_wait_s,
)
from servefit.cli.output import FormatOption, OutputFormat, emit, warn
from servefit.cli.progress import job_progress
from servefit.cli.status import SLA_UNMET, TOO_NOISY
from servefit.option_panels import MACHINE, OUTPUT, TRAFFIC
from servefit.profiler.defaults import (
    DURATION_S,
    MAX_CONNECTIONS,
    ROWS_PER_REQUEST,
    SATURATION_S,
    SEARCH_S,
    SEED,
    TIMEOUT_S,
)

if TYPE_CHECKING:
    from servefit.search.endpoints.load_result import LoadTest


class ProtocolChoice(StrEnum):
    AUTO = "auto"
    OPEN_INFERENCE = "open-inference"
    OPEN_INFERENCE_BINARY = "open-inference-binary"
    SAGEMAKER_CSV = "sagemaker-csv"
    SAGEMAKER_JSON = "sagemaker-json"
    SAGEMAKER_OPAQUE = "sagemaker-opaque"
    JSON = "json"


def load(
    url: Annotated[str, typer.Argument(metavar="URL", help="The endpoint, such as http://127.0.0.1:8080.")],
    payload: PayloadOption = None,
    content_type: ContentTypeOption = None,
    accept: AcceptOption = None,
    each_line: EachLineOption = False,
    protocol: Annotated[
        ProtocolChoice,
        typer.Option(
            metavar="PROTOCOL",
            help="How rows are sent: open-inference, open-inference-binary, sagemaker-csv, sagemaker-json or json; "
            "auto asks the server. json is a plain POST of rows, or of the JSON objects of the payload as they stand; "
            "sagemaker-opaque sends files as they are, to a script.",
            rich_help_panel=TRAFFIC,
        ),
    ] = ProtocolChoice.AUTO,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The model, where the server has several.", rich_help_panel=TRAFFIC),
    ] = None,
    rate: RateOption = None,
    arrivals: ArrivalsOption = None,
    constant: ConstantOption = False,
    users: Annotated[
        int | None,
        typer.Option(metavar="N", help="Closed loop: users who take turns.", rich_help_panel=TRAFFIC),
    ] = None,
    phase: PhaseOption = None,
    stairs: StairsOption = None,
    sla: Annotated[
        list[str] | None,
        typer.Option(
            "--sla",
            metavar="p95=10ms",
            help="Limit on the response time at the client. Decide whether it holds at --rate, or in phases; without, "
            "find the highest rate at which it does.",
            rich_help_panel=TRAFFIC,
        ),
    ] = None,
    duration: Annotated[
        str | None,
        typer.Option(
            metavar=f"{DURATION_S:g}s",
            help=f"How long: {DURATION_S:g}s; {SATURATION_S:g}s for the most requests, {SEARCH_S:g}s for the highest "
            "rate.",
            rich_help_panel=TRAFFIC,
        ),
    ] = None,
    rows_per_request: RowsOption = ROWS_PER_REQUEST,
    timeout: Annotated[
        str,
        typer.Option(
            metavar=f"{TIMEOUT_S:g}s", help="A request without an answer by then has failed.", rich_help_panel=TRAFFIC
        ),
    ] = f"{TIMEOUT_S:g}s",
    connections: Annotated[
        int | None,
        typer.Option(
            metavar="N", help=f"Most connections of an open loop. Default {MAX_CONNECTIONS}.", rich_help_panel=TRAFFIC
        ),
    ] = None,
    allow_remote: Annotated[
        bool,
        typer.Option(
            "--allow-remote",
            help="Send load to another machine, whose owner knows of it.",
            rich_help_panel=MACHINE,
        ),
    ] = False,
    allow_noise: NoiseOption = False,
    wait: WaitOption = None,
    no_wait: NoWaitOption = False,
    save: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keep the raw samples in FILE.", rich_help_panel=OUTPUT),
    ] = None,
    histogram: HistogramOption = None,
    seed: SeedOption = SEED,
    from_: FromOption = None,
    label: FromLabelsOption = None,
    storage: LoadStorageOption = None,
    form: FormatOption = OutputFormat.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Load the endpoint at URL: the most requests that it answers, or how fast it is at the traffic asked for.

    Nothing is sent anywhere else, redirects are not followed, and another machine needs --allow-remote. With --from,
    the agents of a fleet send --rate together, and the percentiles are those of all requests.

    Exit status: 0, or 3 when the SLA or the rate is not kept or that stays undecided, 4 when nothing is answered, or 5
    when the load client, or the machine, got in the way.

    Example: servefit load http://127.0.0.1:8080 --payload payload.csv --rate 500/s --sla p95=10ms
    """
    from servefit.backends.payload.bodies import Bodies
    from servefit.cli import loading_output
    from servefit.cli.phases import parse_traffic
    from servefit.quantities import parse_duration_s, parse_rate_per_s
    from servefit.search.endpoints.load import load_endpoint
    from servefit.search.fleet.load.requests import LoadSubject
    from servefit.search.request.load_request import LoadRequest
    from servefit.search.request.sla import Sla, parse_sla

    rate_per_s = None if rate is None else parse_rate_per_s(rate)
    shape = parse_arrivals(arrivals, constant=constant)
    traffic = parse_traffic(phase or (), stairs)
    limits = Sla(thresholds=tuple(threshold for text in sla or () for threshold in parse_sla(text))).thresholds
    duration_s = None if duration is None else parse_duration_s("duration", duration)
    timeout_s, wait_s = parse_duration_s("timeout", timeout), parse_wait_s(wait, no_wait)
    sample = with_headers(payload, content_type, accept, each_line=each_line)
    if from_ or label:
        if protocol is ProtocolChoice.SAGEMAKER_OPAQUE and isinstance(sample, Path):
            sample = Bodies(source=sample)
        check_several_clients({"save": save, "histogram": histogram})
        load_from(
            LoadSubject(url=url, payload=sample, protocol=protocol.value, model=model, allow_remote=allow_remote),
            LoadRequest(
                sla=Sla(thresholds=limits, rate_per_s=rate_per_s),
                arrivals=shape,
                users=users,
                phases=traffic,
                duration_s=duration_s,
                rows_per_request=rows_per_request,
                connections=connections,
                timeout_s=timeout_s,
                seed=seed,
                allow_noise=allow_noise,
            ),
            patterns=from_ or [],
            labels=label or [],
            storage=storage,
            wait_s=wait_s,
            form=form,
            quiet=quiet,
        )
        return
    check_one_client(storage)
    check_files(save, histogram)
    with job_progress(quiet=quiet) as progress:
        found = load_endpoint(
            url,
            payload=sample,
            protocol=protocol.value,
            model=model,
            rate=rate_per_s,
            arrivals=shape,
            users=users,
            traffic=traffic,
            thresholds=limits,
            duration_s=duration_s,
            rows_per_request=rows_per_request,
            connections=connections,
            timeout_s=timeout_s,
            seed=seed,
            allow_remote=allow_remote,
            allow_noise=allow_noise,
            wait_s=wait_s,
            progress=progress,
        )
    emit(loading_output.load_table(found), found.to_dict(), form)
    if found.steps and form is OutputFormat.TABLE:
        emit(loading_output.steps_table(found), {}, form)
    _save(found, save, histogram)
    for caution in (*found.warnings, *deprecations(constant=constant)):
        warn(caution)
    if status := _exit_status(found):
        raise typer.Exit(status)


def _save(found: LoadTest, save: Path | None, histogram: Path | None) -> None:
    from servefit.profiler.evidence.hdr_export import save_histogram
    from servefit.profiler.record.storage.measurements import save_measurement

    if save is not None:
        save_measurement(found.recorded(), save)
    if histogram is not None:
        save_histogram(found.run, histogram)


def _exit_status(found: LoadTest) -> int:
    """Return the exit status: 0 when the SLA and the rate were kept, or none was asked."""
    if found.verdict == "INVALID":
        return TOO_NOISY
    return 0 if found.verdict in (None, "PASS") else SLA_UNMET
