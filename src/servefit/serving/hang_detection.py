"""Finds workers of an endpoint that hang: in a call that does not return, in a loop, or stopped by a signal.

Workers leave signs of life in the counters: the event loop every second, and every call when it begins and ends. How
long there was none is counted in checks, and not read off a clock: where the supervisor itself did not run, because all
of it was frozen, traced or suspended, that time counts as little more than one check.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from servefit.serving.process import WorkerProcess

HEARTBEAT_INTERVAL_S = 1.0
"""Workers give signs of life so often, and are checked as often. Chosen, not measured."""

CHECKS_PER_TIMEOUT = 4
"""Workers are checked so often at least within the time that a call may take, so that it is kept to within a
quarter."""

_MAX_LOAD_S = 600.0
"""The largest models take minutes."""


class HangDetector:
    """Checks workers, of which none may be without a sign of life for ``limit_s`` once it is ready."""

    def __init__(self, limit_s: float, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._limit_s = limit_s
        self._interval_s = min(HEARTBEAT_INTERVAL_S, limit_s / CHECKS_PER_TIMEOUT)
        self._checked_s = now()

    def next_check_s(self) -> float:
        """Return the time until they are to be checked again."""
        return max(0.0, self._checked_s + self._interval_s - self._now())

    def hung_workers(self, workers: Iterable[WorkerProcess]) -> list[tuple[WorkerProcess, str]]:
        """Return the workers that hang, each with a description, if a check is due; else none."""
        now_s = self._now()
        passed_s = now_s - self._checked_s
        if passed_s < self._interval_s:
            return []
        self._checked_s = now_s
        hung = []
        for worker in workers:
            worker.check_heartbeat(min(passed_s, 2 * self._interval_s))
            if worker.silent_s > (self._limit_s if worker.ready else _MAX_LOAD_S):
                hung.append((worker, self._how(worker)))
        return hung

    def _how(self, worker: WorkerProcess) -> str:
        if not worker.ready:
            return f"it was not ready after {_MAX_LOAD_S:g} s"
        what = "a call of its predictor did not return" if worker.is_calling else "it gave no sign of life"
        return f"{what} for {self._limit_s:g} s"
