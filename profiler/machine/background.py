"""Work that makes way for measurements: of servers that go on while something is measured."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from servefit.profiler.machine.cpus import choose_cpus, client_cpus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from servefit.profiler.machine.cpus import LogicalCpu


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
    ``topology``. Its weight stays what it is: whoever waits for it would wait long beside a busy process.

    What asks such a thread for the CPUs of this host, as ``describe_host`` does, is told of these alone.
    """
    if cpus := background_cpus(topology):
        with suppress(OSError):  # they may have been taken offline: then it stays where it is
            os.sched_setaffinity(0, cpus)


@contextmanager
def in_background(topology: Iterable[LogicalCpu]) -> Iterator[None]:
    """Do what is in the block as :func:`work_in_background` says, and what follows it where this thread was before."""
    before = os.sched_getaffinity(0)
    work_in_background(topology)
    try:
        yield
    finally:
        with suppress(OSError):  # as above
            os.sched_setaffinity(0, before)
