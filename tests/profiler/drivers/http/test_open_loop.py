"""The open loop over HTTP: requests are due at their time, whatever the server does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from servefit.profiler.drivers.http.clients import largest_between
from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.profiler.evidence.summary import summarize
from servefit.profiler.procedures.decided_runs import find_highest_rate, run_decided
from servefit.profiler.record.traffic import FAILED_NS, OpenLoop

if TYPE_CHECKING:
    from tests.profiler.drivers.http.conftest import Counted, Drive

IN_50_MS = LatencyThreshold(percentile="p90", limit_ms=50)


def test_arrivals_are_sent_when_they_are_due(drive: Drive) -> None:
    with drive({"timing": True}) as driver:
        run = driver.run(OpenLoop(rate_per_s=300, duration_s=0.4))
    scheduled, started, ended = run.samples.scheduled_ns(), run.samples.started_ns(), run.samples.ended_ns()
    assert (started >= scheduled).all()
    assert (ended > started).all()
    assert len(run.lags_ns()) == len(started) == run.offered
    assert (run.lags_ns() == started - scheduled).all()
    # A process that shares its machine may be late now and then, but not as a rule.
    assert np.median(run.lags_ns()) < 200_000
    assert run.stopped is None
    assert run.backlog < 10  # of 120: those that were due during a pause at the very end
    assert summarize(run).model_latency_ms is not None


@pytest.mark.integration
def test_clients_share_arrivals_and_every_one_is_sent_once(drive: Drive, counted: Counted) -> None:
    rows = np.arange(3000, dtype=np.float32).reshape(1000, 3)
    with drive({}, clients=2, rows=rows) as driver:
        before = driver.run(OpenLoop(rate_per_s=100, duration_s=0.05))
        warm = counted(driver)["requests"]
        run = driver.run(OpenLoop(rate_per_s=1000, duration_s=0.2, arrivals="constant"))
        sent = counted(driver)["requests"]
    assert before.client is not None
    assert before.client.processes == 2
    assert len(run.samples.ended_ns()) == 200
    assert (run.samples.ended_ns() > 0).all()
    assert sent - warm >= 200  # its own warm-up comes on top


@pytest.mark.integration
def test_the_most_requests_that_a_call_joined_are_told_where_the_server_says_it(drive: Drive) -> None:
    for facts, largest_call in (({"joins": 4}, 4), ({}, None)):
        with drive(facts) as driver:
            run = driver.run(OpenLoop(rate_per_s=300, duration_s=0.1))
        assert run.largest_call == summarize(run).largest_call == largest_call


def test_calls_of_before_a_run_are_not_of_it() -> None:
    assert largest_between({1: 10, 8: 3}, {1: 15, 8: 3}) == 1
    assert largest_between({1: 10}, {1: 15, 2: 1}) == 2
    assert largest_between({1: 10}, {1: 10}) is None, "there were none"
    assert largest_between(None, {1: 15}) is largest_between({1: 10}, None) is None


@pytest.mark.integration
def test_a_stall_is_seen_by_all_who_came_meanwhile(drive: Drive) -> None:
    """No coordinated omission: what would have been sent is, and waits."""
    facts = {"act": "stall", "stall_ms": 300, "every": 60, "after": 1}
    with drive(facts) as driver:
        run = driver.run(OpenLoop(rate_per_s=200, duration_s=0.7, arrivals="constant"))
    waited = run.samples.response_ns() > 50e6
    assert np.count_nonzero(waited) >= 45  # of 200 a second, those of 250 ms, at least once


def test_connections_that_will_be_needed_are_opened_beforehand(drive: Drive) -> None:
    """12 requests are on their way on average, and 16 connections would not always do."""
    with drive({"delay_ms": 40}) as driver:
        run = driver.run(OpenLoop(rate_per_s=300, duration_s=0.4))
    assert run.client is not None
    assert run.client.connections >= 40
    assert run.client.reconnections <= 8


@pytest.mark.integration
def test_arrivals_wait_when_all_connections_are_busy(drive: Drive) -> None:
    with drive({"delay_ms": 40}, connections=4) as driver:
        run = driver.run(OpenLoop(rate_per_s=150, duration_s=0.4, arrivals="constant"))
    assert run.client is not None
    assert run.client.connections == 4
    waited = run.samples.started_ns() - run.samples.scheduled_ns()
    assert waited.max() > 50e6
    assert len(run.lags_ns()) < len(waited)
    assert (run.samples.response_ns() > waited).all()


@pytest.mark.integration
def test_more_than_is_served_ends_the_run_as_saturated(drive: Drive) -> None:
    with drive({"delay_ms": 10, "serial": True}, connections=8) as driver:
        run = driver.run(OpenLoop(rate_per_s=2000, duration_s=20, backlog_cap=50))
    summary = summarize(run)
    assert run.stopped == "backlog"
    assert summary.saturated
    assert run.plateau_ns[1] - run.plateau_ns[0] < 10e9
    assert summary.latency_ms["p99"] is None


@pytest.mark.integration
def test_who_decides_sees_failures_and_ends_the_run(drive: Drive) -> None:
    seen: list[np.ndarray] = []

    def enough(response_ns: np.ndarray) -> bool:
        seen.append(response_ns)
        return len(response_ns) > 100

    with drive({"every": 10, "act": 503}) as driver:
        run = driver.run(OpenLoop(rate_per_s=300, duration_s=30), enough=enough)
    assert run.stopped == "verdict"
    assert run.plateau_ns[1] - run.plateau_ns[0] < 15e9
    assert np.count_nonzero(seen[-1] == FAILED_NS) >= 10


def test_an_sla_at_a_rate_is_decided_over_http(drive: Drive) -> None:
    with drive({"delay_ms": 1}) as driver:
        passed = run_decided(driver, OpenLoop(rate_per_s=300, duration_s=2), [IN_50_MS], allow_noise=True)
    with drive({"delay_ms": 1, "every": 4, "act": 503}) as driver:
        failed = run_decided(driver, OpenLoop(rate_per_s=300, duration_s=2), [IN_50_MS], allow_noise=True)
    assert (passed.verdict, failed.verdict) == ("PASS", "FAIL")
    assert failed.evidence[0].violations > 0.15 * failed.evidence[0].samples


@pytest.mark.thorough
@pytest.mark.parametrize("fails", [False, True])
def test_the_highest_rate_is_found_over_http(drive: Drive, fails: bool) -> None:
    """500 a second can be served one after the other; where every fifth fails there is no rate that will do."""
    facts = {"delay_ms": 2, "serial": True} | ({"every": 5, "act": 500} if fails else {})
    with drive(facts) as driver:
        highest, runs, _ = find_highest_rate(driver, [IN_50_MS], budget_s=2.5, allow_noise=True)
    if fails:
        assert highest.rate_per_s is None
    else:
        assert 100 < (highest.rate_per_s or highest.root_per_s or 0) < 520
    assert len(runs) > 1
