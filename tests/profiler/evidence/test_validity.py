"""The problems that make a measurement invalid, in made-up runs and in real ones beside a busy process."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from servefit.profiler.evidence.validity import problems
from servefit.profiler.machine.telemetry import TelemetryPoint
from servefit.profiler.record.traffic import ClosedLoop, OpenLoop, Traffic
from servefit.profiler.record.types import ClientRecord, Run, Samples

if TYPE_CHECKING:
    from tests.profiler.conftest import StartSynthetic

    from servefit.profiler.evidence.problem import Problem

S, MS, US = 1_000_000_000, 1_000_000, 1000
OPEN = OpenLoop(rate_per_s=1000, duration_s=10)
QUIET: dict[str, Any] = {
    "cpu_percent": 50.0,
    "memory_bytes": 1,
    "worker_percents": (60.0,),
    "run_queue_percent": 0.5,
    "own_percent": 1.0,
    "core_percents": (62.0,),
    "foreign_percent": 1.0,
    "steal_percent": 0.0,
    "throttled_percent": 0.0,
    "thermal_throttles": 0,
}


def looks(seconds: int = 10, **seen: Any) -> tuple[TelemetryPoint, ...]:
    """A look every 100 ms, of a quiet machine but for what is given."""
    at = range(S // 10, seconds * S + 1, S // 10)
    return tuple(TelemetryPoint(at_ns=at_ns, over_ns=S // 10, **QUIET | seen) for at_ns in at)


def make_run(
    *,
    scheduled: np.ndarray | None = None,
    response_ns: int | np.ndarray = MS,
    lags_ns: list[int] | None = None,
    traffic: Traffic = OPEN,
    **facts: Any,
) -> Run:
    due = np.arange(10_000) * MS if scheduled is None else scheduled
    ended = (due + response_ns).astype(np.int64)
    fields: dict[str, Any] = {
        "driver": "inprocess",
        "traffic": traffic,
        "samples": Samples(scheduled=due.astype(np.int64).tobytes(), started=due.tobytes(), ended=ended.tobytes()),
        "plateau_ns": (0, 10 * S),
        "offered": len(due),
        "backlog": 0,
        "lags": np.array([10 * US] * 1000 if lags_ns is None else lags_ns, dtype=np.int64).tobytes(),
        "busy_cpu_ns": 0,
        "threads_per_worker": (1,),
        "threads_outside": 0,
        "peak_memory_bytes": 1,
        "telemetry": looks(),
    }
    return Run(**fields | facts)


def found(run: Run, *, limit_ms: float | None = 10, cpus: tuple[int, ...] = (0,), **envelope: Any) -> list[str]:
    return [problem.kind for problem in problems(run, limit_ms=limit_ms, cpus=cpus, **envelope)]


def the_problem(run: Run, *, limit_ms: float | None = 10, cpus: tuple[int, ...] = (0,), **envelope: Any) -> Problem:
    (problem,) = problems(run, limit_ms=limit_ms, cpus=cpus, **envelope)
    assert "\n" not in problem.reason
    assert problem.remedy
    return problem


def test_a_clean_run_has_no_problem() -> None:
    assert found(make_run()) == []
    assert found(make_run(), limit_ms=None) == []


def test_a_run_of_which_nothing_could_be_read_has_no_problem() -> None:
    blind = tuple(
        TelemetryPoint(at_ns=at * S // 10, over_ns=S // 10, cpu_percent=50, memory_bytes=1) for at in range(1, 101)
    )
    assert found(make_run(telemetry=blind)) == []
    assert found(make_run(telemetry=(), lags_ns=[])) == []


# Schedule lag


def test_lags_are_held_against_the_limit_of_the_sla() -> None:
    late = make_run(lags_ns=[10 * US] * 950 + [600 * US] * 50)
    problem = the_problem(late, limit_ms=10)
    assert problem.kind == "schedule lag"
    assert "p99 of the schedule lag is 600 us, 6 % of the SLA's limit" in problem.reason
    assert found(late, limit_ms=100) == []


def test_lags_far_beyond_the_limit_are_times_of_it_and_not_per_cents() -> None:
    reason = the_problem(make_run(lags_ns=[5_122_240 * US] * 1000), limit_ms=1).reason
    assert "p99 of the schedule lag is 5.12 s, 5,120 times the SLA's limit, 5 % are allowed" in reason


def test_a_limit_below_what_can_be_timed_is_told_apart_from_a_machine_that_is_busy() -> None:
    late = make_run(lags_ns=[900 * US] * 1000)
    assert the_problem(late, limit_ms=0.001).remedy.endswith(
        "If nothing does, the limit is below what can be timed here: give 18 ms or more"
    )
    assert "timed here" not in the_problem(late, limit_ms=1).remedy


def test_without_an_sla_they_are_held_against_what_was_measured_or_four_milliseconds() -> None:
    late = [10 * US] * 950 + [600 * US] * 50
    assert found(make_run(lags_ns=late, response_ns=20 * MS), limit_ms=None) == []
    assert "p95 response time" in the_problem(make_run(lags_ns=late, response_ns=10 * MS), limit_ms=None).reason
    assert found(make_run(lags_ns=[150 * US] * 1000, response_ns=50 * US), limit_ms=None) == []


def test_a_few_late_ones_among_few_are_chance() -> None:
    assert found(make_run(lags_ns=[10 * US] * 48 + [MS] * 2)) == []
    assert found(make_run(lags_ns=[10 * US] * 40 + [MS] * 10)) == ["schedule lag"]


def test_workers_with_more_threads_than_cpus_that_wait_for_each_other_are_late_by_their_own_doing() -> None:
    late = [10 * US] * 900 + [5 * MS] * 100
    crowded: dict[str, Any] = {"lags_ns": late, "threads_per_worker": (2, 2)}
    assert found(make_run(**crowded, telemetry=looks(run_queue_percent=80.0)), cpus=(0,)) == []
    assert found(make_run(**crowded, telemetry=looks(run_queue_percent=0.0)), cpus=(0,)) == ["schedule lag"]
    enough = looks(run_queue_percent=80.0)
    assert "schedule lag" in found(make_run(**crowded, telemetry=enough), cpus=(0, 1, 2, 3))


# Competing load


@pytest.mark.parametrize(("cpus", "foreign_percent", "bad"), [(1, 2, False), (1, 5, True), (2, 5, False), (2, 8, True),
                                                              (16, 22, False), (16, 30, True)])  # fmt: skip
def test_other_processes_may_use_three_per_cent_of_the_envelope_and_a_quarter_of_a_cpu(
    cpus: int, foreign_percent: float, bad: bool
) -> None:
    run = make_run(telemetry=looks(foreign_percent=float(foreign_percent)))
    assert found(run, cpus=tuple(range(cpus))) == (["competing load"] if bad else [])


def test_the_reason_says_how_much_others_used() -> None:
    problem = the_problem(make_run(telemetry=looks(foreign_percent=97.0)))
    assert problem.reason == "other processes used 97 % of a CPU within the envelope of 1, 3 % are allowed"


def test_servefits_own_process_may_use_a_tenth_of_a_cpu_and_no_more() -> None:
    assert found(make_run(telemetry=looks(own_percent=9.0, foreign_percent=1.0))) == []
    assert found(make_run(telemetry=looks(own_percent=90.0, foreign_percent=1.0))) == ["competing load"]
    elsewhere = looks(own_percent=90.0, foreign_percent=-89.0)
    assert found(make_run(telemetry=elsewhere)) == []


def test_steps_of_the_kernels_counters_are_not_taken_for_load() -> None:
    jittering = tuple(
        TelemetryPoint(at_ns=point.at_ns, over_ns=point.over_ns, **QUIET | {"foreign_percent": foreign})
        for point, foreign in zip(looks(), [11.0, -9.0] * 50, strict=True)
    )
    assert found(make_run(telemetry=jittering)) == []
    short = make_run(telemetry=looks(1, foreign_percent=3.5), plateau_ns=(0, S))
    assert found(short) == []


def test_only_the_plateau_counts() -> None:
    before = tuple(TelemetryPoint(at_ns=-S, over_ns=S // 10, **QUIET | {"foreign_percent": 900.0}) for _ in range(100))
    assert found(make_run(telemetry=before + looks())) == []


def test_waiting_for_a_cpu_is_a_problem_unless_the_workers_crowd_themselves() -> None:
    unseen = looks(foreign_percent=None, run_queue_percent=20.0)
    problem = the_problem(make_run(telemetry=unseen))
    assert problem.kind == "competing load"
    assert "threads waited for a CPU for 20 % of the time" in problem.reason
    assert found(make_run(telemetry=unseen, threads_per_worker=(2,))) == []


# Steal, throttling, the envelope


def test_steal_above_one_per_cent_is_a_problem() -> None:
    assert found(make_run(telemetry=looks(steal_percent=0.9))) == []
    assert "took 3 %" in the_problem(make_run(telemetry=looks(steal_percent=3.0))).reason
    one_step_in_a_second = make_run(telemetry=looks(1, steal_percent=1.5), plateau_ns=(0, S))
    assert found(one_step_in_a_second) == []


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        ({"throttled_percent": 0.5}, "held this process's control group back for 50 ms"),
        ({"thermal_throttles": 1}, "slowed down for heat 100 times"),
        ({"gpu_throttled": True}, "in 100 of 100 looks"),
    ],
)
def test_throttling_of_any_kind_is_a_problem(seen: dict[str, Any], said: str) -> None:
    problem = the_problem(make_run(telemetry=looks(**seen)))
    assert problem.kind == "throttling"
    assert said in problem.reason


def test_more_cpu_time_than_the_envelope_has_was_used_elsewhere() -> None:
    assert found(make_run(telemetry=looks(worker_percents=(51.0, 51.0)))) == []
    problem = the_problem(make_run(telemetry=looks(worker_percents=(65.0, 65.0))))
    assert problem.reason == "the workers used 1.3 CPUs in an envelope of 1"


def test_a_mask_that_is_too_wide_is_a_problem_where_a_control_group_should_hold_it() -> None:
    wide = make_run(threads_outside=2)
    assert found(wide, containment="uncontained") == []
    assert the_problem(wide, containment="cgroup").kind == "outside the envelope"


# Little's law


def closed(users: int, turns: int, service_ns: int, *, lost_ns: int = 0, keep: int | None = None) -> Run:
    """``users`` who take turns with one worker, first come, first served; ``lost_ns`` pass unseen after every answer,
    and only the first ``keep`` requests are completed."""
    scheduled, ended = [], []
    free, back = 0, [0] * users
    for turn in range(users * turns):
        due = back[turn % users]
        free = max(free, due) + service_ns
        scheduled.append(due)
        ended.append(free)
        back[turn % users] = free + lost_ns
    end = ended[-1] + 1
    begun, done = np.array(scheduled[:keep]), np.array(ended[:keep])
    traffic = ClosedLoop.constant(users=users, duration_s=end / S)
    return make_run(scheduled=begun, response_ns=done - begun, traffic=traffic, plateau_ns=(0, end), lags_ns=[])


@pytest.mark.parametrize(("users", "turns"), [(1, 4), (1, 1000), (7, 2), (7, 300), (50, 1), (50, 3)])
def test_a_closed_loop_that_lost_nothing_obeys_littles_law_however_short(users: int, turns: int) -> None:
    assert found(closed(users, turns, 3 * MS)) == []
    assert found(closed(users, turns, 3 * MS, keep=max(1, users * turns * 2 // 3))) == []


def test_time_that_was_lost_between_requests_breaks_littles_law() -> None:
    problem = the_problem(closed(1, 1000, MS, lost_ns=MS // 5))
    assert problem.kind == "Little's law"
    assert "1 users, but throughput x mean response time is 0.83" in problem.reason


# Real runs


@pytest.mark.parametrize(
    "traffic",
    [
        pytest.param(OpenLoop(rate_per_s=300, duration_s=0.8), marks=pytest.mark.thorough),
        ClosedLoop.constant(users=1, duration_s=0.6),
    ],
)
def test_a_hog_on_the_profiles_own_cpu_makes_the_run_invalid(start_synthetic: StartSynthetic, traffic: Traffic) -> None:
    pinned = "import os; os.sched_setaffinity(0, {0})\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", pinned]) as hog:
        try:
            with start_synthetic({"act": "spin", "us": 500}, cpus=(0,)) as workers:
                run = workers.run(traffic)
        finally:
            hog.kill()
    kinds = found(run, limit_ms=None, cpus=(0,))
    assert "competing load" in kinds
    assert "outside the envelope" not in kinds
    assert "Little's law" not in kinds


def test_a_real_closed_loop_obeys_littles_law(start_synthetic: StartSynthetic) -> None:
    with start_synthetic({"act": "spin", "us": 300}, cpus=(0,), workers=2) as workers:
        run = workers.run(ClosedLoop.constant(users=5, duration_s=0.3))
    assert "Little's law" not in found(run, limit_ms=None, cpus=(0,))


# Load clients


def client(**facts: Any) -> ClientRecord:
    usual: dict[str, Any] = {
        "processes": 1,
        "cpus": (1,),
        "cpu_percent": 30.0,
        "connections": 4,
        "reconnections": 0,
        "errors": {},
        "shares_cpus": False,
    }
    return ClientRecord(**usual | facts)


def over_http(*, unsent: int = 0, errors: dict[str, int] | None = None, **facts: Any) -> Run:
    """A run over HTTP, the last ``unsent`` requests of which nobody sent."""
    about_client = {name: facts.pop(name) for name in ("cpu_percent", "shares_cpus", "steal_percent") if name in facts}
    run = make_run(driver="http", client=client(errors=errors or {}, **about_client), **facts)
    started, ended = run.samples.started_ns().copy(), run.samples.ended_ns().copy()
    if unsent:
        started[-unsent:] = ended[-unsent:] = 0
    return replace(run, samples=replace(run.samples, started=started.tobytes(), ended=ended.tobytes()))


def test_a_client_with_time_to_spare_has_no_problem() -> None:
    assert found(over_http()) == []
    assert found(over_http(cpu_percent=None)) == []
    assert found(over_http(telemetry=()), cpus=()) == []


def test_a_client_that_is_nearly_always_busy_is_saturated() -> None:
    assert found(over_http(cpu_percent=79.0)) == []
    problem = the_problem(over_http(cpu_percent=91.0))
    assert problem.kind == "client saturated"
    assert "the load client used 91 % of its CPU, 80 % are allowed" in problem.reason


def test_a_client_that_waits_for_its_cpu_in_a_closed_loop_has_competition() -> None:
    def waited(percent: float | None, run: Run) -> Run:
        return replace(run, driver="http", client=client(waited_percent=percent, **shared))

    shared: dict[str, Any] = {}
    loop = closed(4, 100, MS)
    problem = the_problem(waited(24.2, loop))
    assert problem.kind == "competing load"
    assert problem.reason == "the load client waited for its CPU for 24.2 % of the time, 5 % are allowed"
    assert found(waited(4.9, loop)) == found(waited(None, loop)) == []
    assert found(waited(24.2, make_run())) == [], "an open loop tells by how late its arrivals are"
    shared["shares_cpus"] = True
    assert found(waited(24.2, loop)) == ["client on the server's CPUs"]


def test_what_a_hypervisor_takes_from_the_clients_is_stolen_too() -> None:
    def stolen(percent: float | None) -> Run:
        return over_http(telemetry=(), steal_percent=percent)

    assert "took 3 % of the CPU time" in the_problem(stolen(3.0), cpus=()).reason
    assert found(stolen(1.05), cpus=()) == found(stolen(None), cpus=()) == []


def test_a_busy_client_that_does_not_send_all_that_is_due_is_behind() -> None:
    problem = the_problem(over_http(unsent=200, cpu_percent=60.0))
    assert problem.kind == "client behind"
    assert "sent 9,799 of 10,000 requests" in problem.reason
    assert found(over_http(unsent=50, cpu_percent=60.0)) == []


def test_an_idle_client_that_sends_less_waits_for_the_server() -> None:
    assert found(over_http(unsent=5000, cpu_percent=20.0)) == []


def test_late_sending_is_the_clients_fault_however_crowded_the_server_is() -> None:
    late = [10 * US] * 900 + [5 * MS] * 100
    crowded = over_http(lags_ns=late, threads_per_worker=(2, 2), telemetry=looks(run_queue_percent=80.0))
    assert "sent late" in the_problem(crowded, cpus=(0,)).reason


def test_a_client_on_the_servers_cpus_is_the_competing_load() -> None:
    shared = over_http(shares_cpus=True, telemetry=looks(foreign_percent=40.0))
    assert found(shared) == ["client on the server's CPUs"]
    assert found(over_http(telemetry=looks(foreign_percent=40.0))) == ["competing load"]


def test_failed_requests_are_not_lost_ones() -> None:
    """Every other request of the one user fails after 1 ms; the user comes again at once."""
    due = np.arange(10_000) * MS
    traffic = ClosedLoop.constant(users=1, duration_s=10)
    run = over_http(scheduled=due, response_ns=MS, traffic=traffic, lags_ns=[])
    ended = run.samples.ended_ns() * np.where(np.arange(10_000) % 2, 1, -1)
    failing = replace(run, samples=replace(run.samples, ended=ended.tobytes()))
    assert found(failing) == []
    assert found(replace(failing, client=client(errors={"status 503": 5000}))) == []
