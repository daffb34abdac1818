"""``servefit jobs``, ``show``, ``steps``, ``stop`` and ``resume``: jobs that are kept."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Any

from servefit.annexed import from_annex
from servefit.cli.completion import backend_names, one_of
from servefit.cli.options import AllowEnvOption, HostOption, JobArgument, QuietOption, StorageOption, WaitOptions
from servefit.cli.output import FormatOption, OutputFormat, WideOption, emit, print_line, print_note, warn
from servefit.cli.signatures import option
from servefit.errors import SpecError
from servefit.option_panels import OUTPUT
from servefit.quantities import duration_text, span_text
from servefit.report.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from servefit.search.storage.header import JobHeader, JobState
    from servefit.search.storage.jobs import JobOverview
    from servefit.search.storage.steps import Step

_STATUSES = ("IN_PROGRESS", "COMPLETED", "FAILED", "STOPPED")
_STEP_STATUSES = ("RUNNING", "COMPLETED", "FAILED")
STEP_KINDS = (
    "compilation",
    "script_cost",
    "service_time",
    "endpoint_costs",
    "load_test",
    "confirmation",
    "endpoint",
    "model_alone",
    "spot_check",
)
"""Those of ``storage.steps``, which a shell that completes them need not wait for."""


def jobs(
    status: Annotated[
        str | None,
        option(
            "Only these: in_progress, completed, failed or stopped.",
            OUTPUT,
            "STATUS",
            complete=one_of(*map(str.lower, _STATUSES)),
        ),
    ] = None,
    model: Annotated[
        str | None, option("Only those on a model whose source or digest holds TEXT.", OUTPUT, "TEXT")
    ] = None,
    most: Annotated[int, option("The newest N.", OUTPUT, "N", least=1)] = 50,
    storage: StorageOption = None,
    form: FormatOption = OutputFormat.TABLE,
    wide: WideOption = False,
) -> None:
    """List jobs, the newest first.

    Example: servefit jobs --status stopped
    """
    from servefit.search.storage.jobs import JobStore

    wanted = None if status is None else _checked_word("status", status, _STATUSES)
    with JobStore.open(storage) as store:
        chosen = [job for job in store.overview() if _is_wanted(job, wanted, model)][:most]
    for job in chosen:
        if job.problem is not None:
            warn(f"job {job.name} cannot be read: {job.problem}")
    rows = [_job_document(job, job.header, job.state) for job in chosen if job.header and job.state]
    table = Table(
        columns=("job", "type", "status", "model", "created", "seconds", "worked on by"),
        rows=[
            [
                row["job"],
                row["job_type"],
                row["status"],
                row["model"],
                row["created_at"],
                row["elapsed_s"],
                row["owner"],
            ]
            for row in rows
        ],
    )
    emit(table, {"schema": 1, "jobs": rows}, form, brief=None if wide else _brief_jobs(rows))
    if not chosen:
        print_note("no job is like that" if status or model else "there are no jobs yet; servefit recommend begins one")


def _brief_jobs(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return the table of jobs with the columns that tell one from another."""
    return Table(
        columns=("job", "status", "model", "created, UTC", "took"),
        rows=[
            [
                row["job"],
                row["status"],
                PurePath(row["model"]).name,
                _minute(row["created_at"]),
                span_text(row["elapsed_s"]),
            ]
            for row in rows
        ],
        numeric=("took",),
    )


def _minute(iso_time: str) -> str:
    """Return a time to the minute, for people."""
    return iso_time[:_TO_THE_MINUTE].replace("T", " ")


_TO_THE_MINUTE = len("2026-11-24T12:00")


def _is_wanted(job: JobOverview, status: str | None, model: str | None) -> bool:
    if job.header is None or job.state is None:
        return status is None and model is None
    source, digest = job.header.model.source, job.header.model.digest
    return status in (None, job.state.status) and (model is None or model in source or model in digest)


