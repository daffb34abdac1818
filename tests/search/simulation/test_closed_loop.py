"""The queue of a closed loop: laws that hold exactly, and worked examples."""

from __future__ import annotations

import numpy as np
import pytest

from servefit.profiler.queueing.service import BatchTimes, ServiceTimes
from servefit.profiler.record.traffic import ClosedLoop, TrafficPhase
from servefit.search.simulation.simulated_run import SimulatedRun, simulate

MS = 1e6


def run(
    service: ServiceTimes, *, users: int, duration_s: float = 1.0, overhead_ns: float = 0.0, **options: int
) -> SimulatedRun:
    traffic = ClosedLoop.constant(users=users, duration_s=duration_s)
    return simulate(service, traffic, overhead_ns=overhead_ns, overhead_per_request_ns=0.0, **options)


@pytest.mark.parametrize(("users", "workers"), [(1, 1), (3, 1), (2, 2), (1, 2), (7, 2), (4, 8)])
def test_throughput_is_that_of_the_workers_or_of_the_users_whichever_is_less(
    users: int, workers: int, constant_ms: ServiceTimes
) -> None:
    found = run(constant_ms, users=users, workers=workers)
    assert found.throughput_per_s == pytest.approx(1000 * min(users, workers), rel=0.01)
    assert found.utilisation == pytest.approx(min(users, workers) / workers, rel=0.01)
    assert found.response_ns.mean() == pytest.approx(max(1, users / workers) * MS, rel=0.01)
    assert not found.saturated


@pytest.mark.parametrize(("users", "workers", "max_batch", "delay_us"), [(5, 2, 1, 0), (9, 2, 8, 0), (9, 3, 8, 900)])
def test_littles_law_holds_exactly(
    users: int, workers: int, max_batch: int, delay_us: int, batching_ms: ServiceTimes
) -> None:
    found = run(batching_ms, users=users, workers=workers, max_batch=max_batch, batch_delay_us=delay_us)
    begin, end = found.plateau_ns
    within = np.minimum(found.ended_ns, end) - found.scheduled_ns
    assert within.sum() == pytest.approx(users * (end - begin), rel=1e-9)


def test_users_who_fill_all_batches_keep_every_worker_busy_with_full_ones(batching_ms: ServiceTimes) -> None:
    found = run(batching_ms, users=16, workers=2, max_batch=8, duration_s=5.0)
    assert set(found.batches.tolist()) == {8}
    assert found.utilisation == pytest.approx(1)
    assert found.throughput_per_s == pytest.approx(2 * 8 / 3.8e-3, rel=0.02)


def test_the_driver_takes_its_time_between_calls(constant_ms: ServiceTimes) -> None:
    found = run(constant_ms, users=1, workers=1, overhead_ns=0.25 * MS)
    assert found.throughput_per_s == pytest.approx(800, rel=0.01)
    assert found.percentile_ms(50) == pytest.approx(1.25)
    assert found.utilisation == pytest.approx(0.8, rel=0.01)


def test_workers_that_are_busy_together_slow_each_other_down() -> None:
    service = ServiceTimes(batches=(BatchTimes(requests=1, strata_ns=(MS,)),), workers=2, contention=1.25)
    assert run(service, users=1, workers=2).throughput_per_s == pytest.approx(1000, rel=0.01)
    assert run(service, users=2, workers=2).throughput_per_s == pytest.approx(1600, rel=0.01)


def test_a_worker_keeps_its_users_and_leaves_none_to_an_idle_one(constant_ms: ServiceTimes) -> None:
    found = run(constant_ms, users=4, workers=2, max_batch=4)
    assert set(found.batches.tolist()) == {4}
    assert found.utilisation == pytest.approx(0.5)


def test_users_too_few_for_a_batch_wait_for_the_first_look_after_the_delay(constant_ms: ServiceTimes) -> None:
    service = ServiceTimes(batches=tuple(BatchTimes(requests=size, strata_ns=(MS,)) for size in (1, 4)))
    found = run(service, users=3, workers=1, max_batch=4, batch_delay_us=250)
    assert set(found.batches.tolist()) == {3}
    assert found.percentile_ms(50) == pytest.approx(1.3)


def test_a_batch_that_fills_up_before_its_delay_leaves_at_once() -> None:
    service = ServiceTimes(batches=tuple(BatchTimes(requests=size, strata_ns=(MS,)) for size in (1, 2)))
    found = run(service, users=4, workers=1, max_batch=2, batch_delay_us=5000)
    assert found.throughput_per_s == pytest.approx(2000, rel=0.01)


def test_figures_are_of_the_time_after_the_last_user_has_joined(constant_ms: ServiceTimes) -> None:
    stairs = ClosedLoop.stairs(steps=3, users_per_step=2, step_duration_s=0.5)
    found = simulate(constant_ms, stairs, workers=8, overhead_ns=0, overhead_per_request_ns=0)
    assert found.plateau_ns == (1e9, 1.5e9)
    assert found.throughput_per_s == pytest.approx(6000, rel=0.01)


def test_a_run_ends_after_the_most_requests_of_its_plateau(constant_ms: ServiceTimes) -> None:
    found = run(constant_ms, users=2, workers=2, duration_s=1000, most_requests=50)
    assert found.plateau_ns == pytest.approx((0, 25 * MS))
    assert found.throughput_per_s == pytest.approx(50 / 0.025)


def test_a_run_that_has_its_answers_ends_after_the_last_of_them_whichever_worker_is_free_first() -> None:
    """A large call that ended earlier may keep its worker for longer than a small one that ended later."""
    service = ServiceTimes(
        batches=tuple(BatchTimes(requests=size, strata_ns=(50_000.0,)) for size in (1, 2, 3)),
        workers=3,
        contention=2.723998785177366,
    )
    phase = TrafficPhase(initial_users=5, spawn_per_minute=0, duration_s=0.015)
    found = simulate(
        service,
        ClosedLoop(phases=(phase, phase)),
        workers=3,
        max_batch=4,
        batch_delay_us=0,
        overhead_ns=0.0,
        overhead_per_request_ns=90.0,
        most_requests=200,
        seed=0,
    )
    assert np.all(found.scheduled_ns < found.plateau_ns[1])
