"""Running a job for a person: progress while it runs, the recommendation at its end, and the exit status."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from servefit.cli.output import Format, emit, say, warn
from servefit.cli.status import INTERRUPTED, NOTHING_MEASURED, SLA_UNMET, TOO_NOISY
from servefit.report.job_tables import compilation_table, recommendations_table
from servefit.report.sentences import headline, hindrances, reasons
from servefit.report.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servefit.search.jobs.job import RecommendationJob
    from servefit.search.optimizer.progress import Progress
    from servefit.search.request.job_request import JobRequest
    from servefit.search.results.recommendation import Skipped

_FEW = 3


def run_and_print(
    model: Path,
    payload: Path | None,
    request: JobRequest,
    *,
    trust_pickle: bool,
    storage: str | None,
    wait_s: float | None,
    form: Format,
    quiet: bool,
    spent_s: float = 0.0,
) -> None:
    """Run the job, print what it found, and leave with its exit status. ``spent_s`` of its time were over before."""
    from servefit.search.jobs.lifecycle import run_job

    print_and_leave(
        lambda progress: run_job(
            model,
            payload,
            request,
            trust_pickle=trust_pickle,
            progress=progress,
            storage=storage,
            wait_s=wait_s,
            spent_s=spent_s,
        ),
        form=form,
        quiet=quiet,
    )


def print_and_leave(run: Callable[[Progress], RecommendationJob], *, form: Format, quiet: bool) -> None:
    """Do what ``run`` does with its progress shown, print the job that it gives, and leave with its exit status."""
    from servefit.cli.progress import job_progress
    from servefit.search.jobs.job import JobInterrupted

    try:
        with job_progress(quiet=quiet) as progress:
            job = run(progress)
    except JobInterrupted as interruption:
        print_job(interruption.job, form)
        raise typer.Exit(INTERRUPTED) from interruption
    print_job(job, form)
    raise typer.Exit(exit_status(job))


def exit_status(job: RecommendationJob) -> int:
    """0 when the SLA is met or nothing was asked, 3 when it is not, be it only over HTTP, or that is not sure, 4 when
    nothing could be measured, 5 when the machine got in the way of measuring the best answer, 130 when the job was
    stopped."""
    if job.status == "STOPPED":
        return INTERRUPTED
    if job.best is None:
        return NOTHING_MEASURED
    if job.best.trial.verdict == "INVALID":
        return TOO_NOISY
    over_http = None if job.best.endpoint is None else job.best.endpoint.verdict
    return 0 if job.best.trial.verdict == "PASS" and over_http != "FAIL" else SLA_UNMET


def print_job(job: RecommendationJob, form: Format) -> None:
    """The recommendation as a sentence and tables, or in the form asked for."""
    from servefit.search.jobs.document import job_document

    if form is not Format.TABLE:
        emit(recommendations_table(job), job_document(job), form)
        if job.best is None:
            warn(f"nothing could be measured: {'; '.join(hindrances(job)) or 'the job was cut short'}")
    else:
        say(f"\n{headline(job)}\n")
        if job.recommendations:
            emit(recommendations_table(job), job_document(job), form)
        for line in reasons(job):
            say(line)
        if job.compilation:
            emit(compilation_table(job), {}, form)
        if left_out := [[one.name, one.reason] for one in job.skipped if one.kind == "backend"]:
            emit(Table(title="Backends left out", columns=("backend", "reason"), rows=left_out), {}, form)
        if too_big := [one for one in job.skipped if one.kind == "instance_profile"]:
            say(f"Not measurable on this host: {_too_big(too_big)}")
    for warning in job.warnings:
        warn(warning)


def _too_big(profiles: Sequence[Skipped]) -> str:
    """The profiles that were left out: a few with the reason, of many the first."""
    if len(profiles) <= _FEW:
        return "; ".join(f"{one.name} {one.reason}" for one in profiles)
    names = ", ".join(one.name for one in profiles[:_FEW])
    return f"{names} and {len(profiles) - _FEW} more; servefit profiles --all says why"
