"""Jobs as they are begun, taken up again, read and stopped.

The work of a job is in ``runner``, and what is done before it begins in ``beginning``.
"""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any

from servefit.errors import HostMismatch, ObjectiveError, SpecError, StorageError
from servefit.profiler.machine.slot.holding import measuring_slot
from servefit.profiler.procedures.prepare import check_there
from servefit.search.jobs.beginning import (
    check_free,
    check_objective,
    checked_request,
    keep_new_job,
    new_header,
    open_subject,
    payload_rows,
)
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
from servefit.search.jobs.script_beside import ScriptBeside
from servefit.search.jobs.written_by_others import check_written_by_others
from servefit.search.optimizer.clock import Clock
from servefit.search.optimizer.progress import before_search
from servefit.search.optimizer.slowness import Slowness
from servefit.search.request.arrivals import check_arrivals
from servefit.search.request.job_request import check_known
from servefit.search.results.recommendation import Trial
from servefit.search.storage.class_log import ClassLog
from servefit.search.storage.job_folder import PAYLOAD_FILE, job_folder
from servefit.search.storage.jobs import JobStore
from servefit.search.storage.log import JobLog
from servefit.search.storage.outages import PATIENCE_S
from servefit.time_limit import time_limit

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from servefit.backends.model import Model
    from servefit.backends.payload import Payload
    from servefit.search.optimizer.progress import Progress
    from servefit.search.request.job_request import JobRequest
    from servefit.search.storage.header import JobStatus
_log = logging.getLogger(__name__)


def run_job(
    source: Any,
    sample_payload: Any,
    request: JobRequest,
    *,
    trust_pickle: bool,
    trust_code: bool = False,
    progress: Progress,
    storage: str | None = None,
    wait_s: float | None = None,
    spent_s: float = 0.0,
    now: Callable[[], float] = time.monotonic,
) -> RecommendationJob:
    """Run a new job to its end, and keep it in the database at ``storage``, the one in the state folder if None. Where
    something else measures on this machine it waits, for ``wait_s`` at most (None: until that is done).
    ``spent_s`` of its time were over before. Its budget is one of seconds of the clock ``now``.

    Raises SpecError, StorageError, ModelError or StateError before anything is measured, and SlotTaken after
    ``wait_s``; StorageError also where the database goes away meanwhile; ObjectiveError where nothing can be ranked by
    the objective of another package: what was measured is kept, and can be taken up; JobInterrupted.
    """
    began_s = now() - spent_s
    from servefit.backends.finding.capabilities import backend
    from servefit.profiler.machine.host import describe_host

    request = checked_request(request)
    with ExitStack() as stack:
        store = stack.enter_context(JobStore.open(storage, patience_s=PATIENCE_S))
        store.wait_until_writable()
        clock = Clock.of(
            request,
            elapsed_before_s=now() - began_s,
            # What it took this process to come this far.
            slowness=Slowness(spent_s / time.process_time()),
            now=working_s(store, now),
        )
        stack.enter_context(time_limit(lambda: clock.left_s, clock.budget))
        host = describe_host()
        check_objective(request, host)
        profiles, skipped = measurable_profiles(request, host)
        for name in request.backends:
            backend(name)
        check_free(request.name)
        check_there(source, sample_payload)
        # What follows takes CPUs for seconds, compiling all of them for long: it would spoil what others measure.

        @cache
        def opened() -> tuple[Model, Payload]:
            progress.stage("opening the model", before_search(clock))
            return open_subject(request, source, sample_payload, trust_pickle=trust_pickle, trust_code=trust_code)

        slot = stack.enter_context(measuring_slot(f"job {request.name}", wait_s=wait_s, before_waiting=opened))
        clock.leave_out(slot.waited_s)
        model, payload = opened()
        header = new_header(request, model, payload, host, profiles)
        log, folder = keep_new_job(header, payload, store)
        measurer = LocalMeasurer(header=header, payload=payload, folder=folder, log=log)
        beside = ScriptBeside(log=log, payload=payload, trust_pickle=trust_pickle)
        runner = JobRunner(log=log, store=store, measurer=measurer, clock=clock, progress=progress, beside=beside)
        runner.skipped.extend(skipped)
        with log.owned():
            return _carry_out(runner)


