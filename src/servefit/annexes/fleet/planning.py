"""``servefit fleet plan``: several models on one fleet."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from servefit.annexes.fleet.hosts import FleetStorageOption
from servefit.annexes.fleet.sharing import plan_sharing, print_sharing, sharing_document
from servefit.cli.options import QuietOption
from servefit.cli.output import FormatOption, OutputFormat, emit, print_line, warn
from servefit.cli.progress import job_progress
from servefit.cli.signatures import option
from servefit.cli.status import SLA_UNMET
from servefit.errors import SpecError
from servefit.option_panels import MACHINE
from servefit.quantities import number_text
from servefit.report.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from servefit.search.fleet.fleet_job import FleetJob
    from servefit.search.fleet.plan.many_models import ManyModelsPlan, ModelsNotCarried
    from servefit.search.storage.header import PlanGoal
    from servefit.search.storage.jobs import JobStore


def plan(
    model: Annotated[
        list[str],
        option("A model, and the job on the fleet that measured it at its rate; repeat it.", MACHINE, "NAME=JOB"),
    ],
    spare: Annotated[
        int,
        option("Any N hosts of each model may be lost.", MACHINE, "N", least=0),
    ] = 0,
    goal: Annotated[
        str | None,
        option(
            "What is least. Default: cost where all hosts have one, else their number.", MACHINE, "cost|watts|hosts"
        ),
    ] = None,
    share: Annotated[
        bool,
        option(
            "Hosts with CPUs to spare may serve two models, if both hold their SLAs side by side: agents put them "
            "under load.",
            MACHINE,
        ),
    ] = False,
    again: Annotated[
        bool,
        option("With --share: measure again what was before.", MACHINE),
    ] = False,
    storage: FleetStorageOption = None,
    form: FormatOption = OutputFormat.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Plan which hosts of a fleet serve which of several models, from jobs that measured each of them there.

    A host serves one model, or with --share two. Exit status: 3 where the hosts do not carry all rates; then the part
    that they do carry is printed.

    Example: servefit fleet plan --model fraud=JOB1 --model churn=JOB2 --spare 1
    """
    from servefit.search.fleet.many_jobs import common_goal, left_out_sentences, plan_jobs
    from servefit.search.storage.header import PlanRequest
    from servefit.search.storage.jobs import JobStore
    from servefit.search.storage.outages import PATIENCE_S

    if again and not share:
        raise SpecError("again", None, "is about models that share hosts", remedy="add --share")
    named = _named(model)
    wanted = PlanRequest(spare=spare, least=_least(goal))
    shared = None
    with JobStore.open(storage, patience_s=PATIENCE_S if share else 0.0) as store:
        jobs = _read(store, named)
        least = common_goal(jobs, wanted)
        if share:
            with job_progress(quiet=quiet) as progress:
                shared = plan_sharing(jobs, wanted, store=store, storage=storage, again=again, progress=progress)
    planned = plan_jobs(jobs, wanted) if shared is None else shared.plan
    for line in left_out_sentences(jobs):
        warn(line)
    document = {"schema": 1, "goal": least, **asdict(planned), **({} if shared is None else sharing_document(shared))}
    carried = _print(planned, least, document, form)
    if shared is not None and form is OutputFormat.TABLE:
        print_sharing(shared)
    if not carried:
        raise typer.Exit(SLA_UNMET)


def _read(store: JobStore, named: Mapping[str, str]) -> dict[str, FleetJob]:
    """Return the jobs of models by name. Raises SpecError for one that is not on a fleet."""
    from servefit.search.fleet.fleet_job import read_fleet_job

    for name, job in named.items():
        if not store.job(job).header.hosts:
            raise SpecError("model", f"{name}={job}", "is a job on one host", remedy="servefit recommend --fleet")
    return {name: read_fleet_job(store, job) for name, job in named.items()}


def _print(
    planned: ManyModelsPlan | ModelsNotCarried, least: PlanGoal, document: Mapping[str, Any], form: OutputFormat
) -> bool:
    """Print a plan, and return whether the rates are carried."""
    from servefit.search.fleet.plan.many_models import ModelsNotCarried

    if isinstance(planned, ModelsNotCarried):
        carried = f"{100 * planned.part_carried:.0f} % of every rate" if planned.part_carried else "nothing"
        if form is OutputFormat.TABLE:
            print_line(f"The rates are not carried by {planned.hosts} hosts: they carry {carried}.")
        else:
            emit(Table(columns=("carried",), rows=[[planned.part_carried]]), document, form)
        return False
    for warning in planned.warnings:
        warn(warning)
    emit(_table(planned, least), document, form)
    if form is OutputFormat.TABLE:
        left = ", ".join(f"{count} x {name}" for name, count in planned.hosts_left)
        print_line(f"Cost: {number_text(planned.cost)}. " + (f"Left: {left}." if left else "No host is left."))
    return True


def _named(texts: Iterable[str]) -> dict[str, str]:
    """Return the jobs by the names of their models. Raises SpecError."""
    named: dict[str, str] = {}
    for text in texts:
        name, equals, job = text.partition("=")
        if not (name and equals and job):
            raise SpecError("model", text, "does not look like fraud=JOB")
        if name in named:
            raise SpecError("model", name, "is given twice")
        named[name] = job
    return named


def _least(text: str | None) -> PlanGoal | None:
    goals: tuple[PlanGoal, ...] = ("cost", "watts", "hosts")
    for least in goals:
        if text == least:
            return least
    if text is None:
        return None
    raise SpecError.unknown("goal", text, goals)


def _table(plan: ManyModelsPlan, least: PlanGoal) -> Table:
    rows: list[list[Any]] = [
        [
            fleet_of_model.model,
            row.offer.host_class,
            row.hosts,
            row.offer.configuration,
            row.offer.rate_per_s,
            row.weight,
            row.rate_per_s,
            100 * row.load,
            row.hosts * row.cost,
        ]
        for fleet_of_model in plan.models
        for row in fleet_of_model.fleet.rows
    ]
    columns = (
        "model", "host class", "hosts", "configuration", "confirmed/s", "weight", "rate/s", "load %", f"cost ({least})"
    )  # fmt: skip
    return Table(columns=columns, rows=rows)
