"""The tuning of a machine: what makes the same work take longer at one time than at another."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from servefit.profiler.machine.telemetry.files import counter_files, total
from servefit.profiler.machine.telemetry.machine import thermal_counters
from servefit.profiler.machine.topology import read_cpu_list


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """The settings of the machine; None is what it does not tell.

    ``governors`` are the frequency governors of the CPUs. ``boost`` says whether they may run faster than their
    nominal frequency while heat and power allow. ``smt`` says whether cores run two threads or more;
    ``shared_siblings`` are CPUs that this process may not use, on the cores of those that it may.
    ``thermal_throttles`` is how often the CPUs were slowed down for heat since boot.
    """

    governors: tuple[str, ...]
    boost: bool | None
    smt: bool | None
    shared_siblings: tuple[int, ...]
    thermal_throttles: int | None


def read_tuning(cpus: Iterable[int], *, sys: Path = Path("/sys")) -> Tuning:
    """Read how ``cpus`` are set up. Takes no time."""
    usable = frozenset(cpus)
    folder = sys / "devices/system/cpu"
    governors = {_text(folder / f"cpu{cpu}/cpufreq/scaling_governor") for cpu in usable}
    siblings = {
        sibling for cpu in usable for sibling in read_cpu_list(folder / f"cpu{cpu}/topology/thread_siblings_list")
    }
    with ExitStack() as stack:
        thermal_throttles = total(counter_files(thermal_counters(sys, usable), stack))
    return Tuning(
        governors=tuple(sorted(governor for governor in governors if governor is not None)),
        boost=_boost(folder),
        smt={"0": False, "1": True}.get(_text(folder / "smt/active") or ""),
        shared_siblings=tuple(sorted(siblings - usable)),
        thermal_throttles=thermal_throttles,
    )


def _boost(folder: Path) -> bool | None:
    """Read whether boost is on: Intel's own driver says whether it is off, all others whether it is on."""
    if (off := _text(folder / "intel_pstate/no_turbo")) in {"0", "1"}:
        return off == "0"
    if (on := _text(folder / "cpufreq/boost")) in {"0", "1"}:
        return on == "1"
    return None


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except OSError:
        return None