def resume_job(
    name: str,
    *,
    progress: Progress,
    storage: str | None = None,
    wait_s: float | None = None,
    allowed: Collection[str] = (),
) -> RecommendationJob:
    """Take up a job that was stopped, interrupted or killed, where it was; nothing is measured twice. It waits as
    :func:`run_job` does. ``allowed`` are variables that it may set beside those of the list, where others can write to
    its database.

    Raises SpecError for a job that is over or whose backends are not all there, JobInUse for one that runs,
    HostMismatch on another machine, CorruptModel where the model has changed since; otherwise as :func:`run_job`.
    """
    with JobStore.open(storage, patience_s=PATIENCE_S) as store:
        log = store.job(name)
        if not store.is_own:
            _check_written_by_others(log, allowed)
        spent_s = log.state_now().elapsed_s
        with log.owned():
            # Errors that keep it from going on are raised before the wait.
            _check_goes_on(log)
            with measuring_slot(f"job {name}", wait_s=wait_s):
                runner = _resumed(log, store, progress, spent_s=spent_s)
                with time_limit(lambda: runner.clock.left_s, runner.clock.budget):
                    return _carry_out(runner)


def _check_written_by_others(log: JobLog, allowed: Collection[str]) -> None:
    """Raise as :func:`check_written_by_others`. What a job has measured may be measured again."""
    header = log.header
    asked = ((varied.variable, value) for varied in header.request.environment for value in varied.values)
    measured = (step.configuration.environment for step in log.steps() if step.configuration is not None)
    variables = chain(asked, *measured)
    check_written_by_others(header.model, header.request, variables, allowed=allowed)


def _check_goes_on(log: JobLog) -> None:
    """Check that the job is not over, and that nothing has changed that it needs. Raises as :func:`resume_job`."""
    from servefit.backends.finding.capabilities import backend
    from servefit.backends.model.kept import check_kept
    from servefit.profiler.machine.host import describe_host

    header, state = log.header, log.state
    if state.status in ("COMPLETED", "FAILED"):
        raise SpecError("job", log.name, f"is over: {state.status}", remedy="begin another with servefit recommend")
    if header.hosts:
        raise SpecError("job", log.name, "measures on a fleet", remedy="take it up with the fleet's resume")
    host = describe_host()
    if host.fingerprint != header.host.fingerprint:
        raise HostMismatch(header.host.fingerprint, host.fingerprint)
    check_kept(header.model)
    check_known(header.request.environment)
    check_arrivals(header.request)
    check_objective(header.request, host)
    for name in header.request.backends:
        backend(name)
    if header.model.lacks_inputs:
        raise SpecError(
            "job",
            log.name,
            f"was begun by servefit {header.servefit}, which did not know what the inputs of its model are",
            remedy="begin another with servefit recommend",
        )


def _resumed(log: JobLog, store: JobStore, progress: Progress, *, spent_s: float) -> JobRunner:
    """Return the runner of a job that goes on after it took ``spent_s``."""
    from servefit.backends.payload import Payload

    header, state, folder = log.header, log.state, job_folder(log.name)
    payload = Payload(
        rows=payload_rows(folder / PAYLOAD_FILE, header.payload.digest),
        source=header.payload.source,
        synthetic=header.payload.synthetic,
        truncated_from=header.payload.truncated_from,
        unused_columns=header.payload.unused_columns,
        sizes=header.payload.sizes,
    )
    log.abandon_running_steps()
    steps = log.steps()
    clock = Clock.of(
        header.request,
        # A job that was killed could not write down how long it took, nor did its last sign of life come at its end.
        elapsed_before_s=max(spent_s, measured_s(steps)),
        tests=tests_in(steps),
        now=working_s(store),
    )
    measurer = LocalMeasurer(header=header, payload=payload, folder=folder, log=log)
    beside = ScriptBeside(log=log, payload=payload, trust_pickle=False)
    runner = JobRunner(log=log, store=store, measurer=measurer, clock=clock, progress=progress, beside=beside)
    runner.skipped.extend(skipped for skipped in state.skipped if skipped.kind == "instance_profile")
    return runner