def _job_document(job: JobOverview, header: JobHeader, state: JobState) -> dict[str, Any]:
    from servefit.search.jobs.document import iso_time

    return {
        "job": job.name,
        "job_type": header.request.job_type,
        "status": state.status,
        "model": header.model.source,
        "model_digest": header.model.digest,
        "host_fingerprint": header.host.fingerprint,
        "created_at": iso_time(header.created_at),
        "elapsed_s": round(job.elapsed_s, 3),
        "owner": None if job.owner is None else str(job.owner),
    }


def _checked_word(field: str, text: str, words: tuple[str, ...]) -> str:
    if text.upper() not in words:
        raise SpecError.unknown(field, text, [word.lower() for word in words])
    return text.upper()


def show(
    job: JobArgument,
    host: HostOption = None,
    storage: StorageOption = None,
    form: FormatOption = OutputFormat.TABLE,
    wide: WideOption = False,
) -> None:
    """Print what a job found, as ``servefit recommend`` does, whether it is over or not.

    Example: servefit show fraud-20261124-120000 --format json
    """
    from servefit.cli.job_output import print_job
    from servefit.search.jobs.lifecycle import read_job
    from servefit.search.storage.jobs import JobStore

    with JobStore.open(storage) as store:
        if host is None and store.job(job).header.hosts:
            from_annex("fleet", "jobs", field="job", value=job).show(store, job, form, wide=wide)
        else:
            print_job(read_job(store, job, host=host), form, wide=wide)


_LEFT_COLUMNS = (
    "step", "kind", "status", "backend", "vCPUs", "workers", "threads", "batch", "delay us", "seconds",
)  # fmt: skip
_OF_A_TEST = ("max_invocations", "model_latency_ms.p95", "verdict")


def steps(
    job: JobArgument,
    status: Annotated[
        str | None,
        option(
            "Only these: running, completed or failed.",
            OUTPUT,
            "STATUS",
            complete=one_of(*map(str.lower, _STEP_STATUSES)),
        ),
    ] = None,
    kind: Annotated[
        str | None,
        option(
            f"Only these: {', '.join(STEP_KINDS[:-1])} or {STEP_KINDS[-1]}.",
            OUTPUT,
            "KIND",
            complete=one_of(*STEP_KINDS),
        ),
    ] = None,
    backend: Annotated[
        str | None,
        option("Only those about this backend.", OUTPUT, "NAME", "--backend", "-b", complete=backend_names),
    ] = None,
    storage: StorageOption = None,
    form: FormatOption = OutputFormat.TABLE,
    wide: WideOption = False,
) -> None:
    """List the steps of a job: what was compiled and measured, when, and what came of it.

    Example: servefit steps fraud-20261124-120000 --status failed
    """
    from servefit.search.jobs.document import step_document
    from servefit.search.storage.jobs import JobStore

    wanted_status = None if status is None else _checked_word("status", status, _STEP_STATUSES)
    wanted_kind = None if kind is None else _checked_word("kind", kind, tuple(map(str.upper, STEP_KINDS))).lower()
    with JobStore.open(storage) as store:
        chosen = [
            step
            for step in store.job(job).steps()
            if wanted_status in (None, step.status)
            and wanted_kind in (None, step.kind)
            and backend in (None, step.backend)
        ]
    documents = [step_document(step) for step in chosen]
    document = {"schema": 1, "job": job, "steps": documents}
    emit(_steps_table(chosen, documents), document, form, brief=None if wide else _brief_steps(chosen, documents))
    if form is OutputFormat.TABLE and not wide:
        for step, reason in _reasons(chosen, documents):
            print_line(f"Step {step}: {reason}")
    if not chosen:
        print_note(f"job {job} has no step like that")


def _steps_table(steps: list[Step], documents: list[dict[str, Any]]) -> Table:
    from servefit.report.figure_columns import table_of_tests
    from servefit.search.figures.registry import figures
    from servefit.search.results.recommendation import Trial

    return table_of_tests(
        figures(_OF_A_TEST),
        [
            (
                _left_cells(step, document),
                step.result if isinstance(step.result, Trial) else None,
                (document["began_at"], _reason(step, document)),
            )
            for step, document in zip(steps, documents, strict=True)
        ],
        before=_LEFT_COLUMNS,
        after=("began", "reason"),
    )


