"""The highest rate of one instance: by theory, and where measurements contradict the simulation."""

from __future__ import annotations

from dataclasses import replace
from math import inf, log
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.recorded_runs import S, recorded_run

from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.profiler.queueing.service import BatchTimes, ServiceTimes
from servefit.profiler.record.traffic import ClosedLoop
from servefit.profiler.record.types import Configuration, Run
from servefit.search.capacity.instance_rate import InstanceRate, Simulation, instance_rate
from servefit.search.capacity.latency_curve import CurvePoint
from servefit.search.optimizer.service_time_survey import Survey
from servefit.search.storage.steps import Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servefit.profiler.evidence.limits import Verdict

CONFIGURATION = Configuration(vcpus=1, backend="treelite")
P95_10_MS = (LatencyThreshold(percentile="p95", limit_ms=10.0),)
EXPONENTIAL_MS = np.random.default_rng(0).exponential(1.0, 200_000)


def timed(times_ms: np.ndarray, subject: Configuration = CONFIGURATION) -> Step:
    return Step(
        number=0,
        kind="service_time",
        status="COMPLETED",
        backend=subject.backend,
        configuration=subject,
        host_fingerprint="f",
        began_at=1e9,
        result=ServiceTimes(batches=(BatchTimes.of(1, 1e6 * times_ms),)),
    )


def closed_run(calls_ms: np.ndarray) -> Run:
    """One user, who is served at once; the last request gets no answer."""
    ended = S + np.cumsum(1e6 * calls_ms).astype(np.int64)
    due = np.concatenate([[S], ended])
    started, ended = np.append(due[:-1], 0), np.append(ended, 0)
    traffic = ClosedLoop.constant(users=1, duration_s=60)
    return recorded_run(traffic, due, ended, started=started, until_ns=int(due[-1]))


def simulation_of(
    configuration: Configuration, capacity_per_s: float, steps: Sequence[Step], closed: Run | None
) -> Simulation | None:
    timed = Survey.of_steps(steps).service_times(configuration)
    return Simulation.of(configuration, capacity_per_s, timed=timed, closed=closed, seed=0)


def simulation(
    *steps: Step, closed: Run | None = None, capacity_per_s: float = 1000.0, max_batch: int = 1
) -> Simulation:
    found = simulation_of(replace(CONFIGURATION, max_batch=max_batch), capacity_per_s, steps, closed)
    assert found is not None
    return found


@pytest.mark.parametrize("capacity_per_s", [1000.0, 500.0])
def test_a_limit_is_reached_where_theory_says_it_is_at_the_capacity_that_was_measured(capacity_per_s: float) -> None:
    found = simulation(timed(EXPONENTIAL_MS), capacity_per_s=capacity_per_s)
    highest_per_s = found.highest_rate_per_s(P95_10_MS)
    # In M/M/1 the response time is exponential with rate mu - lambda.
    assert highest_per_s == pytest.approx(capacity_per_s - log(20) / 0.01, rel=0.05)
    point = found.point(highest_per_s, [50.0, 95.0])
    assert point is not None
    assert (point.source, point.samples, point.verdict) == ("estimated", None, None)
    assert point.latency_ms["p95"] == pytest.approx(10, rel=0.1)


def test_a_rate_that_cannot_be_served_has_no_latency() -> None:
    assert simulation(timed(EXPONENTIAL_MS)).point(1100.0, [95.0]) is None


def test_nothing_limits_the_rate_where_nothing_limits_latency() -> None:
    assert simulation(timed(EXPONENTIAL_MS)).highest_rate_per_s(()) == inf


def test_calls_of_the_load_test_stand_in_for_service_times_that_are_not_known() -> None:
    of_xgboost = timed(EXPONENTIAL_MS, replace(CONFIGURATION, backend="xgboost"))
    found = simulation(of_xgboost, closed=closed_run(EXPONENTIAL_MS[:20_000]))
    assert found.origin == "load test"
    assert found.highest_rate_per_s(P95_10_MS) == pytest.approx(1000 - log(20) / 0.01, rel=0.05)


def test_service_times_that_were_timed_come_before_calls_of_the_load_test_and_these_before_a_guess() -> None:
    own, of_one_thread = timed(np.full(10, 1.0)), timed(np.full(10, 1.0))
    assert simulation(own, closed=closed_run(EXPONENTIAL_MS)).origin == "microbenchmark"
    two_threads = replace(CONFIGURATION, vcpus=2, settings=replace(CONFIGURATION.settings, threads=2))
    for closed, origin in ((closed_run(EXPONENTIAL_MS), "load test"), (None, "guess")):
        found = simulation_of(two_threads, 1000.0, [of_one_thread], closed)
        assert found is not None
        assert found.origin == origin
    assert simulation_of(CONFIGURATION, 1000.0, [], None) is None