def working_s(store: JobStore, now: Callable[[], float] = time.monotonic) -> Callable[[], float]:
    """Return a clock, in seconds, that advances as ``now`` does while there is a database: a job's time is not used up
    by waiting for it."""
    return lambda: now() - store.waited_s


def load_job(
    name: str, *, storage: str | None = None, host: str | None = None, allowed: Collection[str] = ()
) -> RecommendationJob:
    """Read the job of that name, as far as it is; of one that measures on a fleet, what it does on hosts like ``host``,
    which may be left out where all of them are alike. ``allowed`` are variables that its recommendations may set beside
    those of the list, where others can write to its database.

    Raises SpecError for an unknown job or host, and where a host has to be given; StorageError, StateError.
    """
    with JobStore.open(storage) as store:
        return read_job(store, name, host=host, allowed=allowed)


def read_job(
    store: JobStore, name: str, *, host: str | None = None, allowed: Collection[str] = ()
) -> RecommendationJob:
    """Read the job of that name, as :func:`load_job`, from a database that is open."""
    log = store.job(name)
    may_set = None if store.is_own else frozenset(allowed)
    representatives = [representative.name for representative in log.header.representatives.values()]
    if host is None and len(representatives) == 1:
        (host,) = representatives
    if host is not None:
        return _job(log, ClassLog(log, log.header.representative_of(host).name), may_set)
    if log.header.hosts:
        classes = len(representatives)
        raise SpecError(
            "job",
            name,
            f"measures on {classes} classes of hosts" if classes else "has not timed its hosts yet",
            remedy=f"servefit show {name} --host {representatives[0]} shows one of them" if classes else None,
        )
    return _job(log, log, may_set)


def stop_job(name: str, *, storage: str | None = None) -> bool:
    """Ask the process that works on the job to stop after the current test. Return False where none works on it.

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
    """Keep how the job ended, and return it. Where the database is gone by now the answer is returned all the same,
    with a remark."""
    state = runner.state(status)
    _log.info("job %s: %s after %.1f s", runner.request.name, status, state.elapsed_s)
    try:
        runner.log.set_state(state)
        steps = runner.log.steps()
    except StorageError as error:
        state = replace(state, remarks=(*state.remarks, f"that the job ended was not kept: {error}"))
        steps_by_number = {step.number: step for step in runner.steps_before} | runner.log.written
        steps = tuple(steps_by_number[number] for number in sorted(steps_by_number))
    # The steps were read from the database again: others may have written them, and not what was asked for.
    asked = frozenset(varied.variable for varied in runner.request.environment)
    return RecommendationJob.of(runner.log.header, state, steps, allowed=None if runner.store.is_own else asked)


def load_parts(
    name: str, *, storage: str | None = None, allowed: Collection[str] = ()
) -> tuple[RecommendationJob, ...]:
    """Read the job of that name as :func:`load_job`: of one that measures on a fleet, what it does on each class of
    hosts; else the job alone."""
    with JobStore.open(storage) as store:
        log = store.job(name)
        hosts = [representative.name for representative in log.header.representatives.values()]
        parts = tuple(read_job(store, name, host=host, allowed=allowed) for host in hosts)
        return parts or (read_job(store, name, allowed=allowed),)


def _job(log: JobLog, part: JobLog | ClassLog, allowed: frozenset[str] | None) -> RecommendationJob:
    """Return the job that ``log`` keeps, or the ``part`` of it that is done on a class of hosts."""
    owner, steps = log.owner(), part.steps()
    state = log.state_now() if isinstance(part, JobLog) else part.state
    if (left_out := log.remark()) is not None:
        state = replace(state, remarks=(*state.remarks, left_out))
    at_work = owner if state.status == "IN_PROGRESS" else None
    return RecommendationJob.of(part.header, state, steps, owner=at_work, allowed=allowed)
