"""The queue of jobs: one is carried out at a time, in the order in which they were made, by a process of its own.

The state of a job is kept with it. Processes outlive a server that is killed: the next server waits for those that
live, and begins those again that do not, which go on where they were.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from servefit.aws.jobs.files import JobFiles, Outcome
from servefit.errors import ServefitError
from servefit.processes import living, mark_of

if TYPE_CHECKING:
    from servefit.aws.state.resources import Resource, Resources

_log = logging.getLogger(__name__)

KIND = "inference-recommendations-job"

LOOK_S = 0.1
"""Between two looks at the process of a job. A look takes microseconds."""

NEWS_S = 0.5
"""Between two looks at whether a job is over, for those that wait for it. A look reads the database."""

ENDED = ("COMPLETED", "FAILED", "STOPPED")

_AFTER_FAILURE_S = 5.0
"""Before a job is tried again whose state could not be kept. Chosen, not measured."""

_GRACE_S = 30.0
"""A process that was told to end is killed after this: it ends its test, and writes down where it is."""


class JobQueue:
    """Carries out jobs, whose files are in folders below ``folder``, each under the name of its job."""

    def __init__(self, resources: Resources, folder: Path) -> None:
        self._resources = resources
        self._folder = folder
        self._wake = threading.Condition()
        self._closing = False
        self._running: tuple[str, _Process] | None = None
        self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)

    def start(self) -> None:
        """Begin to carry out what is waiting, from before too."""
        self._thread.start()

    def close(self) -> None:
        """End the process that runs, so that its job can be taken up again, and carry out nothing more."""
        with self._wake:
            self._closing = True
            running = self._running
            self._wake.notify_all()
        if running is not None:
            running[1].end()
        self._thread.join(_GRACE_S + 5)

    def files(self, name: str) -> JobFiles:
        return JobFiles(self._folder / name)

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
                self._end(name, Outcome(status="STOPPED"))
                return True
            if status != "IN_PROGRESS":
                return False
            self._set(name, {"Status": "STOPPING"})
            running = self._running
        if running is not None and running[0] == name:
            running[1].stop(name)
        return True

    def wait_for_news(self, timeout_s: float, is_there: Callable[[], bool]) -> None:
        """Return as soon as ``is_there`` says so, or after the time."""
        until = time.monotonic() + timeout_s
        while not self._closing and not is_there() and (left_s := until - time.monotonic()) > 0:
            time.sleep(min(NEWS_S, left_s))

    def _work(self) -> None:
        while (name := self._wait_for_one()) is not None:
            try:
                self._carry_out(name)
            except Exception as error:  # noqa: BLE001 - whatever is wrong with one job, the others have their turn
                _log.exception("job %s", name)
                self._give_up(name, error)

    def _give_up(self, name: str, error: Exception) -> None:
        """End a job that the server failed at. Where not even that can be kept, as on a full disk, it is tried again
        after a while."""
        try:
            self._end(name, Outcome(status="FAILED", reason=f"the server failed: {error}"))
        except (ServefitError, OSError):
            _log.exception("job %s", name)
            time.sleep(_AFTER_FAILURE_S)

    def _wait_for_one(self) -> str | None:
        """Return the job to carry out next once there is one, None once there will be none."""
        with self._wake:
            while (job := self._next()) is None and not self._closing:
                self._wake.wait()
            return None if job is None or self._closing else job.name

    def _carry_out(self, name: str) -> None:
        files = self.files(name)
        with self._wake:
            document = self._resources.get(KIND, name).document
            mark = document.get("Process")
            outcome = files.outcome()
            if outcome is None and document["Status"] == "STOPPING" and (mark is None or living(mark) is None):
                outcome = Outcome(status="STOPPED")
            if outcome is not None:  # its process ended while there was no server
                self._end(name, outcome)
                return
            process = _Process.of(files, mark)
            self._running = name, process
            self._set(name, {"Process": process.mark, **self._begun(document)})
        outcome = process.wait(lambda: self._closing)
        with self._wake:
            self._running = None
            if outcome is not None:
                self._end(name, outcome)

    def _next(self) -> Resource | None:
        """Return the job to carry out next: one that was begun before, else the oldest that waits."""
        jobs = self._resources.all(KIND)
        begun = [job for job in jobs if job.document["Status"] in ("IN_PROGRESS", "STOPPING")]
        waiting = [job for job in jobs if job.document["Status"] == "PENDING"]
        return next(iter((*begun, *waiting)), None)

    @staticmethod
    def _begun(document: Mapping[str, Any]) -> dict[str, Any]:
        return {"Status": "IN_PROGRESS"} if document["Status"] == "PENDING" else {}

    def _end(self, name: str, outcome: Outcome) -> None:
        changes: dict[str, Any] = {"Status": outcome.status, "CompletionTime": time.time(), "Process": None}
        if outcome.reason is not None:
            changes["FailureReason"] = outcome.reason
        self._set(name, changes)
        if self.files(name).outcome() is None:
            self.files(name).write_outcome(outcome)
            self.files(name).journal.write(f"the job is over: {outcome.status}")

    def _set(self, name: str, changes: Mapping[str, Any]) -> None:
        self._resources.change(KIND, name, lambda before: {**before, **changes})


class _Process:
    """The process of a job, begun by this server or by one before it."""

    def __init__(self, files: JobFiles, mark: str, begun: subprocess.Popen[bytes] | None) -> None:
        self._files = files
        self.mark = mark
        self._begun = begun

    @classmethod
    def of(cls, files: JobFiles, mark: str | None) -> _Process:
        """Return the process with this mark if it lives, else a new one."""
        if mark is not None and living(mark) is not None:
            return cls(files, mark, None)
        with (files.folder / "stderr.txt").open("ab") as errors:
            begun = subprocess.Popen(
                [sys.executable, "-m", "servefit.aws.jobs.process", str(files.folder)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )
        return cls(files, mark_of(begun.pid), begun)

    def wait(self, is_closing: Callable[[], bool]) -> Outcome | None:
        """Return how the job ended, once its process has; None where that was told to end by the server."""
        while self._lives:
            time.sleep(LOOK_S)
        found = self._files.outcome()
        if found is None and not is_closing():
            return Outcome(status="FAILED", reason="its process was ended from outside, or failed")
        return found

    def stop(self, name: str) -> None:
        """Have the job stop after the test that runs; where it is not that far yet, end its process."""
        from servefit.search.jobs.lifecycle import stop_job

        with suppress(ServefitError):  # it has not been begun
            if stop_job(name):
                return
        if self._files.outcome() is None:
            self._files.write_outcome(Outcome(status="STOPPED"))
        self.end()

    def end(self) -> None:
        """Tell the process to end, and kill it where it takes too long."""
        self._signal(signal.SIGTERM)
        until = time.monotonic() + _GRACE_S
        while self._lives and time.monotonic() < until:
            time.sleep(LOOK_S)
        self._signal(signal.SIGKILL)

    @property
    def _lives(self) -> bool:
        if self._begun is not None:
            return self._begun.poll() is None
        return living(self.mark) is not None

    def _signal(self, number: signal.Signals) -> None:
        if self._lives and (pid := living(self.mark)) is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
