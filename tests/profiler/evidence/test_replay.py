"""Recorded calls behind fresh arrivals, in queues whose truth is known: services of 1 ms on average."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import queues
from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.profiler.evidence.replay import RunReplay
from servefit.profiler.queueing.discipline import Discipline, ServedRequests

MS = 1e6
SECONDS = 20
DISCIPLINE = Discipline(call_overhead_ns=0, request_overhead_ns=0)
P95_IN_10_MS = LatencyThreshold(percentile="p95", limit_ms=10)
M_M_1_PER_S = 1000 - 1000 * math.log(20) / 10
"""Response times of M/M/1 are exponential, with the mean 1 / (capacity - rate)."""

Services = Callable[[int, np.random.Generator], np.ndarray]


def exponential(requests: int, random: np.random.Generator) -> np.ndarray:
    return random.exponential(1.0, requests)


def constant(requests: int, _random: np.random.Generator) -> np.ndarray:
    return np.ones(requests)


def run_of(
    services: Services, *, rate_per_s: float = 700, seconds: float = SECONDS, seed: int = 0, servers: int = 1
) -> ServedRequests:
    random = np.random.default_rng(seed)
    requests = round(rate_per_s * seconds)
    arrivals = np.sort(random.uniform(0, 1000 * seconds, requests))
    times = services(requests, random)
    ends = arrivals + queues.simulate(arrivals, times, servers)
    return ServedRequests(
        scheduled_ns=arrivals * MS,
        started_ns=(ends - times) * MS,
        ended_ns=ends * MS,
        batches=np.ones(requests, dtype=np.int64),
    )


def replay_of(*runs: ServedRequests, seconds: float = SECONDS, discipline: Discipline = DISCIPLINE) -> RunReplay:
    return RunReplay(runs, discipline, [P95_IN_10_MS], seconds=seconds * len(runs), seed=1)


def test_the_root_of_exponential_services_is_that_of_theory() -> None:
    found = replay_of(run_of(exponential)).highest_rate()
    assert found is not None
    assert found.rate_per_s == pytest.approx(M_M_1_PER_S, rel=0.04)
    assert found.ratio == pytest.approx(1)
    low, high = found.interval_per_s
    assert low < found.at_least_per_s < found.rate_per_s < high


def test_the_root_of_constant_services_is_that_of_theory_and_is_known_well() -> None:
    found = replay_of(run_of(constant)).highest_rate()
    assert found is not None
    assert queues.md1_quantile(95, found.rate_per_s / 1000, 1.0) == pytest.approx(10, rel=0.05)
    assert found.at_least_per_s > 0.98 * found.rate_per_s


@pytest.mark.integration
def test_the_lower_bound_is_near_the_truth_and_seldom_above_it() -> None:
    found = [replay_of(run_of(exponential, seed=seed)).highest_rate() for seed in range(2, 6)]
    bounds = [each.at_least_per_s / M_M_1_PER_S for each in found if each is not None]
    assert len(bounds) == len(found)
    assert sum(bound > 1 for bound in bounds) <= 1
    assert float(np.median(bounds)) > 0.94


def test_calls_that_are_slow_one_after_the_other_leave_a_lower_rate_than_the_same_in_any_order() -> None:
    def slow_for_a_while(requests: int, _random: np.random.Generator) -> np.ndarray:
        return np.where(np.arange(requests) % 1500 < 300, 1.5, 0.875)

    def at_random(requests: int, random: np.random.Generator) -> np.ndarray:
        return random.permutation(slow_for_a_while(requests, random))

    in_phases, shuffled = (replay_of(run_of(each)).root_per_s() for each in (slow_for_a_while, at_random))
    assert in_phases < 0.95 * shuffled


def test_slow_times_of_several_seconds_leave_a_wider_interval_than_as_many_of_one() -> None:
    """Of 20 s of calls half are slow, in turns of two seconds or of four; a section has two."""

    def slow_for(seconds: int) -> Services:
        return lambda requests, _random: np.where(np.arange(requests) // (700 * seconds) % 2, 1.1, 0.9)

    widths = []
    for seconds in (2, 4):
        found = replay_of(run_of(slow_for(seconds))).highest_rate()
        assert found is not None
        widths.append(found.interval_per_s[1] - found.interval_per_s[0])
    assert widths[1] > 1.3 * widths[0]


@pytest.mark.thorough
def test_a_queue_that_takes_longer_than_the_one_computed_lowers_the_rate() -> None:
    run = run_of(exponential, rate_per_s=1400, servers=2)
    later = replace(run, started_ns=run.started_ns + MS, ended_ns=run.ended_ns + MS)
    two = Discipline(workers=2, call_overhead_ns=0, request_overhead_ns=0)
    found, slower = (replay_of(each, discipline=two).highest_rate() for each in (run, later))
    assert found is not None
    assert slower is not None
    assert found.ratio == pytest.approx(1, abs=0.01)
    assert slower.ratio > 1.1
    assert slower.rate_per_s < 0.98 * found.rate_per_s


@pytest.mark.thorough
@pytest.mark.integration
def test_batches_of_two_workers_are_replayed_with_the_times_of_their_sizes() -> None:
    times = tuple(0.6 + 0.4 * size for size in range(1, 5))
    random = np.random.default_rng(3)
    arrivals = np.sort(random.uniform(0, 1000 * SECONDS, 2200 * SECONDS))
    factors = np.ones(len(arrivals))
    starts, ends, sizes = queues.serve_batches(arrivals, factors, times, servers=2)
    run = ServedRequests(
        scheduled_ns=arrivals * MS,
        started_ns=np.repeat(starts, sizes) * MS,
        ended_ns=np.repeat(ends, sizes) * MS,
        batches=sizes,
    )
    discipline = Discipline(workers=2, max_batch=4, call_overhead_ns=0, request_overhead_ns=0)
    limit = LatencyThreshold(percentile="p95", limit_ms=5)
    found = RunReplay([run], discipline, [limit], seconds=SECONDS, seed=1).highest_rate()
    assert found is not None
    assert found.ratio == pytest.approx(1, abs=0.02)
    later = np.sort(np.random.default_rng(4).uniform(0, 200_000, round(200 * found.rate_per_s)))
    response_ms = queues.simulate_batches(later, np.ones(len(later)), times, servers=2)
    assert float(np.percentile(response_ms, 95)) == pytest.approx(5, rel=0.1)


def test_times_that_vary_too_much_to_be_known_give_no_rate() -> None:
    def heavy(requests: int, random: np.random.Generator) -> np.ndarray:
        return queues.lognormal_services(1.0, 5.0, requests, random)

    replay = replay_of(run_of(heavy, rate_per_s=300))
    assert not replay.is_enough
    assert replay.highest_rate() is None


@pytest.mark.parametrize(("seconds", "rate_per_s"), [(5, 700), (20, 30)])
def test_runs_of_few_seconds_or_requests_give_no_rate(seconds: float, rate_per_s: float) -> None:
    replay = replay_of(run_of(exponential, seconds=seconds, rate_per_s=rate_per_s), seconds=seconds)
    assert replay.highest_rate() is None


def test_a_limit_below_every_service_is_reached_at_any_rate() -> None:
    impossible = LatencyThreshold(percentile="p95", limit_ms=0.5)
    replay = RunReplay([run_of(constant)], DISCIPLINE, [impossible], seconds=SECONDS, seed=1)
    assert replay.root_per_s() < 1
    assert replay.highest_rate() is None


def test_the_limit_that_is_reached_first_counts() -> None:
    median = LatencyThreshold(percentile="p50", limit_ms=1.5)
    found = RunReplay([run_of(exponential)], DISCIPLINE, [P95_IN_10_MS, median], seconds=SECONDS, seed=1).highest_rate()
    assert found is not None
    assert found.rate_per_s == pytest.approx(1000 - 1000 * math.log(2) / 1.5, rel=0.04)


@pytest.mark.thorough
def test_the_same_seed_finds_the_same() -> None:
    first, second = (replay_of(run_of(constant)).highest_rate() for _ in range(2))
    assert first == second


def test_what_a_worker_takes_between_calls_is_seen_where_requests_wait() -> None:
    random = np.random.default_rng(6)
    arrivals = np.sort(random.uniform(0, 1000 * SECONDS, 700 * SECONDS))
    times = random.exponential(0.9, len(arrivals))
    ends = arrivals + queues.simulate(arrivals, times + 0.1)
    run = ServedRequests(
        scheduled_ns=arrivals * MS,
        started_ns=(ends - 0.1 - times) * MS,
        ended_ns=(ends - 0.1) * MS,
        batches=np.ones(len(arrivals), dtype=np.int64),
    )
    found = replay_of(run).highest_rate()
    assert found is not None
    assert found.ratio == pytest.approx(1, abs=0.005)
