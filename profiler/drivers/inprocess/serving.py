"""A measurement worker: loads one predictor, and serves runs until its parent hangs up."""

from __future__ import annotations

import gc
import os
import sys
import time
from array import array
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from servefit.profiler.drivers.driving.memory import SharedWords
from servefit.profiler.drivers.driving.progress import RunProgress
from servefit.profiler.drivers.driving.schedule import ArrivalSchedule
from servefit.profiler.drivers.driving.setup import read_setup
from servefit.profiler.drivers.driving.waiting import Waiting, sleep_punctually
from servefit.profiler.drivers.inprocess.closed_loop import Recorded, serve_users
from servefit.profiler.drivers.inprocess.messages import (
    Loaded,
    WorkerBeginClosed,
    WorkerBeginOpen,
    WorkerPrepare,
    WorkerReady,
    WorkerRecord,
)
from servefit.profiler.drivers.inprocess.open_loop import serve_batches, serve_singly
from servefit.profiler.drivers.inprocess.requests import RotatingRequests
from servefit.profiler.drivers.inprocess.timing import WorkerTimeCalls, time_calls
from servefit.profiler.drivers.inprocess.users import WaitingUsers

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from servefit.backends.types import Predictor
    from servefit.profiler.drivers.inprocess.messages import WorkerSetup

_WARM_UP_NS, _WARM_UP_BLOCK_NS = 500_000_000, 5_000_000
"""Most predictors are warm after their first calls; a block holds many calls of a quick one, and four of a slow one.
Chosen, not measured."""


def serve(parent: Connection, memory_fd: int, setup_fd: int, number: int) -> None:
    """Talk to the parent as ``messages`` describes, until EOFError says that it has hung up."""
    envelope = os.sched_getaffinity(0)
    setup: WorkerSetup = read_setup(setup_fd)
    # At the end, so that nothing there stands in for a library.
    sys.path.extend(entry for entry in setup.import_path if entry not in sys.path)
    began = time.monotonic_ns()
    module, _, name = setup.loader.partition(":")
    predictor: Predictor = getattr(import_module(module), name)(setup.artifact, setup.settings)
    parent.send(Loaded(load_ns=time.monotonic_ns() - began))
    max_batch = setup.max_batch
    requests = RotatingRequests(setup.rows, rows_per_request=setup.rows_per_request, max_batch=max_batch)
    del setup  # one copy of the payload is enough
    sleep_punctually()
    loaded_bytes = peak_memory_bytes()
    while True:
        match parent.recv():
            case WorkerTimeCalls() as order:
                parent.send(time_calls(predictor.predict, requests.batches(order.requests_per_call), order))
            case WorkerPrepare():
                _warm_up(predictor.predict, requests, max_batch)
                gc.collect()
                parent.send(WorkerReady())
                begin: WorkerBeginOpen | WorkerBeginClosed = parent.recv()
                run = _Run(SharedWords(memory_fd), number, max_batch, predictor, requests)
                parent.send(run.carry_out(begin, envelope, loaded_bytes))