def test_small_batches_are_taken_to_last_as_long_as_full_ones_where_only_those_were_seen() -> None:
    found = simulation(closed=closed_run(np.full(5000, 1.0)), capacity_per_s=8000.0, max_batch=8)
    lonely = found.point(10.0, [95.0])
    assert lonely is not None
    assert lonely.latency_ms["p95"] == pytest.approx(1.0, rel=0.05)


def at(rate_per_s: float, verdict: Verdict) -> CurvePoint:
    return CurvePoint(
        rate_per_s=rate_per_s,
        loop="open",
        source="measured",
        latency_ms={},
        latency_ms_ci95={},
        samples=1000,
        verdict=verdict,
    )


def rate(*points: CurvePoint, simulated_per_s: float | None = 700.0, asked_per_s: float | None = 300.0) -> InstanceRate:
    """Of an instance that answers 1000 requests a second."""
    return instance_rate(points, capacity_per_s=1000.0, simulated_per_s=simulated_per_s, asked_per_s=asked_per_s)


def test_the_simulation_decides_up_to_the_planned_part_of_the_capacity() -> None:
    tight, far, unlimited = rate(), rate(simulated_per_s=900.0), rate(simulated_per_s=inf)
    assert (tight.highest_per_s, tight.basis, tight.source) == (700.0, "simulated", "estimated")
    assert (far.highest_per_s, far.basis, far.simulated_per_s) == (800.0, "utilisation", 900.0)
    assert (unlimited.highest_per_s, unlimited.basis, unlimited.simulated_per_s) == (800.0, "utilisation", None)


def test_a_pass_that_was_measured_lifts_what_the_simulation_expects() -> None:
    found = rate(at(300, "PASS"), at(750, "PASS"))
    assert (found.highest_per_s, found.basis, found.source) == (750.0, "measured", "measured")


def test_no_pass_lifts_a_rate_above_the_planned_part_of_the_capacity() -> None:
    found = rate(at(300, "PASS"), at(900, "PASS"))
    assert (found.highest_per_s, found.basis) == (800.0, "utilisation")


def test_a_fail_that_was_measured_leaves_the_highest_rate_that_passed_below_it() -> None:
    found = rate(at(300, "PASS"), at(400, "PASS"), at(450, "FAIL"), at(600, "PASS"))
    assert (found.highest_per_s, found.basis) == (400.0, "measured")
    assert rate(at(300, "PASS"), at(750, "FAIL")).basis == "simulated"


def test_a_fail_at_the_rate_of_the_recommendation_or_below_is_outvoted_by_it() -> None:
    found = rate(at(300, "FAIL"), at(200, "FAIL"), at(300, "PASS"))
    assert (found.highest_per_s, found.basis) == (700.0, "simulated")


def test_what_is_undecided_or_invalid_says_nothing() -> None:
    assert rate(at(750, "UNDECIDED"), at(400, "INVALID"), at(760, "INVALID")).highest_per_s == 700.0


def test_without_a_simulation_only_a_rate_that_was_measured_counts() -> None:
    passed = rate(at(300, "PASS"), at(350, "PASS"), simulated_per_s=None)
    assert (passed.highest_per_s, passed.basis) == (350.0, "measured")
    closed = rate(simulated_per_s=None, asked_per_s=None)
    assert (closed.highest_per_s, closed.basis) == (800.0, "utilisation")


POINTS = st.lists(st.builds(at, st.floats(1, 2000), st.sampled_from(["PASS", "FAIL", "UNDECIDED", "INVALID"])))


@given(points=POINTS, simulated_per_s=st.none() | st.just(inf) | st.floats(0, 2000), asked_per_s=st.floats(1, 800))
def test_the_rate_lies_below_every_fail_above_the_recommendation_and_is_no_lower_than_what_passed_below_those(
    points: list[CurvePoint], simulated_per_s: float | None, asked_per_s: float
) -> None:
    points.append(at(asked_per_s, "PASS"))
    found = rate(*points, simulated_per_s=simulated_per_s, asked_per_s=asked_per_s)
    failed = [point.rate_per_s for point in points if point.verdict == "FAIL" and point.rate_per_s > asked_per_s]
    passed = [
        point.rate_per_s for point in points if point.verdict == "PASS" and point.rate_per_s < min(failed, default=inf)
    ]
    assert all(found.highest_per_s < rate_per_s for rate_per_s in failed)
    assert found.highest_per_s >= min(max(passed), 800.0)
    assert found.highest_per_s <= 800.0
