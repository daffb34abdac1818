"""Which workers of an endpoint hang: in a call that does not return, in a loop, or stopped by a signal.

Workers leave signs of life in the counters: the event loop every second, and every call when it begins and ends. How
long there was none is counted in looks, and not read off a clock: where the supervisor itself did not run, because all
of it was frozen, traced or suspended, that time counts as little more than one look.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from servefit.serving.process import WorkerProcess

EVERY_S = 1.0
"""How often workers give signs of life, and are looked at."""

LOOKS = 4
"""So often at least within the time that a call may take."""

_LONGEST_LOAD_S = 600.0
"""The largest models take minutes."""


class Watch:
    """Looks at workers of which none may be without a sign of life for ``limit_s`` once it is ready."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._every_s = min(EVERY_S, limit_s / LOOKS)
        self._looked_s = time.monotonic()

    def next_s(self) -> float:
        """How long until it is time to look again."""
        return max(0.0, self._looked_s + self._every_s - time.monotonic())

    def hung(self, workers: Iterable[WorkerProcess]) -> list[tuple[WorkerProcess, str]]:
        """The workers that hang, and how, if it is time to look; none otherwise."""
        now_s = time.monotonic()
        passed_s = now_s - self._looked_s
        if passed_s < self._every_s:
            return []
        self._looked_s = now_s
        found = []
        for worker in workers:
            worker.look(min(passed_s, 2 * self._every_s))
            if worker.silent_s > (self._limit_s if worker.ready else _LONGEST_LOAD_S):
                found.append((worker, self._how(worker)))
        return found

    def _how(self, worker: WorkerProcess) -> str:
        if not worker.ready:
            return f"it was not ready after {_LONGEST_LOAD_S:g} s"
        what = "a call of its predictor did not return" if worker.is_calling else "it gave no sign of life"
        return f"{what} for {self._limit_s:g} s"
