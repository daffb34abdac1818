"""Findings: what of all this a person should know before measuring, each with a remedy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from servefit.profiler.evidence.validity import MAX_FOREIGN
from servefit.quantities import given_text, number_text, percent_text, share_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servefit.profiler.procedures.comparing.comparison import NoiseFloor
    from servefit.profiler.procedures.noise.activity import Activity
    from servefit.profiler.procedures.noise.tuning import Tuning

_MAX_STEAL_PERCENT, _MAX_FOREIGN_PERCENT = 1.0, 100 * MAX_FOREIGN
"""Of the CPUs' time: runs are INVALID with more (``evidence.validity``)."""

_MAX_MEMORY_PRESSURE_PERCENT = 1.0
"""Of the time, in which some task waits for memory. Chosen, not measured."""

_COARSE = 0.05
"""Many a choice between two deployments is one of 5 %. Chosen, not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that makes measurements here less sure, and what to do about it."""

    subject: str
    warning: str
    remedy: str


def findings(
    tuning: Tuning, *, cpu_quota: float | None, activity: Activity | None = None, floor: NoiseFloor | None = None
) -> tuple[Finding, ...]:
    """Return what makes measurements less sure, most harmful first. ``cpu_quota`` is the CPUs' worth of time that this
    process is allowed, None without a quota."""
    return tuple(_findings(tuning, cpu_quota, activity, floor))


def _findings(
    tuning: Tuning, cpu_quota: float | None, activity: Activity | None, floor: NoiseFloor | None
) -> Iterator[Finding]:
    if cpu_quota is not None:
        yield Finding(
            subject="CPU quota",
            warning=f"a quota of {given_text(cpu_quota)} CPUs stalls whatever has used it up",
            remedy="run where CPUs are given whole (docker run --cpuset-cpus in place of --cpus)",
        )
    if activity is not None:
        yield from _of_activity(activity)
    yield from _of_tuning(tuning)
    if floor is not None and floor.resolvable > _COARSE:
        yield Finding(
            subject="A/A run",
            warning=f"the same work timed twice differed so much that nothing below "
            f"{percent_text(floor.resolvable)} can be told from noise",
            remedy="see to the findings above, or measure for longer",
        )


def _of_activity(activity: Activity) -> Iterator[Finding]:
    if (activity.foreign_percent or 0) > _MAX_FOREIGN_PERCENT * activity.cpus:
        who = ", ".join(f"{busy.name} ({busy.pid}) {number_text(busy.cpu_percent)} %" for busy in activity.competitors)
        yield Finding(
            subject="competing load",
            warning=f"other processes use {share_text((activity.foreign_percent or 0) / 100, 'a CPU')}: "
            f"{who or 'none that can be seen from here'}",
            remedy="stop them while you measure",
        )
    if (activity.steal_percent or 0) > _MAX_STEAL_PERCENT:
        yield Finding(
            subject="steal",
            warning=f"the hypervisor takes {number_text(activity.steal_percent or 0.0)} % of the CPU time",
            remedy="measure on a machine, or at a time, without neighbours",
        )
    if (activity.memory_pressure_percent or 0) > _MAX_MEMORY_PRESSURE_PERCENT:
        yield Finding(
            subject="memory pressure",
            warning=f"tasks wait for memory {number_text(activity.memory_pressure_percent or 0.0)} % of the time",
            remedy="stop what uses so much of it",
        )
    if activity.thermal_throttles:
        yield Finding(
            subject="heat",
            warning="the processor is being slowed down for heat",
            remedy="let it cool down, and see to its cooling",
        )


def _of_tuning(tuning: Tuning) -> Iterator[Finding]:
    if slow := [governor for governor in tuning.governors if governor != "performance"]:
        yield Finding(
            subject="governor",
            warning=f"the CPU frequency governor is {' and '.join(slow)}: idle CPUs begin slowly",
            remedy="sudo cpupower frequency-set -g performance",
        )
    if tuning.shared_siblings:
        shown = ", ".join(map(str, tuning.shared_siblings))
        yield Finding(
            subject="SMT",
            warning=f"CPUs {shown} run on the same cores as those used here, and are not servefit's to keep idle",
            remedy="give it whole cores, or echo off | sudo tee /sys/devices/system/cpu/smt/control",
        )
    if tuning.boost:
        yield Finding(
            subject="boost",
            warning="CPUs run faster while few are busy and cool, so a figure depends on what ran before it",
            remedy="echo 0 | sudo tee /sys/devices/system/cpu/cpufreq/boost (Intel: echo 1 | sudo tee "
            "/sys/devices/system/cpu/intel_pstate/no_turbo)",
        )
    if tuning.thermal_throttles:
        yield Finding(
            subject="heat",
            warning=f"the processor was slowed down for heat {tuning.thermal_throttles} times since boot",
            remedy="see to its cooling",
        )
