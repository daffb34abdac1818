"""The queue that a run's workers share: first come, first served, in anonymous shared memory.

Arrivals come from two places, each ordered in time: the schedule, written before the run, and in a closed loop the
users who return at the moment their last request is done. A claim takes the earliest of both. The memory is a
memfd: it has no name, so nothing is left behind whoever dies, and the lock on it is the kernel's, released by death.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import numpy as np

_SCHEDULE_NEXT, _SCHEDULE_SIZE, _RETURNED_HEAD, _RETURNED_TAIL, _USERS, _WORKERS = range(6)
_HEADER_WORDS = 8
_WORDS_PER_WORKER = 8  # a cache line each, so that workers do not slow each other by counting
_WORD_BYTES = 8
_NEVER = 2**63 - 1


class ArrivalQueue:
    """A view of the queue in the memory behind the file descriptor ``memory``, which both sides hold.

    Times are int64 nanoseconds of ``time.monotonic_ns``. The queue is a context manager: leaving it unmaps the memory.
    """

    def __init__(self, memory: int) -> None:
        self._memory = memory
        self._map = mmap.mmap(memory, os.fstat(memory).st_size)
        self._words = memoryview(self._map).cast("q")
        self._locked = self._words[_WORKERS] > 1
        self._closed_loop = self._words[_USERS] > 0
        self._schedule_at = _HEADER_WORDS + _WORDS_PER_WORKER * self._words[_WORKERS]
        self._returned_at = self._schedule_at + self._words[_SCHEDULE_SIZE]

    @classmethod
    def write(cls, memory: int, schedule_ns: np.ndarray, *, users: int, workers: int) -> Self:
        """Lay out a new queue: ``schedule_ns`` ascending, and room for ``users`` who return (0 in an open loop)."""
        words = _HEADER_WORDS + _WORDS_PER_WORKER * workers + len(schedule_ns) + users
        os.ftruncate(memory, 0)
        os.ftruncate(memory, words * _WORD_BYTES)
        with mmap.mmap(memory, words * _WORD_BYTES) as mapped, memoryview(mapped).cast("q") as view:
            view[_SCHEDULE_SIZE] = len(schedule_ns)
            view[_USERS] = users
            view[_WORKERS] = workers
            begin = _HEADER_WORDS + _WORDS_PER_WORKER * workers
            with memoryview(schedule_ns) as schedule:
                view[begin : begin + len(schedule_ns)] = schedule.cast("B").cast("q")
        return cls(memory)

    def claim(self, most: int, end_ns: int, *, returning: int = 0, returned_ns: int = 0) -> tuple[int, list[int]] | None:
        """Take up to ``most`` arrivals that are due; give the sequence number of the first, and their times.

        Before that, ``returning`` users queue up again with the arrival time ``returned_ns`` (closed loop only). When
        nothing is due, an open loop gives the next arrival alone, for the caller to wait for: an idle server that
        waits for the head of the queue serves it exactly when a FIFO would. A closed loop gives an empty list, since a
        user who returns may come first. None means that there is nothing more to serve before ``end_ns``.
        """
        if not self._locked:
            return self._claim(most, end_ns, returning, returned_ns)
        fcntl.lockf(self._memory, fcntl.LOCK_EX)
        try:
            return self._claim(most, end_ns, returning, returned_ns)
        finally:
            fcntl.lockf(self._memory, fcntl.LOCK_UN)

    def _claim(self, most: int, end_ns: int, returning: int, returned_ns: int) -> tuple[int, list[int]] | None:
        if not self._closed_loop:
            return self._claim_scheduled(most, end_ns)
        words = self._words
        users, tail = words[_USERS], words[_RETURNED_TAIL]
        for place in range(tail, tail + returning):
            words[self._returned_at + place % users] = returned_ns
        words[_RETURNED_TAIL] = tail + returning
        return self._claim_joining_or_returned(most, end_ns)

    def _claim_scheduled(self, most: int, end_ns: int) -> tuple[int, list[int]] | None:
        words, begin = self._words, self._schedule_at
        first, size = words[_SCHEDULE_NEXT], words[_SCHEDULE_SIZE]
        now = time.monotonic_ns()
        if first >= size or now >= end_ns:
            return None
        following = first + 1
        while following < size and following < first + most and words[begin + following] <= now:
            following += 1
        words[_SCHEDULE_NEXT] = following
        return first, words[begin + first : begin + following].tolist()

    def _claim_joining_or_returned(self, most: int, end_ns: int) -> tuple[int, list[int]] | None:
        words = self._words
        joined, users = words[_SCHEDULE_NEXT], words[_SCHEDULE_SIZE]
        head, tail = words[_RETURNED_HEAD], words[_RETURNED_TAIL]
        first = joined + head
        now = time.monotonic_ns()
        if now >= end_ns:
            return None
        taken: list[int] = []
        while len(taken) < most:
            joining = words[self._schedule_at + joined] if joined < users else _NEVER
            returned = words[self._returned_at + head % users] if head < tail else _NEVER
            if min(joining, returned) > now:
                break
            if returned <= joining:
                taken.append(returned)
                head += 1
            else:
                taken.append(joining)
                joined += 1
        words[_SCHEDULE_NEXT] = joined
        words[_RETURNED_HEAD] = head
        return first, taken

    def add_waiting(self, worker: int, cpu_ns: int) -> None:
        """Count CPU time that ``worker`` spent waiting for arrivals. Only that worker calls this."""
        self._words[_HEADER_WORDS + _WORDS_PER_WORKER * worker] += cpu_ns

    def waiting_ns(self, worker: int) -> int:
        """The CPU time that ``worker`` has spent waiting so far."""
        return self._words[_HEADER_WORDS + _WORDS_PER_WORKER * worker]

    def backlog(self, end_ns: int) -> int:
        """How many arrivals that were due before ``end_ns`` nobody has claimed."""
        words = self._words
        scheduled = words[self._schedule_at + words[_SCHEDULE_NEXT] : self._returned_at].tolist()
        returned = [
            words[self._returned_at + place % words[_USERS]]
            for place in range(words[_RETURNED_HEAD], words[_RETURNED_TAIL])
        ]
        return sum(due < end_ns for due in scheduled + returned)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._words.release()
        self._map.close()
