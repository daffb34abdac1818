"""Counters of the machine that say how much it was in the way: pressure, throttling, heat; and what energy it used."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from servefit.profiler.machine.cgroups import existing_group
from servefit.profiler.machine.telemetry.files import CounterFile, counter_file, counter_files, total

_SOME_TOTAL = re.compile(r"^some .*total=(\d+)", re.MULTILINE)
_THROTTLED = re.compile(r"^throttled_(time|usec) (\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineSnapshot:
    """Running totals; None is what cannot be read here.

    ``cpu_pressure_us`` and ``memory_pressure_us``: time in which some task waited for a CPU, or for memory.
    ``throttled_ns``: time for which control groups were kept from CPUs by a quota. ``thermal_throttles``: how often
    CPUs were slowed down for heat. ``energy_uj``: of all processor packages.
    """

    cpu_pressure_us: int | None
    memory_pressure_us: int | None
    throttled_ns: int | None
    thermal_throttles: int | None
    energy_uj: int | None


class MachineCounters:
    """Opens what there is of these counters; ``stack`` closes it.

    Control groups are those of the process ``pid`` and all above them; CPUs, whose heat counts, are ``cpus``.
    """

    def __init__(self, pid: int, cpus: Iterable[int], proc: Path, sys: Path, stack: ExitStack) -> None:
        self._cpu_pressure = counter_file(proc / "pressure/cpu", stack)
        self._memory_pressure = counter_file(proc / "pressure/memory", stack)
        self._quotas = counter_files([group / "cpu.stat" for group in cpu_groups(pid, proc, sys)], stack)
        self._thermal = counter_files(thermal_counters(sys, cpus), stack)
        packages = [PackageEnergy.opened(path, stack) for path in PackageEnergy.paths(sys)]
        self._packages = tuple(package for package in packages if package is not None)

    def snapshot(self) -> MachineSnapshot:
        throttled = [time for quota in self._quotas if (time := throttled_ns(quota.text() or "")) is not None]
        return MachineSnapshot(
            cpu_pressure_us=_pressure_us(self._cpu_pressure),
            memory_pressure_us=_pressure_us(self._memory_pressure),
            throttled_ns=sum(throttled) if throttled else None,
            thermal_throttles=total(self._thermal),
            energy_uj=sum(package.used_uj() for package in self._packages) if self._packages else None,
        )


class PackageEnergy:
    """The energy that one package has used since this was made; the kernel's counter begins anew at ``range_uj``."""

    def __init__(self, counter: CounterFile, range_uj: int, first_uj: int) -> None:
        self._counter = counter
        self._range_uj = range_uj
        self._last_uj = first_uj
        self._used_uj = 0

    @staticmethod
    def paths(sys: Path) -> tuple[Path, ...]:
        """Return where the kernel counts the energy of each package, whether it can be read or not."""
        # One level of zones: "intel-rapl:0" is a package, "intel-rapl:0:1" a part of it. AMD's are called the same.
        zones = sorted((sys / "class/powercap").glob("intel-rapl:*/energy_uj"))
        return tuple(path for path in zones if path.parent.name.count(":") == 1)

    @classmethod
    def readable(cls, sys: Path) -> bool:
        """Return whether the energy of some package can be read by this user."""
        with ExitStack() as stack:
            return any(cls.opened(path, stack) is not None for path in cls.paths(sys))

    @classmethod
    def opened(cls, path: Path, stack: ExitStack) -> PackageEnergy | None:
        """Open the counter at ``path``; None where it cannot be read, which most systems leave to root."""
        counter, limit = counter_file(path, stack), counter_file(path.with_name("max_energy_range_uj"), stack)
        first_uj = None if counter is None else counter.number()
        range_uj = None if limit is None else limit.number()
        if counter is None or first_uj is None or range_uj is None:
            return None
        return cls(counter, range_uj, first_uj)

    def used_uj(self) -> int:
        now_uj = self._counter.number()
        if now_uj is not None:
            self._used_uj += (now_uj - self._last_uj) % (self._range_uj + 1)
            self._last_uj = now_uj
        return self._used_uj


def some_pressure_us(pressure: str) -> int | None:
    """Return the total of the line "some" in a file of /proc/pressure; None if there is none."""
    match = _SOME_TOTAL.search(pressure)
    return int(match[1]) if match else None


def throttled_ns(cpu_stat: str) -> int | None:
    """Return the throttled time in a group's cpu.stat, which has us in version 2 and ns in version 1."""
    match = _THROTTLED.search(cpu_stat)
    if match is None:
        return None
    return int(match[2]) * (1000 if match[1] == "usec" else 1)


def cpu_groups(pid: int, proc: Path, sys: Path) -> tuple[Path, ...]:
    """Return the folders of the control groups that schedule ``pid``, its own first; none where none are mounted."""
    try:
        lines = (proc / str(pid) / "cgroup").read_text().splitlines()
    except OSError:
        return ()
    root = sys / "fs/cgroup"
    for line in lines:
        _, controllers, group = line.split(":", 2)
        mount = root if not controllers else root / "cpu"
        if controllers and "cpu" not in controllers.split(","):
            continue
        if not controllers and not (root / "cgroup.controllers").exists():
            continue  # a version 2 mount beside version 1, which schedules nothing
        inner = existing_group(mount, group)
        return tuple(path for path in (inner, *inner.parents) if path.is_relative_to(mount))
    return ()


def thermal_counters(sys: Path, cpus: Iterable[int]) -> list[Path]:
    """Return the files that may count how often each of ``cpus``, or its package, was slowed down for heat."""
    folders = [sys / f"devices/system/cpu/cpu{cpu}/thermal_throttle" for cpu in sorted(cpus)]
    return [folder / f"{what}_throttle_count" for folder in folders for what in ("core", "package")]


def _pressure_us(opened: CounterFile | None) -> int | None:
    return None if opened is None else some_pressure_us(opened.text() or "")
