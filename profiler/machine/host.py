"""A description of this machine: the facts that decide how fast it serves, and those that decide what can be trusted.

Everything is read from /proc and /sys, whose roots are parameters, so that hosts other than this one can be described
in tests. What cannot be read is None and never zero. The reading of CPUs and of control groups is in ``topology`` and
``cgroups``.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from pathlib import Path
from typing import ClassVar

import msgspec

from servefit.profiler.machine.cgroups import ControlGroups, describe_cgroups
from servefit.profiler.machine.cpus import LogicalCpu  # noqa: TC001 - documents looks annotations up when it runs
from servefit.profiler.machine.gpu import Gpu, describe_gpus
from servefit.profiler.machine.telemetry import stolen_time
from servefit.profiler.machine.topology import Cache, read_caches, read_topology
from servefit.showing import shown
from servefit.stored import Stored

_HYPERVISOR_OF_MAKER = {
    "qemu": "kvm",
    "kvm": "kvm",
    "amazon ec2": "kvm",
    "google compute": "kvm",
    "vmware": "vmware",
    "microsoft": "hyper-v",
    "xen": "xen",
    "virtualbox": "virtualbox",
}


@shown("cpu_model", "architecture", "memory_bytes", "fingerprint")
class Host(Stored, frozen=True, kw_only=True):
    """One machine, as seen by this process.

    ``cpus`` are those that this process may use (its affinity mask), and ``memory_bytes`` what it may use of the
    machine's memory (a control group may allow less than there is). ``governor`` is the CPU frequency governor.
    ``virtualisation`` is "kvm" and the like, "none" on bare metal. ``steal_percent`` is the share of CPU time that a
    hypervisor took since boot. ``no_gpu_reason`` says why ``gpus`` is empty.

    ``fingerprint`` is twelve hexadecimal digits that stay the same for as long as the hardware does, as this process
    sees it. Load, free memory, kernel and Python are not part of it. Memory counts in steps of 64 MiB, because kernels
    of different versions keep a little more or less for themselves.
    """

    cpu_model: str
    architecture: str
    cpus: tuple[LogicalCpu, ...]
    caches: tuple[Cache, ...]
    memory_bytes: int
    operating_system: str
    kernel: str
    virtualisation: str | None
    python: str
    governor: str | None
    cgroups: ControlGroups
    load_average: tuple[float, float, float]
    steal_percent: float | None
    gpus: tuple[Gpu, ...]
    no_gpu_reason: str | None
    fingerprint: str = ""

    derived: ClassVar[frozenset[str]] = frozenset({"fingerprint"})

    def __post_init__(self) -> None:
        facts = [
            self.cpu_model,
            self.architecture,
            sorted((cpu.core, cpu.node) for cpu in self.cpus),
            sorted((cache.level, cache.kind, cache.size_bytes) for cache in self.caches),
            round(self.memory_bytes / 2**26),
            self.virtualisation,
            [(gpu.model, gpu.memory_bytes) for gpu in self.gpus],
        ]
        digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
        msgspec.structs.force_setattr(self, "fingerprint", digest[:12])

    @property
    def logical_cpus(self) -> int:
        return len(self.cpus)

    @property
    def physical_cores(self) -> int:
        return len({cpu.core for cpu in self.cpus})

    @property
    def smt(self) -> bool:
        """True where two or more of the usable CPUs share a core."""
        return self.physical_cores < self.logical_cpus

    @property
    def numa_nodes(self) -> int:
        return len({cpu.node for cpu in self.cpus})


def describe_host(
    *,
    proc: Path = Path("/proc"),
    sys: Path = Path("/sys"),
    etc: Path = Path("/etc"),
    cpus: frozenset[int] | None = None,
) -> Host:
    """Describe the machine whose /proc, /sys and /etc are given; ``cpus`` are the usable ones (this process's own)."""
    usable = frozenset(os.sched_getaffinity(0)) if cpus is None else cpus
    cpuinfo = _read(proc / "cpuinfo") or ""
    cgroups = describe_cgroups(proc=proc, sys=sys)
    installed = _memory_bytes(proc / "meminfo")
    gpus, no_gpu_reason = describe_gpus()
    steal = stolen_time(proc)
    one_minute, five, fifteen = (float(field) for field in (proc / "loadavg").read_text().split()[:3])
    return Host(
        cpu_model=_cpu_model(cpuinfo),
        architecture=platform.machine(),
        cpus=read_topology(sys, usable),
        caches=read_caches(sys, usable),
        memory_bytes=installed if cgroups.memory_limit_bytes is None else min(installed, cgroups.memory_limit_bytes),
        operating_system=_operating_system(etc),
        kernel=(_read(proc / "sys/kernel/osrelease") or platform.release()),
        virtualisation=_virtualisation(cpuinfo, sys),
        python=platform.python_version(),
        governor=_read(sys / f"devices/system/cpu/cpu{min(usable)}/cpufreq/scaling_governor"),
        cgroups=cgroups,
        load_average=(one_minute, five, fifteen),
        steal_percent=None if steal is None else 100 * steal[0] / max(1, steal[1]),
        gpus=gpus,
        no_gpu_reason=no_gpu_reason,
    )


def _read(path: Path) -> str | None:
    """Return the content of a file without the blanks around it; None if it is not there, not readable or empty."""
    try:
        return path.read_text(errors="replace").strip() or None
    except OSError:
        return None


def _cpu_model(cpuinfo: str) -> str:
    """Return the name that the CPU gives itself. ARM has no such field; there implementer and part number stand for
    it."""
    fields = _first_cpu(cpuinfo)
    if name := fields.get("model name") or fields.get("cpu model") or fields.get("cpu"):
        return name
    if "CPU part" in fields:
        return f"ARM implementer {fields.get('CPU implementer', '?')} part {fields['CPU part']}"
    return f"unknown {platform.machine()}"


def _first_cpu(cpuinfo: str) -> dict[str, str]:
    lines = (line.partition(":") for line in cpuinfo.partition("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}


def _memory_bytes(meminfo: Path) -> int:
    for line in meminfo.read_text().splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"no MemTotal in {meminfo}")


def _operating_system(etc: Path) -> str:
    for line in (_read(etc / "os-release") or "").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip("\"'")
    return platform.system()


def _virtualisation(cpuinfo: str, sys: Path) -> str | None:
    """Return the hypervisor's name where the machine tells it, "none" on bare metal, None if nothing says."""
    if kind := _read(sys / "hypervisor/type"):
        return kind
    maker = " ".join(_read(sys / f"class/dmi/id/{name}") or "" for name in ("sys_vendor", "product_name")).lower()
    flags = _first_cpu(cpuinfo).get("flags")
    # Only x86 has the flag; elsewhere the maker's name is all there is to go by.
    if flags is not None and "hypervisor" not in flags.split():
        return "none"
    if name := next((name for word, name in _HYPERVISOR_OF_MAKER.items() if word in maker), None):
        return name
    if "kvm-clock" in (_read(sys / "devices/system/clocksource/clocksource0/available_clocksource") or ""):
        return "kvm"
    return None if flags is None else "unknown hypervisor"
