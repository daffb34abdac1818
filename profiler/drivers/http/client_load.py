"""The load on the load clients, and what kept them from it: sampled from outside, every now and then in a run."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from servefit.profiler.machine.telemetry import process_cpu_ns, processor_times, waited_ns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servefit.profiler.drivers.driving.memory import SharedWords

_MIN_NS = 20_000_000
"""A shorter plateau says nothing."""

_STAT = Path("/proc/stat")


class _Sample(NamedTuple):
    """Running totals in nanoseconds: what each client did and waited, what this process did, what was stolen from their
    CPUs; None where the kernel does not count it."""

    at_ns: int
    busy_ns: list[int]
    waited_ns: list[int] | None
    own_ns: int
    stolen_ns: int | None


class ClientLoad:
    """Samples the clients ``pids``, one on each of ``cpus``, which count in ``words`` what they spent waiting for
    arrivals."""

    def __init__(self, pids: Sequence[int], cpus: Sequence[int], words: SharedWords) -> None:
        self._pids = pids
        self._cpus = tuple(sorted(set(cpus)))
        self._words = words
        self._samples: list[_Sample] = []
        self.sample()

    def sample(self) -> None:
        """Read all counters once."""
        with suppress(ProcessLookupError):  # the wait for its answer raises the error
            busy = [process_cpu_ns(pid) - self._words.waiting_ns(number) for number, pid in enumerate(self._pids)]
            waited = [waited_ns(pid) for pid in self._pids]
            measured = [ns for ns in waited if ns is not None]
            self._samples.append(
                _Sample(
                    at_ns=time.monotonic_ns(),
                    busy_ns=busy,
                    waited_ns=measured if len(measured) == len(waited) else None,
                    own_ns=time.process_time_ns(),
                    stolen_ns=self._stolen_ns(),
                )
            )

    def _stolen_ns(self) -> int | None:
        times = processor_times(_STAT.read_text(), self._cpus)
        stolen = [cpu.steal_ns for cpu in times or () if cpu.steal_ns is not None]
        return sum(stolen) if stolen else None

    def busiest_percent(self, plateau_ns: tuple[int, int]) -> float | None:
        """Return the CPU time of the busiest client between two moments, in per cent of it, by what was seen around
        them; None where they are too close to tell."""
        used = [
            self._percent([sample.busy_ns[nth] for sample in self._samples], plateau_ns)
            for nth in range(len(self._pids))
        ]
        return _highest(used)

    def waited_percent(self, plateau_ns: tuple[int, int]) -> float | None:
        """Return the same of the time for which a client could have run and had no CPU. What this process did meanwhile
        may have been on that CPU, and is not counted."""
        samples = [sample for sample in self._samples if sample.waited_ns is not None]
        if len(samples) < len(self._samples):
            return None
        waited = [
            self._percent(
                [sample.waited_ns[nth] - sample.own_ns for sample in samples if sample.waited_ns is not None],
                plateau_ns,
            )
            for nth in range(len(self._pids))
        ]
        return _highest(waited)

    def steal_percent(self, plateau_ns: tuple[int, int]) -> float | None:
        """Return the share of the time of the clients' CPUs that a hypervisor took."""
        stolen = [sample.stolen_ns for sample in self._samples if sample.stolen_ns is not None]
        if len(stolen) < len(self._samples):
            return None
        percent = self._percent(stolen, plateau_ns)
        return None if percent is None else percent / len(self._cpus)

    def _percent(self, totals_ns: Sequence[int], plateau_ns: tuple[int, int]) -> float | None:
        """Return how much ``totals_ns``, one a sample, have grown between two moments, in per cent of the time."""
        at_ns = [sample.at_ns for sample in self._samples]
        begin, end = max(plateau_ns[0], at_ns[0]), min(plateau_ns[1], at_ns[-1])
        if end - begin < _MIN_NS:
            return None
        edges = np.array([begin, end], dtype=np.float64)
        return 100 * max(0.0, float(np.diff(np.interp(edges, at_ns, totals_ns))[0])) / (end - begin)


def _highest(percents: Sequence[float | None]) -> float | None:
    return max((percent for percent in percents if percent is not None), default=None)
