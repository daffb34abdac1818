"""Jobs as they are begun, taken up again, read and stopped.

The work of a job is in ``runner``. Everything that can be wrong with a request is found out here, before anything is
measured: the storage, the names, the model, the payload.
"""

from __future__ import annotations

import io
import logging
import shutil
import time
from contextlib import ExitStack
from dataclasses import replace
from hashlib import sha256
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.errors import HostMismatch, ObjectiveError, SpecError, StorageError
from servefit.profiler.machine.slot.holding import measuring_slot
from servefit.profiler.procedures.prepare import check_there
from servefit.quantities import duration_text
from servefit.search.jobs.job import (
    JobInterrupted,
    JobStopped,
    RecommendationJob,
    measured_s,
    tests_in,
)
from servefit.search.jobs.measurable import measurable_profiles
from servefit.search.jobs.measurer import LocalMeasurer
from servefit.search.jobs.runner import JobRunner
from servefit.search.jobs.tasks import PREPARATION_S
from servefit.search.optimizer.clock import FINISHING_S, Clock
from servefit.search.optimizer.progress import before_search
from servefit.search.optimizer.slowness import Slowness
from servefit.search.request.arrivals import check_arrivals, resolve_arrivals
from servefit.search.request.job_request import check_known
from servefit.search.results.measure_trial import min_test_s
from servefit.search.results.objectives.registry import objective as objective_named
from servefit.search.results.recommendation import Trial
from servefit.search.storage.header import JobHeader, PayloadFacts
from servefit.search.storage.job_folder import PAYLOAD_FILE, job_folder, reserve
from servefit.search.storage.jobs import JobStore
from servefit.search.storage.outages import PATIENCE_S
from servefit.search.storage.secrets import keep_secrets
from servefit.state import write_atomically
from servefit.time_limit import time_limit

if TYPE_CHECKING:
    from collections.abc import Callable

    from servefit.backends.model import Model
    from servefit.backends.payload import Payload
    from servefit.profiler.machine.host import Host
    from servefit.profiler.machine.instance_profile import InstanceProfile
    from servefit.search.optimizer.progress import Progress
    from servefit.search.request.job_request import JobRequest
    from servefit.search.storage.header import JobStatus
    from servefit.search.storage.log import JobLog

_log = logging.getLogger(__name__)


def run_job(
    source: Any,
    sample_payload: Any,
    request: JobRequest,
    *,
    trust_pickle: bool,
    progress: Progress,
    storage: str | None = None,
    wait_s: float | None = None,
    spent_s: float = 0.0,
) -> RecommendationJob:
    """Run a new job to its end, and keep it in the database at ``storage``, the one in the state folder if None. Where
    something else measures on this machine it waits, for ``wait_s`` at most (None: until that is done).
    ``spent_s`` of its time were over before.

    Raises SpecError, StorageError, ModelError or StateError before anything is measured, and SlotTaken after
    ``wait_s``; StorageError also where the database goes away meanwhile; ObjectiveError where nothing can be ranked by
    the objective of another package: what was measured is kept, and can be taken up; JobInterrupted.
    """
    began_s = time.monotonic() - spent_s
    from servefit.backends.capabilities import backend
    from servefit.backends.model import Model
    from servefit.backends.payload.reading import payload_for
    from servefit.backends.verification import check_batch_dependence
    from servefit.profiler.machine.host import describe_host

    request = resolve_arrivals(request)
    check_known(request.environment)
    _check_calls(request)
    check_budget(request)
    with ExitStack() as stack:
        store = stack.enter_context(JobStore.open(storage, patience_s=PATIENCE_S))
        store.wait_until_writable()
        clock = Clock.of(
            request,
            elapsed_before_s=time.monotonic() - began_s,
            # What it took this process to come this far.
            slowness=Slowness(spent_s / time.process_time()),
            now=_working_s(store),
        )
        stack.enter_context(time_limit(lambda: clock.left_s))
        host = describe_host()
        _check_objective(request, host)
        profiles, skipped = measurable_profiles(request, host)
        for name in request.backends:
            backend(name)
        if job_folder(request.name).exists():
            raise SpecError("name", request.name, "is in use by an earlier job", remedy="choose another name")
        check_there(source, sample_payload)
        # What follows takes CPUs for seconds, compiling all of them for long: it would spoil what others measure.
        slot = stack.enter_context(measuring_slot(f"job {request.name}", wait_s=wait_s))
        clock.leave_out(slot.waited_s)
        progress.stage("opening the model", before_search(clock))
        model = source if isinstance(source, Model) else Model.load(source, trust_pickle=trust_pickle)
        payload = payload_for(model, sample_payload, seed=request.seed)
        model = check_batch_dependence(model, payload)
        _check_joining(request, model)
        header = new_header(request, model, payload, host, profiles)
        folder = reserve(request.name)
        try:
            write_atomically(folder / PAYLOAD_FILE, _npy(payload.rows))
            keep_secrets(request.environment, folder)
            log = store.create(header)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        measurer = LocalMeasurer(header=header, payload=payload, folder=folder, log=log)
        runner = JobRunner(log=log, store=store, measurer=measurer, clock=clock, progress=progress)
        runner.skipped.extend(skipped)
        with log.owned():
            return _carry_out(runner)


