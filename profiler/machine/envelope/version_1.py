"""An envelope made of two control groups of version 1: one with a cpuset, one with a memory limit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from servefit.errors import MeasurementError
from servefit.profiler.machine.cgroups import existing_group, own_groups
from servefit.profiler.machine.envelope.groups import (
    CGROUPS,
    CONTROLLERS,
    PROC,
    GroupEnvelope,
    check,
    claim,
    cpu_list,
    end,
    field,
    get,
    put,
    sweep,
    whole_pages,
)
from servefit.profiler.machine.topology import read_cpu_list


@contextmanager
def open_version_1(
    cpus: tuple[int, ...], memory_bytes: int | None, *, cgroups: Path = CGROUPS, proc: Path = PROC
) -> Iterator[GroupEnvelope]:
    """Make the groups under this process's own, which may lie at different places for the two controllers.

    Raises MeasurementError where they cannot be made, or do not enforce what they were told.
    """
    own = own_groups(proc)
    for controller in CONTROLLERS:
        if not (cgroups / controller / "cgroup.procs").exists():
            raise MeasurementError(
                f"no version 1 {controller} controller is mounted at {cgroups / controller}",
                remedy="machines with version 2 need none",
            )
    parents = [existing_group(cgroups / name, own.get(name, "/")) for name in CONTROLLERS]
    sweep(parents)
    cpuset, memory = claim(parents)
    try:
        _limit_cpus(cpuset, cpus)
        limit_bytes = None if memory_bytes is None else _limit_memory(memory, memory_bytes)
        yield GroupEnvelope(
            method="cgroup-v1",
            cpus=cpus,
            memory_limit_bytes=limit_bytes,
            folders=(cpuset, memory),
            counts=memory / "memory.oom_control",
        )
    finally:
        end((cpuset, memory))


def _limit_cpus(folder: Path, cpus: tuple[int, ...]) -> None:
    # A new cpuset of version 1 is empty, and takes no process before it has both. Memory may come from every node: the
    # kernel takes it from the nearest first, and a full node must not look like a full envelope.
    put(folder / "cpuset.mems", get(folder.parent / "cpuset.mems"))
    put(folder / "cpuset.cpus", cpu_list(cpus))
    effective = folder / "cpuset.effective_cpus"
    check("CPUs", wanted=cpus, got=read_cpu_list(effective if effective.exists() else folder / "cpuset.cpus"))


def _limit_memory(folder: Path, memory_bytes: int) -> int:
    put(folder / "memory.limit_in_bytes", str(memory_bytes))
    limit_bytes = int(get(folder / "memory.limit_in_bytes"))
    check("memory limit", wanted=whole_pages(memory_bytes), got=limit_bytes)
    check(
        "memory limit (with those of the groups around)",
        wanted=limit_bytes,
        got=field(folder / "memory.stat", "hierarchical_memory_limit"),
    )
    put(folder / "memory.swappiness", "0")
    check("swappiness", wanted="0", got=get(folder / "memory.swappiness"))
    # Memory and swap together; kernels without accounting of swap have no such file, and swappiness 0 holds alone.
    together = folder / "memory.memsw.limit_in_bytes"
    if together.exists():
        put(together, str(limit_bytes))
        check("limit of memory and swap", wanted=limit_bytes, got=int(get(together)))
    return limit_bytes
