"""The queue of an open loop: arrivals that were fixed before the run, claimed first come, first served.

Due times and what became of each arrival lie side by side in shared memory, by number of arrival. So the parent sees a
run while it goes on, in the order that requests came in, and what a worker recorded outlives it.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Self

import numpy as np

from servefit.profiler.drivers.driving.memory import SharedWords
from servefit.profiler.record.traffic import FAILED_NS

NEXT, LIMIT, DRAIN_NS, _SIZE, _STOPPED_NS = range(5)
"""Header words that the serving loop works on: the next arrival to be claimed, the first that nobody may claim, and
when to stop serving what waits."""

_NEVER = 2**63 - 1
"""The largest time that there is: int64."""

_LOCK_PATIENCE_S = 1.0
"""The lock is held for a microsecond: who has it for so long is dead, or stopped."""

_DRAIN_NS = 5_000_000_000
"""Time to serve what waits at the end: half a second's arrivals, at a tenth of their rate. Chosen, not measured."""


class ArrivalSchedule:
    """A view of the schedule in ``words``. Times are int64 nanoseconds of ``time.monotonic_ns``; ``due`` is one longer
    than the others and ends with a time that never comes. ``started`` and ``ended`` are zero until they are known; of a
    request that failed, ``ended`` is the negative of when it did."""

    def __init__(self, words: SharedWords) -> None:
        self.words = words
        self.header = words.header
        self.size = words.header[_SIZE]
        self.due = words.body[: self.size + 1]
        self.started = words.body[self.size + 1 : 2 * self.size + 1]
        self.ended = words.body[2 * self.size + 1 :]

    @classmethod
    def write(cls, memory: int, arrivals_ns: np.ndarray, *, workers: int) -> Self:
        """Lay out a new schedule in the memory behind ``memory``. ``arrivals_ns``, ascending, count from the moment
        that :meth:`begin_at` fixes: writing many takes a while."""
        size = len(arrivals_ns)
        words = SharedWords.create(memory, workers=workers, body_words=3 * size + 1)
        words.header[_SIZE] = words.header[LIMIT] = size
        schedule = cls(words)
        # All of it is written to, so that its pages are there, and are this process's and no worker's.
        body = np.frombuffer(words.body, dtype=np.int64)
        body[:] = 0
        body[:size] = arrivals_ns
        body[size] = _NEVER
        return schedule

    def begin_at(self, start_ns: int, end_ns: int) -> None:
        """Fix when the run begins and ends. What waits then is served for five seconds more."""
        due = np.frombuffer(self.due, dtype=np.int64)
        due[: self.size] += start_ns
        self.header[DRAIN_NS] = end_ns + _DRAIN_NS

    def give_up(self, index: int) -> None:
        """Stop the run before arrival ``index`` is served: too many wait behind it."""
        self.words.acquire()
        self.header[LIMIT] = min(index, self.header[LIMIT])
        self.header[_STOPPED_NS] = self.header[_STOPPED_NS] or time.monotonic_ns()
        self.words.release()

    def stop(self) -> bool:
        """Let no more arrivals in; what is due already, and what idle workers wait for, is still served.

        Says whether that was what ended the run: it may have been given up before, or its lock be held by the dead.
        """
        if not self.words.acquire_within(_LOCK_PATIENCE_S):
            return False
        ended = self.header[_STOPPED_NS] == 0
        if ended:
            now = time.monotonic_ns()
            due = np.frombuffer(self.due, dtype=np.int64)
            self.header[LIMIT] = max(min(self.header[NEXT], self.size), int(np.searchsorted(due, now, "right")))
            self.header[DRAIN_NS] = now + _DRAIN_NS
            self.header[_STOPPED_NS] = now
        self.words.release()
        return ended

    @property
    def stopped_ns(self) -> int | None:
        """The moment at which the run was ended before its time, or None."""
        return self.header[_STOPPED_NS] or None

    def answered(self) -> np.ndarray:
        """Return response times in ns, in order of arrival, up to the first arrival without an answer; FAILED_NS for a
        failed request."""
        claimed = min(self.header[NEXT], self.header[LIMIT])
        ended = np.frombuffer(self.ended[:claimed], dtype=np.int64)
        unanswered = np.flatnonzero(ended == 0)
        count = int(unanswered[0]) if len(unanswered) else claimed
        response_ns = ended[:count] - np.frombuffer(self.due[:count], dtype=np.int64)
        return np.where(ended[:count] < 0, FAILED_NS, response_ns)

    def records(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return copies of due, started and ended of all arrivals up to the end of the run."""
        size = self.size
        if (stopped := self.stopped_ns) is not None:
            size = int(np.searchsorted(np.frombuffer(self.due, dtype=np.int64), stopped, side="right"))
            size = min(self.size, max(size, self.header[LIMIT]))
        due, started, ended = (np.array(view[:size], dtype=np.int64) for view in (self.due, self.started, self.ended))
        return due, started, ended

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(BufferError):  # as in SharedWords
            for view in (self.due, self.started, self.ended):
                view.release()
        self.words.__exit__()
