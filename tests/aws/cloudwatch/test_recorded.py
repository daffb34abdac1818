"""What raw samples of load tests say as metrics, on runs whose times are known."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.recorded_runs import S, recorded_run

from servefit.aws.services.cloudwatch import recorded as module
from servefit.aws.services.cloudwatch.metrics import of_invocations
from servefit.aws.services.cloudwatch.recorded import Recorded, Recordings, recorded
from servefit.profiler.record.traffic import ClosedLoop, OpenLoop, TrafficPhase
from servefit.profiler.record.types import ClientRecord, Run, TelemetryPoint

if TYPE_CHECKING:
    from pathlib import Path

MS = 1_000_000
FIRST_S = 1_796_000_000.0
OPEN = OpenLoop(rate_per_s=1, duration_s=4)


def times(*milliseconds: float) -> np.ndarray:
    return S + np.array(milliseconds, dtype=np.int64) * MS


def over_http(run: Run, *, queued_ms: list[int], predicted_ms: list[int], errors: dict[str, int] | None = None) -> Run:
    queued, predicted = (np.array(each, dtype=np.int64) * MS for each in (queued_ms, predicted_ms))
    predicted[np.array(predicted_ms) < 0] = -1
    client = ClientRecord(
        processes=1, cpus=(1,), cpu_percent=None, connections=1, reconnections=0, errors=errors or {}, shares_cpus=False
    )
    samples = replace(run.samples, queued=queued.tobytes(), predicted=predicted.tobytes())
    return replace(run, driver="http", samples=samples, client=client)


def values(found: Recorded, name: str) -> list[float]:
    return [float(value) for value in of_invocations(name, found.invocations).values]


def test_the_first_request_is_due_at_that_time_and_answers_are_as_long_after_it_as_they_were() -> None:
    run = recorded_run(OPEN, times(0, 1000, 2000), times(5, 1005, 2005), until_ns=5 * S)
    found = recorded([run], first_s=FIRST_S)
    assert (found.invocations.at_s - FIRST_S).tolist() == pytest.approx([0.005, 1.005, 2.005], abs=1e-6)


@pytest.mark.parametrize(("step_s", "first_s"), [(9.0, 0.75), (2.5, 0.495)])
def test_a_load_begins_when_it_is_said_to_and_ends_within_its_step(
    tmp_path: Path, step_s: float, first_s: float
) -> None:
    run = recorded_run(OPEN, times(0, 1000, 2000), times(5, 1005, 2005), until_ns=5 * S)
    recordings, file = Recordings(), tmp_path / "one.servefit"
    step = {"first_s": FIRST_S + 0.75, "ended_s": FIRST_S + step_s}
    found = recordings.of(file, lambda: (run,), **step)
    assert (found.invocations.at_s - FIRST_S - first_s).tolist() == pytest.approx([0.005, 1.005, 2.005], abs=1e-6)
    assert recordings.of(file, lambda: (), **step) is found


def test_no_more_is_remembered_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run = recorded_run(OPEN, times(0, 1000, 2000), times(5, 1005, 2005), until_ns=5 * S)
    monkeypatch.setattr(module, "MAX_BYTES", 2 * recorded([run], first_s=FIRST_S).nbytes)
    recordings = Recordings()
    found = [
        recordings.of(tmp_path / f"{number}.servefit", lambda: (run,), first_s=FIRST_S, ended_s=FIRST_S + 9)
        for number in (0, 1, 2, 1, 0)
    ]
    assert found[3] is found[1]
    assert found[4] is not found[0]


def test_runs_of_a_step_share_the_clock() -> None:
    first = recorded_run(OPEN, times(0), times(5), until_ns=5 * S)
    second = recorded_run(OPEN, times(3000), times(3005), until_ns=9 * S)
    found = recorded([second, first], first_s=FIRST_S)
    assert (found.invocations.at_s - FIRST_S).tolist() == pytest.approx([0.005, 3.005], abs=1e-6)


def test_in_process_the_response_time_is_the_models_and_nothing_is_known_of_overhead() -> None:
    run = recorded_run(OPEN, times(0, 1000), times(5, 1020), until_ns=5 * S)
    found = recorded([run], first_s=FIRST_S)
    assert values(found, "ModelLatency") == [5000, 20_000]
    assert values(found, "OverheadLatency") == []
    assert values(found, "ClientLatency") == [5, 20]
    assert values(found, "Invocations") == values(found, "InvocationsPerInstance") == [1, 1]


def test_over_http_the_servers_own_time_is_the_models_and_the_rest_is_overhead() -> None:
    run = recorded_run(OPEN, times(0, 1000, 2000), times(5, 1020, 2003), until_ns=5 * S)
    found = recorded([over_http(run, queued_ms=[1, 4, 0], predicted_ms=[2, 6, -1])], first_s=FIRST_S)
    assert values(found, "ModelLatency") == [3000, 10_000, 3000]
    assert values(found, "OverheadLatency") == [2000, 10_000]
    assert values(found, "ClientLatency") == [5, 20, 3]


def test_requests_that_failed_are_invocations_and_errors_and_those_that_were_never_sent_are_neither() -> None:
    ended = times(5, 1020, 2003, 0, 3500) * np.array([1, -1, -1, 0, -1])
    run = recorded_run(OPEN, times(0, 1000, 2000, 2500, 3000), ended, until_ns=5 * S)
    failing = over_http(
        run,
        queued_ms=[0] * 5,
        predicted_ms=[1, -1, -1, -1, -1],
        errors={"status 400": 1, "status 503": 1, "timed out": 1},
    )
    found = recorded([failing], first_s=FIRST_S)
    assert sum(values(found, "Invocations")) == 4
    assert values(found, "ModelLatency") == [1000, 20_000, 3000, 500_000]
    assert values(found, "InvocationModelErrors") == values(found, "ClientInvocationErrors") == [0, 1, 1, 1]
    assert (sum(values(found, "Invocation4XXErrors")), sum(values(found, "Invocation5XXErrors"))) == (1, 1)


def test_no_more_errors_are_told_than_requests_failed() -> None:
    run = recorded_run(OPEN, times(0), -times(5), until_ns=5 * S)
    failing = over_http(run, queued_ms=[0], predicted_ms=[-1], errors={"status 500": 10**12})
    assert values(recorded([failing], first_s=FIRST_S), "Invocation5XXErrors") == [1]


def test_users_are_told_every_second_of_a_closed_loop() -> None:
    traffic = ClosedLoop(
        phases=(
            TrafficPhase(initial_users=2, spawn_per_minute=0, duration_s=2),
            TrafficPhase(initial_users=3, spawn_per_minute=0, duration_s=1.5),
        )
    )
    run = recorded_run(traffic, times(0, 1000), times(1000, 3500), until_ns=5 * S)
    users = recorded([run], first_s=FIRST_S).users
    assert users.values.tolist() == [2, 2, 5, 5]
    assert (users.at_s - FIRST_S).tolist() == pytest.approx([0, 1, 2, 3], abs=1e-6)
    open_loop = recorded_run(OPEN, times(0), times(5), until_ns=5 * S)
    assert not len(recorded([open_loop], first_s=FIRST_S).users.values)


def test_cpu_and_memory_are_what_was_seen_of_workers_while_they_ran() -> None:
    seen = (
        TelemetryPoint(at_ns=2 * S, over_ns=S, cpu_percent=41.5, memory_bytes=10**8),
        TelemetryPoint(at_ns=3 * S, over_ns=S, cpu_percent=180.0, memory_bytes=2 * 10**8),
    )
    run = replace(recorded_run(OPEN, times(0), times(5), until_ns=5 * S), telemetry=seen)
    found = recorded([run], first_s=FIRST_S)
    assert found.cpu_percent.values.tolist() == [41.5, 180.0]
    assert found.memory_bytes.values.tolist() == [10**8, 2 * 10**8]
    assert found.cpu_percent.at_s.tolist() == pytest.approx([FIRST_S + 1, FIRST_S + 2], abs=1e-6)


def test_of_samples_that_are_gone_there_is_nothing() -> None:
    found = recorded([], first_s=FIRST_S)
    assert not len(found.invocations.at_s)
    assert not len(found.users.values)
    assert values(found, "Invocations") == []
