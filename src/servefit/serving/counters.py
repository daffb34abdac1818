"""The counters of an endpoint's workers, in memory that all of them share, so that any of them can tell of them all.

Every worker has a slot of its own that nobody else writes while it lives, so there are no locks; one that takes a dead
worker's slot goes on where that stopped. What the numbers mean is said in ``messages.Counts``, and how they are shown
in ``metrics`` and the protocols.
"""

from __future__ import annotations

import mmap
import os
import time
from bisect import bisect_left
from collections.abc import Sequence

from servefit.serving.messages import LATENCY_BOUNDS_NS, Counts

_SILENT_NS = 3_000_000_000
"""A worker without a sign of life for so long does not serve: it gives one every second, and with every call."""

_MOMENT_NS = 1_000_000
"""Most calls take less. To wait for the end of one is no trouble."""

STATUSES = (200, 400, 404, 405, 406, 408, 411, 413, 414, 415, 417, 422, 431, 500, 501, 503, 505)
"""The statuses that are counted apart; any other is counted as the last of its hundred."""

_WORD_BYTES = 8
"""A memoryview of type q."""

_HEADER_WORDS = 8
"""A cache line: the supervisor's counts, which workers must not be slowed by."""

# The words of the header, and of a slot
_RESTARTS, _HANGS = range(2)
_PID, _CONNECTIONS, _CLOSED, _QUEUED, _ROWS, _QUEUED_NS, _FAILED, _REJECTED, _LAST_NS = range(9)
_BEAT_NS, _CALL_NS, _ANSWERED_NS = range(9, 12)
_REPLIES = 12
_LATENCIES = _REPLIES + len(STATUSES)
_ANSWERS = _LATENCIES + len(LATENCY_BOUNDS_NS) + 1
_BATCHES = _ANSWERS + len(LATENCY_BOUNDS_NS) + 1
_STATUS_WORDS = {status: word for word, status in enumerate(STATUSES, start=_REPLIES)}


