"""The figures of simulated runs, compared with queueing theory and with the summary of a measured run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks import queues
from servefit.errors import SpecError
from servefit.profiler.evidence.summary import summarize
from servefit.profiler.record.traffic import ClosedLoop, OpenLoop, Traffic
from servefit.profiler.record.types import Run, Samples
from servefit.search.simulation.simulated_run import SimulatedRun, simulate

if TYPE_CHECKING:
    from servefit.profiler.queueing.service import ServiceTimes


def poisson(rate_per_s: float, duration_s: float) -> OpenLoop:
    return OpenLoop(rate_per_s=rate_per_s, duration_s=duration_s, seed=3)


def without_overhead(service: ServiceTimes, traffic: Traffic, **options: int) -> SimulatedRun:
    return simulate(service, traffic, overhead_ns=0.0, overhead_per_request_ns=0.0, **options)


@pytest.mark.integration
@pytest.mark.parametrize("utilisation", [0.3, 0.6, 0.8])
@pytest.mark.parametrize(("workers", "duration_s"), [(1, 600), (2, 60), (4, 30)])
def test_exponential_services_give_the_response_times_of_m_m_c(
    workers: int, duration_s: float, utilisation: float, exponential_ms: ServiceTimes
) -> None:
    rate_per_ms = utilisation * workers
    found = without_overhead(exponential_ms, poisson(1000 * rate_per_ms, duration_s), workers=workers)
    mean_ms = float(found.response_ns.mean()) / 1e6
    assert mean_ms == pytest.approx(queues.mmc_mean(rate_per_ms, 1.0, workers), rel=0.08)
    assert found.percentile_ms(95) == pytest.approx(queues.mmc_quantile(95, rate_per_ms, 1.0, workers), rel=0.08)
    assert found.utilisation == pytest.approx(utilisation, rel=0.02)
    assert found.throughput_per_s == pytest.approx(1000 * rate_per_ms, rel=0.02)
    assert not found.saturated


@pytest.mark.integration
@pytest.mark.parametrize(
    "utilisation", [0.6, *(pytest.param(other, marks=pytest.mark.thorough) for other in (0.3, 0.9))]
)
def test_constant_services_give_the_response_times_of_m_d_1(utilisation: float, constant_ms: ServiceTimes) -> None:
    found = without_overhead(constant_ms, poisson(1000 * utilisation, 2400), workers=1)
    assert float(found.response_ns.mean()) / 1e6 == pytest.approx(queues.md1_mean(utilisation, 1.0), rel=0.04)
    assert found.percentile_ms(95) == pytest.approx(queues.md1_quantile(95, utilisation, 1.0), rel=0.04)


def test_evenly_spaced_arrivals_below_capacity_wait_for_nothing(constant_ms: ServiceTimes) -> None:
    found = without_overhead(constant_ms, OpenLoop(rate_per_s=900, duration_s=1, arrivals="constant"), workers=1)
    assert found.percentile_ms(99) == pytest.approx(1)


@pytest.mark.parametrize(("part", "saturated"), [(0.8, False), (1.2, True), (2.0, True)])
@pytest.mark.parametrize(("workers", "max_batch"), [(1, 1), (3, 1), (1, 8), (2, 8)])
def test_more_arrivals_than_can_be_served_are_saturation(
    workers: int, max_batch: int, part: float, saturated: bool, batching_ms: ServiceTimes
) -> None:
    capacity_per_s = workers * max_batch / batching_ms.mean_ns(max_batch) * 1e9
    found = simulate(batching_ms, poisson(part * capacity_per_s, 3), workers=workers, max_batch=max_batch)
    assert found.saturated is saturated
    assert found.throughput_per_s == pytest.approx(min(part, 1) * capacity_per_s, rel=0.05)


def test_more_waiting_requests_than_the_traffic_allows_are_saturation(constant_ms: ServiceTimes) -> None:
    capped = OpenLoop(rate_per_s=800, duration_s=5, backlog_cap=3)
    assert simulate(constant_ms, capped, workers=1).saturated
    assert not simulate(constant_ms, poisson(800, 5), workers=1).saturated


@pytest.mark.parametrize(
    ("traffic", "delay_us"),
    [
        (poisson(500, 1), 0),
        (poisson(500, 1), 3000),
        (poisson(6000, 1), 0),
        (poisson(9000, 0.5), 3000),
        (ClosedLoop.constant(users=11, duration_s=0.5), 0),
        (ClosedLoop.stairs(steps=2, users_per_step=5, step_duration_s=0.2), 500),
    ],
)
def test_figures_are_those_of_a_measured_run_with_the_same_records(
    traffic: Traffic, delay_us: int, batching_ms: ServiceTimes
) -> None:
    found = simulate(batching_ms, traffic, workers=2, max_batch=8, batch_delay_us=delay_us)
    summary = summarize(as_measured(found, traffic, delay_us))
    assert found.saturated == summary.saturated
    assert found.throughput_per_s == pytest.approx(summary.throughput_per_s)
    for name, rank in (("p50", 50), ("p95", 95)):
        assert found.percentile_ms(rank) == pytest.approx(summary.latency_ms[name], rel=1e-3)


def as_measured(found: SimulatedRun, traffic: Traffic, delay_us: int) -> Run:
    """The record of a run in which exactly that has happened, from one second on the clock on."""
    begin, end = (round(1e9 + edge) for edge in found.plateau_ns)
    due, started, ended = (
        (1e9 + column).astype(np.int64) for column in (found.scheduled_ns, found.started_ns, found.ended_ns)
    )
    return Run(
        driver="inprocess",
        traffic=traffic,
        samples=Samples(scheduled=due.tobytes(), started=started.tobytes(), ended=ended.tobytes()),
        plateau_ns=(begin, end),
        offered=int(np.count_nonzero((due >= begin) & (due < end))),
        backlog=int(np.count_nonzero((due >= begin) & (due < end - 1000 * delay_us) & (started >= end))),
        lags=b"",
        busy_cpu_ns=0,
        threads_per_worker=(1,) * found.workers,
        threads_outside=0,
        peak_memory_bytes=0,
        telemetry=(),
    )


def test_a_run_ends_before_the_first_arrival_that_is_one_too_many(constant_ms: ServiceTimes) -> None:
    traffic = poisson(500, 10)
    found = simulate(constant_ms, traffic, workers=1, most_requests=100)
    assert np.array_equal(found.scheduled_ns, traffic.arrivals_ns()[:100])
    assert found.plateau_ns == (0, traffic.arrivals_ns()[100])


def test_nothing_is_known_of_a_run_without_arrivals(constant_ms: ServiceTimes) -> None:
    found = simulate(constant_ms, OpenLoop(rate_per_s=0.01, duration_s=0.1), workers=1)
    assert found.calls == 0
    assert found.throughput_per_s == found.utilisation == 0
    assert math.isnan(found.percentile_ms(95))
    assert not found.saturated


@pytest.mark.parametrize(
    "options",
    [
        {"workers": 0},
        {"max_batch": 0},
        {"batch_delay_us": -1},
        {"overhead_ns": -1.0},
        {"overhead_per_request_ns": math.nan},
        {"most_requests": 0},
    ],
)
def test_what_no_configuration_could_have_is_refused(options: dict[str, int], constant_ms: ServiceTimes) -> None:
    with pytest.raises(SpecError):
        simulate(constant_ms, poisson(100, 1), **{"workers": 1, **options})


def test_a_peak_that_drains_is_no_saturation(constant_ms: ServiceTimes) -> None:
    """The last of three peaks ends with the run. Each is of 1600 a second for a second, and 1000 can be served."""
    peaks = OpenLoop(rate_per_s=800, duration_s=6, arrivals="steps:rates=0+2/s,each=1s")
    found = simulate(constant_ms, peaks, workers=1)
    assert found.percentile_ms(95) > 400
    assert not found.saturated
    assert simulate(constant_ms, OpenLoop(rate_per_s=1200, duration_s=6, arrivals=peaks.arrivals), workers=1).saturated
