"""The choice of the CPUs of a host that make an envelope of n vCPUs.

A vCPU is a logical CPU, as in the cloud. Two siblings of one core share its execution units, so they belong to the
same envelope; CPUs of two NUMA nodes see memory at two speeds, so an envelope stays on one node where it fits.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from servefit.checks import check_whole
from servefit.errors import SpecError
from servefit.showing import shown
from servefit.stored import Stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


@shown()
class LogicalCpu(Stored, frozen=True, kw_only=True):
    """A CPU as the kernel numbers it; ``core`` is the lowest-numbered sibling on the same core."""

    cpu: int
    core: int
    node: int = 0


def choose_cpus(topology: Iterable[LogicalCpu], vcpus: int) -> tuple[int, ...]:
    """Return the CPUs for ``vcpus``, ascending; the others are left to the rest of the host.

    Whole cores first: siblings are only parted for the last CPU of an odd number. The node with the least room that
    still holds them all is taken, so that bigger envelopes keep theirs; where none does, nodes are filled from the
    roomiest on. Within a node cores are taken from the top, since interrupts and the system's own work gather on the
    lowest CPUs. Raises SpecError for more vCPUs than there are, or fewer than one.
    """
    nodes: dict[int, list[tuple[int, ...]]] = {
        node: _cores(cpus) for node, cpus in _grouped(topology, lambda cpu: cpu.node).items()
    }
    room = {node: sum(map(len, cores)) for node, cores in nodes.items()}
    check_whole("vcpus", vcpus, least=1)
    if vcpus > sum(room.values()):
        raise SpecError("vcpus", vcpus, f"is more than this host has ({sum(room.values())})")
    fitting = [node for node in nodes if room[node] >= vcpus]
    order = (
        [min(fitting, key=lambda node: (room[node], -node))] if fitting else sorted(nodes, key=lambda n: (-room[n], n))
    )
    chosen: list[int] = []
    for node in order:
        chosen.extend(_take(nodes[node], vcpus - len(chosen)))
    return tuple(sorted(chosen))


def client_cpus(topology: Iterable[LogicalCpu], chosen: Iterable[int]) -> tuple[int, ...]:
    """Return the CPUs left for a load client beside an envelope of ``chosen``, ascending; empty if there are none.

    They share no core with the envelope: a busy sibling would slow it down.
    """
    topology = tuple(topology)
    inside = set(chosen)
    cores = {cpu.core for cpu in topology if cpu.cpu in inside}
    return tuple(sorted(cpu.cpu for cpu in topology if cpu.core not in cores))


def disjoint_cpus(topology: Iterable[LogicalCpu], taken: Iterable[int], vcpus: int) -> tuple[int, ...] | None:
    """Return the CPUs for ``vcpus`` that share no core with those ``taken``, as :func:`choose_cpus` picks them; None
    where there are too few. Raises SpecError for fewer than one."""
    topology = tuple(topology)
    free = set(client_cpus(topology, taken))
    if vcpus > len(free):
        return None
    return choose_cpus([cpu for cpu in topology if cpu.cpu in free], vcpus)


def _take(cores: list[tuple[int, ...]], count: int) -> list[int]:
    """Return up to ``count`` CPUs of ``cores``: whole cores from the last on, then part of one."""
    taken: list[int] = []
    for core in reversed(cores):
        if len(core) <= count - len(taken):
            taken.extend(core)
    for core in reversed(cores):
        taken.extend([cpu for cpu in core if cpu not in taken][: count - len(taken)])
    return taken


def _cores(cpus: list[LogicalCpu]) -> list[tuple[int, ...]]:
    """Return the CPUs of each core, in the order of the cores."""
    cores = _grouped(cpus, lambda cpu: cpu.core)
    return [tuple(sorted(cpu.cpu for cpu in cores[core])) for core in sorted(cores)]


def _grouped(cpus: Iterable[LogicalCpu], key: Callable[[LogicalCpu], int]) -> dict[int, list[LogicalCpu]]:
    groups: dict[int, list[LogicalCpu]] = defaultdict(list)
    for cpu in cpus:
        groups[key(cpu)].append(cpu)
    return dict(groups)
