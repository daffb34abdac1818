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
    check_enforced,
    cpu_list,
    end_groups,
    make_groups,
    read_number,
    read_setting,
    sweep_groups,
    whole_pages,
    write_setting,
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
    sweep_groups(parents)
    cpuset, memory = make_groups(parents)
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
        end_groups((cpuset, memory))


def _limit_cpus(folder: Path, cpus: tuple[int, ...]) -> None:
    # A new cpuset of version 1 is empty, and takes no process before it has both. Memory may come from every node: the
    # kernel takes it from the nearest first, and a full node must not look like a full envelope.
    write_setting(folder / "cpuset.mems", read_setting(folder.parent / "cpuset.mems"))
    write_setting(folder / "cpuset.cpus", cpu_list(cpus))
    effective = folder / "cpuset.effective_cpus"
    check_enforced("CPUs", wanted=cpus, got=read_cpu_list(effective if effective.exists() else folder / "cpuset.cpus"))


def _limit_memory(folder: Path, memory_bytes: int) -> int:
    write_setting(folder / "memory.limit_in_bytes", str(memory_bytes))
    limit_bytes = int(read_setting(folder / "memory.limit_in_bytes"))
    check_enforced("memory limit", wanted=whole_pages(memory_bytes), got=limit_bytes)
    check_enforced(
        "memory limit (with those of the groups around)",
        wanted=limit_bytes,
        got=read_number(folder / "memory.stat", "hierarchical_memory_limit"),
    )
    write_setting(folder / "memory.swappiness", "0")
    check_enforced("swappiness", wanted="0", got=read_setting(folder / "memory.swappiness"))
    # Memory and swap together; kernels without accounting of swap have no such file, and swappiness 0 holds alone.
    together = folder / "memory.memsw.limit_in_bytes"
    if together.exists():
        write_setting(together, str(limit_bytes))
        check_enforced("limit of memory and swap", wanted=limit_bytes, got=int(read_setting(together)))
    return limit_bytes
