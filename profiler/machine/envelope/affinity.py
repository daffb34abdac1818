"""The envelope where no control group can be had: a mask of CPUs, which libraries may widen, and no memory limit.

Processes are known by a variable in their environment, which their children inherit, daemonised ones too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from servefit.errors import MeasurementError
from servefit.processes import end_processes, processes_with_variable
from servefit.profiler.machine.envelope.owners import envelope_name, is_abandoned

if TYPE_CHECKING:
    from servefit.profiler.machine.envelope.types import Containment, EnvelopeMethod

_VARIABLE = "SERVEFIT_ENVELOPE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Affinity:
    """``name`` is the value of the variable, ``oom_kills_before`` what the machine counted when it was opened."""

    method: ClassVar[EnvelopeMethod] = "affinity"
    containment: ClassVar[Containment] = "uncontained"
    memory_limit_bytes: ClassVar[None] = None
    join_files: ClassVar[tuple[str, ...]] = ()
    cpus: tuple[int, ...]
    name: str
    oom_kills_before: int

    def command(self, argv: Sequence[str]) -> list[str]:
        return ["env", f"{_VARIABLE}={self.name}", *argv]

    def oom_kills(self) -> int:
        return _oom_kills() - self.oom_kills_before

    def kill(self) -> None:
        end_processes(lambda: processes_with_variable(_VARIABLE, lambda name: name == self.name))


@contextmanager
def open_affinity(cpus: tuple[int, ...], _memory_bytes: int | None) -> Iterator[Affinity]:
    """Open an envelope that only pins; a memory limit cannot be enforced. Raises MeasurementError for CPUs that this
    process cannot have."""
    _check_mask(cpus)
    end_processes(lambda: processes_with_variable(_VARIABLE, is_abandoned))
    envelope = Affinity(cpus=cpus, name=envelope_name(), oom_kills_before=_oom_kills())
    try:
        yield envelope
    finally:
        envelope.kill()


def _check_mask(cpus: tuple[int, ...]) -> None:
    """Take the mask in a thread of its own, which leaves this one's as it is."""

    def taken() -> tuple[int, ...]:
        try:
            os.sched_setaffinity(0, cpus)
        except OSError:
            return ()
        return tuple(sorted(os.sched_getaffinity(0)))

    with ThreadPoolExecutor(1) as thread:
        got = thread.submit(taken).result()
    if got != cpus:
        raise MeasurementError(
            f"of the CPUs {cpus} this process may use {got or 'none'}", remedy="servefit host lists those it may use"
        )


def _oom_kills() -> int:
    """Return how many processes the kernel has killed for memory since it started; 0 where it does not say."""
    for line in Path("/proc/vmstat").read_text().splitlines():
        if line.startswith("oom_kill "):
            return int(line.split()[1])
    return 0
