"""The energy that an inference takes, from the power that telemetry saw on the plateau of a trial.

It is of the machine that measured: all its processor packages (RAPL), and the GPU that was used (NVML), idle power and
whatever else ran included; memory, fans and power supplies are outside of both counters. So it is what one instance
draws while it answers at the rate of the trial, by the requests that it answers. Of trials that ran at once each has
the power of all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from servefit.search.results.price import INFERENCES

if TYPE_CHECKING:
    from servefit.search.results.recommendation import Trial


def power_w(trial: Trial) -> float | None:
    """Return the mean power of the processor packages and of the GPU while ``trial`` was judged, in watts.

    None where the packages' power could not be read, or that of the GPU which the configuration uses. On a host that
    has no counter for its packages, a configuration on the GPU counts the GPU alone.
    """
    packages_w, gpu_w = package_power_w(trial), gpu_power_w(trial)
    if trial.configuration.gpu is None:
        return packages_w
    return None if gpu_w is None else gpu_w + (packages_w or 0.0)


def package_power_w(trial: Trial) -> float | None:
    """Return the mean power of the machine's processor packages while ``trial`` was judged, in watts; None where it
    could not be read."""
    return trial.judged.package_power_w


def gpu_power_w(trial: Trial) -> float | None:
    """Return the mean power of the GPU while ``trial`` was judged, in watts; None without one, or where it does not
    report any."""
    return trial.judged.gpu_power_w


def energy_j_per_million(trial: Trial) -> float | None:
    """Return the joules that a million inferences of ``trial`` took, at the load that the SLA was held against.

    Args:
        trial: One test of a job.

    Returns:
        Joules per million inferences, idle power included; None where the power could not be read, or nothing was
        answered.

    Example:
        ``energy_j_per_million(job.recommendations[0].trial)``
    """
    watts = power_w(trial)
    answered_per_s = trial.judged.throughput_per_s
    return None if watts is None or not answered_per_s else INFERENCES * watts / answered_per_s
