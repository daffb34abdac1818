"""What is left of a run without the stretches that the machine got in the way of."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from statistics import geometric_mean
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servefit.profiler.evidence.summary import summarize
from servefit.profiler.evidence.undisturbed import counted, disturbed_stretches
from servefit.profiler.evidence.validity import problems, without_disturbances
from servefit.profiler.record.traffic import ClosedLoop, OpenLoop, TrafficPhase
from servefit.profiler.record.types import ClientRecord, Run, Samples, TelemetryPoint

US, MS, S = 1_000, 1_000_000, 1_000_000_000
LOOK_NS = 100 * MS
DURATION_NS = 4 * S
QUIET = {"cpu_percent": 50.0, "memory_bytes": 1, "own_percent": 1.0, "foreign_percent": 0.0, "steal_percent": 0.0}
SERVICE_NS, SLOWED = 500 * US, 3
SLOW = tuple((second * S, second * S + 300 * MS) for second in range(4))
"""A neighbour of a duty cycle of 30 %."""


def is_slow(at_ns: int) -> bool:
    return any(low <= at_ns < high for low, high in SLOW)


def looks(disturbed: tuple[tuple[int, int], ...] = SLOW, **seen: Any) -> tuple[TelemetryPoint, ...]:
    """A look every 100 ms, which sees others use 60 % of the CPU in what is ``disturbed``."""
    points = []
    for at_ns in range(LOOK_NS, DURATION_NS + 1, LOOK_NS):
        busy = any(low < at_ns <= high for low, high in disturbed)
        facts = QUIET | seen | ({"foreign_percent": 60.0} if busy else {})
        points.append(TelemetryPoint(at_ns=at_ns, over_ns=LOOK_NS, **facts))
    return tuple(points)


def run_of(traffic: OpenLoop | ClosedLoop, due: list[int], started: list[int], ended: list[int], **facts: Any) -> Run:
    fields: dict[str, Any] = {
        "driver": "inprocess",
        "traffic": traffic,
        "samples": Samples(
            scheduled=np.array(due, dtype=np.int64).tobytes(),
            started=np.array(started, dtype=np.int64).tobytes(),
            ended=np.array(ended, dtype=np.int64).tobytes(),
        ),
        "plateau_ns": (0, DURATION_NS),
        "offered": len(due),
        "backlog": 0,
        "lags": b"",
        "busy_cpu_ns": DURATION_NS // 2,
        "threads_per_worker": (1,),
        "threads_outside": 0,
        "peak_memory_bytes": 1,
        "telemetry": looks(),
    }
    return Run(**fields | facts)


def open_run(*, slowed: int = SLOWED, rate_per_s: int = 1000, seed: int = 0, **facts: Any) -> Run:
    """A single worker, which takes so many times as long in what is slow."""
    random = np.random.default_rng(seed)
    due = np.cumsum(random.exponential(S / rate_per_s, 5 * rate_per_s)).astype(np.int64)
    due = due[due < DURATION_NS]
    free, started, ended = 0, [], []
    for at in due.tolist():
        begun = max(at, free)
        free = begun + SERVICE_NS * (slowed if is_slow(begun) else 1)
        started.append(begun)
        ended.append(free)
    traffic = OpenLoop(rate_per_s=rate_per_s, duration_s=DURATION_NS / S)
    return run_of(traffic, due.tolist(), started, ended, **facts)


def closed_run(**facts: Any) -> Run:
    """Four users of a single worker."""
    due, started, ended = [], [], []
    waiting, now = [0, 0, 0, 0], 0
    while now < DURATION_NS:
        due.append(waiting.pop(0))
        started.append(now)
        now += SERVICE_NS * (SLOWED if is_slow(now) else 1)
        ended.append(now)
        waiting.append(now)
    traffic = ClosedLoop.constant(users=4, duration_s=DURATION_NS / S)
    return run_of(traffic, [*due, *waiting], [*started, 0, 0, 0, 0], [*ended, 0, 0, 0, 0], **facts)


def rest_of(run: Run, **asked: Any) -> Run | None:
    return without_disturbances(run, **{"limit_ms": 10.0, "cpus": (0,), **asked})


def test_a_run_of_which_nothing_is_left_out_is_itself() -> None:
    run = open_run()
    assert counted(run) is run


def test_capacity_is_that_of_the_quiet_stretches() -> None:
    run = closed_run()
    assert problems(run, limit_ms=None, cpus=(0,))
    rest = rest_of(run, limit_ms=None)
    assert rest is not None
    assert summarize(run).throughput_per_s < 0.85 * S / SERVICE_NS
    assert summarize(rest).throughput_per_s == pytest.approx(S / SERVICE_NS, rel=0.005)
    assert summarize(rest).left_out_s == pytest.approx(1.2)
    assert rest.samples == run.samples


def test_latency_is_that_of_the_quiet_stretches() -> None:
    ratios: dict[str, list[float]] = {"p50": [], "p95": []}
    for seed in range(10):
        run, quiet = open_run(seed=seed), open_run(slowed=1, seed=seed, telemetry=looks(()))
        rest = rest_of(run)
        assert rest is not None
        truth, found, disturbed = summarize(quiet), summarize(rest), summarize(run)
        assert (disturbed.latency_ms["p95"] or 0) > 5 * (truth.latency_ms["p95"] or 0)
        assert found.offered_per_s == pytest.approx(1000, rel=0.1)
        assert found.cpu_percent == pytest.approx(50, rel=0.02)
        for name, seen in ratios.items():
            seen.append((found.latency_ms[name] or 0) / (truth.latency_ms[name] or 1))
    assert geometric_mean(ratios["p50"]) == pytest.approx(1, abs=0.04)
    assert geometric_mean(ratios["p95"]) == pytest.approx(1, abs=0.04)


def test_a_stretch_lasts_until_the_queue_that_it_left_is_served() -> None:
    run = open_run()
    rest = rest_of(run)
    assert rest is not None
    due, ended = run.samples.scheduled_ns(), run.samples.ended_ns()
    for low, high in rest.left_out_ns:
        assert high > low + 300 * MS
        assert ended[due <= high].max() <= high
    kept = counted(rest)
    assert kept.samples.response_ns().max() < 10 * SERVICE_NS


def test_nothing_is_left_out_where_too_little_would_be_left() -> None:
    everywhere = tuple((at, at + LOOK_NS) for at in range(0, DURATION_NS, LOOK_NS))
    assert rest_of(open_run(telemetry=looks(everywhere))) is None
    assert rest_of(open_run(telemetry=looks(everywhere[2:-2]))) is None


def test_nothing_is_left_out_of_what_is_not_alike_throughout() -> None:
    phases = ClosedLoop(
        phases=tuple(TrafficPhase(initial_users=users, spawn_per_minute=0, duration_s=2) for users in (1, 4))
    )
    points = looks()[:3]
    assert disturbed_stretches(closed_run(), points) == (SLOW[0],)
    assert disturbed_stretches(replace(closed_run(), traffic=phases), points) == ()
    varied = OpenLoop(rate_per_s=1000, duration_s=4, arrivals="sine:period=2s")
    assert disturbed_stretches(replace(open_run(), traffic=varied), points) == ()
    assert disturbed_stretches(open_run(stopped="backlog"), points) == ()


def test_what_is_wrong_all_the_time_stays_wrong() -> None:
    run = open_run()
    assert rest_of(replace(run, telemetry=looks(throttled_percent=5.0))) is None
    assert rest_of(replace(run, telemetry=looks(own_percent=40.0))) is None
    late = np.maximum(run.samples.started_ns(), run.samples.scheduled_ns() + 2 * MS)
    assert rest_of(replace(run, lags=b"12345678", samples=replace(run.samples, started=late.tobytes()))) is None


def test_lags_are_those_of_the_quiet_stretches() -> None:
    run = open_run()
    late = replace(run, lags=np.full(1000, 5 * MS, dtype=np.int64).tobytes())
    assert "schedule lag" in [problem.kind for problem in problems(late, limit_ms=10.0, cpus=(0,))]
    rest = rest_of(late)
    assert rest is not None
    lags = counted(rest).lags_ns()
    # About half of the requests find the worker idle.
    assert 0.3 < len(lags) / summarize(rest).samples < 0.7
    assert lags.max() == 0


def kept_from_its_cpu(*, client_percent: float | None = 5.0) -> Run:
    """A run over HTTP whose client sent nothing in what is slow, and then all that was due, at once."""
    random = np.random.default_rng(0)
    due = np.cumsum(random.exponential(S / 500, 4000)).astype(np.int64)
    due = due[due < DURATION_NS]
    sent = due.copy()
    for low, high in SLOW:
        sent[(due >= low) & (due < high)] = high
    free, ended = 0, []
    for at in sent.tolist():
        free = max(at, free) + SERVICE_NS
        ended.append(free)
    client = ClientRecord(
        processes=1,
        cpus=(1,),
        cpu_percent=client_percent,
        connections=16,
        reconnections=0,
        errors={},
        shares_cpus=False,
    )
    traffic = OpenLoop(rate_per_s=500, duration_s=DURATION_NS / S)
    facts = {"driver": "http", "client": client, "telemetry": looks(()), "lags": (sent - due).tobytes()}
    return run_of(traffic, due.tolist(), sent.tolist(), ended, **facts)


def test_stretches_in_which_others_kept_the_client_from_its_cpu_are_left_out() -> None:
    run = kept_from_its_cpu()
    assert [problem.kind for problem in problems(run, limit_ms=10.0, cpus=(0,))] == ["schedule lag"]
    rest = rest_of(run)
    assert rest is not None
    assert not problems(rest, limit_ms=10.0, cpus=(0,))
    assert all(any(low < high_of and high > low_of for low, high in rest.left_out_ns) for low_of, high_of in SLOW)
    whole, quiet = (summarize(each).latency_ms["p95"] or 0.0 for each in (run, rest))
    assert quiet < 2.0 < 100.0 < whole


@pytest.mark.parametrize("client_percent", [60.0, None])
def test_a_client_that_is_late_by_itself_or_may_be_spoils_the_run(client_percent: float | None) -> None:
    assert rest_of(kept_from_its_cpu(client_percent=client_percent)) is None


def test_a_run_without_disturbances_has_none_to_leave_out() -> None:
    assert rest_of(open_run(slowed=1, telemetry=looks(()))) is None


@pytest.mark.integration
@given(
    st.lists(st.tuples(st.integers(0, 3800), st.integers(1, 400)), min_size=1, max_size=6),
    st.sampled_from(["open", "closed"]),
)
def test_what_counts_is_in_order_and_inside_a_shorter_plateau(at_ms: list[tuple[int, int]], loop: str) -> None:
    run = open_run(slowed=1) if loop == "open" else closed_run()
    points = [
        TelemetryPoint(at_ns=(at + over) * MS, over_ns=over * MS, **QUIET)  # type: ignore[arg-type]
        for at, over in at_ms
    ]
    stretches = disturbed_stretches(run, points)
    assert all(low < high for low, high in stretches)
    assert all(high < low for (_, high), (low, _) in pairwise(stretches))
    if not stretches:
        return
    rest = counted(replace(run, left_out_ns=stretches))
    due, started, ended = rest.samples.scheduled_ns(), rest.samples.started_ns(), rest.samples.ended_ns()
    served = ended > 0
    assert (due[served] <= started[served]).all()
    assert (started[served] <= ended[served]).all()
    assert rest.plateau_ns[1] - rest.plateau_ns[0] == DURATION_NS - sum(high - low for low, high in stretches)
    if loop == "open":
        assert (np.diff(due) >= 0).all()
        before = dict(zip(run.samples.scheduled_ns().tolist(), run.samples.response_ns().tolist(), strict=True))
        assert set(rest.samples.response_ns().tolist()) <= set(before.values())
