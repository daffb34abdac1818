"""Closed loops of real workers that end before their time.

That nothing remains is asserted after every test by the fixture in conftest.py.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest

from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.profiler.evidence.plateaus import plateaus_of, steps_of, users_of
from servefit.profiler.evidence.stopping import StoppingConditions
from servefit.profiler.evidence.summary import summarize
from servefit.profiler.evidence.validity import problems
from servefit.profiler.procedures.decided_runs import run_valid
from servefit.profiler.record.traffic import ClosedLoop

if TYPE_CHECKING:
    from tests.profiler.conftest import StartSynthetic

    from servefit.profiler.record.types import Run

S = 1_000_000_000
ONE_CPU = (max(os.sched_getaffinity(0)),)
STAIRS = ClosedLoop.stairs(steps=8, users_per_step=1, step_duration_s=1.0)
SLEEP = {"act": "sleep", "us": 2000}


def lived_s(run: Run) -> float:
    """From the first request to the last answer."""
    return float(run.samples.ended_ns().max() - run.samples.scheduled_ns().min()) / S


def check_whole(run: Run) -> None:
    """Every request that was due before the stop has its answer, and none is there that came after."""
    assert np.all(run.samples.ended_ns() > 0)
    end = run.plateau_ns[1]
    begun = run.samples.started_ns() < end
    due = run.samples.scheduled_ns() < end
    assert run.offered == np.count_nonzero(due & (run.samples.scheduled_ns() >= run.plateau_ns[0]))
    assert run.backlog == np.count_nonzero(due & ~begun)
    assert "Little's law" not in {problem.kind for problem in problems(run, limit_ms=None, cpus=ONE_CPU)}


@pytest.mark.thorough
def test_stairs_on_one_worker_are_flat_after_a_few_steps(start_synthetic: StartSynthetic) -> None:
    with start_synthetic(SLEEP, cpus=ONE_CPU) as workers:
        run, _ = run_valid(workers, STAIRS, allow_noise=True, stopping=StoppingConditions())
        after = workers.run(ClosedLoop.constant(users=1, duration_s=0.2))
    assert run.stopped == "flat"
    assert 2.9 < lived_s(run) < 7
    check_whole(run)
    steps = steps_of(run)
    assert 3 <= len(steps) <= 6
    assert [step.users for step in steps] == list(range(1, len(steps) + 1))
    assert all(step.duration_s == pytest.approx(1.0, abs=0.01) for step in steps)
    assert plateaus_of(run)[-1] == run.plateau_ns
    assert users_of(run) == len(steps)
    summary = summarize(run)
    assert summary.throughput_per_s == pytest.approx(steps[-1].throughput_per_s)
    assert summary.cpu_percent == pytest.approx(steps[-1].cpu_percent, abs=10)
    assert after.stopped is None
    assert after.offered > 30


@pytest.mark.thorough
def test_where_flat_is_no_reason_they_go_on(start_synthetic: StartSynthetic) -> None:
    stairs = ClosedLoop.stairs(steps=4, users_per_step=1, step_duration_s=1.0)
    with start_synthetic(SLEEP, cpus=ONE_CPU) as workers:
        run = workers.run(stairs, stopping=StoppingConditions(flat=False))
    assert run.stopped is None
    assert len(steps_of(run)) == 4
    assert users_of(run) == 4
    check_whole(run)


@pytest.mark.thorough
def test_a_rate_that_is_reached_ends_the_run(start_synthetic: StartSynthetic) -> None:
    """Three workers, which sleep side by side, answer 500 a second each at most."""
    stopping = StoppingConditions(flat=False, most_per_s=600)
    with start_synthetic(SLEEP, cpus=ONE_CPU, workers=3) as workers:
        run = workers.run(STAIRS, stopping=stopping)
    assert run.stopped == "rate"
    assert users_of(run) in (2, 3)
    begin, end = run.plateau_ns
    assert 1.0 <= (end - begin) / S < 1.5 or (end - begin) / S == pytest.approx(1.0, abs=0.01)
    assert summarize(run).throughput_per_s > 550
    check_whole(run)


@pytest.mark.thorough
def test_a_limit_that_is_broken_ends_the_run(start_synthetic: StartSynthetic) -> None:
    """One user has his answer after 2 ms, two after 4."""
    limits = (LatencyThreshold(percentile="p99", limit_ms=1000), LatencyThreshold(percentile="p50", limit_ms=3.5))
    stairs = ClosedLoop.stairs(steps=4, users_per_step=1, step_duration_s=5.0)
    with start_synthetic(SLEEP, cpus=ONE_CPU) as workers:
        run = workers.run(stairs, stopping=StoppingConditions(flat=False, thresholds=limits))
    assert run.stopped == "latency"
    assert 7.5 < lived_s(run) < 10
    assert users_of(run) == 2
    assert [step.users for step in steps_of(run)] == [1, 2]
    assert steps_of(run)[-1].duration_s < 5
    check_whole(run)


def test_users_of_batches_are_counted_one_by_one(start_synthetic: StartSynthetic) -> None:
    loop = ClosedLoop.constant(users=4, duration_s=20)
    with start_synthetic({"act": "sleep", "us": 5000}, cpus=ONE_CPU, max_batch=4) as workers:
        run = workers.run(loop, stopping=StoppingConditions(flat=False, most_per_s=500))
    assert run.stopped == "rate"
    assert lived_s(run) < 10
    check_whole(run)


def test_a_run_in_which_no_condition_is_reached_is_as_one_without_any(start_synthetic: StartSynthetic) -> None:
    limits = (LatencyThreshold(percentile="p95", limit_ms=10_000),)
    loop = ClosedLoop.constant(users=2, duration_s=0.4)
    with start_synthetic(SLEEP, cpus=ONE_CPU) as workers:
        run = workers.run(loop, stopping=StoppingConditions(most_per_s=1e6, thresholds=limits))
        plain = workers.run(loop)
    assert (run.stopped, plain.stopped) == (None, None)
    assert run.offered == pytest.approx(plain.offered, rel=0.3)
    assert run.plateau_ns[1] - run.plateau_ns[0] == plain.plateau_ns[1] - plain.plateau_ns[0] == 0.4 * S
    check_whole(run)
