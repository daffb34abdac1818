"""Work that makes way for measurements: of servers that go on while something is measured."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from servefit.profiler.machine.cpus import choose_cpus, client_cpus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from servefit.profiler.machine.cpus import LogicalCpu

_NICENESS = 19
"""The least weight that is not idle: 1.5 % of a CPU that somebody else wants all of, so nothing waits for ever."""


def background_cpus(topology: Iterable[LogicalCpu]) -> tuple[int, ...]:
    """Return the CPUs that share no core with an envelope of any size, up to the largest for which there are such;
    empty where there is but one core."""
    topology = tuple(topology)
    left = {cpu.cpu for cpu in topology}
    for vcpus in range(1, len(topology) + 1):
        left_by_it = left.intersection(client_cpus(topology, choose_cpus(topology, vcpus)))
        if not left_by_it:
            return () if vcpus == 1 else tuple(sorted(left))
        left = left_by_it
    return ()


def work_in_background(topology: Iterable[LogicalCpu]) -> None:
    """Keep the calling thread, and the threads and processes that it starts from now on, to the ``background_cpus`` of
    ``topology``, with the least weight there. Without privileges there is no way back.

    What asks such a thread for the CPUs of this host, as ``describe_host`` does, is told of these alone.
    """
    thread = threading.get_native_id()
    os.setpriority(os.PRIO_PROCESS, thread, _NICENESS)
    if cpus := background_cpus(topology):
        with suppress(OSError):  # they may have been taken offline: then it stays where it is
            os.sched_setaffinity(thread, cpus)