def resume_job(
    name: str, *, progress: Progress, storage: str | None = None, wait_s: float | None = None
) -> RecommendationJob:
    """Take up a job that was stopped, interrupted or killed, where it was; nothing is measured twice. It waits as
    :func:`run_job` does.

    Raises SpecError for a job that is over or whose backends are not all there, JobInUse for one that runs,
    HostMismatch on another machine, CorruptModel where the model has changed since; otherwise as :func:`run_job`.
    """
    with JobStore.open(storage, patience_s=PATIENCE_S) as store:
        log = store.job(name)
        spent_s = log.state_now().elapsed_s
        with log.owned(), measuring_slot(f"job {name}", wait_s=wait_s):
            runner = _resumed(log, store, progress, spent_s=spent_s)
            with time_limit(lambda: runner.clock.left_s):
                return _carry_out(runner)


def _resumed(log: JobLog, store: JobStore, progress: Progress, *, spent_s: float) -> JobRunner:
    """Return the runner of a job that was begun before and took ``spent_s``, with nothing changed since. Raises as
    :func:`resume_job`."""
    from servefit.backends.capabilities import backend
    from servefit.backends.model.kept import check_kept
    from servefit.backends.payload import Payload
    from servefit.profiler.machine.host import describe_host

    header, state = log.header, log.state
    if state.status in ("COMPLETED", "FAILED"):
        raise SpecError("job", log.name, f"is over: {state.status}", remedy="begin another with servefit recommend")
    host = describe_host()
    if host.fingerprint != header.host.fingerprint:
        raise HostMismatch(header.host.fingerprint, host.fingerprint)
    check_kept(header.model)
    check_known(header.request.environment)
    check_arrivals(header.request)
    _check_objective(header.request, host)
    for name in header.request.backends:
        backend(name)
    if header.model.lacks_inputs:
        raise SpecError(
            "job",
            log.name,
            f"was begun by servefit {header.servefit}, which did not know what the inputs of its model are",
            remedy="begin another with servefit recommend",
        )
    folder = job_folder(log.name)
    payload = Payload(
        rows=_payload_rows(folder / PAYLOAD_FILE, header.payload.digest),
        source=header.payload.source,
        synthetic=header.payload.synthetic,
        truncated_from=header.payload.truncated_from,
        unused_columns=header.payload.unused_columns,
    )
    log.abandon_running_steps()
    steps = log.steps()
    clock = Clock.of(
        header.request,
        # A job that was killed could not write down how long it took, nor did its last sign of life come at its end.
        elapsed_before_s=max(spent_s, measured_s(steps)),
        tests=tests_in(steps),
        now=_working_s(store),
    )
    measurer = LocalMeasurer(header=header, payload=payload, folder=folder, log=log)
    runner = JobRunner(log=log, store=store, measurer=measurer, clock=clock, progress=progress)
    runner.skipped.extend(skipped for skipped in state.skipped if skipped.kind == "instance_profile")
    return runner


def _working_s(store: JobStore) -> Callable[[], float]:
    """Return a clock, in seconds, that advances while there is a database: a job's time is not used up by waiting for
    it."""
    return lambda: time.monotonic() - store.waited_s


def load_job(name: str, *, storage: str | None = None) -> RecommendationJob:
    """Read the job of that name, as far as it is. Raises SpecError for an unknown one, StorageError, StateError."""
    with JobStore.open(storage) as store:
        return read_job(store, name)


def read_job(store: JobStore, name: str) -> RecommendationJob:
    """Read the job of that name, as :func:`load_job`, from a database that is open."""
    return _job(store.job(name))


def stop_job(name: str, *, storage: str | None = None) -> bool:
    """Ask whoever works on the job to stop after the test that runs, and give True; False where nobody works on it.

    Raises SpecError for an unknown job, StorageError, StateError.
    """
    with JobStore.open(storage) as store:
        log = store.job(name)
        if log.owner() is None:
            return False
        log.request_stop()
        return True


def _carry_out(runner: JobRunner) -> RecommendationJob:
    """Carry out a job that this process owns, to its end. Raises ObjectiveError, and SpecError for arrivals of another
    package that fail after the check."""
    _log.info("job %s: %s", runner.request.name, runner.request)
    try:
        return _run_to_the_end(runner)
    except (ObjectiveError, SpecError) as error:
        # What was measured is as good as before: with that package mended the job goes on where it was.
        runner.log.set_state(runner.state_without_answer("STOPPED", str(error)))
        raise


def _run_to_the_end(runner: JobRunner) -> RecommendationJob:
    """Run the job, and return it once it is over, for whatever reason."""
    try:
        runner.carry_out()
    except JobStopped:
        return _finish(runner, "STOPPED")
    except KeyboardInterrupt as interruption:
        raise JobInterrupted(_finish(runner, "STOPPED")) from interruption
    except StorageError as error:
        if not any(isinstance(step.result, Trial) for step in runner.log.written.values()):
            raise
        runner.remarks.append(f"the search broke off: {error}")
        return _finish(runner, "STOPPED")
    return _finish(runner, "COMPLETED" if runner.search is not None and runner.search.recommendations() else "FAILED")


