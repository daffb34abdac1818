"""The plateaus of made-up closed loops."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from servefit.profiler.evidence.backlog import offered_and_backlog
from servefit.profiler.evidence.plateaus import on_plateau, plateaus_of, steps_of, users_of
from servefit.profiler.evidence.validity import problems
from servefit.profiler.record.traffic import ClosedLoop, OpenLoop, TrafficPhase
from servefit.profiler.record.types import Run, Samples, TelemetryPoint

S, MS = 1_000_000_000, 1_000_000
BOOT_NS = 77 * S + 123_456_789
STAIRS = ClosedLoop.stairs(steps=3, users_per_step=1, step_duration_s=2)
SERVICE_NS = 10 * MS


def make_run(traffic: ClosedLoop, *, until_s: float | None = None, **facts: Any) -> Run:
    """Users who take turns with one worker, 10 ms each, first come, first served; the run is stopped ``until_s``."""
    end_ns = BOOT_NS + round((until_s or traffic.duration_s) * S)
    waiting = [BOOT_NS + round(join * S) for join in traffic.joins_s()]
    scheduled, ended, free = [], [], BOOT_NS
    while waiting:
        due = min(waiting)
        waiting.remove(due)
        if due >= end_ns:
            continue
        free = max(free, due) + SERVICE_NS
        scheduled.append(due)
        ended.append(free)
        waiting.append(free)
    due_ns, ended_ns = np.array(scheduled), np.array(ended)
    looks = range(BOOT_NS + S // 10, end_ns + 1, S // 10)
    run: dict[str, Any] = {
        "driver": "inprocess",
        "traffic": traffic,
        "samples": Samples(
            scheduled=due_ns.tobytes(), started=(ended_ns - SERVICE_NS).tobytes(), ended=ended_ns.tobytes()
        ),
        "plateau_ns": (BOOT_NS, end_ns),
        "offered": 0,
        "backlog": 0,
        "lags": b"",
        "busy_cpu_ns": 0,
        "threads_per_worker": (1,),
        "threads_outside": 0,
        "peak_memory_bytes": 1,
        "telemetry": tuple(
            # Half of a CPU in the first two seconds, a whole one after them.
            TelemetryPoint(
                at_ns=at, over_ns=S // 10, cpu_percent=50.0 if at <= BOOT_NS + 2 * S else 100.0, memory_bytes=1
            )
            for at in looks
        ),
    }
    return Run(**run | facts)


def edges(*seconds: float) -> tuple[int, ...]:
    return tuple(BOOT_NS + round(second * S) for second in seconds)


def test_every_step_of_stairs_has_its_edges_users_and_figures() -> None:
    run = make_run(STAIRS)
    assert plateaus_of(run) == (edges(0, 2), edges(2, 4), edges(4, 6))
    assert users_of(run) == 3
    steps = steps_of(run, percentiles=["p75"])
    assert [step.users for step in steps] == [1, 2, 3]
    assert [step.throughput_per_s for step in steps] == pytest.approx([100, 100, 100], rel=0.02)
    assert [step.latency_ms["p75"] for step in steps] == [10, 20, 30]
    assert list(steps[0].latency_ms) == ["p50", "p75", "p90", "p95", "p99"]
    assert [step.cpu_percent for step in steps] == [50, 100, 100]
    assert (steps[0].duration_s, steps[0].samples) == (2.0, 200)


def test_a_run_that_was_stopped_has_the_steps_that_it_lived_through() -> None:
    stopped = make_run(STAIRS, until_s=3.5, stopped="latency", plateau_ns=edges(2, 3.5))
    assert plateaus_of(stopped) == (edges(0, 2), edges(2, 3.5))
    assert users_of(stopped) == 2
    assert [(step.users, step.duration_s) for step in steps_of(stopped)] == [(1, 2.0), (2, 1.5)]


def test_a_step_that_had_hardly_begun_when_the_run_was_stopped_is_none() -> None:
    stopped = make_run(STAIRS, until_s=4.2, stopped="flat", plateau_ns=edges(2, 4))
    assert plateaus_of(stopped) == (edges(0, 2), edges(2, 4))
    assert users_of(stopped) == 2
    assert [step.users for step in steps_of(stopped)] == [1, 2]


def test_the_first_user_may_come_late() -> None:
    late = ClosedLoop(
        phases=(
            TrafficPhase(initial_users=0, spawn_per_minute=30, duration_s=2.5),
            TrafficPhase(initial_users=1, spawn_per_minute=0, duration_s=3),
        )
    )
    stopped = make_run(late, until_s=5, stopped="rate", plateau_ns=edges(2.5, 5))
    assert plateaus_of(stopped) == (edges(2.5, 5),)
    assert users_of(stopped) == 2


def test_one_plateau_alone_is_no_step() -> None:
    loop = ClosedLoop.constant(users=2, duration_s=3)
    assert steps_of(make_run(loop)) == ()
    assert plateaus_of(make_run(loop)) == (edges(0, 3),)
    opened = replace(make_run(loop), traffic=OpenLoop(rate_per_s=1, duration_s=3))
    assert (plateaus_of(opened), users_of(opened), steps_of(opened)) == ((opened.plateau_ns,), 0, ())


def test_a_run_can_be_seen_on_another_of_its_plateaus() -> None:
    run = make_run(STAIRS, plateau_ns=edges(4, 6))
    assert on_plateau(run, run.plateau_ns) is run
    first, second, _ = (on_plateau(run, plateau) for plateau in plateaus_of(run))
    assert first.plateau_ns == edges(0, 2)
    assert (first.offered, first.backlog) == (200, 0)
    assert (second.offered, second.backlog) == (201, 1)
    assert first.busy_cpu_ns == pytest.approx(1 * S)
    assert second.busy_cpu_ns == pytest.approx(2 * S)


@pytest.mark.parametrize(("until_s", "plateau_s"), [(3.5, (2, 3.5)), (4.2, (2, 4)), (5.5, (4, 5.5))])
def test_a_run_that_was_stopped_obeys_littles_law_with_the_users_of_its_plateau(
    until_s: float, plateau_s: tuple[float, float]
) -> None:
    begin, end = edges(*plateau_s)
    stopped = make_run(STAIRS, until_s=until_s, stopped="flat", plateau_ns=(begin, end), telemetry=())
    assert problems(stopped, limit_ms=None, cpus=(0,)) == ()


def test_where_a_server_says_its_times_requests_are_begun_so_long_before_their_answer() -> None:
    due, ended = np.array([1, 10, 20, 30, 40]), np.array([15, 35, -25, 0, 55])
    samples = Samples(scheduled=due.tobytes(), started=due.tobytes(), ended=ended.tobytes())
    said = replace(samples, queued=(0 * due).tobytes(), predicted=np.array([10, 3, -1, -1, 20]).tobytes())
    assert offered_and_backlog(samples, (0, 31)) == (4, 0)  # all were sent by then
    assert offered_and_backlog(said, (0, 31)) == (4, 2)  # the second was begun at 32, the fourth never; one failed
