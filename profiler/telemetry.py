"""What can be seen of workers from outside while they run: CPU, memory, stolen time, and the GPU where they use one.

A thread of this process looks every 100 ms and does nothing else in between.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from servefit.profiler.gpu import GpuCounters, gpu_counters
from servefit.profiler.types import TelemetryPoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOOK_EVERY_S = 0.1
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@contextmanager
def watching(
    pids: tuple[int, ...], waiting_ns: Callable[[int], int], *, gpu: int | None = None, proc: Path = Path("/proc")
) -> Iterator[Telemetry]:
    """Watch the processes ``pids`` for as long as the block lasts.

    ``waiting_ns(n)`` is the CPU time that the n-th of them has spent waiting for arrivals. ``gpu`` is the NVML number
    of the GPU they use.
    """
    with gpu_counters(gpu) as counters:
        telemetry = Telemetry(pids, waiting_ns, counters, proc)
        thread = threading.Thread(target=telemetry.look_until_stopped, name="servefit-telemetry", daemon=True)
        thread.start()
        try:
            yield telemetry
        finally:
            telemetry.stop()
            thread.join()


class Telemetry:
    """The points seen so far. Made by :func:`watching`."""

    def __init__(
        self,
        pids: tuple[int, ...],
        waiting_ns: Callable[[int], int],
        gpu: Callable[[], GpuCounters] | None,
        proc: Path,
    ) -> None:
        self._pids = pids
        self._waiting_ns = waiting_ns
        self._gpu = gpu
        self._proc = proc
        self._stop = threading.Event()
        self._points: list[TelemetryPoint] = []

    def points(self) -> tuple[TelemetryPoint, ...]:
        return tuple(self._points)

    def stop(self) -> None:
        self._stop.set()

    def look_until_stopped(self) -> None:
        """Take a point every 100 ms. A worker that is gone ends it, since the run is over then too."""
        try:
            before_ns, cpu_before, steal_before = time.monotonic_ns(), self._cpu_ns(), stolen_time(self._proc)
            while not self._stop.wait(LOOK_EVERY_S):
                now_ns, cpu, steal = time.monotonic_ns(), self._cpu_ns(), stolen_time(self._proc)
                gpu = self._gpu() if self._gpu is not None else GpuCounters()
                self._points.append(
                    TelemetryPoint(
                        at_ns=now_ns,
                        cpu_percent=max(0.0, 100 * (cpu - cpu_before) / (now_ns - before_ns)),
                        memory_bytes=sum(map(self._resident_bytes, self._pids)),
                        steal_percent=steal_percent(steal_before, steal),
                        gpu_percent=gpu.utilisation_percent,
                        gpu_memory_bytes=gpu.memory_bytes,
                        gpu_power_w=gpu.power_w,
                    )
                )
                before_ns, cpu_before, steal_before = now_ns, cpu, steal
        except (ProcessLookupError, FileNotFoundError):
            return

    def _cpu_ns(self) -> int:
        return sum(process_cpu_ns(pid) - self._waiting_ns(number) for number, pid in enumerate(self._pids))

    def _resident_bytes(self, pid: int) -> int:
        return int((self._proc / str(pid) / "statm").read_text().split()[1]) * _PAGE_BYTES


def process_cpu_ns(pid: int) -> int:
    """CPU time of a process, all threads, to the nanosecond (/proc/PID/stat counts in steps of 10 ms).

    Every Linux process has a clock whose number is made from its id, as clock_getcpuclockid(3) does.
    Raises ProcessLookupError.
    """
    try:
        return time.clock_gettime_ns((~pid << 3) | 2)
    except OSError as error:
        raise ProcessLookupError(pid) from error


def stolen_time(proc: Path) -> tuple[int, int] | None:
    """Ticks that the hypervisor has taken from this machine, and ticks in all, since boot; None if it does not say."""
    fields = (proc / "stat").read_text().partition("\n")[0].split()[1:]
    if len(fields) < 8:
        return None
    # Guest time, in the fields after the eighth, is in user time already.
    ticks = [int(field) for field in fields[:8]]
    return ticks[7], sum(ticks)


def steal_percent(before: tuple[int, int] | None, after: tuple[int, int] | None) -> float | None:
    """Per cent of the machine's CPU time that was stolen between two looks; None if that is not known."""
    if before is None or after is None or after[1] <= before[1]:
        return None
    return 100 * (after[0] - before[0]) / (after[1] - before[1])
