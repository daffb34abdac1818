"""The queue of an open loop: arrivals that were fixed before the run, claimed first come, first served.

Due times and what became of each arrival lie side by side in shared memory, by number of arrival. So the parent sees a
run while it goes on, in the order that requests came in, and what a worker recorded outlives it.
"""

from __future__ import annotations

import time
from typing import Self

import numpy as np

from servefit.profiler.inprocess.memory import SharedWords

NEXT, LIMIT, _SIZE, _STOPPED_NS = range(4)
"""Header words that the serving loop works on: the next arrival to be claimed, and the first that nobody may claim."""

_NEVER = 2**63 - 1
_LOCK_PATIENCE_S = 1.0


class ArrivalSchedule:
    """A view of the schedule in ``words``. Times are int64 nanoseconds of ``time.monotonic_ns``; ``due`` is one longer
    than the others and ends with a time that never comes. ``started`` and ``ended`` are zero until they are known."""

    def __init__(self, words: SharedWords) -> None:
        self.words = words
        self.header = words.header
        self.size = words.header[_SIZE]
        self.due = words.body[: self.size + 1]
        self.started = words.body[self.size + 1 : 2 * self.size + 1]
        self.ended = words.body[2 * self.size + 1 :]

    @classmethod
    def write(cls, memory: int, due_ns: np.ndarray, *, workers: int) -> Self:
        """Lay out a new schedule of arrivals, ascending, in the memory behind ``memory``."""
        size = len(due_ns)
        words = SharedWords.create(memory, workers=workers, body_words=3 * size + 1)
        words.header[_SIZE] = words.header[LIMIT] = size
        schedule = cls(words)
        schedule.due[:size] = np.ascontiguousarray(due_ns, dtype=np.int64).data.cast("B").cast("q")
        schedule.due[size] = _NEVER
        return schedule

    def give_up(self, index: int) -> None:
        """Stop the run before arrival ``index`` is served: too many wait behind it."""
        self.words.acquire()
        self.header[LIMIT] = min(index, self.header[LIMIT])
        self.header[_STOPPED_NS] = self.header[_STOPPED_NS] or time.monotonic_ns()
        self.words.release()

    def stop(self) -> None:
        """Let no more arrivals in; what is due already is still served."""
        if self.words.acquire_within(_LOCK_PATIENCE_S):
            now = time.monotonic_ns()
            if not self.header[_STOPPED_NS]:
                due = np.frombuffer(self.due, dtype=np.int64)
                self.header[LIMIT] = max(min(self.header[NEXT], self.size), int(np.searchsorted(due, now, "right")))
                self.header[_STOPPED_NS] = now
            self.words.release()

    @property
    def stopped_ns(self) -> int | None:
        """When the run was ended before its time, or None."""
        return self.header[_STOPPED_NS] or None

    def answered(self, known: int) -> np.ndarray:
        """Response times in ns, in order of arrival, of the arrivals from number ``known`` up to the first that has no
        answer yet."""
        claimed = min(self.header[NEXT], self.header[LIMIT])
        ended = np.frombuffer(self.ended[known:claimed], dtype=np.int64)
        unanswered = np.flatnonzero(ended == 0)
        last = known + (int(unanswered[0]) if len(unanswered) else len(ended))
        return ended[: last - known] - np.frombuffer(self.due[known:last], dtype=np.int64)

    def records(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Copies of due, started and ended of all arrivals up to the end of the run."""
        size = self.size
        if (stopped := self.stopped_ns) is not None:
            size = int(np.searchsorted(np.frombuffer(self.due, dtype=np.int64), stopped, side="right"))
            size = min(self.size, max(size, self.header[LIMIT]))
        due, started, ended = (np.array(view[:size], dtype=np.int64) for view in (self.due, self.started, self.ended))
        return due, started, ended

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for view in (self.due, self.started, self.ended):
            view.release()
        self.words.__exit__()
