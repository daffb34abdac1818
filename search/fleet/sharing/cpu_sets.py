"""The CPUs of two models on one host: disjoint sets, with CPUs for the load clients of those that are endpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from servefit.profiler.drivers.start_driver import MAX_CLIENTS, SERVER_CPUS_PER_CLIENT
from servefit.search.jobs.cpu_slots import CpuSlot, CpuSlots

if TYPE_CHECKING:
    from servefit.profiler.machine.host import Host
    from servefit.search.request.job_request import Deployed


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """The vCPUs that a model takes, and how it is deployed."""

    vcpus: int
    deployment: Deployed

    @property
    def client_cpus(self) -> int:
        """The CPUs that its load clients take, as many as where it is measured alone."""
        return 0 if self.deployment == "library" else min(MAX_CLIENTS, -(-self.vcpus // SERVER_CPUS_PER_CLIENT))


def cpu_sets(host: Host, needs: Sequence[Need]) -> tuple[CpuSlot, ...] | None:
    """Return the CPUs of each of ``needs``, of which none shares a core with another or with a client; None where there
    are too few. What nobody has is left to servefit itself."""
    clients = [need.client_cpus for need in needs]
    slots = CpuSlots(host).disjoint([*(need.vcpus for need in needs), *filter(None, clients)])
    if slots is None:
        return None
    left = slots[0].outside or ()
    of_clients = iter(slots[len(needs) :])
    # Clients take the first of the CPUs outside.
    return tuple(
        CpuSlot(cpus=slot.cpus, outside=(*((next(of_clients).cpus or ()) if count else ()), *left))
        for slot, count in zip(slots, clients, strict=False)
    )


def why_not(host: Host, needs: Sequence[Need]) -> str | None:
    """Return why ``needs`` cannot be under load side by side on ``host``, None where they can."""
    if cpu_sets(host, needs) is not None:
        return None
    vcpus = " and ".join(str(need.vcpus) for need in needs)
    has = f"its {host.logical_cpus} CPUs"
    if CpuSlots(host).fit_at_once([need.vcpus for need in needs]):
        return f"their {vcpus} vCPUs leave too few of {has} to their load clients"
    return f"their {vcpus} vCPUs do not fit side by side on {has}"
