"""Words of memory that the workers of a run and their parent share, with a lock on them.

The memory is a memfd: it has no name, so nothing is left behind whoever dies. A worker that dies while it holds the
lock leaves it locked; its parent notices the death and ends the run.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from _multiprocessing import SemLock
from collections.abc import Sequence
from contextlib import suppress
from typing import Self

_SEMAPHORE = 1  # the kind that any process may release, and that does not count how often its owner took it
_WORD_BYTES = 8  # int64
_LOCK_WORDS = 8  # a cache line for the semaphore, which takes half of it
_HEADER_WORDS = 8  # another one, whose last word is the number of workers
_WORDS_PER_WORKER = 8  # a cache line each, so that workers do not slow each other by counting
_WAITING_NS, _REPORTED_NS, _ANSWERED = range(3)
_COUNTERS_AT = _LOCK_WORDS + _HEADER_WORDS
_WORKERS_AT = _COUNTERS_AT - 1
_TRIES = 50
"""Of 0.1 us each: a few times as long as the lock is held, and a tenth of what waking up takes."""


class SharedWords:
    """A view of the memory behind a file descriptor: a lock, a few header words, counters of the workers, the rest.

    ``header`` and ``body`` are writable views of int64 words. ``acquire`` and ``release`` are the lock's own methods,
    for loops in which a call more would be seen. It is a context manager; leaving it unmaps the memory.
    """

    def __init__(self, memory: int) -> None:
        self._map = mmap.mmap(memory, os.fstat(memory).st_size)
        self._words = memoryview(self._map).cast("q")
        body_at = _COUNTERS_AT + _WORDS_PER_WORKER * self._words[_WORKERS_AT]
        self.header = self._words[_LOCK_WORDS:_WORKERS_AT]
        self.body = self._words[body_at:]
        self._counters = self._words[_COUNTERS_AT:body_at]
        # An unnamed POSIX semaphore, opened with the methods that multiprocessing gives its locks. A pair of acquire
        # and release takes 0.1 us; a file lock takes 1.3 us, and so does an eventfd.
        self._lock = SemLock._rebuild(_address(self._map), _SEMAPHORE, 1, None)
        self.acquire = self._lock.acquire
        self.release = self._lock.release

    @classmethod
    def create(cls, memory: int, *, workers: int, body_words: int) -> Self:
        """Lay out new memory, all zeros, for so many workers."""
        words = _COUNTERS_AT + _WORDS_PER_WORKER * workers + body_words
        os.ftruncate(memory, 0)
        os.ftruncate(memory, words * _WORD_BYTES)
        with mmap.mmap(memory, words * _WORD_BYTES) as mapped:
            with memoryview(mapped).cast("q") as view:
                view[_WORKERS_AT] = workers
            if ctypes.CDLL(None, use_errno=True).sem_init(ctypes.c_void_p(_address(mapped)), 1, 1) != 0:
                raise OSError(ctypes.get_errno(), "sem_init")
        return cls(memory)

    def wait_for_lock(self) -> None:
        """Take the lock when it was not free. It is held for a microsecond and waking up takes fifty, so try a few
        times before sleeping."""
        for _ in range(_TRIES):
            if self.acquire(False):
                return
        self.acquire()

    def acquire_within(self, seconds: float) -> bool:
        """Take the lock, unless that takes longer: then its owner is dead."""
        return bool(self._lock.acquire(True, seconds))

    def add_waiting(self, worker: int, cpu_ns: int) -> None:
        """Count CPU time that ``worker`` spent waiting for arrivals. Only that worker calls this."""
        self._counters[_WORDS_PER_WORKER * worker + _WAITING_NS] += cpu_ns

    def waiting_ns(self, worker: int) -> int:
        """Return the CPU time that ``worker`` has spent waiting so far."""
        return self._counters[_WORDS_PER_WORKER * worker + _WAITING_NS]

    def report_progress(self, worker: int, at_ns: int, answered: int, slower: Sequence[int]) -> None:
        """Report how many requests ``worker`` had answered by ``at_ns``, and how many of them were ``slower`` than each
        limit, of which there are five at most. Only that worker calls this."""
        first = _WORDS_PER_WORKER * worker + _ANSWERED
        for place, count in enumerate((answered, *slower), start=first):
            self._counters[place] = count
        self._counters[_WORDS_PER_WORKER * worker + _REPORTED_NS] = at_ns

    def total_progress(self, *, limits: int) -> tuple[int, int, list[int]] | None:
        """Return what all workers together have reported: when on average, how many they had answered, and how many of
        them were slower than each limit. None before every one has reported something."""
        workers = [
            self._counters[begin : begin + _WORDS_PER_WORKER].tolist()
            for begin in range(0, len(self._counters), _WORDS_PER_WORKER)
        ]
        if not all(words[_REPORTED_NS] for words in workers):
            return None
        reported_ns, answered, *slower = [sum(column) for column in zip(*workers, strict=True)][_REPORTED_NS:]
        return reported_ns // len(workers), answered, slower[:limits]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # When it is destroyed the lock is closed by its address. While the memory is mapped no other semaphore can have
        # that, and nothing happens; later it might be a stranger's.
        del self.acquire, self.release, self._lock
        # Whoever was interrupted while looking at the memory still has a view of it, in a traceback. Then it is
        # unmapped together with that.
        with suppress(BufferError):
            for view in (self.header, self.body, self._counters, self._words):
                view.release()
            self._map.close()


def _address(mapped: mmap.mmap) -> int:
    """Return where in this process the memory begins."""
    return ctypes.addressof(ctypes.c_char.from_buffer(mapped))
