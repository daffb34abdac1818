"""A snapshot of everything that telemetry reads, and the point that two snapshots make."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from servefit.profiler.machine.gpu import GpuCounters
from servefit.profiler.machine.telemetry.files import counter_file
from servefit.profiler.machine.telemetry.machine import MachineCounters, MachineSnapshot
from servefit.profiler.machine.telemetry.point import TelemetryPoint
from servefit.profiler.machine.telemetry.processes import ProcessSnapshot, ThreadSnapshot, process_snapshot
from servefit.profiler.machine.telemetry.processors import ProcessorTimes, processor_times

Processors: TypeAlias = tuple[ProcessorTimes, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything that telemetry reads, as it stood at ``at_ns``.

    ``waiting_ns`` is CPU time that workers have spent waiting for arrivals, ``own_cpu_ns`` the CPU time of this
    process, and ``processors`` are the envelope's, or all where it is not known.
    """

    at_ns: int
    workers: tuple[ProcessSnapshot, ...]
    waiting_ns: int
    own_cpu_ns: int
    processors: Processors
    machine: MachineSnapshot
    gpu: GpuCounters


class Sampler:
    """Takes snapshots of the workers ``pids`` on ``cpus``. Files stay open until ``stack`` closes them."""

    def __init__(
        self,
        pids: tuple[int, ...],
        waiting_ns: Callable[[int], int],
        gpu: Callable[[], GpuCounters] | None,
        cpus: tuple[int, ...] | None,
        *,
        proc: Path,
        sys: Path,
        stack: ExitStack,
    ) -> None:
        self._pids = pids
        self._waiting_ns = waiting_ns
        self._gpu = gpu
        self._cpus = cpus
        self._proc = proc
        self._stat = counter_file(proc / "stat", stack)
        self._machine = MachineCounters(pids[0], cpus or (), proc, sys, stack)

    def snapshot(self) -> Snapshot:
        """Read everything once. Raises ProcessLookupError or FileNotFoundError where a worker is gone."""
        stat = None if self._stat is None else self._stat.text()
        return Snapshot(
            at_ns=time.monotonic_ns(),
            own_cpu_ns=time.process_time_ns(),
            workers=tuple(process_snapshot(pid, self._proc) for pid in self._pids),
            waiting_ns=sum(self._waiting_ns(number) for number in range(len(self._pids))),
            processors=None if stat is None else processor_times(stat, self._cpus),
            machine=self._machine.snapshot(),
            gpu=GpuCounters() if self._gpu is None else self._gpu(),
        )

    def between(self, before: Snapshot, after: Snapshot) -> TelemetryPoint:
        """Return the point that two snapshots make."""
        return point_between(before, after, envelope_known=self._cpus is not None)


def point_between(before: Snapshot, after: Snapshot, *, envelope_known: bool) -> TelemetryPoint:
    """Return what happened between two snapshots. Without a known envelope none of it is foreign use."""
    over_ns = after.at_ns - before.at_ns

    def percent(ns: float | None) -> float | None:
        return None if ns is None else 100 * ns / over_ns

    used_ns = [now.cpu_ns - then.cpu_ns for then, now in zip(before.workers, after.workers, strict=True)]
    own_ns = after.own_cpu_ns - before.own_cpu_ns
    stolen_ns = _stolen_ns(before.processors, after.processors)
    busy_ns = _busy_ns(before.processors, after.processors, over_ns) if envelope_known else None
    foreign_ns = None if busy_ns is None else sum(busy_ns) - sum(used_ns) - own_ns
    then, now = before.machine, after.machine
    throttled_ns = _grown(then.throttled_ns, now.throttled_ns)
    return TelemetryPoint(
        at_ns=after.at_ns,
        over_ns=over_ns,
        cpu_percent=max(0.0, 100 * (sum(used_ns) - (after.waiting_ns - before.waiting_ns)) / over_ns),
        memory_bytes=sum(worker.memory_bytes for worker in after.workers),
        worker_percents=tuple(100 * ns / over_ns for ns in used_ns),
        run_queue_percent=percent(_thread_sum(before, after, lambda thread: thread.delay_ns)),
        voluntary_switches=_thread_sum(before, after, lambda thread: thread.voluntary_switches),
        involuntary_switches=_thread_sum(before, after, lambda thread: thread.involuntary_switches),
        own_percent=percent(own_ns),
        core_percents=None if busy_ns is None else tuple(100 * ns / over_ns for ns in busy_ns),
        foreign_percent=percent(foreign_ns),
        steal_percent=None if stolen_ns is None else 100 * sum(stolen_ns) / (over_ns * len(stolen_ns)),
        throttled_percent=percent(throttled_ns),
        thermal_throttles=_grown(then.thermal_throttles, now.thermal_throttles),
        cpu_pressure_percent=_share_of_time(then.cpu_pressure_us, now.cpu_pressure_us, over_ns),
        memory_pressure_percent=_share_of_time(then.memory_pressure_us, now.memory_pressure_us, over_ns),
        package_energy_j=_joules(then.energy_uj, now.energy_uj),
        gpu_percent=after.gpu.utilisation_percent,
        gpu_memory_bytes=after.gpu.memory_bytes,
        gpu_power_w=after.gpu.power_w,
        gpu_sm_clock_mhz=after.gpu.sm_clock_mhz,
        gpu_memory_clock_mhz=after.gpu.memory_clock_mhz,
        gpu_throttled=after.gpu.throttled,
    )


def _stolen_ns(before: Processors, after: Processors) -> list[int] | None:
    """Return the stolen time of each CPU; None if the kernel does not count it."""
    grown = [_grown(then.steal_ns, now.steal_ns) for then, now in zip(before or (), after or (), strict=False)]
    counted = [ns for ns in grown if ns is not None]
    return counted or None


def _busy_ns(before: Processors, after: Processors, over_ns: int) -> list[int] | None:
    """Return the time in which each CPU was neither idle nor stolen. Counted in ticks, it may come out below zero."""
    if before is None or after is None:
        return None
    return [
        over_ns - (now.idle_ns - then.idle_ns) - (_grown(then.steal_ns, now.steal_ns) or 0)
        for then, now in zip(before, after, strict=True)
    ]


def _thread_sum(before: Snapshot, after: Snapshot, count: Callable[[ThreadSnapshot], int | None]) -> int | None:
    """Return how much a counter of the workers' threads has grown, those that began in between counted from zero."""
    grown = [
        number - ((count(worker_then.threads[thread]) or 0) if thread in worker_then.threads else 0)
        for worker_then, worker_now in zip(before.workers, after.workers, strict=True)
        for thread, counters in worker_now.threads.items()
        if (number := count(counters)) is not None
    ]
    return sum(grown) if grown else None


def _grown(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before


def _share_of_time(before_us: int | None, after_us: int | None, over_ns: int) -> float | None:
    grown = _grown(before_us, after_us)
    return None if grown is None else 100_000 * grown / over_ns


def _joules(before_uj: int | None, after_uj: int | None) -> float | None:
    grown = _grown(before_uj, after_uj)
    return None if grown is None else grown / 1e6
