"""Intervals of percentiles by replay, in queues whose truth is known, and of runs that were recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from tests.recorded_runs import S, recorded_run

from benchmarks import queues
from servefit.profiler.evidence.replayed_percentiles import ReplayedRuns, intervals_of, replayed_intervals
from servefit.profiler.evidence.several_runs import summarize_runs
from servefit.profiler.evidence.summary import summarize
from servefit.profiler.queueing.discipline import Discipline, ServedRequests
from servefit.profiler.record.traffic import ClosedLoop, OpenLoop
from servefit.profiler.record.types import ClientRecord, Configuration, Run

MS = 1e6
SECONDS, RATE_PER_S = 4, 700.0
DISCIPLINE = Discipline(call_overhead_ns=0, request_overhead_ns=0)
RANKS = {"p50": 50.0, "p95": 95.0, "p99": 99.0}
M_M_1_MS = {name: queues.mmc_quantile(rank, RATE_PER_S / 1000, 1.0) for name, rank in RANKS.items()}

A_CLIENT = ClientRecord(
    processes=1, cpus=(1,), cpu_percent=10.0, connections=4, reconnections=0, errors={}, shares_cpus=False
)

Services = Callable[[int, np.random.Generator], np.ndarray]


def exponential(requests: int, random: np.random.Generator) -> np.ndarray:
    return random.exponential(1.0, requests)


def served(seed: int, *, seconds: float = SECONDS, services: Services = exponential) -> ServedRequests:
    """A run of services of 1 ms on average, that begins with an idle server."""
    random = np.random.default_rng(seed)
    requests = round(RATE_PER_S * seconds)
    arrivals = np.sort(random.uniform(0, 1000 * seconds, requests))
    times = services(requests, random)
    ends = arrivals + queues.simulate(arrivals, times)
    return ServedRequests(
        scheduled_ns=arrivals * MS,
        started_ns=(ends - times) * MS,
        ended_ns=ends * MS,
        batches=np.ones(requests, dtype=np.int64),
    )


def intervals(*runs: ServedRequests, seconds: float = SECONDS) -> dict[str, tuple[float, float]]:
    replayed = ReplayedRuns(runs=runs, seconds=[seconds] * len(runs), rate_per_s=RATE_PER_S, arrivals="poisson")
    return intervals_of(replayed, DISCIPLINE, RANKS)


def test_the_percentiles_of_theory_are_inside() -> None:
    found = intervals(*(served(seed) for seed in range(5)))
    assert set(found) == set(RANKS)
    for name, (low, high) in found.items():
        assert low < M_M_1_MS[name] < high
        assert high / low < 2


def test_one_run_is_taken_in_parts_of_a_second_and_more() -> None:
    low, high = intervals(served(0, seconds=20), seconds=20)["p95"]
    assert low < M_M_1_MS["p95"] < high


def test_runs_that_differ_have_wider_intervals_than_runs_that_are_alike() -> None:
    def slower(requests: int, random: np.random.Generator) -> np.ndarray:
        return 1.2 * exponential(requests, random)

    def width(*runs: ServedRequests) -> float:
        low, high = intervals(*runs)["p50"]
        return high / low

    alike = [served(seed) for seed in range(4)]
    assert width(*alike[:3], served(3, services=slower)) > 1.2 * width(*alike)


@pytest.mark.parametrize(("runs", "seconds"), [(1, 5.0), (2, 20.0), (5, 0.9)])
def test_there_is_none_of_too_few_or_too_short_runs(runs: int, seconds: float) -> None:
    assert intervals(*(served(seed, seconds=seconds) for seed in range(runs)), seconds=seconds) == {}


def test_there_is_none_of_what_a_single_call_makes_much_of() -> None:
    def with_a_stall(requests: int, random: np.random.Generator) -> np.ndarray:
        times = exponential(requests, random)
        times[requests // 2] = 300.0
        return times

    runs = [served(seed) for seed in range(4)]
    found = intervals(*runs, served(4, services=with_a_stall))
    assert "p99" not in found
    assert "p99" in intervals(*runs)


def recorded(seed: int, *, rate_per_s: float = RATE_PER_S, seconds: int = SECONDS, arrivals: str = "poisson") -> Run:
    """The run of ``served`` as the driver records one."""
    run = served(seed, seconds=seconds)
    traffic = OpenLoop(rate_per_s=rate_per_s, duration_s=seconds, seed=seed, arrivals=arrivals)
    due, started, ended = (S + times.astype(np.int64) for times in (run.scheduled_ns, run.started_ns, run.ended_ns))
    return recorded_run(traffic, due, ended, started=started, until_ns=S + seconds * S)


ONE_BY_ONE = Configuration(vcpus=1, backend="xgboost")


def test_what_was_recorded_in_process_is_replayed_at_its_own_rate_and_what_was_measured_is_inside() -> None:
    runs = [recorded(seed) for seed in range(5)]
    found = summarize_runs(runs, configuration=ONE_BY_ONE)
    replayed = replayed_intervals(runs, ONE_BY_ONE, RANKS)
    for name, (low, high) in replayed.items():
        assert low < M_M_1_MS[name] < high
        value = found.latency_ms[name]
        assert value is not None
        assert found.latency_ms_ci95[name] == (min(low, value), max(high, value))
    short = [recorded(seed, seconds=2) for seed in range(5)]
    assert "p99" not in summarize_runs(short).latency_ms_ci95
    assert "p99" in summarize_runs(short, configuration=ONE_BY_ONE).latency_ms_ci95
    assert list(found.latency_ms_ci95) == ["p50", "p90", "p95", "p99"]


def test_the_interval_of_a_single_run_is_that_of_its_replay_where_it_is_long_enough() -> None:
    short, long = recorded(0), recorded(0, seconds=10)
    assert summarize_runs([short], configuration=ONE_BY_ONE) == summarize(short)
    low, high = summarize_runs([long], configuration=ONE_BY_ONE).latency_ms_ci95["p99"]
    assert (low, high) != summarize(long).latency_ms_ci95.get("p99")
    assert low < M_M_1_MS["p99"] < high


def test_there_is_none_of_what_has_hardly_any_time_to_spare() -> None:
    def slower(requests: int, random: np.random.Generator) -> np.ndarray:
        return 1.05 / 0.7 * exponential(requests, random)

    assert intervals(*(served(seed, services=slower) for seed in range(5))) == {}


def test_there_is_none_of_a_percentile_that_few_requests_lie_beyond() -> None:
    runs = [served(seed) for seed in range(3)]
    replayed = ReplayedRuns(runs=runs, seconds=[SECONDS] * 3, rate_per_s=RATE_PER_S, arrivals="poisson")
    assert set(intervals_of(replayed, DISCIPLINE, {"p99": 99.0, "p99.9": 99.9})) == {"p99"}


def test_runs_of_other_rates_other_arrivals_users_and_endpoints_are_not_replayed() -> None:
    runs = [recorded(seed) for seed in range(4)]
    of_users = replace(recorded(4), traffic=ClosedLoop.constant(users=1, duration_s=SECONDS))
    varying = recorded(4, arrivals="sine")
    over_http = replace(recorded(4), client=A_CLIENT)
    for other in (recorded(4, rate_per_s=600), of_users, varying, over_http):
        assert replayed_intervals([*runs, other], ONE_BY_ONE, RANKS) == {}
    assert replayed_intervals([*runs, recorded(3)], ONE_BY_ONE, RANKS), "of equal seeds are as good"
    assert replayed_intervals([recorded(seed, arrivals="sine") for seed in range(5)], ONE_BY_ONE, RANKS) == {}


def test_runs_with_requests_that_got_no_answer_are_not_replayed() -> None:
    whole = recorded(4)
    failed = whole.samples.ended_ns().copy()
    failed[100] = -failed[100]
    runs = [recorded(seed) for seed in range(4)]
    assert replayed_intervals([*runs, whole], ONE_BY_ONE, RANKS)
    broken = replace(whole, samples=replace(whole.samples, ended=failed.tobytes()))
    assert replayed_intervals([*runs, broken], ONE_BY_ONE, RANKS) == {}
    assert replayed_intervals([*runs, replace(whole, stopped="backlog")], ONE_BY_ONE, RANKS) == {}
