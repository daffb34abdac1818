"""CPUs for tests that run at the same time: each gets cores of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from servefit.profiler.machine.cpus import client_cpus, disjoint_cpus

if TYPE_CHECKING:
    from servefit.profiler.machine.host import Host


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuSlot:
    """The CPUs of a test: ``cpus`` for the workers and ``outside`` for servefit itself. None leaves both to
    servefit."""

    cpus: tuple[int, ...] | None = None
    outside: tuple[int, ...] | None = None


ANYWHERE = CpuSlot()


class CpuSlots:
    """The CPUs of ``host``, for tests side by side."""

    def __init__(self, host: Host) -> None:
        self._cpus = host.cpus

    def disjoint(self, vcpus: Sequence[int]) -> tuple[CpuSlot, ...] | None:
        """Return a slot of each of these sizes, in their order, which share no core with any other; ``outside`` is what
        none of them has. None where there are too few CPUs. Raises SpecError for a size below one."""
        taken: set[int] = set()
        chosen: dict[int, tuple[int, ...]] = {}
        for nth in sorted(range(len(vcpus)), key=lambda nth: -vcpus[nth]):
            cpus = disjoint_cpus(self._cpus, taken, vcpus[nth])
            if cpus is None:
                return None
            taken |= set(cpus)
            chosen[nth] = cpus
        outside = client_cpus(self._cpus, taken)
        return tuple(CpuSlot(cpus=chosen[nth], outside=outside) for nth in range(len(vcpus)))

    def fit_at_once(self, vcpus: Sequence[int]) -> bool:
        """Return whether there are slots of these sizes at the same time."""
        return self.disjoint(vcpus) is not None
