"""Jobs on several hosts, as ``servefit recommend --fleet``, ``resume``, ``show`` and ``report`` run, read and print
them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from servefit.annexes.fleet.report import fleet_report_of, no_plan
from servefit.annexes.fleet.report_tables import (
    asks_for_plan,
    class_sentences,
    left_out_sentences,
    plan_headline,
    plan_sentences,
    plan_table,
)
from servefit.cli.job_output import exit_status, print_job
from servefit.cli.output import OutputFormat, emit, print_line, warn
from servefit.cli.status import INTERRUPTED, NOTHING_MEASURED, SLA_UNMET, TOO_NOISY, UNDECIDED
from servefit.report.job_tables import recommendations_table
from servefit.report.table import Table
from servefit.search.fleet.answer import goal_of, plan_of
from servefit.search.fleet.fleet_job import read_fleet_job
from servefit.search.fleet.plan.fleet_plan import FleetPlan, NotCarried
from servefit.search.storage.header import PlanRequest

if TYPE_CHECKING:
    from servefit.backends.model import Model
    from servefit.backends.payload.bodies import Bodies
    from servefit.cli.fleet_options import OnFleetOptions
    from servefit.report.contents import Report
    from servefit.search.fleet.fleet_job import ClassJob, FleetJob
    from servefit.search.optimizer.progress import Progress
    from servefit.search.request.job_request import JobRequest
    from servefit.search.storage.header import PlanGoal
    from servefit.search.storage.jobs import JobStore

_BEST_FIRST = (0, UNDECIDED, SLA_UNMET, TOO_NOISY, NOTHING_MEASURED)
"""Exit statuses of classes: the job has the first of them that a class has."""


def recommend(
    model: Path | Model,
    payload: Path | Bodies | None,
    request: JobRequest,
    asked: OnFleetOptions,
    plan_goal: PlanGoal | None,
    *,
    trust_pickle: bool,
    trust_code: bool,
    storage: str | None,
    form: OutputFormat,
    wide: bool,
    quiet: bool,
) -> None:
    """Run a job on the hosts that ``asked`` chooses, print what it found, and exit with its status.

    Raises SpecError for what is no label.
    """
    from servefit.search.fleet.launching.agent_options import parse_labels
    from servefit.search.fleet.running import run_fleet_job
    from servefit.search.fleet.selection import Selection

    labels = parse_labels("label", asked.label or ())
    chosen = Selection(patterns=tuple(asked.host or ()), labels=tuple(labels.items()))
    plan = PlanRequest(spare=asked.spare, most_hosts=asked.most_hosts, least=plan_goal, every_class=asked.every_class)
    _print_and_exit(
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


def resume(job: str, *, storage: str | None, form: OutputFormat, wide: bool, quiet: bool) -> None:
    """Go on with a job, print what it found, and exit with its status."""
    from servefit.search.fleet.running import resume_fleet_job

    _print_and_exit(
        lambda progress: resume_fleet_job(job, progress=progress, storage=storage), form=form, wide=wide, quiet=quiet
    )


def show(store: JobStore, job: str, form: OutputFormat, *, wide: bool) -> None:
    """Print what a job found."""
    print_fleet_job(read_fleet_job(store, job), form, wide=wide)


def report_of_job(store: JobStore, job: str) -> Report:
    """Return the report of a job."""
    return fleet_report_of(read_fleet_job(store, job))


def _print_and_exit(run: Callable[[Progress], FleetJob], *, form: OutputFormat, wide: bool, quiet: bool) -> None:
    """Call ``run`` with its progress shown, print the job that it returns, and exit with its status: the best of those
    that jobs on its classes alone would have."""
    from servefit.cli.progress import job_progress
    from servefit.search.fleet.running import FleetInterrupted

    try:
        with job_progress(quiet=quiet) as progress:
            job = run(progress)
    except FleetInterrupted as interruption:
        print_fleet_job(interruption.job, form, wide=wide)
        raise typer.Exit(INTERRUPTED) from interruption
    print_fleet_job(job, form, wide=wide)
    raise typer.Exit(_status_of(job))


def _status_of(job: FleetJob) -> int:
    if job.status == "STOPPED" and not job.broke_off:
        return INTERRUPTED
    plan, status = plan_of(job), _best_status(job.classes)
    if isinstance(plan, NotCarried):
        return SLA_UNMET
    # A class may hold the SLA, and none was confirmed at what its hosts would carry.
    return SLA_UNMET if plan is None and asks_for_plan(job) and not status else status


def print_fleet_job(job: FleetJob, form: OutputFormat, *, wide: bool) -> None:
    """Print the plan, and what the job found on each class of hosts, one after the other. As CSV there is one table,
    the plan where there is one, else the recommendations on all classes; in Markdown both."""
    from servefit.search.fleet.document import fleet_document

    plan, least = plan_of(job), goal_of(job.header.plan or PlanRequest(), job.header.hosts)
    if form is OutputFormat.TABLE:
        _print_for_people(job, plan, least, wide=wide)
    else:
        planned = isinstance(plan, FleetPlan)
        if isinstance(plan, FleetPlan) and form is not OutputFormat.JSON:
            emit(plan_table(plan, least), {}, form)
        if not planned or form is not OutputFormat.CSV:
            emit(_table(job), fleet_document(job, plan, least), form)
    if isinstance(plan, FleetPlan):
        for warning in plan.warnings:
            warn(warning)
    for warning in job.warnings:
        if form is not OutputFormat.TABLE or not any(warning in class_job.job.warnings for class_job in job.classes):
            warn(warning)


def _print_for_people(job: FleetJob, plan: FleetPlan | NotCarried | None, least: PlanGoal, *, wide: bool) -> None:
    if asks_for_plan(job):
        print_line("", no_plan(job) if plan is None else plan_headline(plan, least))
        if isinstance(plan, FleetPlan):
            emit(plan_table(plan, least), {}, OutputFormat.TABLE)
            for line in plan_sentences(plan, least):
                print_line(line)
        for line in left_out_sentences(job, plan):
            print_line(line)
    if job.status == "STOPPED":
        print_line(f"The job was stopped: servefit resume {job.name} goes on.")
    for class_job in job.classes:
        print_line("", _title(class_job))
        print_job(class_job.job, OutputFormat.TABLE, wide=wide, answer=class_sentences(job, class_job))


def _table(job: FleetJob) -> Table:
    """Return the recommendations on all classes, with the class of each."""
    tables = [(class_job, recommendations_table(class_job.job)) for class_job in job.classes]
    return Table(
        title=None,
        columns=("class", *tables[0][1].columns),
        rows=[[class_job.host_class, *row] for class_job, table in tables for row in table.rows],
    )


def _title(class_job: ClassJob) -> str:
    others = len(class_job.hosts) - 1
    if not others:
        return f"On {class_job.representative}"
    return f"On {class_job.representative}, and {others} more like it: {', '.join(class_job.hosts[1:])}"


def _best_status(classes: Sequence[ClassJob]) -> int:
    """Return the best status of the classes; of one that broke off, nothing was measured to its end."""
    statuses = {exit_status(class_job.job) for class_job in classes} - {INTERRUPTED}
    return next((status for status in _BEST_FIRST if status in statuses), NOTHING_MEASURED)
