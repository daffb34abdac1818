"""A measurement worker: loads one predictor, and serves runs until its parent hangs up."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
import time
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from servefit.errors import ServefitError
from servefit.profiler.inprocess.arrivals import ArrivalQueue
from servefit.profiler.inprocess.messages import Begin, Loaded, Prepare, Ready, Record, Setup

if TYPE_CHECKING:
    from collections.abc import Callable

    from servefit.backends.types import Predictor

_CHUNK_REQUESTS = 65_536
_PR_SET_PDEATHSIG = 1
_POLL_S = 100e-6
_WARM_UP_NS = 500_000_000
_WARM_UP_BLOCK_NS = 5_000_000


def serve(connection_fd: int, queue_fd: int, number: int) -> None:
    """Talk to the parent as ``messages`` describes. A ServefitError goes to it; anything else ends the process."""
    _die_with_parent()
    with Connection(connection_fd) as parent:
        try:
            _serve(parent, queue_fd, number)
        except ServefitError as error:
            parent.send(error)
        except EOFError:
            pass  # the parent has hung up


def _serve(parent: Connection, queue_fd: int, number: int) -> None:
    envelope = os.sched_getaffinity(0)
    setup: Setup = parent.recv()
    # At the end, so that nothing there stands in for a library.
    sys.path.extend(entry for entry in setup.import_path if entry not in sys.path)
    began = time.monotonic_ns()
    module, _, name = setup.loader.partition(":")
    predictor: Predictor = getattr(import_module(module), name)(setup.artifact, setup.settings)
    parent.send(Loaded(load_ns=time.monotonic_ns() - began))
    requests = Requests(setup.rows, rows_per_request=setup.rows_per_request, max_batch=setup.max_batch)
    while isinstance(parent.recv(), Prepare):
        warm_up(predictor.predict, requests, setup.max_batch)
        gc.collect()
        parent.send(Ready())
        begin: Begin = parent.recv()
        gc.disable()
        with ArrivalQueue(queue_fd, most=setup.max_batch, end_ns=begin.plateau_ns[1]) as queue:
            samples, busy_cpu_ns = _carry_out(begin, queue, number, predictor.predict, requests)
        gc.enable()
        masks = _thread_masks()
        record = Record(
            requests=samples.gathered(),
            busy_cpu_ns=busy_cpu_ns,
            threads=len(masks),
            threads_outside=sum(not mask <= envelope for mask in masks),
            peak_memory_bytes=_peak_memory_bytes(),
        )
        parent.send(record)


class Requests:
    """The payload cut into requests, which rotate through it.

    Request ``k`` holds ``rows_per_request`` rows from row ``k * rows_per_request``, modulo the payload. The rows are
    kept once, followed by as many of the first ones again as make every batch of consecutive requests contiguous.
    """

    def __init__(self, rows: np.ndarray, *, rows_per_request: int, max_batch: int) -> None:
        self._rows = len(rows)
        self._rows_per_request = rows_per_request
        longest = rows_per_request * max_batch
        self._cyclic = np.take(rows, np.arange(self._rows + longest - 1) % self._rows, axis=0)
        self._joined = np.zeros((longest, rows.shape[1]), dtype=rows.dtype)

    def batch(self, first: int, count: int) -> np.ndarray:
        """The rows of ``count`` requests from number ``first``: one is not copied, several are joined by a copy, as
        a server that batches has to."""
        begin = first * self._rows_per_request % self._rows
        rows = count * self._rows_per_request
        if count == 1:
            return self._cyclic[begin : begin + rows]
        joined = self._joined[:rows]
        joined[:] = self._cyclic[begin : begin + rows]
        return joined


class Samples:
    """Scheduled, started and ended of every request, recorded into memory allocated a chunk at a time."""

    def __init__(self) -> None:
        self._chunks: list[np.ndarray] = []
        self._add_chunk()

    def _add_chunk(self) -> None:
        chunk = np.full(3 * _CHUNK_REQUESTS, 0, dtype=np.int64)  # written to, so that its pages are there
        self._chunks.append(chunk)
        self._words = chunk.data
        self._next = 0

    def record(self, scheduled: list[int], started: int, ended: int) -> None:
        for arrival in scheduled:
            place = self._next
            if place == 3 * _CHUNK_REQUESTS:
                self._add_chunk()
                place = 0
            words = self._words
            words[place] = arrival
            words[place + 1] = started
            words[place + 2] = ended
            self._next = place + 3

    def gathered(self) -> np.ndarray:
        """All records, as an int64 array (requests, 3)."""
        return np.concatenate([*self._chunks[:-1], self._chunks[-1][: self._next]]).reshape(-1, 3)


def warm_up(predict: Callable[[np.ndarray], np.ndarray], requests: Requests, max_batch: int) -> None:
    """Predict until two consecutive blocks of calls take the same within 10 %, for half a second at most.

    Before that, every batch size that is a power of two, and the largest, is predicted three times (once where that
    takes long already), since libraries keep plans and buffers per shape.
    """
    deadline = time.monotonic_ns() + _WARM_UP_NS
    sizes = sorted({2**power for power in range(max_batch.bit_length())} | {max_batch})
    sequence = 0
    for attempt in range(3):
        for size in sizes:
            if attempt and time.monotonic_ns() > deadline:
                return
            predict(requests.batch(sequence, size))
            sequence += size
    previous = 0.0
    while (now := time.monotonic_ns()) < deadline:
        calls = 0
        while calls < 4 or time.monotonic_ns() - now < _WARM_UP_BLOCK_NS:
            predict(requests.batch(sequence, max_batch))
            sequence += max_batch
            calls += 1
        mean = (time.monotonic_ns() - now) / calls
        if abs(mean - previous) <= 0.1 * mean:
            return
        previous = mean


def _carry_out(
    begin: Begin,
    queue: ArrivalQueue,
    number: int,
    predict: Callable[[np.ndarray], np.ndarray],
    requests: Requests,
) -> tuple[Samples, int]:
    """Serve the queue until it is empty or the run ends; give the samples and the CPU time used on the plateau."""
    plateau_begin, plateau_end = begin.plateau_ns
    clock = time.monotonic_ns
    samples = Samples()
    cpu_before: int | None = None
    returning = ended = 0
    queue.add_waiting(number, _wait_until(begin.start_ns, spin_ns=begin.spin_ns))
    while (claim := queue.claim(returning, ended)) is not None:
        first, arrivals = claim
        returning = len(arrivals)
        if not arrivals:
            queue.add_waiting(number, _wait_until(clock() + int(_POLL_S * 1e9), spin_ns=0))
            continue
        if arrivals[0] > clock():
            queue.add_waiting(number, _wait_until(arrivals[0], spin_ns=begin.spin_ns))
        batch = requests.batch(first, returning)
        if cpu_before is None and clock() >= plateau_begin:
            cpu_before = time.process_time_ns() - queue.waiting_ns(number)
        started = clock()
        predict(batch)
        ended = clock()
        samples.record(arrivals, started, ended)
    if cpu_before is None:
        return samples, 0
    busy = time.process_time_ns() - queue.waiting_ns(number) - cpu_before
    # The last request may end after the plateau does; only the plateau's share of the time counts.
    watched = max(clock(), plateau_end) - plateau_begin
    return samples, round(busy * (plateau_end - plateau_begin) / watched)


def _wait_until(due_ns: int, *, spin_ns: int) -> int:
    """Sleep until ``spin_ns`` before ``due_ns``, then spin; give the CPU time that took."""
    cpu_before = time.thread_time_ns()
    while (left_ns := due_ns - time.monotonic_ns() - spin_ns) > 0:
        time.sleep(left_ns / 1e9)
    while time.monotonic_ns() < due_ns:
        pass
    return time.thread_time_ns() - cpu_before


def _die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends, even if that is killed outright."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")


def _thread_masks() -> list[set[int]]:
    """The CPUs that each thread of this process may run on."""
    masks = []
    for task in Path("/proc/self/task").iterdir():
        try:
            masks.append(os.sched_getaffinity(int(task.name)))
        except ProcessLookupError:
            continue  # the thread has just ended
    return masks


def _peak_memory_bytes() -> int:
    """The largest resident size that this process ever had."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("VmHWM is missing from /proc/self/status")
