"""Runs that are decided, repeated or called invalid, by real workers whose service time is known.

The machine that tests run on is seldom quiet, so those about verdicts allow noise.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.report.simulated import SimulatedDriver
from tests.report.story import configuration

from servefit.errors import SpecError
from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.profiler.procedures.decided_runs import find_highest_rate, run_decided, run_valid
from servefit.profiler.record.traffic import ClosedLoop, OpenLoop

if TYPE_CHECKING:
    from tests.conftest import Hog
    from tests.profiler.conftest import StartSynthetic

    from servefit.profiler.record.types import Run, Traffic

ONE_CPU = (max(os.sched_getaffinity(0)),)


def p95_within(limit_ms: float) -> tuple[LatencyThreshold, ...]:
    return (LatencyThreshold(percentile="p95", limit_ms=limit_ms),)


@pytest.mark.integration
def test_a_limit_that_is_kept_by_far_passes_on_all_requests_of_the_run(start_synthetic: StartSynthetic) -> None:
    traffic = OpenLoop(rate_per_s=200, duration_s=0.6)
    with start_synthetic({"act": "nothing"}, cpus=ONE_CPU) as workers:
        decision = run_decided(workers, traffic, p95_within(5000), allow_noise=True)
    assert decision.verdict == "PASS"
    assert decision.reason is None
    assert decision.run.stopped is None
    assert decision.evidence[0].violations == 0
    assert decision.evidence[0].samples == decision.run.offered == 120


@pytest.mark.parametrize(
    ("duration_s", "verdicts"),
    [(0.5, ["PASS", "UNDECIDED"]), pytest.param(2.0, ["PASS", "PASS"], marks=pytest.mark.thorough)],
)
def test_every_percentile_takes_its_samples(
    start_synthetic: StartSynthetic, duration_s: float, verdicts: list[str]
) -> None:
    """p99.9 takes 4,603."""
    limits = [LatencyThreshold(percentile=name, limit_ms=5000) for name in ("p75", "p99.9")]
    with start_synthetic({"act": "nothing"}, cpus=ONE_CPU) as workers:
        loop = OpenLoop(rate_per_s=4000, duration_s=duration_s)
        decision = run_decided(workers, loop, limits, allow_noise=True)
    assert [each.verdict for each in decision.evidence] == verdicts
    assert decision.verdict == verdicts[1]


def test_a_limit_that_is_broken_by_every_request_fails_soon(start_synthetic: StartSynthetic) -> None:
    traffic = OpenLoop(rate_per_s=100, duration_s=60)
    with start_synthetic({"act": "sleep", "us": 2000}, cpus=ONE_CPU) as workers:
        decision = run_decided(workers, traffic, p95_within(1), allow_noise=True)
    assert decision.verdict == "FAIL"
    assert decision.evidence[0].violations == decision.evidence[0].samples
    assert decision.run.offered < 3000


def test_more_than_can_be_served_is_saturated_and_ends_soon(start_synthetic: StartSynthetic) -> None:
    traffic = OpenLoop(rate_per_s=1000, duration_s=60, backlog_cap=100)
    with start_synthetic({"act": "sleep", "us": 5000}, cpus=ONE_CPU) as workers:
        decision = run_decided(workers, traffic, p95_within(10_000), allow_noise=True)
    assert decision.verdict == "FAIL"
    assert (decision.reason or "").startswith("saturated: ")
    assert decision.run.plateau_ns[1] - decision.run.plateau_ns[0] < 10e9


@pytest.mark.thorough
def test_a_server_that_does_not_quite_keep_up_is_not_passed_because_its_limit_is_far_away(
    start_synthetic: StartSynthetic,
) -> None:
    traffic = OpenLoop(rate_per_s=210, duration_s=2.0, seed=1)
    with start_synthetic({"act": "sleep", "us": 5000}, cpus=ONE_CPU) as workers:
        decision = run_decided(workers, traffic, p95_within(2000), allow_noise=True)
    assert decision.verdict == "UNDECIDED" or (decision.reason or "").startswith("saturated: ")
    assert decision.evidence[0].verdict != "PASS"  # nor may anybody who reads the evidence alone take it for one


def test_a_neighbour_on_the_same_cpu_makes_a_run_invalid_and_never_a_fail(
    start_synthetic: StartSynthetic, hog: Hog
) -> None:
    traffic = OpenLoop(rate_per_s=200, duration_s=0.6)
    with start_synthetic({"act": "spin", "us": 1000}, cpus=ONE_CPU) as workers, hog(ONE_CPU[0]):
        decision = run_decided(workers, traffic, p95_within(2))
        closed, problems = run_valid(workers, ClosedLoop.constant(users=1, duration_s=0.3))
    assert decision.verdict == "INVALID"
    assert "competing load" in {problem.kind for problem in decision.problems}
    assert decision.reason
    assert "competing load" in {problem.kind for problem in problems}
    assert closed.offered > 0


@pytest.mark.thorough
def test_with_noise_allowed_a_disturbed_run_is_judged_and_its_problems_kept(
    start_synthetic: StartSynthetic, hog: Hog
) -> None:
    traffic = OpenLoop(rate_per_s=100, duration_s=2)
    with start_synthetic({"act": "spin", "us": 1000}, cpus=ONE_CPU) as workers, hog(ONE_CPU[0]):
        decision = run_decided(workers, traffic, p95_within(0.5), allow_noise=True)
    assert decision.verdict == "FAIL"
    assert decision.problems


@pytest.mark.thorough
def test_requests_that_a_pause_at_the_end_of_every_run_leaves_without_an_answer_break_the_limit() -> None:
    """None of them waited in the first half, so nothing is saturated."""

    class Pausing(SimulatedDriver):
        def run(self, traffic: Traffic, **options: Any) -> Run:
            run = SimulatedDriver.run(self, traffic, **options)
            if not isinstance(traffic, OpenLoop):
                return run
            begin, end = run.plateau_ns
            never = run.samples.scheduled_ns() >= begin + 0.7 * (end - begin)
            started, ended = (np.where(never, 0, ns) for ns in (run.samples.started_ns(), run.samples.ended_ns()))
            samples = replace(run.samples, started=started.tobytes(), ended=ended.tobytes())
            return replace(run, samples=samples, backlog=int(never.sum()))

    pausing = Pausing(configuration=configuration("forest"), service_us=100.0)
    found, _, _ = find_highest_rate(pausing, p95_within(50), budget_s=20.0)
    assert found.verdict == "FAIL"


def test_the_highest_rate_of_a_known_queue_is_found_below_its_capacity(start_synthetic: StartSynthetic) -> None:
    """A worker that sleeps for 2 ms serves fewer than 500 requests a second, and at those p95 is beyond 10 ms."""
    with start_synthetic({"act": "sleep", "us": 2000}, cpus=ONE_CPU) as workers:
        highest, runs, _ = find_highest_rate(workers, p95_within(10), budget_s=8, seed=3, allow_noise=True)
    assert highest.root_per_s is not None
    assert 200 < highest.root_per_s < 500
    assert highest.rate_per_s is None or highest.rate_per_s < 500
    assert len(runs) == len(highest.tried) + 1
    assert isinstance(runs[0].traffic, ClosedLoop)


@pytest.mark.thorough
def test_a_limit_below_the_service_time_has_no_highest_rate(start_synthetic: StartSynthetic) -> None:
    with start_synthetic({"act": "sleep", "us": 1000}, cpus=ONE_CPU) as workers:
        highest, _, _ = find_highest_rate(workers, p95_within(0.5), budget_s=4, allow_noise=True)
    assert highest.rate_per_s is None
    assert highest.ended.startswith("the SLA is not met")
    assert highest.elapsed_s < 4


@pytest.mark.parametrize("budget_s", [0, -1, 0.5, float("inf")])
@pytest.mark.integration
def test_a_search_without_time_or_end_is_refused(start_synthetic: StartSynthetic, budget_s: float) -> None:
    with start_synthetic({"act": "nothing"}, cpus=ONE_CPU) as workers, pytest.raises(SpecError, match=r"^duration: "):
        find_highest_rate(workers, p95_within(1), budget_s=budget_s)


@pytest.mark.integration
def test_where_the_rate_varies_a_run_takes_all_of_its_time_before_it_is_decided(
    start_synthetic: StartSynthetic,
) -> None:
    traffic = OpenLoop(rate_per_s=400, duration_s=1.0, arrivals="sine:amplitude=1,period=0.5s")
    with start_synthetic({"act": "nothing"}, cpus=ONE_CPU) as workers:
        decision = run_decided(workers, traffic, p95_within(5000), allow_noise=True)
    assert decision.run.stopped is None
    assert decision.run.plateau_ns[1] - decision.run.plateau_ns[0] == 1_000_000_000
    assert decision.evidence[0].samples == decision.run.offered


@pytest.mark.thorough
def test_a_peak_that_drains_is_no_saturation_and_one_that_does_not_is(start_synthetic: StartSynthetic) -> None:
    """A worker that sleeps for 5 ms serves fewer than 200 requests a second, and 1 in 400 of a short peak wait."""
    decisions = {}
    with start_synthetic({"act": "sleep", "us": 5000}, cpus=ONE_CPU) as workers:
        for rate_per_s in (80, 400):
            traffic = OpenLoop(rate_per_s=rate_per_s, duration_s=1.5, arrivals="steps:rates=1/s+9/s,each=750ms")
            decisions[rate_per_s] = run_decided(workers, traffic, (), allow_noise=True)
    assert {rate_per_s: decision.verdict for rate_per_s, decision in decisions.items()} == {80: "PASS", 400: "FAIL"}
    assert (decisions[400].reason or "").startswith("saturated: ")


@pytest.mark.thorough
def test_the_highest_rate_of_arrivals_that_vary_is_found_in_whole_cycles(start_synthetic: StartSynthetic) -> None:
    with start_synthetic({"act": "sleep", "us": 2000}, cpus=ONE_CPU) as workers:
        highest, runs, _ = find_highest_rate(
            workers, p95_within(20), budget_s=8, seed=3, allow_noise=True, arrivals="sine:period=500ms"
        )
    loops = [run.traffic for run in runs if isinstance(run.traffic, OpenLoop)]
    assert {loop.arrivals for loop in loops} == {"sine:period=500ms"}
    assert all(loop.duration_s % 0.5 == pytest.approx(0, abs=1e-6) for loop in loops)
    assert highest.root_per_s is not None
    assert highest.root_per_s < 500
    assert highest.interval_per_s is None
