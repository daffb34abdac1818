"""A point of telemetry: what happened between two snapshots of running workers."""

from __future__ import annotations

from servefit.showing import shown
from servefit.stored import Stored


@shown("at_ns", "cpu_percent", "memory_bytes")
class TelemetryPoint(Stored, frozen=True, kw_only=True):
    """The ``over_ns`` nanoseconds before ``at_ns`` (of ``time.monotonic_ns``), as seen from outside.

    None is what could not be read, or was not asked for, and never zero. Per cents are of one CPU's time and summed
    over CPUs: four busy ones are 400.

    Workers: ``cpu_percent`` is the CPU time of all of them without what they spent waiting for arrivals, and
    ``worker_percents`` that of each with it. ``memory_bytes`` is what they have in memory now, anonymous pages and
    those of files, without shared memory. ``run_queue_percent`` is the time for which their threads could have run and
    had no CPU, summed over threads. ``voluntary_switches`` are the times that one of them gave its CPU away,
    ``involuntary_switches`` those that it was taken.

    The envelope's CPUs: ``core_percents`` is the busy time of each, in ascending order of CPUs, ``foreign_percent``
    that of them all less the CPU time of the workers and of servefit's own process, which is ``own_percent``. The
    kernel counts idle time in steps of 10 ms, so in a single point ``foreign_percent`` may be off by 10 a CPU, below
    zero too; sums over a run are right. ``steal_percent`` is the share of these CPUs' time that a hypervisor took.
    ``throttled_percent`` is time for which a control group with a quota was kept from its CPUs, summed over CPUs, and
    ``thermal_throttles`` how often these CPUs were slowed down for heat.

    The machine: ``cpu_pressure_percent`` and ``memory_pressure_percent`` are the shares of the time in which some task
    waited for a CPU, or for memory [PSI]. ``package_energy_j`` is what its processors used, in joules [RAPL].

    The GPU, as NVML tells: ``gpu_memory_bytes`` is what all processes on it use, ``gpu_throttled`` whether it was
    slowed down now for heat or by its power supply; reaching its own power limit, which is ordinary, does not count.
    """

    at_ns: int
    over_ns: int
    cpu_percent: float
    memory_bytes: int
    worker_percents: tuple[float, ...] = ()
    run_queue_percent: float | None = None
    voluntary_switches: int | None = None
    involuntary_switches: int | None = None
    own_percent: float | None = None
    core_percents: tuple[float, ...] | None = None
    foreign_percent: float | None = None
    steal_percent: float | None = None
    throttled_percent: float | None = None
    thermal_throttles: int | None = None
    cpu_pressure_percent: float | None = None
    memory_pressure_percent: float | None = None
    package_energy_j: float | None = None
    gpu_percent: float | None = None
    gpu_memory_bytes: int | None = None
    gpu_power_w: float | None = None
    gpu_sm_clock_mhz: int | None = None
    gpu_memory_clock_mhz: int | None = None
    gpu_throttled: bool | None = None
