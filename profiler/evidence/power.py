"""The electric power that a run drew on its plateau, as telemetry saw it: of the processor packages, and of the GPU.

Both are of whole devices, whoever used them: idle power and what else ran are in it. What nobody could read is None and
never zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from servefit.profiler.record.traffic import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from servefit.profiler.record.types import Run, TelemetryPoint


def package_power_w(run: Run) -> float | None:
    """Return the mean power of the machine's processor packages on the plateau of ``run``, in watts [RAPL].

    None where the kernel offers no counter that this user may read, or no point lies on the plateau.
    """

    def watts(point: TelemetryPoint) -> float | None:
        return None if point.package_energy_j is None else point.package_energy_j * NS_PER_S / point.over_ns

    return _mean_on_plateau(run, watts)


def gpu_power_w(run: Run) -> float | None:
    """Return the mean power of the GPU on the plateau of ``run``, in watts [NVML]; None without one, or where it does
    not report any."""
    return _mean_on_plateau(run, lambda point: point.gpu_power_w)


def _mean_on_plateau(run: Run, watts: Callable[[TelemetryPoint], float | None]) -> float | None:
    """Return the mean of what points show, each weighted by how much of it lies on the plateau."""
    begin, end = run.plateau_ns
    seen_ns, energy = 0, 0.0
    for point in run.telemetry:
        inside_ns = min(point.at_ns, end) - max(point.at_ns - point.over_ns, begin)
        power = watts(point)
        if power is not None and inside_ns > 0:
            seen_ns += inside_ns
            energy += inside_ns * power
    return energy / seen_ns if seen_ns else None
