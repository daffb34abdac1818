"""The closed loop over HTTP: what users send, when, and what is recorded."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.profiler.drivers.http.conftest import FIRST_CPU

from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.profiler.evidence.plateaus import plateaus_of, steps_of, users_of
from servefit.profiler.evidence.stopping import StoppingConditions
from servefit.profiler.evidence.summary import summarize
from servefit.profiler.evidence.validity import problems
from servefit.profiler.record.traffic import ClosedLoop

if TYPE_CHECKING:
    from tests.conftest import Hog
    from tests.profiler.drivers.http.conftest import Counted, Drive


@pytest.mark.integration
def test_every_user_keeps_a_connection_and_requests_rotate_through_the_payload(drive: Drive, counted: Counted) -> None:
    with drive({"delay_ms": 1}) as driver:
        run = driver.run(ClosedLoop.constant(users=3, duration_s=0.3))
        seen = counted(driver)
    assert run.driver == "http"
    assert run.client is not None
    assert (run.client.connections, run.client.reconnections, run.client.errors) == (3, 0, {})
    assert sorted(seen["bodies"]) == [f"[[{row}.0,{row}.0,{row}.0]]" for row in range(10)]
    assert len(run.samples.ended_ns()) > 20


def test_a_user_comes_again_when_the_answer_is_there_and_the_time_between_is_the_clients(drive: Drive) -> None:
    with drive({"delay_ms": 1}) as driver:
        run = driver.run(ClosedLoop.constant(users=1, duration_s=0.3))
    scheduled, started, ended = run.samples.scheduled_ns(), run.samples.started_ns(), run.samples.ended_ns()
    between_ns = scheduled[1:] - ended[:-1]
    assert (between_ns >= 0).all()
    assert run.client is not None
    assert run.client.between_us == pytest.approx(between_ns.mean() / 1000)
    assert run.client.between_us < 200
    assert (started == scheduled).all()
    assert (run.samples.response_ns() > 1_000_000).all()
    assert ended[-1] >= run.plateau_ns[1]
    assert not [problem for problem in problems(run, limit_ms=None, cpus=()) if problem.kind == "Little's law"]


@pytest.mark.integration
def test_what_the_server_says_of_its_time_is_told_from_the_rest(drive: Drive) -> None:
    with drive({"delay_ms": 2, "timing": True}) as driver:
        run = driver.run(ClosedLoop.constant(users=2, duration_s=0.2))
    summary = summarize(run)
    assert summary.model_latency_ms is not None
    assert summary.overhead_ms is not None
    assert summary.model_latency_ms["p50"] == pytest.approx(0.75)
    assert summary.service_ms["p50"] == pytest.approx(0.5)
    assert summary.overhead_ms["p50"] == pytest.approx((summary.latency_ms["p50"] or 0) - 0.75)


@pytest.mark.timed
def test_a_hog_on_the_clients_cpu_is_seen_by_how_long_the_client_waits(drive: Drive, hog: Hog) -> None:
    with drive({}) as driver, hog(FIRST_CPU):
        run = driver.run(ClosedLoop.constant(users=8, duration_s=0.5))
    assert run.client is not None
    assert run.client.waited_percent is not None
    assert run.client.waited_percent > 5
    found = {problem.kind: problem for problem in problems(replace(run, telemetry=()), limit_ms=None, cpus=())}
    # What a hypervisor took meanwhile is no fault of the hog's.
    assert found.keys() - {"steal"} == {"competing load"}
    assert found["competing load"].reason.startswith("the load client waited for its CPU for ")


@pytest.mark.integration
def test_nothing_is_made_up_for_a_server_that_does_not_say(drive: Drive) -> None:
    with drive({}) as driver:
        summary = summarize(driver.run(ClosedLoop.constant(users=1, duration_s=0.2)))
    assert summary.model_latency_ms is None
    assert summary.overhead_ms is None
    assert set(summary.service_ms.values()) == {None}


@pytest.mark.integration
def test_the_processes_of_a_server_of_ours_are_seen(drive: Drive) -> None:
    with drive({"delay_ms": 1, "forks": True}) as driver:
        run = driver.run(ClosedLoop.constant(users=2, duration_s=0.5))
    summary = summarize(run, memory_bytes=2**30)
    assert 0 < (summary.cpu_percent or 0) < 110
    assert 1 < (summary.memory_percent or 0) < 50
    assert len(run.threads_per_worker) == 1
    assert run.threads_outside == 0
    assert len(run.telemetry) >= 4
    assert 0 < (summary.client_cpu_percent or 0) < 110


@pytest.mark.thorough
def test_users_join_when_their_step_begins_and_clients_share_them(drive: Drive) -> None:
    traffic = ClosedLoop.stairs(steps=2, users_per_step=2, step_duration_s=1.0)
    with drive({"delay_ms": 5}, clients=2) as driver:
        run = driver.run(traffic)
    assert users_of(run) == 4
    first, second = plateaus_of(run)
    assert second[0] - first[0] == pytest.approx(1e9)
    steps = steps_of(run)
    assert [step.users for step in steps] == [2, 4]
    assert steps[1].throughput_per_s > 1.5 * steps[0].throughput_per_s
    assert run.client is not None
    assert (run.client.processes, run.client.connections) == (2, 4)
    assert (np.diff(np.abs(run.samples.ended_ns())) >= 0).all()


@pytest.mark.integration
def test_a_run_ends_when_its_condition_is_reached(drive: Drive) -> None:
    with drive({"delay_ms": 1}, clients=2) as driver:
        run = driver.run(ClosedLoop.constant(users=4, duration_s=30), stopping=StoppingConditions(most_per_s=100))
    assert run.stopped == "rate"
    assert run.plateau_ns[1] - run.plateau_ns[0] < 15e9
    assert run.samples.scheduled_ns().max() < run.plateau_ns[1]


@pytest.mark.thorough
def test_failed_requests_break_a_threshold(drive: Drive) -> None:
    conditions = StoppingConditions(flat=False, thresholds=(LatencyThreshold(percentile="p90", limit_ms=10_000),))
    with drive({"delay_ms": 1, "every": 3, "act": 503}) as driver:
        run = driver.run(ClosedLoop.constant(users=2, duration_s=30), stopping=conditions)
    assert run.stopped == "latency"
    assert summarize(run).latency_ms["p90"] is None


@pytest.mark.integration
def test_runs_may_follow_on_one_another_whose_end_is_watched(drive: Drive) -> None:
    stopping = StoppingConditions(flat=False, thresholds=(LatencyThreshold(percentile="p99", limit_ms=5000),))
    with drive({"delay_ms": 2}) as driver:
        runs = [driver.run(ClosedLoop.constant(users=2, duration_s=0.11), stopping=stopping) for _ in range(4)]
    assert all(run.client is not None and run.client.errors == {} for run in runs)
