"""``--goal energy``: the joules that a million inferences take, by the counters of the processor packages and the GPU.

Measured energy is in :mod:`servefit.search.results.energy`. Where there is none it is predicted from the power that was
seen so far: a straight line through busy CPUs and watts, whose foot is what the machine draws when it is idle.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import fsum, inf
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, ClassVar

from servefit.errors import SpecError
from servefit.profiler.machine.gpu import reports_power
from servefit.profiler.machine.telemetry.machine import PackageEnergy
from servefit.search.results.energy import energy_j_per_million, gpu_power_w, package_power_w
from servefit.search.results.objectives.contract import Objective
from servefit.search.results.price import INFERENCES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servefit.profiler.machine.host import Host
    from servefit.profiler.record.types import Configuration
    from servefit.search.results.objectives.contract import Context, Prediction
    from servefit.search.results.recommendation import Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerModel:
    """The power in watts that the packages are expected to draw with so many busy CPUs, and the GPU; None is what no
    trial has shown."""

    idle_w: float | None
    per_busy_cpu_w: float
    gpu_w: float | None

    def watts(self, configuration: Configuration, busy_cpus: float) -> float | None:
        """Return the power that counts for ``configuration``, as in :func:`servefit.search.results.energy.power_w`."""
        packages = None if self.idle_w is None else self.idle_w + self.per_busy_cpu_w * busy_cpus
        if configuration.gpu is None:
            return packages
        return None if self.gpu_w is None else self.gpu_w + (packages or 0.0)


class Energy(Objective):
    """Joules per million inferences at the load that the SLA is held against, idle power included."""

    name: ClassVar[str] = "energy"
    unit: ClassVar[str] = "J per million"
    aim: ClassVar[str] = "the least energy per inference"
    needs_latency: ClassVar[bool] = False
    whole_machine: ClassVar[bool] = True

    def __init__(self, sys: Path = Path("/sys")) -> None:
        self._sys = sys

    def of_trial(self, trial: Trial, context: Context) -> float | None:  # noqa: ARG002
        return energy_j_per_million(trial)

    def learn(self, trials: Sequence[Trial]) -> PowerModel:
        seen = [
            (trial.judged.cpu_percent / 100, watts)
            for trial in trials
            if trial.judged.cpu_percent is not None and (watts := package_power_w(trial)) is not None
        ]
        of_gpu = [watts for trial in trials if trial.configuration.gpu is not None and (watts := gpu_power_w(trial))]
        idle_w, per_busy_cpu_w = _line(seen) if seen else (None, 0.0)
        return PowerModel(idle_w=idle_w, per_busy_cpu_w=per_busy_cpu_w, gpu_w=fmean(of_gpu) if of_gpu else None)

    def predicted(self, prediction: Prediction, context: Context) -> float | None:
        if not isinstance(context.learnt, PowerModel):
            return None
        capacity_per_s, configuration = prediction.capacity_per_s, prediction.configuration
        rate_per_s = capacity_per_s if context.rate_per_s is None else context.rate_per_s / prediction.instances
        answered_per_s = min(rate_per_s, capacity_per_s)
        if not answered_per_s:
            return inf
        threads = min(configuration.vcpus, configuration.workers * configuration.settings.threads)
        watts = context.learnt.watts(configuration, threads * answered_per_s / capacity_per_s)
        return None if watts is None else INFERENCES * watts / answered_per_s

    def check(self, host: Host) -> None:
        check_power(self.name, host, sys=self._sys)

    def compared_by(self, context: Context) -> str:  # noqa: ARG002
        return "energy per inference"


def check_power(goal: str, host: Host, *, sys: Path = Path("/sys")) -> None:
    """Make sure that ``host`` can tell what it draws: its processor packages, or a GPU.

    Args:
        goal: The name of the objective that needs to know.
        host: This host.
        sys: Where the kernel shows its counters.

    Raises:
        SpecError: neither the packages nor a GPU say what they draw, with the reason and what to do about it.

    Example:
        ``check_power("energy", describe_host())``
    """
    if PackageEnergy.readable(sys) or any(reports_power(gpu.index) for gpu in host.gpus):
        return
    gpu = "no GPU here reports its power" if host.gpus else f"there is no GPU to ask ({host.no_gpu_reason})"
    if counters := PackageEnergy.paths(sys):
        raise SpecError(
            "goal",
            goal,
            f"cannot be measured here: the energy counters of the processors are for root alone, and {gpu}",
            remedy=f"sudo chmod a+r {counters[0].parent.parent}/intel-rapl:*/energy_uj",
        )
    raise SpecError(
        "goal",
        goal,
        f"cannot be measured here: the kernel shows no energy counters of the processors (RAPL), and {gpu}",
        remedy="measure on bare metal, since virtual machines seldom have these counters, or ask for --goal cost",
    )


def _line(seen: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the foot and the slope of the line through busy CPUs and watts, neither below zero: by least squares where
    CPUs were not all as busy, else level."""
    mean_busy, mean_w = fmean(busy for busy, _ in seen), fmean(watts for _, watts in seen)
    spread = fsum((busy - mean_busy) ** 2 for busy, _ in seen)
    if not spread:
        return mean_w, 0.0
    slope = max(0.0, fsum((busy - mean_busy) * (watts - mean_w) for busy, watts in seen) / spread)
    foot = mean_w - slope * mean_busy
    return (foot, slope) if foot >= 0 else (0.0, mean_w / mean_busy)
