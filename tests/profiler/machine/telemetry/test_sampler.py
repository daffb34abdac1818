"""The telemetry point between two made-up snapshots."""

from __future__ import annotations

from typing import Any

import pytest

from servefit.profiler.machine.gpu import GpuCounters
from servefit.profiler.machine.telemetry.machine import MachineSnapshot
from servefit.profiler.machine.telemetry.processes import ProcessSnapshot, ThreadSnapshot
from servefit.profiler.machine.telemetry.processors import ProcessorTimes
from servefit.profiler.machine.telemetry.sampler import Snapshot, point_between

MS = 1_000_000
NOTHING: dict[str, None] = {
    "cpu_pressure_us": None,
    "memory_pressure_us": None,
    "throttled_ns": None,
    "thermal_throttles": None,
}


def snapshot_at(at_ms: int, **facts: Any) -> Snapshot:
    quiet: dict[str, Any] = {
        "at_ns": at_ms * MS,
        "workers": (),
        "waiting_ns": 0,
        "own_cpu_ns": 0,
        "processors": None,
        "machine": MachineSnapshot(**NOTHING, energy_uj=None),
        "gpu": GpuCounters(),
    }
    return Snapshot(**quiet | facts)


def worker(cpu_ms: int, **delays_ms: int | None) -> ProcessSnapshot:
    """A worker that has used so much CPU, and its threads with their delays."""
    threads = {
        int(name.removeprefix("t")): ThreadSnapshot(
            delay_ns=None if delay is None else delay * MS, voluntary_switches=3, involuntary_switches=None
        )
        for name, delay in delays_ms.items()
    }
    return ProcessSnapshot(cpu_ns=cpu_ms * MS, memory_bytes=1000, threads=threads)


def processors(*idle_and_steal_ms: tuple[int, int]) -> tuple[ProcessorTimes, ...]:
    return tuple(ProcessorTimes(idle_ns=idle * MS, steal_ns=steal * MS) for idle, steal in idle_and_steal_ms)


def test_what_nobody_of_ours_used_is_foreign() -> None:
    before = snapshot_at(0, workers=(worker(0), worker(0)), processors=processors((0, 0), (0, 0)))
    after = snapshot_at(
        100,
        workers=(worker(60), worker(20)),
        waiting_ns=30 * MS,
        own_cpu_ns=5 * MS,
        processors=processors((0, 0), (60, 10)),
    )
    point = point_between(before, after, envelope_known=True)
    assert point.over_ns == 100 * MS
    assert point.worker_percents == pytest.approx((60, 20))
    assert point.cpu_percent == pytest.approx(50)
    assert point.core_percents == pytest.approx((100, 30))
    assert point.own_percent == pytest.approx(5)
    assert point.foreign_percent == pytest.approx(130 - 80 - 5)
    assert point.steal_percent == pytest.approx(5)
    assert point.memory_bytes == 2000


def test_threads_that_began_in_between_count_and_those_that_ended_do_no_harm() -> None:
    before = snapshot_at(0, workers=(worker(0, t1=10, t2=40),))
    after = snapshot_at(100, workers=(worker(0, t1=25, t3=5, t4=None),))
    point = point_between(before, after, envelope_known=True)
    assert point.run_queue_percent == pytest.approx(20)
    assert point.voluntary_switches == 6
    assert point.involuntary_switches is None


def test_what_could_not_be_read_is_none() -> None:
    point = point_between(snapshot_at(0), snapshot_at(100), envelope_known=True)
    for unread in (
        point.core_percents,
        point.foreign_percent,
        point.steal_percent,
        point.run_queue_percent,
        point.throttled_percent,
        point.thermal_throttles,
        point.cpu_pressure_percent,
        point.package_energy_j,
        point.gpu_percent,
    ):
        assert unread is None


def test_totals_become_shares_of_the_time_between() -> None:
    machine = MachineSnapshot(
        cpu_pressure_us=100, memory_pressure_us=0, throttled_ns=0, thermal_throttles=7, energy_uj=1_000_000
    )
    later = MachineSnapshot(
        cpu_pressure_us=50_100, memory_pressure_us=1000, throttled_ns=5 * MS, thermal_throttles=9, energy_uj=6_500_000
    )
    gpu = GpuCounters(utilisation_percent=40.0, sm_clock_mhz=1980, memory_clock_mhz=2619, throttled=False)
    point = point_between(
        snapshot_at(0, machine=machine), snapshot_at(100, machine=later, gpu=gpu), envelope_known=True
    )
    assert point.cpu_pressure_percent == pytest.approx(50)
    assert point.memory_pressure_percent == pytest.approx(1)
    assert point.throttled_percent == pytest.approx(5)
    assert point.thermal_throttles == 2
    assert point.package_energy_j == pytest.approx(5.5)
    assert (point.gpu_percent, point.gpu_sm_clock_mhz, point.gpu_throttled) == (40.0, 1980, False)
