"""The process of a job, as the server sees it: begun by it or by a server before it, watched, and ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from servefit.aws.jobs.files import JobOutcome
from servefit.errors import ServefitError
from servefit.processes import living, mark_of

if TYPE_CHECKING:
    from servefit.aws.jobs.files import JobFiles

LOOK_S = 0.1
"""Between two looks at the process of a job. A look takes microseconds."""

GRACE_S = 30.0
"""A process that was told to end is killed after this: it ends its test, and writes down where it is."""


class JobProcess:
    """The process of the job whose files these are. ``mark`` says which it is, also to the next server."""

    def __init__(self, files: JobFiles, mark: str, begun: subprocess.Popen[bytes] | None) -> None:
        self._files = files
        self.mark = mark
        self._begun = begun

    @classmethod
    def of(cls, files: JobFiles, mark: str | None, *, module: str) -> JobProcess:
        """Return the process with this mark if it lives, else a new one that runs ``module``."""
        if mark is not None and living(mark) is not None:
            return cls(files, mark, None)
        with (files.folder / "stderr.txt").open("ab") as errors:
            begun = subprocess.Popen(
                # -P: the folder that the server was started in may hold uploaded objects, and a numpy.py
                [sys.executable, "-P", "-m", module, str(files.folder)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )
        return cls(files, mark_of(begun.pid), begun)

    def wait(self, is_closing: Callable[[], bool]) -> JobOutcome | None:
        """Return how the job ended, once its process has; None where that was told to end by the server."""
        while self._lives:
            time.sleep(LOOK_S)
        outcome = self._files.outcome()
        if outcome is None and not is_closing():
            return JobOutcome(status="FAILED", reason="its process was ended from outside, or failed")
        return outcome

    def stop(self, name: str) -> None:
        """Have the job stop after the test that runs; where it is not that far yet, end its process."""
        from servefit.aws.jobs.own_job import own_job
        from servefit.search.jobs.lifecycle import stop_job

        with suppress(ServefitError):
            if own_job(self._files) is not None and stop_job(name):
                return
        is_over = self._files.outcome() is not None
        if not is_over:
            self._files.write_outcome(JobOutcome(status="STOPPED"))
        self.end()
        if not is_over:
            self._files.journal.write("the job is over: STOPPED")

    def end(self) -> None:
        """Tell the process to end, and kill it where it takes too long."""
        self._signal(signal.SIGTERM)
        until = time.monotonic() + GRACE_S
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
