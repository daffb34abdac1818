"""Watches workers while they run: a thread of this process takes a snapshot every 100 ms and sleeps in between."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from servefit.profiler.machine.gpu import gpu_counters
from servefit.profiler.machine.telemetry.sampler import Sampler

if TYPE_CHECKING:
    from servefit.profiler.machine.telemetry.point import TelemetryPoint

SAMPLE_INTERVAL_S = 0.1
"""Ten of the steps in which the kernel counts idle time, so that one step more or less is a tenth of a point."""

_MIN_INTERVAL_NS = 50_000_000
"""The last snapshot of a run is taken if it comes this long, half an interval, after the one before."""


@contextmanager
def watching(
    pids: tuple[int, ...],
    waiting_ns: Callable[[int], int],
    *,
    gpu: int | None = None,
    cpus: tuple[int, ...] | None = None,
    others: tuple[int, ...] = (),
    proc: Path = Path("/proc"),
    sys: Path = Path("/sys"),
) -> Iterator[Telemetry]:
    """Watch the processes ``pids`` for as long as the block lasts.

    ``waiting_ns(n)`` is the CPU time that the n-th of them has spent waiting for arrivals. ``gpu`` is the NVML number
    of the GPU they use. ``cpus`` is their envelope; without it nothing is known of who else uses it. ``others`` are
    CPUs outside the envelope that this process may use: sampling is done there, where there are any.
    """
    with ExitStack() as stack:
        counters = stack.enter_context(gpu_counters(gpu))
        sampler = Sampler(pids, waiting_ns, counters, cpus, proc=proc, sys=sys, stack=stack)
        telemetry = Telemetry(sampler, others)
        # Leaving the pool waits for its thread; asking for the result raises what went wrong there.
        pool = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="servefit-telemetry"))
        sampled = pool.submit(telemetry.sample_until_stopped)
        try:
            yield telemetry
        finally:
            telemetry.stop()
        sampled.result()


class Telemetry:
    """The points seen so far. Made by :func:`watching`."""

    def __init__(self, sampler: Sampler, others: tuple[int, ...]) -> None:
        self._sampler = sampler
        self._others = others
        self._stop = threading.Event()
        self._points: list[TelemetryPoint] = []

    def points(self) -> tuple[TelemetryPoint, ...]:
        return tuple(self._points)

    def stop(self) -> None:
        self._stop.set()

    def sample_until_stopped(self) -> None:
        """Take a point every 100 ms, and a last one at the end. A worker that is gone ends it, and the run too."""
        if self._others:
            # Of all the process's threads, only the calling one. CPUs may have been taken offline: then it stays here.
            with suppress(OSError):
                os.sched_setaffinity(0, self._others)
        try:
            before = self._sampler.snapshot()
            stopped = False
            while not stopped:
                stopped = self._stop.wait(SAMPLE_INTERVAL_S)
                if stopped and time.monotonic_ns() - before.at_ns < _MIN_INTERVAL_NS:
                    return
                now = self._sampler.snapshot()
                self._points.append(self._sampler.between(before, now))
                before = now
        except (ProcessLookupError, FileNotFoundError):
            return