def _brief_steps(steps: list[Step], documents: list[dict[str, Any]]) -> Table:
    """Return the table of steps with what was measured and what came of it; reasons are sentences below it."""
    rows = [_brief_row(step, document) for step, document in zip(steps, documents, strict=True)]
    return Table(
        columns=("step", "kind", "what", "took", "max rate", "p95", "outcome"),
        rows=rows,
        numeric=("took", "max rate", "p95"),
    )


def _brief_row(step: Step, document: dict[str, Any]) -> list[Any]:
    from servefit.report.measured_texts import capacity_text, latency_cell, marked
    from servefit.report.sentences import shape
    from servefit.search.results.recommendation import Trial

    what = step.backend if step.configuration is None else shape(step.configuration)
    if step.attempt is not None:
        what = f"{step.attempt.host}: {what}"
    took = None if document["seconds"] is None else duration_text(document["seconds"], digits=2)
    trial = step.result if isinstance(step.result, Trial) else None
    if trial is None:
        return [step.number, step.kind, what, took, None, None, step.status]
    capacity = capacity_text(trial.capacity.throughput_per_s * trial.instance_count)
    latency = latency_cell(trial.judged, "p95")
    outcome = f"{trial.verdict}, predicted" if trial.basis == "predicted" else trial.verdict
    return [step.number, step.kind, what, took, marked(trial, capacity), marked(trial, latency), outcome]


def _reasons(steps: list[Step], documents: list[dict[str, Any]]) -> Iterator[tuple[int, str]]:
    """Yield the numbers of the steps whose outcome has a reason, with it."""
    for step, document in zip(steps, documents, strict=True):
        if reason := _reason(step, document):
            yield step.number, reason


def _reason(step: Step, document: dict[str, Any]) -> str | None:
    return step.reason or (document["metrics"] or {}).get("reason")


def _left_cells(step: Step, document: dict[str, Any]) -> tuple[Any, ...]:
    shape: tuple[int | None, ...] = (None,) * 5
    if (asked := step.configuration) is not None:
        shape = (asked.vcpus, asked.workers, asked.settings.threads, asked.max_batch, asked.batch_delay_us)
    return step.number, step.kind, step.status, step.backend, *shape, document["seconds"]


def stop(job: JobArgument, storage: StorageOption = None) -> None:
    """Stop a job after the test that runs. What it found is kept, and ``servefit resume`` goes on with it.

    Example: servefit stop fraud-20261124-120000
    """
    from servefit.search.jobs.lifecycle import stop_job

    if stop_job(job, storage=storage):
        print_line(f"job {job} stops after the step that runs")
    else:
        print_line(f"nobody works on job {job}")


def resume(
    job: JobArgument,
    storage: StorageOption = None,
    allow_env: AllowEnvOption = None,
    *,
    waiting: WaitOptions,
    form: FormatOption = OutputFormat.TABLE,
    wide: WideOption = False,
    quiet: QuietOption = False,
) -> None:
    """Go on with a job that was stopped, interrupted or killed. Nothing is measured twice.

    Example: servefit resume fraud-20261124-120000
    """
    from servefit.cli.job_output import print_and_exit
    from servefit.search.jobs.lifecycle import resume_job

    wait_s = waiting.wait_s()
    if _is_on_fleet(job, storage):
        if allow_env is not None:
            raise SpecError("allow_env", allow_env[0], "is for the agents of the hosts to say, which measure")
        from_annex("fleet", "jobs", field="job", value=job).resume(
            job, storage=storage, form=form, wide=wide, quiet=quiet
        )
        return
    print_and_exit(
        lambda progress: resume_job(job, progress=progress, storage=storage, wait_s=wait_s, allowed=allow_env or ()),
        form=form,
        wide=wide,
        quiet=quiet,
    )


def _is_on_fleet(job: str, storage: str | None) -> bool:
    from servefit.search.storage.jobs import JobStore

    with JobStore.open(storage) as store:
        return bool(store.job(job).header.hosts)
