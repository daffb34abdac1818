"""Slowdown of this process's own computing, compared to an idle machine, as it was seen of late.

A thread that computes uses CPU time for as long as it has a CPU. What passes beyond that it waited, for a CPU that
others had or for a disk: that much longer it will take for what it still has to do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

MAX_TIMES = 10.0
"""No more is believed: so much is kept of a job's time for its end as would be missed. Chosen, not measured."""

_REMEMBERED_S = 0.2
"""CPU seconds after which what was seen counts half: a machine that was busy a minute ago need not be busy now. Chosen,
not measured."""


class Slowness:
    """The recent slowdown of computing. ``times`` is known from the start where something was seen before. ``now``
    gives seconds that only ever advance, ``cpu`` the CPU seconds of the thread that computes."""

    def __init__(
        self,
        times: float = 1.0,
        *,
        now: Callable[[], float] = time.monotonic,
        cpu: Callable[[], float] = time.thread_time,
    ) -> None:
        self._now = now
        self._cpu = cpu
        self._cpu_s = _REMEMBERED_S / 2
        self._passed_s = max(1.0, times) * self._cpu_s

    @property
    def times(self) -> float:
        """The factor by which computing takes longer, 1 on an idle machine."""
        return min(MAX_TIMES, max(1.0, self._passed_s / self._cpu_s))

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Learn from the block, which computes in this thread and waits for nothing else."""
        began_s, cpu_s = self._now(), self._cpu()
        yield
        self._passed_s += self._now() - began_s
        self._cpu_s += self._cpu() - cpu_s
        while self._cpu_s > _REMEMBERED_S:
            self._passed_s /= 2
            self._cpu_s /= 2
