"""``servefit recommend``: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from servefit.cli.choosing_hosts import (
    PLAN_GOALS,
    EveryClassOption,
    FleetOption,
    HostsOption,
    LabelsOption,
    MostHostsOption,
    SpareOption,
    selection,
)
from servefit.cli.config import (
    ConfigOption,
    SaveConfigOption,
    check_variables_of_file,
    given_options,
    sources,
    write_config,
)
from servefit.cli.job_options import config_with_options, with_job_options
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
    AllowEnvOption,
    NoWaitOption,
    PayloadOption,
    QuietOption,
    StorageOption,
    TrustCodeOption,
    TrustOption,
)
from servefit.cli.output import FormatOption, OutputFormat, WideOption
from servefit.errors import SpecError

if TYPE_CHECKING:
    from servefit.backends.model import Model
    from servefit.backends.payload.bodies import Bodies
    from servefit.search.fleet.selection import Selection
    from servefit.search.request.job_request import JobRequest
    from servefit.search.storage.header import PlanRequest


@with_job_options
def recommend(
    context: typer.Context,
    model: Annotated[
        Path | None,
        typer.Argument(metavar="MODEL", help="A file, a folder or a .tar.gz; with --config, that file may name it."),
    ] = None,
    *,
    payload: PayloadOption = None,
    content_type: ContentTypeOption = None,
    accept: AcceptOption = None,
    each_line: EachLineOption = False,
    inputs: InputsOption = None,
    sizes: SizesOption = None,
    pad: PadOption = None,
    no_wait: NoWaitOption = False,
    fleet: FleetOption = False,
    host: HostsOption = None,
    label: LabelsOption = None,
    spare: SpareOption = 0,
    most_hosts: MostHostsOption = None,
    every_class: EveryClassOption = False,
    trust_pickle: TrustOption = False,
    trust_code: TrustCodeOption = False,
    storage: StorageOption = None,
    allow_env: AllowEnvOption = None,
    form: FormatOption = OutputFormat.TABLE,
    wide: WideOption = False,
    quiet: QuietOption = False,
    config: ConfigOption = None,
    save_config: SaveConfigOption = None,
    **job: Any,
) -> None:
    """Find what to deploy MODEL on: measure it with every backend in every instance profile that fits this host, or,
    with --fleet, on other hosts, whose agents measure.

    Options may be in a file, too: servefit recommend --config job.yaml --budget 2m

    Example: servefit recommend model.ubj --payload payload.csv --sla p95=10ms --rate 500/s
    """
    from servefit.cli.job_output import run_and_print
    from servefit.profiler.arrivals.registry import SHAPES
    from servefit.search.jobs.job import default_name
    from servefit.search.request.arrivals import resolve_arrivals
    from servefit.search.request.config_file import read_config
    from servefit.search.request.config_schema import JobConfig
    from servefit.search.storage.header import PlanRequest

    from_file = JobConfig() if config is None else read_config(config)
    model, payload = sources(from_file, model, payload)
    said = SaidOfInputs.typed(inputs, sizes, pad).before(from_file)
    given = set(given_options(context))
    asked_for = job["goal"] if "goal" in given else None
    plan_goal = asked_for if fleet and asked_for in (*PLAN_GOALS, "cost") else None
    if not fleet and asked_for in PLAN_GOALS:
        raise SpecError("goal", asked_for, "is that of a fleet", remedy="add --fleet")
    if plan_goal in PLAN_GOALS:
        given.discard("goal")
    wanted = config_with_options(from_file, job, given, no_wait=no_wait)
    asked = wanted.request(wanted.name or default_name(model))
    if config is None and allow_env is not None:
        raise SpecError("allow_env", allow_env[0], "is for what a job file sets, and none is given", remedy="use --env")
    if "env" not in given:
        check_variables_of_file(from_file, allow_env or ())
    request = resolve_arrivals(asked)
    SHAPES.warn_of_ignored()
    sample = with_headers(payload, content_type, accept, each_line=each_line, config=from_file)
    if save_config is not None:
        # A rate that nobody asked for is left to the arrivals.
        write_config(
            asked,
            model,
            payload,
            save_config,
            bodies=None if sample is payload else cast("Bodies", sample),
            given=said.given(),
            sizes=said.sizes,
            wait_s=wanted.wait_s,
        )
    subject = said.opened(model, sample, trust_pickle=trust_pickle, trust_code=trust_code)
    if fleet or host or label or spare or most_hosts or every_class:
        _recommend_on_fleet(
            subject,
            sample,
            request,
            selection(fleet=fleet, hosts=host or (), labels=label or ()),
            PlanRequest(spare=spare, most_hosts=most_hosts, least=plan_goal, every_class=every_class),
            trust_pickle=trust_pickle,
            trust_code=trust_code,
            storage=storage,
            form=form,
            wide=wide,
            quiet=quiet,
        )
        return
    run_and_print(
        subject,
        sample,
        request,
        trust_pickle=trust_pickle,
        trust_code=trust_code,
        storage=storage,
        wait_s=wanted.wait_s,
        form=form,
        wide=wide,
        quiet=quiet,
        # The budget is for the whole command.
        began_s=context.obj,
    )


def _recommend_on_fleet(
    model: Path | Model,
    payload: Path | Bodies | None,
    request: JobRequest,
    chosen: Selection,
    plan: PlanRequest,
    *,
    trust_pickle: bool,
    trust_code: bool = False,
    storage: str | None,
    form: OutputFormat,
    wide: bool,
    quiet: bool,
) -> None:
    from servefit.cli.fleet_output import print_fleet_and_exit
    from servefit.search.fleet.running import run_fleet_job

    print_fleet_and_exit(
        lambda progress: run_fleet_job(
            model,
            payload,
            request,
            chosen,
            plan,
            storage=storage,
            trust_pickle=trust_pickle,
            trust_code=trust_code,
            progress=progress,
        ),
        form=form,
        wide=wide,
        quiet=quiet,
    )
