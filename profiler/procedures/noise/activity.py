"""The activity of a machine while nothing is measured, and who it is of."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from servefit.profiler.machine.slot.holding import measuring_slot
from servefit.profiler.machine.telemetry import process_cpu_ns
from servefit.profiler.machine.telemetry.files import counter_files, total
from servefit.profiler.machine.telemetry.machine import some_pressure_us, thermal_counters
from servefit.profiler.machine.telemetry.processors import ProcessorTimes, processor_times

OBSERVATION_S = 0.5
"""Fifty steps of the kernel's counters of idle time."""

_MAX_COMPETITORS = 5
"""As many as a line holds."""

_MIN_PERCENT = 1.0
"""Of a CPU: nobody would stop a process that uses less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Competitor:
    """A process other than this one that used so much CPU."""

    pid: int
    name: str
    cpu_percent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """Activity while nothing was measured; per cents are of one CPU's time, None is what cannot be read.

    ``foreign_percent`` is the busy time of the CPUs, all together, without that of this process and those beside it.
    ``competitors`` are the busiest processes that can be seen from here, which in a container are not all.
    ``steal_percent`` is the share of the CPUs' time that a hypervisor took. Pressure is the share of the time in which
    some task waited [PSI].
    """

    over_s: float
    cpus: int
    foreign_percent: float | None
    competitors: tuple[Competitor, ...]
    steal_percent: float | None
    cpu_pressure_percent: float | None
    memory_pressure_percent: float | None
    thermal_throttles: int | None


def observe_activity(
    cpus: Iterable[int],
    *,
    seconds: float = OBSERVATION_S,
    beside: Collection[int] = (),
    proc: Path = Path("/proc"),
    sys: Path = Path("/sys"),
) -> Activity:
    """Watch ``cpus`` for ``seconds``, asleep, and holding the measuring slot: what servefit measures is no noise. The
    processes ``beside`` this one are no more foreign than it is."""
    watched = tuple(sorted(cpus))
    with ExitStack() as stack:
        stack.enter_context(measuring_slot("noise audit"))
        thermal = counter_files(thermal_counters(sys, watched), stack)
        before, heat_before = _Snapshot.taken(proc, watched), total(thermal)
        time.sleep(seconds)
        after, heat_after = _Snapshot.taken(proc, watched), total(thermal)
    over_ns = after.at_ns - before.at_ns
    used_ns = {pid: now - before.processes.get(pid, 0) for pid, now in after.processes.items()}
    own_ns = after.own_cpu_ns - before.own_cpu_ns + sum(used_ns.get(pid, 0) for pid in {*beside} - {os.getpid()})
    foreign_ns, stolen_ns = _foreign_and_stolen_ns(before, after, own_ns)
    used_ns = {pid: ns for pid, ns in used_ns.items() if pid not in (os.getpid(), *beside)}
    busiest = sorted(used_ns, key=lambda pid: -used_ns[pid])[:_MAX_COMPETITORS]
    return Activity(
        over_s=over_ns / 1e9,
        cpus=len(watched),
        foreign_percent=None if foreign_ns is None else max(0.0, 100 * foreign_ns / over_ns),
        competitors=tuple(
            Competitor(pid=pid, name=_text(proc / str(pid) / "comm") or "?", cpu_percent=100 * used_ns[pid] / over_ns)
            for pid in busiest
            if 100 * used_ns[pid] / over_ns >= _MIN_PERCENT
        ),
        steal_percent=None if stolen_ns is None else 100 * stolen_ns / (over_ns * len(watched)),
        cpu_pressure_percent=_share(before.cpu_pressure_us, after.cpu_pressure_us, over_ns),
        memory_pressure_percent=_share(before.memory_pressure_us, after.memory_pressure_us, over_ns),
        thermal_throttles=None if heat_before is None or heat_after is None else heat_after - heat_before,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Snapshot:
    """Counters at one moment; ``processes`` maps process ids to their CPU time in ns."""

    at_ns: int
    own_cpu_ns: int
    processors: tuple[ProcessorTimes, ...] | None
    processes: Mapping[int, int]
    cpu_pressure_us: int | None
    memory_pressure_us: int | None

    @classmethod
    def taken(cls, proc: Path, cpus: tuple[int, ...]) -> _Snapshot:
        processes: dict[int, int] = {}
        for entry in proc.iterdir():
            if entry.name.isdigit():
                try:
                    processes[int(entry.name)] = process_cpu_ns(int(entry.name))
                except ProcessLookupError:
                    continue
        return cls(
            at_ns=time.monotonic_ns(),
            own_cpu_ns=time.process_time_ns(),
            processors=processor_times((proc / "stat").read_text(), cpus),
            processes=processes,
            cpu_pressure_us=some_pressure_us(_text(proc / "pressure/cpu")),
            memory_pressure_us=some_pressure_us(_text(proc / "pressure/memory")),
        )


def _foreign_and_stolen_ns(before: _Snapshot, after: _Snapshot, own_ns: int) -> tuple[int | None, int | None]:
    """Return the busy time of all CPUs less ``own_ns``, and their stolen time."""
    if before.processors is None or after.processors is None:
        return None, None
    pairs = list(zip(before.processors, after.processors, strict=True))
    idle_ns = sum(now.idle_ns - then.idle_ns for then, now in pairs)
    stolen = [
        now.steal_ns - then.steal_ns for then, now in pairs if now.steal_ns is not None and then.steal_ns is not None
    ]
    all_ns = (after.at_ns - before.at_ns) * len(pairs)
    return all_ns - idle_ns - sum(stolen) - own_ns, sum(stolen) if stolen else None


def _share(before_us: int | None, after_us: int | None, over_ns: int) -> float | None:
    return None if before_us is None or after_us is None else 100_000 * (after_us - before_us) / over_ns


def _text(path: Path) -> str:
    """Return the content of a file; empty where it cannot be read."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
