"""``servefit recommend``: the main job."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from servefit.annexed import from_annex
from servefit.cli.config import ConfigOptions, check_variables_of_file, given_options, model_of, write_config
from servefit.cli.fleet_options import PLAN_GOALS, OnFleetOptions
from servefit.cli.job_options import config_with_options, with_job_options
from servefit.cli.opening import OpeningOptions
from servefit.cli.options import AllowEnvOption, NoWaitOption, QuietOption, StorageOption, TrustOptions
from servefit.cli.output import FormatOption, OutputFormat, WideOption
from servefit.errors import SpecError

if TYPE_CHECKING:
    from servefit.backends.payload.bodies import Bodies


@with_job_options
def recommend(
    context: typer.Context,
    model: Annotated[
        Path | None,
        typer.Argument(metavar="MODEL", help="A file, a folder or a .tar.gz; with --config, that file may name it."),
    ] = None,
    *,
    opening: OpeningOptions,
    no_wait: NoWaitOption = False,
    on_fleet: OnFleetOptions,
    trust: TrustOptions,
    storage: StorageOption = None,
    allow_env: AllowEnvOption = None,
    form: FormatOption = OutputFormat.TABLE,
    wide: WideOption = False,
    quiet: QuietOption = False,
    files: ConfigOptions,
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

    from_file = JobConfig() if files.config is None else read_config(files.config)
    model = model_of(from_file, model)
    opening = opening.before(from_file)
    said = opening.said().before(from_file)
    named = set(given_options(context))
    asked_for = job["goal"] if "goal" in named else None
    plan_goal = asked_for if on_fleet.fleet and asked_for in (*PLAN_GOALS, "cost") else None
    if not on_fleet.fleet and asked_for in PLAN_GOALS:
        raise SpecError("goal", asked_for, "is that of a fleet", remedy="add --fleet")
    if plan_goal in PLAN_GOALS:
        named.discard("goal")
    wanted = config_with_options(from_file, job, named, no_wait=no_wait)
    asked = wanted.request(wanted.name or default_name(model))
    if files.config is None and allow_env is not None:
        raise SpecError("allow_env", allow_env[0], "is for what a job file sets, and none is given", remedy="use --env")
    if "env" not in named:
        check_variables_of_file(from_file, allow_env or ())
    request = resolve_arrivals(asked)
    SHAPES.warn_of_ignored()
    payload, sample = opening.payload, opening.sample()
    if files.save_config is not None:
        # Without a rate in the request, the arrivals set it.
        write_config(
            asked,
            model,
            payload,
            files.save_config,
            bodies=None if sample is payload else cast("Bodies", sample),
            given=said.given(),
            sizes=said.sizes,
            wait_s=wanted.wait_s,
        )
    subject = said.opened(model, sample, trust)
    if on_fleet.asked_for():
        from_annex("fleet", "jobs", field="fleet").recommend(
            subject,
            sample,
            request,
            on_fleet,
            plan_goal,
            **asdict(trust),
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
        **asdict(trust),
        storage=storage,
        wait_s=wanted.wait_s,
        form=form,
        wide=wide,
        quiet=quiet,
        # The budget is for the whole command.
        began_s=context.obj,
    )
