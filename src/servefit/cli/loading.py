"""``servefit load``: an endpoint that runs already, whosever it is, loaded and measured."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from servefit.annexed import from_annex
from servefit.cli.files import FileOptions
from servefit.cli.fleet_options import FromLabelsOption, FromOption, LoadStorageOption, check_one_client
from servefit.cli.job_options import of_job
from servefit.cli.measuring import (
    LoopOptions,
    NoiseOption,
    RowsOption,
    SeedOption,
    parse_duration,
    parse_thresholds,
)
from servefit.cli.opening import PayloadOptions
from servefit.cli.options import QuietOption, WaitOptions
from servefit.cli.output import FormatOption, OutputFormat, emit, warn
from servefit.cli.progress import job_progress
from servefit.cli.signatures import option
from servefit.cli.status import status_of_verdict
from servefit.option_panels import MACHINE, TRAFFIC
from servefit.profiler.defaults import (
    DURATION_S,
    MAX_CONNECTIONS,
    ROWS_PER_REQUEST,
    SATURATION_S,
    SEARCH_S,
    SEED,
    TIMEOUT_S,
)


class ProtocolChoice(StrEnum):
    AUTO = "auto"
    OPEN_INFERENCE = "open-inference"
    OPEN_INFERENCE_BINARY = "open-inference-binary"
    SAGEMAKER_CSV = "sagemaker-csv"
    SAGEMAKER_JSON = "sagemaker-json"
    SAGEMAKER_OPAQUE = "sagemaker-opaque"
    JSON = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class SentOptions(PayloadOptions):
    """The requests, their form, and the model that answers them."""

    protocol: Annotated[
        ProtocolChoice,
        option(
            "How rows are sent: open-inference, open-inference-binary, sagemaker-csv, sagemaker-json or json; auto "
            "asks the server. json is a plain POST of rows, or of the JSON objects of the payload as they stand; "
            "sagemaker-opaque sends files as they are, to a script.",
            TRAFFIC,
            "PROTOCOL",
        ),
    ] = ProtocolChoice.AUTO
    model: Annotated[str | None, option("The model, where the server has several.", TRAFFIC, "NAME")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """The load, and what it is held against."""

    loop: LoopOptions
    sla: Annotated[
        list[str] | None,
        of_job(
            "sla",
            "Limit on the response time at the client. Decide whether it holds at --rate, or in phases; without, find "
            "the highest rate at which it does.",
        ),
    ] = None
    duration: Annotated[
        str | None,
        option(
            f"How long: {DURATION_S:g}s; {SATURATION_S:g}s for the most requests, {SEARCH_S:g}s for the highest rate.",
            TRAFFIC,
            f"{DURATION_S:g}s",
        ),
    ] = None
    rows_per_request: RowsOption = ROWS_PER_REQUEST
    timeout: Annotated[str, option("A request without an answer by then has failed.", TRAFFIC, f"{TIMEOUT_S:g}s")] = (
        f"{TIMEOUT_S:g}s"
    )
    connections: Annotated[
        int | None, option(f"Most connections of an open loop. Default {MAX_CONNECTIONS}.", TRAFFIC, "N")
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientsOptions:
    """The hosts of a fleet that send the load, in place of this one."""

    from_: FromOption = None
    label: FromLabelsOption = None
    storage: LoadStorageOption = None


def load(
    url: Annotated[str, typer.Argument(metavar="URL", help="The endpoint, such as http://127.0.0.1:8080.")],
    sent: SentOptions,
    asked: LoadOptions,
    *,
    allow_remote: Annotated[bool, option("Send load to another machine, whose owner knows of it.", MACHINE)] = False,
    allow_noise: NoiseOption = False,
    waiting: WaitOptions,
    files: FileOptions,
    seed: SeedOption = SEED,
    clients: ClientsOptions,
    form: FormatOption = OutputFormat.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Load the endpoint at URL: the most requests that it answers, or how fast it is at the traffic asked for.

    Nothing is sent anywhere else, redirects are not followed, and another machine needs --allow-remote. With --from,
    the agents of a fleet send --rate together, and the percentiles are those of all requests.

    Exit status: 0, or 3 when the SLA or the rate is not kept, 4 when nothing is answered, 5 when the load client, or
    the machine, got in the way, or 6 when that stays undecided.

    Example: servefit load http://127.0.0.1:8080 --payload payload.csv --rate 500/s --sla p95=10ms
    """
    from servefit.backends.payload.bodies import Bodies
    from servefit.cli import loading_output
    from servefit.search.endpoints.load import load_endpoint
    from servefit.search.request.load_request import LoadRequest
    from servefit.search.request.sla import Sla

    loop, wait_s = asked.loop, waiting.wait_s()
    rate_per_s, traffic, limits = loop.rate_per_s(), loop.traffic(), parse_thresholds(asked.sla)
    usual: dict[str, Any] = {
        "arrivals": loop.shape(),
        "users": loop.users,
        "duration_s": parse_duration("duration", asked.duration),
        "rows_per_request": asked.rows_per_request,
        "connections": asked.connections,
        "timeout_s": parse_duration("timeout", asked.timeout),
        "seed": seed,
        "allow_noise": allow_noise,
    }
    sample, protocol = sent.sample(), sent.protocol.value
    if clients.from_ or clients.label:
        if sent.protocol is ProtocolChoice.SAGEMAKER_OPAQUE and isinstance(sample, Path):
            sample = Bodies(source=sample)
        from_hosts = from_annex("fleet", "loading", field="from")
        from_hosts.check_several_clients({"save": files.save, "histogram": files.histogram})
        from_hosts.load_from(
            from_hosts.LoadSubject(
                url=url, payload=sample, protocol=protocol, model=sent.model, allow_remote=allow_remote
            ),
            LoadRequest(sla=Sla(thresholds=limits, rate_per_s=rate_per_s), phases=traffic, **usual),
            patterns=clients.from_ or [],
            labels=clients.label or [],
            storage=clients.storage,
            wait_s=wait_s,
            form=form,
            quiet=quiet,
        )
        return
    check_one_client(clients.storage)
    files.check()
    with job_progress(quiet=quiet) as progress:
        load_test = load_endpoint(
            url,
            payload=sample,
            protocol=protocol,
            model=sent.model,
            rate=rate_per_s,
            traffic=traffic,
            thresholds=limits,
            allow_remote=allow_remote,
            wait_s=wait_s,
            progress=progress,
            **usual,
        )
    emit(loading_output.load_table(load_test), load_test.to_dict(), form)
    if load_test.steps and form is OutputFormat.TABLE:
        emit(loading_output.steps_table(load_test), {}, form)
    files.write(load_test.recorded(), load_test.run)
    for caution in (*load_test.warnings, *loop.deprecations()):
        warn(caution)
    if status := status_of_verdict(load_test.verdict):
        raise typer.Exit(status)
