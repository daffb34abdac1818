"""Predictions: capacity, latency at a rate, and the highest rate under limits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks import queues
from servefit.errors import SpecError
from servefit.profiler.queueing.discipline import Discipline
from servefit.profiler.queueing.service import BatchTimes, ServiceTimes
from servefit.profiler.record.traffic import ClosedLoop, OpenLoop
from servefit.search.simulation import prediction
from servefit.search.simulation.prediction import QueuePrediction, highest_rate_per_s, predict, predict_users
from servefit.search.simulation.simulated_run import simulate

if TYPE_CHECKING:
    from collections.abc import Callable

CONTENDING = ServiceTimes(
    batches=tuple(BatchTimes(requests=size, strata_ns=(2e5 * size, 3e5 * size + 1e5)) for size in (1, 4)),
    workers=3,
    contention=1.4,
)


@pytest.mark.parametrize(
    ("workers", "max_batch", "delay_us"), [(1, 1, 0), (3, 1, 0), (1, 8, 0), (2, 4, 0), (3, 4, 900)]
)
def test_capacity_and_latency_without_a_rate_are_those_of_the_closed_loop_that_fills_all_batches(
    workers: int, max_batch: int, delay_us: int
) -> None:
    configuration: dict[str, Any] = {"workers": workers, "max_batch": max_batch, "batch_delay_us": delay_us}
    found = predict(CONTENDING, Discipline(**configuration), rate_per_s=None, percentiles=(50, 95))
    loop = simulate(CONTENDING, ClosedLoop.constant(users=workers * max_batch, duration_s=2), **configuration)
    assert found.capacity_per_s == pytest.approx(loop.throughput_per_s, rel=0.02)
    assert found.latency_ms["p95"] == pytest.approx(loop.percentile_ms(95), rel=1e-3)
    assert not found.saturated


@pytest.mark.integration
@pytest.mark.parametrize("users", [1, 2, 3, 5, 12, 40])
@pytest.mark.parametrize(
    ("workers", "max_batch", "delay_us"), [(1, 1, 0), (3, 1, 0), (1, 8, 0), (3, 4, 0), (2, 4, 900)]
)
def test_of_so_many_users_capacity_and_latency_are_those_of_their_closed_loop(
    workers: int, max_batch: int, delay_us: int, users: int
) -> None:
    configuration = {"workers": workers, "max_batch": max_batch, "batch_delay_us": delay_us}
    found = predict_users(CONTENDING, Discipline(**configuration), users=users, percentiles=(50, 95))
    loop = simulate(CONTENDING, ClosedLoop.constant(users=users, duration_s=4), **configuration, seed=1)
    assert found.capacity_per_s == pytest.approx(loop.throughput_per_s, rel=0.02)
    assert found.latency_ms["p95"] == pytest.approx(loop.percentile_ms(95), rel=0.03)
    assert not found.saturated


def test_two_users_get_what_two_users_get_however_many_a_call_may_join(batching_ms: ServiceTimes) -> None:
    two, full = (
        predict_users(batching_ms, Discipline(workers=1, max_batch=128), users=users, percentiles=(95,))
        for users in (2, 128)
    )
    # Calls of two take 1.4 ms on average, those of 128 take 51.8 ms.
    assert two.capacity_per_s == pytest.approx(2 / 1.4e-3, rel=0.01)
    assert two.latency_ms["p95"] == pytest.approx(1.5 * 1.4, rel=0.01)
    assert full.capacity_per_s == pytest.approx(128 / 51.8e-3, rel=0.01)
    assert full == predict(batching_ms, Discipline(workers=1, max_batch=128), rate_per_s=None, percentiles=(95,))


def test_users_beyond_those_who_fill_the_batches_wait_and_are_not_answered_more_often(
    constant_ms: ServiceTimes,
) -> None:
    few, many = (
        predict_users(constant_ms, Discipline(workers=2, max_batch=2), users=users, percentiles=(50,))
        for users in (4, 40_000)
    )
    assert many.capacity_per_s == pytest.approx(few.capacity_per_s, rel=1e-3)
    # Calls of two take 2 ms, and 0.8 us in which the driver looks after them.
    assert few.latency_ms["p50"] == pytest.approx(2.0008)
    assert many.latency_ms["p50"] == pytest.approx(10_000 * 2.0008, rel=0.01)


def test_no_users_at_all_are_refused(constant_ms: ServiceTimes) -> None:
    with pytest.raises(SpecError, match="users"):
        predict_users(constant_ms, Discipline(workers=1), users=0, percentiles=(95,))


def test_latency_at_a_rate_is_that_of_the_queue(constant_ms: ServiceTimes) -> None:
    found = predict(constant_ms, Discipline(workers=1), rate_per_s=700, percentiles=(50, 95), requests=100_000)
    assert not found.saturated
    assert found.latency_ms["p95"] == pytest.approx(queues.md1_quantile(95, 0.7, 1.0), rel=0.05)
    assert found.latency_ms["p50"] == pytest.approx(queues.md1_quantile(50, 0.7, 1.0), rel=0.05)


def test_a_rate_that_leaves_the_queue_empty_gives_the_service_time_however_low_it_is(
    constant_ms: ServiceTimes,
) -> None:
    for rate_per_s in (1e-6, 0.1, 1.0):
        found = predict(constant_ms, Discipline(workers=2), rate_per_s=rate_per_s, percentiles=(95,))
        assert found.latency_ms["p95"] == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize("rate_per_s", [1000.0, 1e9])
def test_a_rate_that_cannot_be_served_is_saturation_and_leaves_the_latency_of_the_closed_loop(
    rate_per_s: float, constant_ms: ServiceTimes
) -> None:
    found = predict(constant_ms, Discipline(workers=1), rate_per_s=rate_per_s, percentiles=(95,))
    assert found.saturated
    assert found.latency_ms == pytest.approx({"p95": 1.0}, rel=1e-3)


def test_a_percentile_of_too_few_requests_is_not_given(constant_ms: ServiceTimes) -> None:
    found = predict(constant_ms, Discipline(workers=1), rate_per_s=100, percentiles=(50, 99, 99.9), requests=600)
    assert found.latency_ms["p99"] is not None
    assert found.latency_ms["p99.9"] is None


def test_batching_serves_a_rate_that_single_requests_cannot(batching_ms: ServiceTimes) -> None:
    def at_batch(max_batch: int) -> QueuePrediction:
        return predict(batching_ms, Discipline(workers=1, max_batch=max_batch), rate_per_s=1500, percentiles=(95,))

    assert at_batch(1).saturated
    assert not at_batch(8).saturated


@pytest.mark.parametrize("limit_ms", [6.0, 10.0, 30.0])
@pytest.mark.parametrize("workers", [1, 2])
def test_the_highest_rate_is_that_of_m_m_c(workers: int, limit_ms: float, exponential_ms: ServiceTimes) -> None:
    truth = root(lambda part: queues.mmc_quantile(95, part * workers, 1.0, workers) <= limit_ms)
    found = highest_rate_per_s(exponential_ms, Discipline(workers=workers), limits=[(95, limit_ms)])
    assert found == pytest.approx(1000 * workers * truth, rel=0.06)


@pytest.mark.parametrize("limit_ms", [3.0, 10.0])
def test_the_highest_rate_is_that_of_m_d_1(limit_ms: float, constant_ms: ServiceTimes) -> None:
    truth = root(lambda part: queues.md1_quantile(95, part, 1.0) <= limit_ms)
    found = highest_rate_per_s(constant_ms, Discipline(workers=1), limits=[(95, limit_ms)], requests=100_000)
    assert found == pytest.approx(1000 * truth, rel=0.02)


def root(holds: Callable[[float], bool]) -> float:
    """The highest part of the capacity at which it holds."""
    low, high = 0.0, 0.999
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def test_the_strictest_limit_decides(exponential_ms: ServiceTimes) -> None:
    loose, strict, together = (
        highest_rate_per_s(exponential_ms, Discipline(workers=1), limits=limits)
        for limits in ([(50, 100.0)], [(99, 9.0)], [(50, 100.0), (99, 9.0)])
    )
    assert together == strict < loose < 1000


def test_without_limits_it_is_the_capacity(constant_ms: ServiceTimes) -> None:
    assert highest_rate_per_s(constant_ms, Discipline(workers=2), limits=[]) == pytest.approx(2000, rel=0.01)


def test_no_rate_is_low_enough_for_a_limit_below_the_service_time(constant_ms: ServiceTimes) -> None:
    assert highest_rate_per_s(constant_ms, Discipline(workers=4), limits=[(95, 0.99)]) == 0
    assert highest_rate_per_s(constant_ms, Discipline(workers=4), limits=[(95, 1.01)]) > 0


def test_a_rate_is_found_though_lower_ones_wait_too_long_for_a_batch(batching_ms: ServiceTimes) -> None:
    delayed: dict[str, Any] = {"workers": 1, "max_batch": 8, "batch_delay_us": 100_000}
    limits = [(95.0, 20.0)]
    found = highest_rate_per_s(batching_ms, Discipline(**delayed), limits=limits)
    low = predict(batching_ms, Discipline(**delayed), rate_per_s=50, percentiles=(95,)).latency_ms["p95"]
    there = predict(
        batching_ms, Discipline(**delayed), rate_per_s=found, percentiles=(95,), requests=20_000
    ).latency_ms["p95"]
    assert low is not None
    assert low > 100
    assert there == pytest.approx(20, rel=0.1)


@pytest.mark.parametrize(
    "ask",
    [
        lambda service: predict(service, Discipline(workers=0), rate_per_s=None, percentiles=(95,)),
        lambda service: predict(service, Discipline(workers=1), rate_per_s=0, percentiles=(95,)),
        lambda service: predict(service, Discipline(workers=1), rate_per_s=math.inf, percentiles=(95,)),
        lambda service: predict(service, Discipline(workers=1), rate_per_s=1, percentiles=(100,)),
        lambda service: predict(service, Discipline(workers=1), rate_per_s=1, percentiles=(95,), requests=0),
        lambda service: highest_rate_per_s(service, Discipline(workers=1), limits=[(0, 1.0)]),
        lambda service: highest_rate_per_s(service, Discipline(workers=1), limits=[(95, 0.0)]),
        lambda service: highest_rate_per_s(service, Discipline(workers=1, max_batch=0), limits=[(95, 1.0)]),
    ],
)
def test_what_cannot_be_asked_is_refused(ask: Callable[[ServiceTimes], object], constant_ms: ServiceTimes) -> None:
    with pytest.raises(SpecError):
        ask(constant_ms)


SHAPES = ("constant", "sine:amplitude=80%,period=1s", "bursts:factor=4,burst=5ms,quiet=15ms", "steps:rates=1/s+3/s")


@pytest.mark.parametrize("arrivals", SHAPES)
def test_latency_under_any_arrivals_is_that_of_a_run_of_them(arrivals: str, exponential_ms: ServiceTimes) -> None:
    found = predict(
        exponential_ms, Discipline(workers=2), rate_per_s=900, percentiles=(95,), requests=30_000, arrivals=arrivals
    )
    run = simulate(exponential_ms, OpenLoop(rate_per_s=900, duration_s=40, arrivals=arrivals, seed=5), workers=2)
    assert found.latency_ms["p95"] == pytest.approx(run.percentile_ms(95), rel=0.15)


@pytest.mark.integration
def test_the_highest_rate_is_lower_the_more_arrivals_vary(exponential_ms: ServiceTimes) -> None:
    def highest(arrivals: str) -> float:
        return highest_rate_per_s(exponential_ms, Discipline(workers=2), limits=[(95, 10.0)], arrivals=arrivals)

    shapes = ("constant", "poisson", SHAPES[1], "bursts:factor=8,burst=50ms,quiet=200ms")
    constant, poisson, sine, bursts = map(highest, shapes)
    assert bursts < 0.8 * sine < sine < poisson < constant
    # At the peak of the sine there is as much as there is room for at all times.
    assert sine * 1.8 > poisson


@pytest.mark.integration
def test_of_a_cycle_of_too_many_requests_a_part_is_simulated(
    constant_ms: ServiceTimes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction, "_MAX_IN_A_CYCLE", 5_000)
    found = predict(
        constant_ms, Discipline(workers=4), rate_per_s=3000, percentiles=(50,), arrivals="steps:rates=0+1/s,each=1min"
    )
    assert found.capacity_per_s == pytest.approx(4000, rel=0.01)