class Counters:
    """The counters of ``workers`` workers whose calls join up to ``max_batch`` requests, in the memory behind a file
    descriptor."""

    def __init__(self, memory: int, *, workers: int, max_batch: int) -> None:
        self._workers = workers
        self._max_batch = max_batch
        # A multiple of a cache line, so that workers do not slow each other by counting.
        self._slot_words = -(-(_BATCHES + 2 * max_batch) // 8) * 8
        words = _HEADER_WORDS + workers * self._slot_words
        if os.fstat(memory).st_size < words * _WORD_BYTES:
            os.ftruncate(memory, words * _WORD_BYTES)
        self._map = mmap.mmap(memory, words * _WORD_BYTES)
        self._words = memoryview(self._map).cast("q")

    def of_worker(self, number: int) -> WorkerCounters:
        """Return the slot of worker ``number``."""
        begin = _HEADER_WORDS + number * self._slot_words
        return WorkerCounters(self._words[begin : begin + self._slot_words], max_batch=self._max_batch)

    def restarted(self) -> None:
        """Count a worker that died and is replaced. Only the supervisor does."""
        self._words[_RESTARTS] += 1

    def hung(self) -> None:
        """Count a worker that hung and was killed. Only the supervisor does."""
        self._words[_HANGS] += 1

    @property
    def restarts(self) -> int:
        return self._words[_RESTARTS]

    @property
    def hangs(self) -> int:
        return self._words[_HANGS]

    def serving(self) -> int:
        """Return the number of workers that serve."""
        return sum(self.of_worker(number).serves for number in range(self._workers))

    def pids(self) -> tuple[int, ...]:
        """Return the process ids of the workers, 0 for one that has not begun yet."""
        return tuple(self.of_worker(number).pid for number in range(self._workers))

    def queued(self) -> int:
        """Return the number of requests that wait for a predictor."""
        return sum(self.of_worker(number).queued for number in range(self._workers))

    def total(self) -> Counts:
        """Return what all workers did, added up."""
        slots = [self.of_worker(number).words.tolist() for number in range(self._workers)]
        sums = [sum(column) for column in zip(*slots, strict=True)]
        calls = sums[_BATCHES : _BATCHES + self._max_batch]
        calls_ns = sums[_BATCHES + self._max_batch : _BATCHES + 2 * self._max_batch]
        batches = tuple(
            (size, count, taken_ns)
            for size, (count, taken_ns) in enumerate(zip(calls, calls_ns, strict=True), 1)
            if count
        )
        last_ns = max(slot[_LAST_NS] for slot in slots)
        return Counts(
            requests=sum(size * count for size, count, _ in batches),
            rows=sums[_ROWS],
            calls=sum(calls),
            queued_ns=sums[_QUEUED_NS],
            predicting_ns=sum(size * taken_ns for size, _, taken_ns in batches),
            calling_ns=sum(calls_ns),
            failed=sums[_FAILED],
            rejected=sums[_REJECTED],
            last_request_ms=_since_1970_ms(last_ns) if last_ns else 0,
            connections=sums[_CONNECTIONS],
            replies={status: sums[word] for status, word in _STATUS_WORDS.items() if sums[word]},
            batches=batches,
            latency_buckets=tuple(sums[_LATENCIES:_ANSWERS]),
            answered_ns=sums[_ANSWERED_NS],
            answer_buckets=tuple(sums[_ANSWERS:_BATCHES]),
        )


class WorkerCounters:
    """One worker's slot. Its methods are called by that worker, or by the supervisor when that is dead."""

    def __init__(self, words: memoryview, *, max_batch: int) -> None:
        self.words = words
        self._calls_at = _BATCHES - 1
        self._calls_ns_at = self._calls_at + max_batch

    def begin(self) -> None:
        """Have a new process, this one, take the slot."""
        self._clear()
        self.words[_PID] = os.getpid()

    def end(self, *, handed_over: int) -> None:
        """Note that the process of the slot is gone, with the connections that it was handed."""
        self._clear()
        self.words[_CLOSED] = handed_over

    def _clear(self) -> None:
        for word in (_PID, _CONNECTIONS, _QUEUED, _BEAT_NS, _CALL_NS):
            self.words[word] = 0

    @property
    def pid(self) -> int:
        return self.words[_PID]

    @property
    def queued(self) -> int:
        return self.words[_QUEUED]

    @property
    def closed(self) -> int:
        """The number of connections that it was handed and that are closed."""
        return self.words[_CLOSED]

    @property
    def sign_ns(self) -> int:
        """The time of the last sign of life of the process: its event loop, or a call that began or ended; 0 before it
        was ready."""
        words = self.words
        return words[_BEAT_NS] and max(words[_BEAT_NS], words[_CALL_NS], words[_LAST_NS])

    @property
    def serves(self) -> bool:
        """True if it has given a sign of life just now."""
        return time.monotonic_ns() - self.sign_ns < _SILENT_NS

    @property
    def is_calling(self) -> bool:
        """True while a call of the predictor goes on."""
        return bool(self.words[_CALL_NS])

    @property
    def is_in_long_call(self) -> bool:
        """True while a call of the predictor goes on that has taken more than a moment."""
        began_ns = self.words[_CALL_NS]
        return began_ns > 0 and time.monotonic_ns() - began_ns > _MOMENT_NS

    def heartbeat(self) -> None:
        """Give a sign of life of the event loop."""
        self.words[_BEAT_NS] = time.monotonic_ns()

    def calling(self, now_ns: int) -> None:
        """Note that a call of the predictor begins."""
        self.words[_CALL_NS] = now_ns

    def returned(self) -> None:
        """Note that a call of the predictor is over, which was for a part of a request."""
        self.words[_CALL_NS] = 0

    def opened_connection(self) -> None:
        self.words[_CONNECTIONS] += 1

    def closed_connection(self, *, was_open: bool = True) -> None:
        self.words[_CONNECTIONS] -= was_open
        self.words[_CLOSED] += 1

    def waiting(self, requests: int) -> None:
        self.words[_QUEUED] = requests

    def replied(self, status: int) -> None:
        self.words[_STATUS_WORDS.get(status) or _STATUS_WORDS[500 if status >= 500 else 400]] += 1

    def rejected(self) -> None:
        self.words[_REJECTED] += 1

    def failed(self, requests: int) -> None:
        """Count the call that went on as failed, for so many requests."""
        self.words[_CALL_NS] = 0
        self.words[_FAILED] += requests

    def answered(self, taken_ns: int) -> None:
        """Count a request for predictions that was answered ``taken_ns`` after it had come."""
        words = self.words
        words[_ANSWERS + bisect_left(LATENCY_BOUNDS_NS, taken_ns)] += 1
        words[_ANSWERED_NS] += taken_ns

    def called(self, rows: int, waited_ns: Sequence[int], *, taken_ns: int, ended_ns: int) -> None:
        """Count a call of ``rows`` rows that took ``taken_ns``, for requests that had waited ``waited_ns`` each."""
        words, requests = self.words, len(waited_ns)
        words[_CALL_NS] = 0
        words[self._calls_at + requests] += 1
        words[self._calls_ns_at + requests] += taken_ns
        words[_ROWS] += rows
        words[_LAST_NS] = ended_ns
        for waited in waited_ns:
            words[_LATENCIES + bisect_left(LATENCY_BOUNDS_NS, waited + taken_ns)] += 1
        words[_QUEUED_NS] += sum(waited_ns)


def _since_1970_ms(monotonic_ns: int) -> int:
    return (time.time_ns() - time.monotonic_ns() + monotonic_ns) // 1_000_000
