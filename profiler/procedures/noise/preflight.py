"""All that can be said of how quiet this machine is, before anything is measured on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from servefit.errors import MeasurementError
from servefit.profiler.machine.slot.holding import measuring_slot
from servefit.profiler.procedures.noise.activity import Activity, observe_activity
from servefit.profiler.procedures.noise.findings import Finding, findings
from servefit.profiler.procedures.noise.tuning import Tuning, read_tuning

if TYPE_CHECKING:
    from servefit.profiler.machine.host import Host
    from servefit.profiler.procedures.comparing.comparison import NoiseFloor

NOISE_FLOOR_S = 4.0
"""Eight blocks of four walks have an eighth of a second for each, with the start of an interpreter. Chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """``activity`` and ``noise_floor`` are None where nothing was to be measured, the latter also where that failed,
    which is then among the ``findings``."""

    tuning: Tuning
    activity: Activity | None
    noise_floor: NoiseFloor | None
    findings: tuple[Finding, ...]


def preflight(host: Host, *, measuring: bool = True, seed: int = 0) -> Preflight:
    """Read the settings of ``host``, this machine. If ``measuring``, also observe its activity for half a second, then
    compare a fixed piece of work with itself for about four seconds, on all CPUs that this process may use, in the
    measuring slot.
    """
    cpus = tuple(cpu.cpu for cpu in host.cpus)
    tuning, cpu_quota = read_tuning(cpus), host.cgroups.cpu_quota
    if not measuring:
        findings_here = findings(tuning, cpu_quota=cpu_quota)
        return Preflight(tuning=tuning, activity=None, noise_floor=None, findings=findings_here)
    with measuring_slot("noise audit"):
        activity = observe_activity(cpus)
        floor, failed = _noise_floor(cpus, seed)
    findings_here = findings(tuning, cpu_quota=cpu_quota, activity=activity, floor=floor)
    return Preflight(tuning=tuning, activity=activity, noise_floor=floor, findings=(*findings_here, *failed))


def _noise_floor(cpus: tuple[int, ...], seed: int) -> tuple[NoiseFloor | None, tuple[Finding, ...]]:
    """Measure the noise floor; give it, or the finding that there is none."""
    from servefit.profiler.procedures.comparing.noise_floor import noise_floor

    try:
        return noise_floor(cpus, seconds=NOISE_FLOOR_S, seed=seed), ()
    except MeasurementError as error:
        failed = Finding(
            subject="noise floor",
            warning=f"it could not be measured: {error.message}",
            remedy=error.remedy or "stop what else runs here, and try again",
        )
        return None, (failed,)
