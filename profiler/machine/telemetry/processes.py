"""Counters of a process and its threads, from /proc."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_FIELDS = re.compile(rb"^(RssAnon|RssFile|voluntary_ctxt_switches|nonvoluntary_ctxt_switches):\s+(\d+)", re.MULTILINE)
_MAX_BYTES = 1 << 13
"""A thread's status file, the longer of the two that are read, has 1.5 KB or so, and its masks grow with the CPUs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadSnapshot:
    """The counters of a thread, since it began; None is what the kernel does not count.

    ``delay_ns`` is time for which it could have run and had no CPU. ``voluntary_switches`` are the times that it gave
    its CPU away, ``involuntary_switches`` those that it was taken.
    """

    delay_ns: int | None
    voluntary_switches: int | None
    involuntary_switches: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSnapshot:
    """CPU time since the process began, its memory without what is shared, and its threads by their ids."""

    cpu_ns: int
    memory_bytes: int
    threads: Mapping[int, ThreadSnapshot]


def process_snapshot(pid: int, proc: Path = Path("/proc")) -> ProcessSnapshot:
    """Read the counters of ``pid``. Raises ProcessLookupError or FileNotFoundError for a process that is gone."""
    tasks = f"{proc}/{pid}/task"
    memory_bytes = 0
    threads: dict[int, ThreadSnapshot] = {}
    with os.scandir(tasks) as entries:
        names = [entry.name for entry in entries]
    for name in names:
        try:
            fields = dict(_FIELDS.findall(_read(f"{tasks}/{name}/status")))
            threads[int(name)] = ThreadSnapshot(
                delay_ns=_delay_ns(f"{tasks}/{name}/schedstat"),
                voluntary_switches=_number(fields.get(b"voluntary_ctxt_switches")),
                involuntary_switches=_number(fields.get(b"nonvoluntary_ctxt_switches")),
            )
        except (FileNotFoundError, ProcessLookupError):
            continue  # this thread has just ended
        # Memory belongs to the process, and every thread tells the same.
        memory_bytes = 1024 * sum(int(fields.get(kind, 0)) for kind in (b"RssAnon", b"RssFile"))
    return ProcessSnapshot(cpu_ns=process_cpu_ns(pid), memory_bytes=memory_bytes, threads=threads)


def process_cpu_ns(pid: int) -> int:
    """Return the CPU time of a process, all threads, to the nanosecond (/proc/PID/stat counts in steps of 10 ms).

    Every Linux process has a clock whose number is made from its id, as clock_getcpuclockid(3) does.
    Raises ProcessLookupError.
    """
    try:
        return time.clock_gettime_ns((~pid << 3) | 2)
    except OSError as error:
        raise ProcessLookupError(pid) from error


def waited_ns(pid: int) -> int | None:
    """Return how long the first thread of a process could have run and had no CPU; None where the kernel does not
    count it. Raises ProcessLookupError."""
    try:
        return _delay_ns(f"/proc/{pid}/schedstat")
    except ValueError as error:  # it is empty once the process has ended
        raise ProcessLookupError(pid) from error


def _delay_ns(schedstat: str) -> int | None:
    """Return the second of three numbers: time on a CPU, time runnable without one, and how often it ran.

    A thread that never ran, as its own file says while it runs, is one that the kernel does not count.
    """
    try:
        _, delay, times = _read(schedstat).split()
    except FileNotFoundError:
        return None
    return int(delay) if int(times) else None


def _number(field: bytes | None) -> int | None:
    return None if field is None else int(field)


def _read(path: str) -> bytes:
    """Read a file in one call: a snapshot of a process reads two files a thread, and must stay cheap."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _MAX_BYTES)
    finally:
        os.close(descriptor)
