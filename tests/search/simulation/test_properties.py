"""Laws of every queue with one line and equal workers, whatever the traffic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servefit.profiler.queueing.discipline import Discipline
from servefit.profiler.queueing.service import BatchTimes, ServiceTimes
from servefit.profiler.record.traffic import ClosedLoop, OpenLoop, TrafficPhase
from servefit.search.simulation.simulated_run import SimulatedRun, simulate, simulate_arrivals

ROUNDING_NS = 1e-3

STRATA = st.lists(st.integers(50_000, 400_000), min_size=1, max_size=5).map(
    lambda times: tuple(map(float, sorted(times)))
)


@st.composite
def services(draw: st.DrawFn) -> ServiceTimes:
    sizes = draw(st.sets(st.integers(1, 6), min_size=1, max_size=3))
    workers = draw(st.integers(1, 4))
    contention = draw(st.floats(0.5, 3.0)) if workers > 1 else 1.0
    batches = tuple(BatchTimes(requests=size, strata_ns=draw(STRATA)) for size in sorted(sizes))
    return ServiceTimes(batches=batches, workers=workers, contention=contention)


DISCIPLINES = st.builds(
    Discipline,
    workers=st.integers(1, 4),
    max_batch=st.integers(1, 5),
    batch_delay_us=st.sampled_from([0, 0, 50, 200, 1000]),
    call_overhead_ns=st.sampled_from([0.0, 700.0]),
    request_overhead_ns=st.sampled_from([0.0, 90.0]),
)
ARRIVALS = st.lists(st.integers(0, 2_000_000), min_size=1, max_size=60).map(lambda times: np.array(sorted(times)))
PHASES = st.lists(
    st.builds(
        TrafficPhase,
        initial_users=st.integers(1, 6),
        spawn_per_minute=st.just(0),
        duration_s=st.integers(11, 20).map(lambda ms: ms / 1000),
    ),
    min_size=1,
    max_size=2,
)


@given(services(), DISCIPLINES, ARRIVALS, st.integers(0, 3))
def test_an_open_loop_is_served_in_order_by_no_more_workers_than_there_are(
    service: ServiceTimes, discipline: Discipline, due_ns: np.ndarray, seed: int
) -> None:
    run = serve(service, discipline, due_ns, seed)
    check_queue(run, discipline)
    assert np.array_equal(run.scheduled_ns, due_ns)
    if not discipline.delay_ns and not discipline.overhead_ns(1):
        check_nobody_waits_for_an_idle_worker(run, discipline.workers)


@given(services(), DISCIPLINES, ARRIVALS)
def test_a_batch_that_is_not_full_leaves_when_its_first_request_is_due_to_or_when_a_worker_is_free(
    service: ServiceTimes, discipline: Discipline, due_ns: np.ndarray
) -> None:
    run = serve(service, discipline, due_ns, seed=0)
    firsts = np.cumsum(run.batches) - run.batches
    starts = run.started_ns[firsts]
    partial = run.batches < discipline.max_batch
    assert np.all(starts[partial] >= run.scheduled_ns[firsts][partial] + discipline.delay_ns)
    following = np.append(firsts[1:], len(due_ns))
    left_behind = np.append(due_ns, np.inf)[following]
    assert np.all(left_behind[partial] > starts[partial])


@pytest.mark.thorough
@given(services(), DISCIPLINES, PHASES, st.integers(0, 3))
def test_users_send_one_request_at_a_time_and_none_after_the_end(
    service: ServiceTimes, discipline: Discipline, phases: list[TrafficPhase], seed: int
) -> None:
    traffic = ClosedLoop(phases=tuple(phases))
    run = simulate(
        service,
        traffic,
        workers=discipline.workers,
        max_batch=discipline.max_batch,
        batch_delay_us=discipline.batch_delay_us,
        overhead_ns=discipline.call_overhead_ns,
        overhead_per_request_ns=discipline.request_overhead_ns,
        most_requests=200,
        seed=seed,
    )
    check_queue(run, discipline)
    end_ns = run.plateau_ns[1]
    assert np.all(run.scheduled_ns < end_ns)
    # Every answer that came before the end is somebody's next request, and the others are from those who joined.
    joined = len(run.scheduled_ns) - np.count_nonzero(run.ended_ns < end_ns)
    assert joined == sum(join_s * 1e9 < end_ns for join_s in traffic.joins_s())
    came_again = np.sort(run.ended_ns[run.ended_ns < end_ns])
    assert np.isin(came_again, run.scheduled_ns).all()


@given(services(), DISCIPLINES, st.integers(0, 5))
def test_a_seed_reproduces_a_run(service: ServiceTimes, discipline: Discipline, seed: int) -> None:
    for traffic in (OpenLoop(rate_per_s=5000, duration_s=0.01), ClosedLoop.constant(users=3, duration_s=0.01)):
        first, second = (
            simulate(
                service,
                traffic,
                workers=discipline.workers,
                max_batch=discipline.max_batch,
                batch_delay_us=discipline.batch_delay_us,
                most_requests=100,
                seed=seed,
            )
            for _ in range(2)
        )
        assert np.array_equal(first.started_ns, second.started_ns)
        assert np.array_equal(first.ended_ns, second.ended_ns)


def test_another_seed_draws_other_service_times(exponential_ms: ServiceTimes) -> None:
    traffic = OpenLoop(rate_per_s=500, duration_s=1)
    first, second = (simulate(exponential_ms, traffic, workers=1, seed=seed) for seed in (1, 2))
    assert np.array_equal(first.scheduled_ns, second.scheduled_ns)
    assert first.percentile_ms(95) != pytest.approx(second.percentile_ms(95), rel=1e-6)


def serve(service: ServiceTimes, discipline: Discipline, due_ns: np.ndarray, seed: int) -> SimulatedRun:
    drawn = service.draw(
        len(due_ns),
        most_requests=discipline.max_batch,
        workers=discipline.workers,
        random=np.random.default_rng(seed),
    )
    return simulate_arrivals(due_ns, drawn, discipline, end_ns=float(due_ns[-1]) + 1)


def check_queue(run: SimulatedRun, discipline: Discipline) -> None:
    """Requests are served once they are there, in the order they came, by no more workers than there are."""
    assert run.calls == len(run.batches)
    assert run.batches.sum() == len(run.scheduled_ns) == len(run.started_ns) == len(run.ended_ns)
    assert np.all((run.batches >= 1) & (run.batches <= discipline.max_batch))
    assert np.all(run.started_ns >= run.scheduled_ns)
    assert np.all(run.ended_ns > run.started_ns)
    assert np.all(np.diff(run.started_ns) >= 0)
    starts, ends = calls_of(run)
    assert np.all(busy_after(starts, starts, ends) <= discipline.workers)


def check_nobody_waits_for_an_idle_worker(run: SimulatedRun, workers: int) -> None:
    """While a request waits, every worker is in a call."""
    starts, ends = calls_of(run)
    for due, started in zip(run.scheduled_ns.tolist(), run.started_ns.tolist(), strict=True):
        if started - due > 2 * ROUNDING_NS:
            changes = ends[(ends >= due) & (ends < started - 2 * ROUNDING_NS)]
            assert np.all(busy_after(np.append(changes, due), starts, ends) == workers)


def calls_of(run: SimulatedRun) -> tuple[np.ndarray, np.ndarray]:
    """When each call began and ended."""
    firsts = np.cumsum(run.batches) - run.batches
    return run.started_ns[firsts], run.ended_ns[firsts]


def busy_after(moments_ns: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """How many workers are in a call just after each moment."""
    begun = np.searchsorted(np.sort(starts), moments_ns + ROUNDING_NS, side="right")
    return begun - np.searchsorted(np.sort(ends), moments_ns + ROUNDING_NS, side="right")
