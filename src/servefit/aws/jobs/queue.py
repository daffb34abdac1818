"""The queue of jobs, and of surveys of models: one is carried out at a time, by a process of its own. ``turns`` says
which.

The state of a job is kept with it. Processes outlive a server that is killed: the next server waits for those that
live, and begins those again that do not, which go on where they were.

What was measured is of the data that lay there when the process began, if the same lies there when it has ended. Of a
job whose data has changed meanwhile nobody knows what it is of.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from servefit.aws.jobs.child import GRACE_S, JobProcess
from servefit.aws.jobs.files import JobFiles, JobOutcome
from servefit.aws.jobs.survey import SurveyFiles
from servefit.aws.jobs.turns import DATA_VERSION, JOB, SURVEY, next_turn
from servefit.errors import ServefitError
from servefit.processes import living

if TYPE_CHECKING:
    from servefit.aws.jobs.model_data import DataVersions
    from servefit.aws.state.resources import Resource, Resources

_log = logging.getLogger(__name__)

KIND = JOB

_MODULES = {KIND: "servefit.aws.jobs.process", SURVEY: "servefit.aws.jobs.survey_process"}
"""The module that carries out each kind."""

NEWS_S = 0.5
"""Between two looks at whether a job is over, for those that wait for it. A look reads the database."""

ENDED = ("COMPLETED", "FAILED", "STOPPED")

Prepare: TypeAlias = Callable[[JobFiles, Callable[[], bool]], None]

_CHANGED = JobOutcome(status="FAILED", reason="the model data has changed meanwhile")
"""Of a survey whose data has changed: nothing says which data it measured."""

_AFTER_FAILURE_S = 5.0
"""Before a job is tried again whose state could not be kept. Chosen, not measured."""


class JobQueue:
    """Carries out jobs and surveys, whose files are in folders below ``jobs`` and ``surveys``, each under its name."""

    def __init__(self, resources: Resources, versions: DataVersions, *, jobs: Path, surveys: Path) -> None:
        self._resources = resources
        self._versions = versions
        self._folders = {KIND: jobs, SURVEY: surveys}
        self._wake = threading.Condition()
        self._closing = False
        self._before: str | None = None
        self._running: tuple[str, str, JobProcess] | None = None
        self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)

    def start(self, prepare: Prepare) -> None:
        """Begin to carry out what is waiting, from before too. ``prepare`` is called with the files of each job before
        its process begins, and with what says whether the job is still wanted."""
        self._prepare = prepare
        self._thread.start()

    def close(self) -> None:
        """End the process that runs, so that its job can be taken up again, and carry out nothing more."""
        with self._wake:
            self._closing = True
            running = self._running
            self._wake.notify_all()
        if running is not None:
            running[2].end()
        self._thread.join(GRACE_S + 5)

    def files(self, name: str, kind: str = KIND) -> JobFiles:
        return JobFiles(self._folders[kind] / name)

    def added(self) -> None:
        """Take note that there is a new job."""
        with self._wake:
            self._wake.notify_all()

    def stop(self, name: str) -> bool:
        """End a job: one that waits at once, one that runs after the test that runs. Return False for one that is over,
        or is being stopped."""
        with self._wake:
            status = self._resources.get(KIND, name).document["Status"]
            if status == "PENDING":
                self._end(KIND, name, JobOutcome(status="STOPPED"))
                return True
            if status != "IN_PROGRESS":
                return False
            self._set(KIND, name, {"Status": "STOPPING"})
            running = self._running
        if running is not None and running[:2] == (KIND, name):
            running[2].stop(name)
        return True

    def wait_for_news(self, timeout_s: float, is_there: Callable[[], bool]) -> None:
        """Return as soon as ``is_there`` says so, or after the time."""
        until = time.monotonic() + timeout_s
        while not self._closing and not is_there() and (left_s := until - time.monotonic()) > 0:
            time.sleep(min(NEWS_S, left_s))

    def _work(self) -> None:
        while (job := self._wait_for_one()) is not None:
            self._before = job.kind
            try:
                self._carry_out(job.kind, job.name)
            except Exception as error:  # noqa: BLE001 - whatever is wrong with one job, the others have their turn
                _log.exception("%s %s", job.kind, job.name)
                self._give_up(job.kind, job.name, error)

    def _give_up(self, kind: str, name: str, error: Exception) -> None:
        """End a job that the server failed at. Where not even that can be kept, as on a full disk, it is tried again
        after a while."""
        try:
            self._end(kind, name, JobOutcome(status="FAILED", reason=f"the server failed: {error}"))
        except (ServefitError, OSError):
            _log.exception("%s %s", kind, name)
            time.sleep(_AFTER_FAILURE_S)

    def _wait_for_one(self) -> Resource | None:
        """Return the job to carry out next once there is one, None once there will be none."""
        with self._wake:
            while (job := self._next()) is None and not self._closing:
                self._wake.wait()
            return None if self._closing else job

    def _next(self) -> Resource | None:
        return next_turn(self._resources.all(KIND), self._resources.all(SURVEY), before=self._before)

    def _carry_out(self, kind: str, name: str) -> None:
        files = self.files(name, kind)
        if kind == KIND and self._mark(kind, name) is None and files.outcome() is None:
            self._prepare(files, lambda: self._is_wanted(name))
        version = self._version(kind, files)
        with self._wake:
            mark = self._mark(kind, name)
            if mark is None and self._is_ended(kind, name, files):
                return
            if kind == SURVEY and version != self._resources.get(kind, name).document[DATA_VERSION]:
                self._end(kind, name, _CHANGED)
                return
            process = JobProcess.of(files, mark, module=_MODULES[kind])
            self._running = kind, name, process
            self._set(kind, name, {"Process": process.mark, **self._begun(kind, name, version)})
        outcome = process.wait(lambda: self._closing)
        with self._wake:
            self._running = None
            if outcome is not None:
                self._end(kind, name, outcome)

    def _mark(self, kind: str, name: str) -> str | None:
        """Return the mark of the process of a job, None where none lives."""
        mark: str | None = self._resources.get(kind, name).document.get("Process")
        return None if mark is None or living(mark) is None else mark

    def _is_wanted(self, name: str) -> bool:
        wanted = self._resources.get(KIND, name).document["Status"] in ("PENDING", "IN_PROGRESS")
        return wanted and not self._closing

    def _is_ended(self, kind: str, name: str, files: JobFiles) -> bool:
        """Return whether a job that has no process is to have none: it is over, was stopped, or the server closes.
        Where its process ended while there was no server that is noted."""
        status, outcome = self._resources.get(kind, name).document["Status"], files.outcome()
        if outcome is None and status == "STOPPING":
            outcome = JobOutcome(status="STOPPED")
        if outcome is not None and status not in ENDED:
            self._end(kind, name, outcome)
        return outcome is not None or status in ENDED or self._closing

    def _begun(self, kind: str, name: str, version: str | None) -> dict[str, Any]:
        is_new = self._resources.get(kind, name).document["Status"] == "PENDING"
        return {"Status": "IN_PROGRESS", DATA_VERSION: version} if is_new else {}

    def _version(self, kind: str, files: JobFiles) -> str | None:
        """Return the version of the model data of a job as it is now, None where it has none."""
        model = SurveyFiles(files.folder).plan().model if kind == SURVEY else files.plan().model
        return None if model is None else self._versions.of(Path(model))

    def _end(self, kind: str, name: str, outcome: JobOutcome) -> None:
        files = self.files(name, kind)
        ended_at = outcome.ended_at or time.time()
        changes: dict[str, Any] = {}
        if outcome.status == "COMPLETED":
            version = self._version(kind, files)
            if version != self._resources.get(kind, name).document.get(DATA_VERSION):
                if kind == SURVEY:
                    outcome = _CHANGED
                else:
                    changes[DATA_VERSION] = None
        changes |= {"Status": outcome.status, "CompletionTime": ended_at, "Process": None}
        if outcome.reason is not None:
            changes["FailureReason"] = outcome.reason
        self._set(kind, name, changes)
        if files.outcome() is None:
            files.write_outcome(outcome)
            files.journal.write(f"the job is over: {outcome.status}")

    def _set(self, kind: str, name: str, changes: Mapping[str, Any]) -> None:
        self._resources.change(kind, name, lambda before: {**before, **changes})
