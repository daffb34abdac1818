"""Reads cores, siblings, NUMA nodes and caches from /sys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servefit.profiler.machine.cpus import LogicalCpu
from servefit.showing import shown
from servefit.stored import Stored

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@shown()
class Cache(Stored, frozen=True, kw_only=True):
    """``count`` caches of this kind ("data", "instruction" or "unified"), ``size_bytes`` each."""

    level: int
    kind: str
    size_bytes: int
    count: int


def read_topology(sys: Path, usable: Iterable[int]) -> tuple[LogicalCpu, ...]:
    """Return the ``usable`` CPUs, ascending. Where /sys is silent every CPU is a core of its own, on node 0."""
    node_of = {
        cpu: int(node.name.removeprefix("node"))
        for node in sorted((sys / "devices/system/node").glob("node[0-9]*"))
        for cpu in read_cpu_list(node / "cpulist")
    }
    return tuple(
        LogicalCpu(
            cpu=cpu,
            core=min(read_cpu_list(_cpu_folder(sys, cpu) / "topology/thread_siblings_list"), default=cpu),
            node=node_of.get(cpu, 0),
        )
        for cpu in sorted(usable)
    )


def read_caches(sys: Path, usable: Iterable[int]) -> tuple[Cache, ...]:
    """Return the caches that the ``usable`` CPUs have, by level; empty where /sys does not describe them."""
    shared_by: dict[tuple[int, str, int], set[frozenset[int]]] = {}
    for cpu in usable:
        for index in (_cpu_folder(sys, cpu) / "cache").glob("index[0-9]*"):
            try:
                level = int((index / "level").read_text())
                kind = (index / "type").read_text().strip().lower()
                size = _size_bytes((index / "size").read_text().strip())
            except OSError:
                continue
            sharing = frozenset(read_cpu_list(index / "shared_cpu_list")) or frozenset({cpu})
            shared_by.setdefault((level, kind, size), set()).add(sharing)
    return tuple(
        Cache(level=level, kind=kind, size_bytes=size, count=len(groups))
        for (level, kind, size), groups in sorted(shared_by.items())
    )


def read_cpu_list(path: Path) -> tuple[int, ...]:
    """Read a kernel list such as ``0-3,8``; empty where there is no such file."""
    try:
        text = path.read_text().strip()
    except OSError:
        return ()
    cpus: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        cpus.extend(range(int(first), int(last or first) + 1))
    return tuple(cpus)


def _cpu_folder(sys: Path, cpu: int) -> Path:
    return sys / f"devices/system/cpu/cpu{cpu}"


def _size_bytes(text: str) -> int:
    """Read a size such as ``512K``, as the kernel writes it."""
    shift = {"K": 10, "M": 20, "G": 30}.get(text[-1:], 0)
    return int(text.rstrip("KMG")) << shift
