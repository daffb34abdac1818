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
from typing import Self

import numpy as np

_SCHEDULE_NEXT, _SCHEDULE_SIZE, _RETURNED_HEAD, _RETURNED_TAIL, _USERS, _WORKERS = range(6)
_HEADER_WORDS = 8
_WORDS_PER_WORKER = 8  # a cache line each, so that workers do not slow each other by counting
_WORD_BYTES = 8
_NEVER = 2**63 - 1
_TRIES = 20


class ArrivalQueue:
    """A view of the queue in the memory behind the file descriptor ``memory``, which parent and workers share.

    Claims take up to ``most`` arrivals at once, until ``end_ns``. Times are int64 nanoseconds of
    ``time.monotonic_ns``. The queue is a context manager; leaving it unmaps the memory.
    """

    def __init__(self, memory: int, *, most: int, end_ns: int) -> None:
        self._most = most
        self._end_ns = end_ns
        self._map = mmap.mmap(memory, os.fstat(memory).st_size)
        self._words = memoryview(self._map).cast("q")
        workers = self._words[_WORKERS]
        self._schedule_size = self._words[_SCHEDULE_SIZE]
        self._schedule_at = _HEADER_WORDS + _WORDS_PER_WORKER * workers
        self._returned_at = self._schedule_at + self._schedule_size
        self._take = self._take_user if self._words[_USERS] else self._take_scheduled
        # flock locks belong to an open file, and an inherited descriptor is the same open file: open it anew.
        self._lock = os.open(f"/proc/self/fd/{memory}", os.O_RDWR | os.O_CLOEXEC) if workers > 1 else 0

    @classmethod
    def write(
        cls, memory: int, schedule_ns: np.ndarray, *, users_return: bool, workers: int, most: int, end_ns: int
    ) -> Self:
        """Lay out a new queue. ``schedule_ns`` are arrivals, ascending; with ``users_return``, those of users who come
        again after every answer."""
        users = len(schedule_ns) if users_return else 0
        words = _HEADER_WORDS + _WORDS_PER_WORKER * workers + len(schedule_ns) + users
        os.ftruncate(memory, 0)
        os.ftruncate(memory, words * _WORD_BYTES)
        with mmap.mmap(memory, words * _WORD_BYTES) as mapped, memoryview(mapped).cast("q") as view:
            view[_SCHEDULE_SIZE] = len(schedule_ns)
            view[_USERS] = users
            view[_WORKERS] = workers
            begin = _HEADER_WORDS + _WORDS_PER_WORKER * workers
            view[begin : begin + len(schedule_ns)] = (
                np.ascontiguousarray(schedule_ns, dtype=np.int64).data.cast("B").cast("q")
            )
        return cls(memory, most=most, end_ns=end_ns)

    def claim(self, returning: int = 0, returned_ns: int = 0) -> tuple[int, list[int]] | None:
        """Take up to ``most`` arrivals that are due; give the sequence number of the first, and their times.

        Before that, ``returning`` users queue up again with the arrival time ``returned_ns`` (closed loop only). When
        nothing is due, an open loop gives the next arrival alone, for the caller to wait for: an idle server that
        waits for the head of the queue serves it exactly when a FIFO would. A closed loop gives an empty list, since a
        user who returns may come first. None means that there is nothing more to serve before ``end_ns``.
        """
        if not self._lock:
            return self._take(returning, returned_ns)
        self._acquire()
        try:
            return self._take(returning, returned_ns)
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _acquire(self) -> None:
        """Take the lock. It is held for a few microseconds and waking up takes fifty, so try before sleeping."""
        for _ in range(_TRIES):
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            return
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def _take_scheduled(self, _returning: int, _returned_ns: int) -> tuple[int, list[int]] | None:
        words, begin = self._words, self._schedule_at
        first = words[_SCHEDULE_NEXT]
        now = time.monotonic_ns()
        if first >= self._schedule_size or now >= self._end_ns:
            return None
        last = min(first + self._most, self._schedule_size)
        following = first + 1
        while following < last and words[begin + following] <= now:
            following += 1
        words[_SCHEDULE_NEXT] = following
        return first, words[begin + first : begin + following].tolist()

    def _take_user(self, returning: int, returned_ns: int) -> tuple[int, list[int]] | None:
        words, users = self._words, self._schedule_size
        tail = words[_RETURNED_TAIL]
        if returning:
            for place in range(tail, tail + returning):
                words[self._returned_at + place % users] = returned_ns
            tail += returning
            words[_RETURNED_TAIL] = tail
        now = time.monotonic_ns()
        if now >= self._end_ns:
            return None
        joined, head = words[_SCHEDULE_NEXT], words[_RETURNED_HEAD]
        first = joined + head
        taken: list[int] = []
        while len(taken) < self._most:
            joining = words[self._schedule_at + joined] if joined < users else _NEVER
            returned = words[self._returned_at + head % users] if head < tail else _NEVER
            if returned <= joining and head < tail:
                taken.append(returned)
                head += 1
            elif joining <= now:
                taken.append(joining)
                joined += 1
            else:
                break
        words[_SCHEDULE_NEXT] = joined
        words[_RETURNED_HEAD] = head
        return first, taken

    def add_waiting(self, worker: int, cpu_ns: int) -> None:
        """Count CPU time that ``worker`` spent waiting for arrivals. Only that worker calls this."""
        self._words[_HEADER_WORDS + _WORDS_PER_WORKER * worker] += cpu_ns

    def waiting_ns(self, worker: int) -> int:
        """The CPU time that ``worker`` has spent waiting so far."""
        return self._words[_HEADER_WORDS + _WORDS_PER_WORKER * worker]

    def backlog(self) -> int:
        """How many arrivals that were due before the end nobody has claimed."""
        words = self._words
        scheduled = words[self._schedule_at + words[_SCHEDULE_NEXT] : self._returned_at].tolist()
        returned = [
            words[self._returned_at + place % self._schedule_size]
            for place in range(words[_RETURNED_HEAD], words[_RETURNED_TAIL])
        ]
        return sum(due < self._end_ns for due in scheduled + returned)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._words.release()
        self._map.close()
        if self._lock:
            os.close(self._lock)
