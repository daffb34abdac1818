"""Running a job for a person: progress while it runs, the recommendation at its end, and the exit status."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from servefit.cli.output import OutputFormat, emit, print_line, warn
from servefit.cli.status import INTERRUPTED, NOTHING_MEASURED, TOO_NOISY, status_of_verdict
from servefit.report.at_a_glance import glance_table
from servefit.report.job_tables import compilation_table, recommendations_table
from servefit.report.sentences import headline, hindrances, reasons, same_shapes, shape
from servefit.report.table import Table
from servefit.search.results.confirmation import is_too_noisy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servefit.backends.model import Model
    from servefit.backends.payload.bodies import Bodies
    from servefit.search.jobs.job import RecommendationJob
    from servefit.search.optimizer.progress import Progress
    from servefit.search.request.job_request import JobRequest
    from servefit.search.results.recommendation import Skipped

_MAX_NAMED = 3
"""Profiles that are left out with their reasons. Chosen: more would be longer than the answer."""


def run_and_print(
    model: Path | Model,
    payload: Path | Bodies | None,
    request: JobRequest,
    *,
    trust_pickle: bool,
    trust_code: bool = False,
    storage: str | None,
    wait_s: float | None,
    form: OutputFormat,
    wide: bool,
    quiet: bool,
    began_s: float | None = None,
) -> None:
    """Run the job, print its result, and exit with its status. Its time counts from ``began_s`` of the monotonic clock
    on, from now on without."""
    from servefit.search.jobs.lifecycle import run_job

    print_and_exit(
        lambda progress: run_job(
            model,
            payload,
            request,
            trust_pickle=trust_pickle,
            trust_code=trust_code,
            progress=progress,
            storage=storage,
            wait_s=wait_s,
            # What is imported for it is part of that.
            spent_s=0.0 if began_s is None else time.monotonic() - began_s,
        ),
        form=form,
        wide=wide,
        quiet=quiet,
    )


def print_and_exit(
    run: Callable[[Progress], RecommendationJob], *, form: OutputFormat, wide: bool, quiet: bool
) -> None:
    """Call ``run`` with its progress shown, print the job that it returns, and exit with its status."""
    from servefit.cli.progress import job_progress
    from servefit.search.jobs.job import JobInterrupted

    try:
        with job_progress(quiet=quiet) as progress:
            job = run(progress)
    except JobInterrupted as interruption:
        print_job(interruption.job, form, wide=wide)
        raise typer.Exit(INTERRUPTED) from interruption
    print_job(job, form, wide=wide)
    raise typer.Exit(exit_status(job))


def exit_status(job: RecommendationJob) -> int:
    """Return the exit status of a job: 0 when the deployment meets the SLA or nothing was asked; 3 when it does
    not; 4 when nothing could be measured; 5 when the machine was too noisy to measure the best answer, or to confirm
    it; 6 when the traffic did not suffice to decide; 130 when the job was stopped."""
    if job.status == "STOPPED":
        return INTERRUPTED
    if job.best is None:
        return NOTHING_MEASURED
    if is_too_noisy(job.best):
        return TOO_NOISY
    return status_of_verdict(job.best.trial.verdict)


def print_job(job: RecommendationJob, form: OutputFormat, *, wide: bool, answer: Sequence[str] | None = None) -> None:
    """Print the recommendation in sentences (or ``answer`` in their place) and tables, with all columns if ``wide``; or
    in another ``form``."""
    from servefit.search.jobs.document import job_document

    if form is not OutputFormat.TABLE:
        emit(recommendations_table(job), job_document(job), form)
        if job.best is None:
            causes = hindrances(job) or (["the job was cut short"] if job.status == "STOPPED" else [])
            nothing = "nothing has been measured yet" if job.status == "IN_PROGRESS" else "nothing could be measured"
            warn(f"{nothing}{': ' if causes else ''}{'; '.join(causes)}")
    else:
        print_line("", *(headline(job).splitlines() if answer is None else answer), "")
        if job.recommendations:
            emit(recommendations_table(job), {}, form, brief=None if wide else glance_table(job))
        if job.payload.sizes:
            print_line(f"requests of {job.payload.source}: {'; '.join(map(str, job.payload.sizes))}")
        for line in (*(() if wide else same_shapes(job)), *reasons(job)):
            print_line(line)
        if job.compilation:
            print_line("")
            emit(compilation_table(job), {}, form)
        if left_out := _left_out(job):
            emit(Table(title="Backends left out", columns=("backend", "reason"), rows=left_out), {}, form)
        if too_big := [skipped for skipped in job.skipped if skipped.kind == "instance_profile"]:
            print_line(f"Not measurable on this host: {_profiles_text(too_big)}")
    for warning in job.warnings:
        warn(warning)


def _left_out(job: RecommendationJob) -> list[tuple[str, str]]:
    """Return the backends that were left out and the configurations that failed, each with its reason."""
    left_out = [(skipped.name, skipped.reason) for skipped in job.skipped if skipped.kind == "backend"]
    alike: dict[tuple[str, str], set[str]] = {}
    for failed in job.failed:
        alike.setdefault((failed.configuration.backend, failed.reason), set()).add(shape(failed.configuration))
    for (backend, reason), shapes in alike.items():
        left_out.append(
            (next(iter(shapes)) if len(shapes) == 1 else f"{backend}, {len(shapes)} configurations", reason)
        )
    return left_out


def _profiles_text(profiles: Sequence[Skipped]) -> str:
    """Return the names of the profiles that were left out: a few with their reasons, of many the first names."""
    if len(profiles) <= _MAX_NAMED:
        return "; ".join(f"{profile.name} {profile.reason}" for profile in profiles)
    names = ", ".join(profile.name for profile in profiles[:_MAX_NAMED])
    return f"{names} and {len(profiles) - _MAX_NAMED} more; servefit profiles --all says why"