def _finish(runner: JobRunner, status: JobStatus) -> RecommendationJob:
    """Keep how the job ended, and return it. An answer that took a minute to find is not lost to a database that is
    gone: it says so instead."""
    state = runner.state(status)
    _log.info("job %s: %s after %.1f s", runner.request.name, status, state.elapsed_s)
    try:
        runner.log.set_state(state)
        steps = runner.log.steps()
    except StorageError as error:
        state = replace(state, remarks=(*state.remarks, f"that the job ended was not kept: {error}"))
        known = {step.number: step for step in runner.steps_before} | runner.log.written
        steps = tuple(known[number] for number in sorted(known))
    return RecommendationJob.of(runner.log.header, state, steps)


def _job(log: JobLog) -> RecommendationJob:
    """Return the job that ``log`` keeps."""
    owner, state, steps = log.owner(), log.state_now(), log.steps()
    if (left_out := log.remark()) is not None:
        state = replace(state, remarks=(*state.remarks, left_out))
    return RecommendationJob.of(log.header, state, steps, owner=owner if state.status == "IN_PROGRESS" else None)


def _check_calls(request: JobRequest) -> None:
    """Raise SpecError for calls that no test could make."""
    from servefit.profiler.drivers.inprocess.workers import check_calls

    check_calls(
        request.rows_per_request,
        max(request.batch_sizes, default=1),
        max(request.batch_delays_us, default=0),
    )


def _check_objective(request: JobRequest, host: Host) -> None:
    """Raise SpecError for a goal that has no figure on ``host``, or none of tests that run at once; ObjectiveError if
    the objective fails to tell."""
    objective = objective_named(request.goal)
    objective.check(host)
    if objective.whole_machine and request.max_parallel_tests > 1:
        raise SpecError(
            "max_parallel_tests",
            request.max_parallel_tests,
            f"cannot be combined with the goal {objective.name}, whose figures are of the whole machine",
            remedy="leave it out",
        )


def _check_joining(request: JobRequest, model: Model) -> None:
    """Raise SpecError where requests are to be joined, or to wait for that, and the model does not allow it."""
    from servefit.profiler.procedures.prepare import check_joining

    check_joining(model, max(request.batch_sizes, default=1), allowed=request.allow_batch_dependence)
    if any(request.batch_delays_us) and model.batch_dependent and not request.allow_batch_dependence:
        raise SpecError(
            "batch_delay",
            max(request.batch_delays_us),
            "delays batches, and there are none, since predictions of this model depend on what else is in the call",
            remedy="leave it out, or allow that with --allow-batch-dependence (allow_batch_dependence=True)",
        )


def new_header(
    request: JobRequest, model: Model, payload: Payload, host: Host, profiles: tuple[InstanceProfile, ...]
) -> JobHeader:
    """Return what is known of a job that begins now."""
    from servefit.version import __version__

    return JobHeader(
        request=request,
        model=model,
        payload=_payload_facts(payload),
        host=host,
        profiles=profiles,
        servefit=__version__,
        created_at=time.time(),
    )


def _payload_facts(payload: Payload) -> PayloadFacts:
    """Return what a job keeps of its payload beside the rows."""
    return PayloadFacts(
        source=payload.source,
        rows=len(payload.rows),
        digest=_digest(payload.rows),
        synthetic=payload.synthetic,
        truncated_from=payload.truncated_from,
        unused_columns=payload.unused_columns,
    )


def _npy(rows: np.ndarray) -> bytes:
    """Return ``rows`` as an NPY file."""
    content = io.BytesIO()
    np.save(content, rows, allow_pickle=False)
    return content.getvalue()


def _digest(rows: np.ndarray) -> str:
    """Return the SHA-256 of the values of ``rows``."""
    return sha256(rows.tobytes()).hexdigest()


def _payload_rows(path: Path, digest: str) -> np.ndarray:
    """Read the payload that a job began with. Raises SpecError where it is not there any more."""
    try:
        rows: np.ndarray = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise SpecError("payload", str(path), "cannot be read: the job cannot be taken up again") from error
    if _digest(rows) != digest:
        raise SpecError("payload", str(path), "is not what the job began with")
    return rows


def check_budget(request: JobRequest) -> None:
    """Raise SpecError for a time in which nothing can be measured, on any machine."""
    min_s = min_test_s(request) + FINISHING_S
    if request.budget_s is not None and request.budget_s < min_s:
        takes = duration_text(min_s, digits=2)
        raise SpecError(
            "budget",
            f"{request.budget_s:g}s",
            f"is too little: on a fast and idle machine a single test takes {takes}, by what it consists of",
            remedy=f"give {ceil(min_s + PREPARATION_S)}s or more: a model has to be opened, compiled and checked",
        )
