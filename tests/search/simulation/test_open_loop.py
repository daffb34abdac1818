"""The queue of an open loop: worked examples, and the reference simulations of the benchmarks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import queues
from servefit.profiler.queueing.after_idle import AfterIdle
from servefit.profiler.queueing.discipline import Discipline
from servefit.profiler.queueing.service import BatchTimes, DrawnTimes, ServiceTimes
from servefit.search.simulation.simulated_run import SimulatedRun, simulate_arrivals

US = 1000


def serve(due_us: list[int], *, call_us: float, **discipline: int) -> tuple[list[float], list[int]]:
    """When each request is begun, in microseconds, and the batches, where any call takes ``call_us``."""
    batches = tuple(BatchTimes(requests=size, strata_ns=(call_us * US,)) for size in (1, 2))
    queue = Discipline(**discipline, call_overhead_ns=0.0, request_overhead_ns=0.0)
    run = serve_drawn(np.array(due_us) * US, drawn(ServiceTimes(batches=batches), len(due_us), queue), queue)
    return (run.started_ns / US).tolist(), run.batches.tolist()


def drawn(service: ServiceTimes, calls: int, discipline: Discipline) -> DrawnTimes:
    random = np.random.default_rng(7)
    return service.draw(calls, most_requests=discipline.max_batch, workers=discipline.workers, random=random)


def serve_drawn(due_ns: np.ndarray, times: DrawnTimes, discipline: Discipline) -> SimulatedRun:
    return simulate_arrivals(due_ns, times, discipline, end_ns=float(due_ns[-1]) + 1)


def test_a_worker_takes_what_came_while_it_was_busy_up_to_a_full_batch() -> None:
    starts, batches = serve([0, 10, 20, 30, 40, 300], call_us=100, max_batch=3)
    assert starts == [0, 100, 100, 100, 200, 300]
    assert batches == [1, 3, 1, 1]


def test_the_first_of_fewer_waits_for_others_until_its_delay_is_over() -> None:
    starts, batches = serve([0, 30, 60, 500], call_us=100, max_batch=4, batch_delay_us=50)
    assert starts == [50, 50, 150, 550]
    assert batches == [2, 1, 1]


def test_a_full_batch_leaves_when_its_last_request_is_there() -> None:
    starts, batches = serve([0, 10, 20, 30], call_us=100, max_batch=3, batch_delay_us=50)
    assert starts == [20, 20, 20, 120]
    assert batches == [3, 1]


def test_a_request_that_has_waited_for_a_worker_waits_no_longer_for_others() -> None:
    starts, batches = serve([0, 60, 70, 90, 160], call_us=100, max_batch=8, batch_delay_us=20)
    assert starts == [20, 120, 120, 120, 220]
    assert batches == [1, 3, 1]


def test_a_request_whose_delay_is_not_over_waits_on_though_a_worker_is_free() -> None:
    starts, batches = serve([0, 110, 135, 150], call_us=100, max_batch=8, batch_delay_us=20)
    assert starts == [20, 130, 230, 230]
    assert batches == [1, 1, 2]


def test_a_batch_that_waits_for_others_keeps_one_worker_and_no_more() -> None:
    starts, batches = serve([0, 10, 40, 50], call_us=100, workers=2, max_batch=2, batch_delay_us=30)
    assert starts == [10, 10, 50, 50]
    assert batches == [2, 2]


def test_a_call_is_slowed_down_by_the_workers_that_are_busy_when_it_begins() -> None:
    service = ServiceTimes(batches=(BatchTimes(requests=1, strata_ns=(100.0 * US,)),), workers=2, contention=1.5)
    queue = Discipline(workers=2, call_overhead_ns=0.0, request_overhead_ns=0.0)
    due_ns = np.array([0, 20, 30, 400]) * US
    run = serve_drawn(due_ns, drawn(service, 4, queue), queue)
    assert (run.ended_ns / US).tolist() == [100, 170, 250, 500]


def test_a_worker_is_free_again_when_the_driver_is_through_with_all_requests_of_its_call() -> None:
    service = ServiceTimes(
        batches=(BatchTimes(requests=1, strata_ns=(100.0,)), BatchTimes(requests=2, strata_ns=(100.0,)))
    )
    queue = Discipline(max_batch=2, call_overhead_ns=10, request_overhead_ns=5)
    run = serve_drawn(np.array([0, 1, 2, 3]), drawn(service, 4, queue), queue)
    assert run.started_ns.tolist() == [0, 115, 115, 235]


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("part", [0.3, 0.9])
def test_single_requests_are_served_as_in_the_reference_simulation(
    workers: int, part: float, exponential_ms: ServiceTimes
) -> None:
    due_ns = queues.poisson_arrivals(part * workers / 1e6, 5000, np.random.default_rng(1))
    queue = Discipline(workers=workers, call_overhead_ns=0, request_overhead_ns=0)
    times = drawn(exponential_ms, len(due_ns), queue)
    services_ns = np.array(times.shapes[1]) * times.means_ns[1]
    expected_ns = queues.simulate(due_ns, services_ns, workers)
    assert serve_drawn(due_ns, times, queue).response_ns == pytest.approx(expected_ns, rel=1e-9, abs=1e-2)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("delay_us", [0, 700])
@pytest.mark.parametrize("part", [0.2, 0.8])
def test_batches_are_served_as_in_the_reference_simulation(
    workers: int, delay_us: int, part: float, batching_ms: ServiceTimes
) -> None:
    sizes = range(1, 9)
    rate_per_ns = part * workers * 8 / batching_ms.mean_ns(8)
    due_ns = queues.poisson_arrivals(rate_per_ns, 5000, np.random.default_rng(1))
    queue = Discipline(workers=workers, max_batch=8, batch_delay_us=delay_us, call_overhead_ns=0, request_overhead_ns=0)
    times = drawn(batching_ms, len(due_ns), queue)
    expected_ns = queues.simulate_batches(
        due_ns,
        np.array(times.shapes[1]),
        tuple(batching_ms.mean_ns(size) for size in sizes),
        servers=workers,
        delay=delay_us * US,
    )
    assert serve_drawn(due_ns, times, queue).response_ns == pytest.approx(expected_ns, rel=1e-9, abs=1e-2)


def after_idle(*known: tuple[float, tuple[float, ...]]) -> tuple[AfterIdle, ...]:
    return tuple(AfterIdle(idle_ns=us * US, extra_ns=tuple(extra * US for extra in extra_us)) for us, extra_us in known)


@pytest.mark.parametrize("max_batch", [1, 2])
def test_a_call_takes_longer_after_its_worker_was_idle_by_how_long(max_batch: int) -> None:
    batches = tuple(BatchTimes(requests=size, strata_ns=(100.0 * US,)) for size in (1, 2))
    service = ServiceTimes(batches=batches, after_idle=after_idle((0, (10.0,)), (500, (40.0,))))
    queue = Discipline(max_batch=max_batch, call_overhead_ns=0.0, request_overhead_ns=0.0)
    due_us = [1000, 1050, 1300, 3000]
    run = serve_drawn(np.array(due_us) * US, drawn(service, len(due_us), queue), queue)
    # Idle for 1000 us, not at all, for 60 and for 1590 us.
    assert (run.ended_ns / US).tolist() == [1140, 1240, 1410, 3140]


def test_the_longer_calls_are_those_that_take_more_longer() -> None:
    calls = BatchTimes(requests=1, strata_ns=(10.0 * US, 20.0 * US))
    service = ServiceTimes(batches=(calls,), after_idle=after_idle((0, (1.0, 5.0))))
    due_ns = np.arange(1, 101) * 1000 * US
    run = serve_drawn(due_ns, drawn(service, 100, Discipline()), Discipline())
    assert set(np.round((run.ended_ns - due_ns) / US).tolist()) == {11, 25}


@pytest.mark.parametrize("workers", [1, 2])
def test_where_idle_costs_nothing_all_is_as_if_it_were_not_known(workers: int) -> None:
    known = ServiceTimes(batches=(BatchTimes(requests=1, strata_ns=(50.0 * US, 150.0 * US)),))
    due_ns = np.cumsum(np.random.default_rng(1).exponential(130.0 * US, 500)).astype(np.int64)
    queue = Discipline(workers=workers)
    plain, same = (
        serve_drawn(due_ns, drawn(service, 500, queue), queue)
        for service in (known, replace(known, after_idle=after_idle((0, (0.0,)))))
    )
    assert same.ended_ns == pytest.approx(plain.ended_ns)
