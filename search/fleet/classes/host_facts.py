"""The facts of a host that belong to its class: what two machines have in common where one can stand for the other.

They differ from ``Host`` where that is about one machine: cores are counted and not numbered, so a machine that is seen
through one CPU or through another is of one class. And they have what ``Host`` leaves out, since the same hardware with
another governor or another kernel is not as fast. What cannot be read is None, as in most virtual machines and
containers; it equals what cannot be read elsewhere, and nothing else.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from servefit.profiler.machine.topology import Cache  # noqa: TC001 - documents looks annotations up when it runs
from servefit.profiler.procedures.noise.tuning import read_tuning
from servefit.search.fleet.classes.installed_memory import installed_bytes
from servefit.showing import shown
from servefit.stored import Stored
from servefit.version import __version__

if TYPE_CHECKING:
    from servefit.profiler.machine.host import Host

LIBRARIES = (
    "catboost",
    "daal4py",
    "lightgbm",
    "msgspec",
    "numpy",
    "onnxruntime",
    "onnxruntime-gpu",
    "scikit-learn",
    "tl2cgen",
    "torch",
    "transformers",
    "treelite",
    "uvloop",
    "xgboost",
)
"""The distributions whose code is in the time of a request, whatever the backend."""

_SERIES = re.compile(r"\d+\.\d+")


@shown()
class Socket(Stored, frozen=True, kw_only=True):
    """A processor package as far as this process may use it: so many NUMA nodes, cores and logical CPUs."""

    nodes: int
    cores: int
    cpus: int


@shown()
class ClassGpu(Stored, frozen=True, kw_only=True):
    """A GPU without its number in the machine."""

    model: str
    memory_bytes: int
    driver: str


@shown("cpu_model", "sockets", "memory_bytes")
class HostFacts(Stored, frozen=True, kw_only=True):
    """The facts that hosts of one class have in common. None is what cannot be read.

    ``sockets`` are sorted by size, and ``caches`` by level. ``memory_bytes`` is what is installed, or what a
    control group allows of it, and ``cpu_quota`` the number of CPUs whose time one allows. ``governors`` are those of
    the usable CPUs. ``mitigations`` are (vulnerability, what is done about it). ``kernel_series`` is as "6.18".
    ``python`` has its compiler, as builds differ in speed. ``libraries`` are (distribution, version) of those that are
    installed.
    """

    cpu_model: str
    architecture: str
    microcode: str | None
    sockets: tuple[Socket, ...] | None
    caches: tuple[Cache, ...] | None
    memory_bytes: int
    cpu_quota: float | None
    gpus: tuple[ClassGpu, ...]
    virtualisation: str | None
    governors: tuple[str, ...] | None
    boost: bool | None
    smt: bool | None
    mitigations: tuple[tuple[str, str], ...] | None
    kernel_series: str | None
    libc: str | None
    python: str
    libraries: tuple[tuple[str, str], ...]
    servefit: str

    @property
    def cores(self) -> int | None:
        """The number of usable cores; None where the machine does not tell them apart."""
        return None if self.sockets is None else sum(socket.cores for socket in self.sockets)


def host_facts(host: Host, *, proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> HostFacts:
    """Return the facts of ``host``, which is this one, or another whose /proc and /sys are given. What is installed is
    that of this process."""
    usable = [cpu.cpu for cpu in host.cpus]
    tuning = read_tuning(usable, sys=sys)
    installed, limit = installed_bytes(host.memory_bytes, sys=sys), host.cgroups.memory_limit_bytes
    return HostFacts(
        cpu_model=host.cpu_model,
        architecture=host.architecture,
        microcode=_microcode(proc, usable),
        sockets=_sockets(host, sys),
        caches=host.caches or None,
        memory_bytes=installed if limit is None else min(limit, installed),
        cpu_quota=host.cgroups.cpu_quota,
        gpus=tuple(
            ClassGpu(model=gpu.model, memory_bytes=gpu.memory_bytes, driver=gpu.driver)
            for gpu in sorted(host.gpus, key=lambda gpu: (gpu.model, gpu.memory_bytes, gpu.driver))
        ),
        virtualisation=host.virtualisation,
        governors=tuning.governors or None,
        boost=tuning.boost,
        smt=tuning.smt,
        mitigations=_mitigations(sys),
        kernel_series=_kernel_series(host.kernel),
        libc=_libc(),
        python=f"{platform.python_implementation()} {host.python} ({platform.python_compiler()})",
        libraries=tuple(_installed(LIBRARIES)),
        servefit=__version__,
    )


def _sockets(host: Host, sys: Path) -> tuple[Socket, ...] | None:
    """Return the sockets, the largest first; None where the machine does not say which CPU is in which."""
    packages: dict[str, list[int]] = {}
    for nth, cpu in enumerate(host.cpus):
        package = _text(sys / f"devices/system/cpu/cpu{cpu.cpu}/topology/physical_package_id")
        if package is None:
            return None
        packages.setdefault(package, []).append(nth)
    sockets = [
        Socket(
            nodes=len({host.cpus[nth].node for nth in members}),
            cores=len({host.cpus[nth].core for nth in members}),
            cpus=len(members),
        )
        for members in packages.values()
    ]
    return tuple(sorted(sockets, key=lambda socket: (socket.cpus, socket.cores, socket.nodes), reverse=True))


def _microcode(proc: Path, usable: Iterable[int]) -> str | None:
    """Return the revision of the microcode; several with commas between them where CPUs differ."""
    cpus = {str(cpu) for cpu in usable}
    revisions = set()
    for block in (_text(proc / "cpuinfo") or "").split("\n\n"):
        fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in block.split("\n"))}
        if fields.get("processor") in cpus and fields.get("microcode"):
            revisions.add(fields["microcode"])
    return ", ".join(sorted(revisions)) or None


def _mitigations(sys: Path) -> tuple[tuple[str, str], ...] | None:
    files = sorted((sys / "devices/system/cpu/vulnerabilities").glob("*"))
    texts = ((file.name, _text(file)) for file in files)
    return tuple((name, said) for name, said in texts if said is not None) or None


def _kernel_series(kernel: str) -> str | None:
    series = _SERIES.match(kernel)
    return None if series is None else series[0]


def _libc() -> str | None:
    """Return the C library, as "glibc 2.41"; others than glibc do not say their version."""
    try:
        return os.confstr("CS_GNU_LIBC_VERSION")
    except (ValueError, OSError):
        return None


def _installed(names: Iterable[str]) -> Iterable[tuple[str, str]]:
    for name in names:
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip() or None
    except OSError:
        return None