class _Run:
    """One worker's part in one run."""

    def __init__(
        self, words: SharedWords, number: int, max_batch: int, predictor: Predictor, requests: RotatingRequests
    ) -> None:
        self._words = words
        self._number = number
        self._max_batch = max_batch
        self._predict = predictor.predict
        self._requests = requests
        self._busy_before_ns = 0
        self._counted_from_ns = 0
        self._lags = array("q")
        self._busy_cpu_ns = 0

    def carry_out(
        self, begin: WorkerBeginOpen | WorkerBeginClosed, envelope: set[int], loaded_bytes: int
    ) -> WorkerRecord:
        """Serve until the run is over. ``envelope`` is where threads are allowed to be, ``loaded_bytes`` the peak
        memory before the first run."""
        gc.disable()
        recorded: Recorded | None = None
        if isinstance(begin, WorkerBeginOpen):
            recorded_bytes = self._open(begin)
        else:
            recorded = self._closed(begin)
            recorded_bytes = sum(column.itemsize * len(column) for column in recorded)
        # What was recorded is the driver's memory and not the model's.
        peak_bytes = max(loaded_bytes, peak_memory_bytes() - recorded_bytes)
        gc.enable()
        masks = _thread_masks()
        return WorkerRecord(
            requests=None if recorded is None else np.array(recorded, dtype=np.int64),
            lags=np.array(self._lags, dtype=np.int64),
            busy_cpu_ns=self._busy_cpu_ns,
            threads=len(masks),
            threads_outside=sum(not mask <= envelope for mask in masks),
            peak_memory_bytes=peak_bytes,
        )

    def _open(self, begin: WorkerBeginOpen) -> int:
        """Serve the arrivals of a schedule; what is recorded is in there. Gives the size of the schedule in bytes."""
        with ArrivalSchedule(self._words) as schedule:
            waiting = self._wait_for_start(begin)
            self._count_cpu()
            serving = (schedule, self._predict, self._requests, waiting)
            if self._max_batch == 1:
                self._lags = serve_singly(*serving, backlog_cap=begin.backlog_cap)
            else:
                self._lags = serve_batches(
                    *serving, backlog_cap=begin.backlog_cap, most=self._max_batch, delay_ns=begin.delay_ns
                )
            # A run may be ended before its time, and requests that wait at its end are served after it.
            self._sum_up(begin.plateau_ns[0], min(schedule.stopped_ns or begin.plateau_ns[1], begin.plateau_ns[1]))
            return self._words.body.nbytes

    def _closed(self, begin: WorkerBeginClosed) -> Recorded:
        """Serve users until the end of the run."""
        with WaitingUsers(self._words, most=self._max_batch, delay_ns=begin.delay_ns) as users:
            self._wait_for_start(begin)
            recorded = serve_users(
                users,
                self._predict,
                self._requests,
                # Nobody knows when a user returns, so there is no moment to spin for.
                Waiting(self._words, self._number, spin_ns=0),
                RunProgress(users, self._number, limits_ns=begin.limits_ns, end_ns=begin.plateau_ns[1]),
                first=self._number * len(self._requests.singles) // begin.workers,
                plateau_ns=begin.plateau_ns[0],
                on_plateau=self._count_cpu,
            )
            self._sum_up(*begin.plateau_ns)
        return recorded

    def _wait_for_start(self, begin: WorkerBeginOpen | WorkerBeginClosed) -> Waiting:
        waiting = Waiting(self._words, self._number, spin_ns=begin.spin_ns)
        waiting.until(begin.start_ns)
        return waiting

    def _count_cpu(self) -> None:
        """Count the CPU time from here on."""
        self._counted_from_ns = time.monotonic_ns()
        self._busy_before_ns = time.process_time_ns() - self._words.waiting_ns(self._number)

    def _sum_up(self, begin_ns: int, end_ns: int) -> None:
        if not self._counted_from_ns:
            return  # nothing was served on the plateau
        busy = time.process_time_ns() - self._words.waiting_ns(self._number) - self._busy_before_ns
        # Requests that wait at the end of the plateau are served after it; only its share of the time counts.
        watched = max(time.monotonic_ns(), end_ns) - self._counted_from_ns
        self._busy_cpu_ns = max(0, round(busy * (end_ns - begin_ns) / watched))


def _thread_masks() -> list[set[int]]:
    """Return the CPUs that each thread of this process may run on."""
    masks = []
    for task in Path("/proc/self/task").iterdir():
        try:
            masks.append(os.sched_getaffinity(int(task.name)))
        except ProcessLookupError:
            continue  # the thread has just ended
    return masks


def peak_memory_bytes() -> int:
    """Return the largest resident size that this process ever had."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("VmHWM is missing from /proc/self/status")


def _warm_up(predict: Callable[[np.ndarray], np.ndarray], requests: RotatingRequests, max_batch: int) -> None:
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
