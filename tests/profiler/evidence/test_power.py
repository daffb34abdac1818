"""The power of made-up runs."""

from __future__ import annotations

from typing import Any

import pytest

from servefit.profiler.evidence.power import gpu_power_w, package_power_w
from servefit.profiler.record.traffic import OpenLoop
from servefit.profiler.record.types import Run, Samples, TelemetryPoint

MS = 1_000_000


def point(at_ms: int, over_ms: int = 100, **seen: Any) -> TelemetryPoint:
    return TelemetryPoint(at_ns=at_ms * MS, over_ns=over_ms * MS, cpu_percent=1, memory_bytes=1, **seen)


def run(*telemetry: TelemetryPoint) -> Run:
    """A run whose plateau lies from 100 ms to 400 ms."""
    return Run(
        driver="inprocess",
        traffic=OpenLoop(rate_per_s=100, duration_s=1),
        samples=Samples(scheduled=b"", started=b"", ended=b""),
        plateau_ns=(100 * MS, 400 * MS),
        offered=0,
        backlog=0,
        lags=b"",
        busy_cpu_ns=0,
        threads_per_worker=(1,),
        threads_outside=0,
        peak_memory_bytes=100,
        telemetry=telemetry,
    )


def test_the_power_of_packages_is_their_energy_over_the_plateau_alone() -> None:
    before, inside, after = (point(at, package_energy_j=joules) for at, joules in [(100, 50), (200, 3), (500, 90)])
    assert package_power_w(run(before, inside, after)) == pytest.approx(30)


def test_a_point_counts_for_as_much_of_it_as_lies_on_the_plateau() -> None:
    half = point(150, package_energy_j=10)  # 100 W, 50 ms of it on the plateau
    whole = point(250, package_energy_j=4)  # 40 W, 100 ms
    assert package_power_w(run(half, whole)) == pytest.approx((50 * 100 + 100 * 40) / 150)


def test_the_power_of_the_gpu_is_its_mean_on_the_plateau() -> None:
    assert gpu_power_w(run(point(50, gpu_power_w=10.0), point(300, 200, gpu_power_w=75.0))) == pytest.approx(75)


def test_what_nobody_could_read_is_none() -> None:
    blind = run(point(200), point(300))
    assert (package_power_w(blind), gpu_power_w(blind)) == (None, None)
    assert (package_power_w(run()), gpu_power_w(run())) == (None, None)
