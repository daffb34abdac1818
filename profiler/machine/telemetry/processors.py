"""Idle and stolen time of CPUs, from /proc/stat."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
"""The unit of times in /proc/stat [proc(5)]: 10 ms on every usual kernel."""

_IDLE, _IOWAIT, _STEAL = 3, 4, 7
"""Places of these times in a line of /proc/stat, counted from 0 after the CPU's name [proc(5)]."""

_FIELDS_WITH_STEAL = _STEAL + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessorTimes:
    """Times of one CPU since boot, in steps of 10 ms. ``steal_ns`` is None where the kernel does not count it."""

    idle_ns: int
    steal_ns: int | None


def processor_times(stat: str, cpus: tuple[int, ...] | None) -> tuple[ProcessorTimes, ...] | None:
    """Read the times of ``cpus`` (None: of all) in the text of /proc/stat, ascending; None where one is missing.

    Busy time is the time that is neither idle nor stolen: the kernel measures idle time exactly if it stops the clock
    tick of idle CPUs. It samples the other fields at that tick, and misses events between ticks.
    """
    times: dict[int, ProcessorTimes] = {}
    lines_of_cpus = stat.partition("\nintr")[0].splitlines()[1:]
    for line in lines_of_cpus:
        name, *fields = line.split()
        ticks = [int(field) for field in fields]
        times[int(name.removeprefix("cpu"))] = ProcessorTimes(
            idle_ns=(ticks[_IDLE] + ticks[_IOWAIT]) * _TICK_NS,
            steal_ns=ticks[_STEAL] * _TICK_NS if len(ticks) >= _FIELDS_WITH_STEAL else None,
        )
    wanted = sorted(times if cpus is None else cpus)
    return tuple(times[cpu] for cpu in wanted) if wanted and times.keys() >= set(wanted) else None


def stolen_time(proc: Path) -> tuple[int, int] | None:
    """Return the ticks that the hypervisor took from this machine, and all ticks, since boot; None if it is silent."""
    fields = (proc / "stat").read_text().partition("\n")[0].split()[1:]
    if len(fields) < _FIELDS_WITH_STEAL:
        return None
    # Guest time, in the fields after the eighth, is in user time already.
    ticks = [int(field) for field in fields[:_FIELDS_WITH_STEAL]]
    return ticks[_STEAL], sum(ticks)
