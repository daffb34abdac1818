"""Requests without an answer are counted by cause, are in no mean, and do not end the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from servefit.errors import MeasurementError
from servefit.profiler.evidence.summary import summarize
from servefit.profiler.evidence.validity import problems
from servefit.profiler.record.traffic import FAILED_NS, ClosedLoop, OpenLoop

if TYPE_CHECKING:
    from tests.profiler.drivers.http.conftest import Drive

    from servefit.profiler.record.types import Run

KINDS = {
    503: "status 503",
    302: "status 302",
    "close": "connection closed",
    "partial": "connection closed",
    "reset": "connection reset",
    "garbage": "malformed answer",
    "twice": "malformed answer",
    "hang": "timed out",
}


def test_users_go_on_after_failures_and_each_is_counted_by_its_kind(drive: Drive) -> None:
    with drive({"delay_ms": 1, "every": 10, "acts": list(KINDS)}, timeout_s=0.1) as driver:
        run = driver.run(ClosedLoop.constant(users=4, duration_s=0.6))
    assert run.client is not None
    assert run.client.errors.keys() == set(KINDS.values())
    check_failures(run)
    failed = sum(run.client.errors.values())
    by_status = sum(count for kind, count in run.client.errors.items() if kind.startswith("status"))
    assert 0.1 < by_status / failed < 0.45  # two of eight
    # All others take a new connection, unless their run is over by then; and some were lost in the warm-up.
    assert abs(run.client.reconnections - (failed - by_status)) <= 4


@pytest.mark.thorough
def test_arrivals_go_on_after_failures_too(drive: Drive) -> None:
    with drive({"every": 10, "acts": list(KINDS)}, timeout_s=0.1) as driver:
        run = driver.run(OpenLoop(rate_per_s=500, duration_s=0.6, arrivals="constant"))
    assert run.client is not None
    assert run.client.errors.keys() <= set(KINDS.values())
    assert len(run.client.errors) >= 4
    assert run.stopped is None
    assert len(run.samples.ended_ns()) == 300
    check_failures(run)


def check_failures(run: Run) -> None:
    """About a tenth of all requests failed, which counts as slower than all others and not as throughput."""
    assert run.client is not None
    samples, summary = run.samples, summarize(run)
    ended, response_ns = samples.ended_ns(), samples.response_ns()
    failed = sum(run.client.errors.values())
    assert np.count_nonzero(ended < 0) == failed
    assert 0.05 < failed / len(ended) < 0.2
    assert set(response_ns[ended < 0]) == {FAILED_NS}
    assert response_ns[ended > 0].max() < 1e9
    assert summary.errors == run.client.errors
    assert 0 < summary.failed <= failed
    seconds = (run.plateau_ns[1] - run.plateau_ns[0]) / 1e9
    within = np.count_nonzero((ended > 0) & (ended < run.plateau_ns[1]))
    assert summary.throughput_per_s == pytest.approx(within / seconds)
    assert not [problem for problem in problems(run, limit_ms=None, cpus=()) if problem.kind == "Little's law"]


@pytest.mark.integration
def test_answers_in_any_form_are_answers(drive: Drive) -> None:
    with drive({"every": 2, "acts": ["chunked", "in two parts", "close after", "close to end"]}) as driver:
        run = driver.run(ClosedLoop.constant(users=2, duration_s=0.2))
    assert run.client is not None
    assert run.client.errors == {}
    assert (run.samples.ended_ns() > 0).all()
    assert run.client.reconnections > 10


@pytest.mark.thorough
def test_a_server_that_stops_listening_refuses_connections_and_is_not_flooded(drive: Drive) -> None:
    facts = {"delay_ms": 1, "every": 20, "act": "close", "listens_for_s": 1.3}
    with drive(facts) as driver:
        run = driver.run(ClosedLoop.constant(users=2, duration_s=1.5))
    assert run.client is not None
    assert run.client.errors.keys() == {"connection closed", "connection refused"}
    # Two users with pauses of 2, 4, 8 ... ms: not thousands.
    assert 4 <= run.client.errors["connection refused"] <= 60


@pytest.mark.thorough
def test_arrivals_that_cannot_be_sent_have_failed(drive: Drive) -> None:
    facts = {"act": "close", "after": 60, "listens_for_s": 1.2}
    with drive(facts) as driver:
        run = driver.run(OpenLoop(rate_per_s=100, duration_s=1.5, arrivals="constant"))
    assert run.client is not None
    assert "connection refused" in run.client.errors
    assert len(run.samples.ended_ns()) == 150
    assert (run.samples.ended_ns() != 0).all()


@pytest.mark.integration
def test_a_server_that_answers_nothing_is_not_measured(drive: Drive) -> None:
    with (
        drive({"act": 404}) as driver,
        pytest.raises(MeasurementError, match=r"http://127.0.0.1:\d+/ answers no request: status 404") as caught,
    ):
        driver.run(ClosedLoop.constant(users=2, duration_s=0.2))
    assert caught.value.remedy is not None


@pytest.mark.integration
def test_a_driver_can_be_used_again_after_a_server_answered_nothing(drive: Drive) -> None:
    with drive({"act": "close", "every": 1, "after": 5}) as driver:
        driver.run(ClosedLoop.constant(users=1, duration_s=0.05))
        with pytest.raises(MeasurementError, match="connection closed"):
            driver.run(ClosedLoop.constant(users=1, duration_s=0.05))
        with pytest.raises(MeasurementError, match="connection closed"):
            driver.run(OpenLoop(rate_per_s=10, duration_s=0.05))
