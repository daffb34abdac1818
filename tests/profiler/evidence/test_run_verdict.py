"""Verdicts on whole runs: a PASS takes workers with time to spare, or a run in which a growing queue would show."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.recorded_runs import S, recorded_run

from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.profiler.evidence.run_verdict import (
    evidence_of,
    evidence_of_runs,
    growth_seen_s,
    start_tests,
    was_unhurried,
)
from servefit.profiler.record.traffic import OpenLoop

if TYPE_CHECKING:
    from servefit.profiler.record.types import Run

MS = 1_000_000
P95_10_MS = (LatencyThreshold(percentile="p95", limit_ms=10.0),)


def run_of(requests: int, *, rate_per_s: float = 900, response_ms: float = 1.0) -> Run:
    """Evenly spaced arrivals, each served in a call of its own as soon as it is due."""
    due = S + (np.arange(requests) * S / rate_per_s).astype(np.int64)
    return _recorded(due, due + round(MS * response_ms), rate_per_s)


def _recorded(due: np.ndarray, ended: np.ndarray, rate_per_s: float) -> Run:
    traffic = OpenLoop(rate_per_s=rate_per_s, duration_s=len(due) / rate_per_s)
    return recorded_run(traffic, due, ended, until_ns=S + round(len(due) / rate_per_s * S))


def verdict(run: Run) -> str:
    (evidence,) = evidence_of(run, start_tests(P95_10_MS), P95_10_MS, workers=1)
    return evidence.verdict


def test_a_pass_takes_time_to_spare_or_a_run_in_which_a_growing_queue_would_show() -> None:
    assert growth_seen_s(P95_10_MS) == pytest.approx(0.2)
    short, long = run_of(170), run_of(190)
    assert verdict(short) == "UNDECIDED"
    assert verdict(run_of(170, rate_per_s=300)) == "PASS"
    assert verdict(long) == "PASS"


@pytest.mark.parametrize(
    ("requests", "verdict"), [((190, 170), "UNDECIDED"), ((170, 190), "UNDECIDED"), ((180, 190), "PASS")]
)
def test_a_pass_of_several_runs_takes_as_much_of_each_of_them(requests: tuple[int, int], verdict: str) -> None:
    """Their servers are busy, and 180 requests take just as long as a growing queue takes to show."""
    runs = [run_of(number) for number in requests]
    (evidence,) = evidence_of_runs(runs, P95_10_MS, workers=1)
    assert (evidence.verdict, evidence.samples) == (verdict, sum(requests))


def test_one_busy_run_is_enough_for_a_growing_queue() -> None:
    idle, busy = run_of(170, rate_per_s=500), run_of(170)
    verdicts = [evidence_of_runs(runs, P95_10_MS, workers=1)[0].verdict for runs in ((idle, idle), (idle, busy))]
    assert verdicts == ["PASS", "UNDECIDED"]


def test_a_growing_queue_takes_twenty_times_the_largest_limit_to_show() -> None:
    limits = [LatencyThreshold(percentile="p95", limit_ms=limit_ms) for limit_ms in (10.0, 50.0, 20.0)]
    assert growth_seen_s(limits) == pytest.approx(1.0)
    assert verdict(run_of(180)) == "PASS"


def test_a_fail_takes_neither() -> None:
    assert verdict(run_of(170, response_ms=20.0)) == "FAIL"


def test_a_fail_from_during_the_run_stands_and_a_pass_counts_all_of_it() -> None:
    tests, fast = start_tests(P95_10_MS), run_of(1000)
    assert tests[0].surely_fails(np.full(400, 20 * MS))
    (evidence,) = evidence_of(fast, tests, P95_10_MS, workers=1)
    assert (evidence.verdict, evidence.samples) == ("FAIL", 400)
    (evidence,) = evidence_of(fast, start_tests(P95_10_MS), P95_10_MS, workers=1)
    assert (evidence.verdict, evidence.samples) == ("PASS", 1000)


def test_several_limits_share_the_error_rate_of_a_fail() -> None:
    """16 violations in 160 fail one limit, and do not where there are five of them."""
    due = S + (np.arange(160) * S / 900).astype(np.int64)
    response_ns = np.where(np.arange(160) % 10 == 0, 20 * MS, MS)
    run, many = _recorded(due, due + response_ns, 900), P95_10_MS * 5
    found = [evidence_of(run, start_tests(limits), limits, workers=1)[0] for limits in (P95_10_MS, many)]
    assert [each.verdict for each in found] == ["FAIL", "UNDECIDED"]


def every(nth: int, *, requests: int) -> Run:
    """A run of which each ``nth`` request takes longer than the limit, and the others come near it."""
    due = S + (np.arange(requests) * S / 50).astype(np.int64)
    return _recorded(due, due + np.where(np.arange(requests) % nth == 0, 20 * MS, 6 * MS), 50)


@pytest.mark.parametrize(("nth", "requests", "verdict"), [(10, 160, "FAIL"), (41, 280, "PASS")])
def test_one_limit_and_one_chance_have_all_of_their_error_rates(nth: int, requests: int, verdict: str) -> None:
    """With half of them, neither run is decided."""
    run = every(nth, requests=requests)
    assert evidence_of(run, start_tests(P95_10_MS), P95_10_MS, workers=1)[0].verdict == verdict
    assert evidence_of_runs([run], P95_10_MS, workers=1)[0].verdict == verdict
    halved = evidence_of_runs([run], P95_10_MS * 2, workers=1, chances=2)
    assert [evidence.verdict for evidence in halved] == ["UNDECIDED", "UNDECIDED"]


def test_several_chances_share_the_error_rate_of_a_pass() -> None:
    """Of a server that breaks the limit, one run in 6,100 has 170 requests without a violation."""
    run = run_of(170, rate_per_s=50, response_ms=6.0)
    for chances, expected in ((1, "PASS"), (180, "PASS"), (190, "UNDECIDED")):
        tests = start_tests(P95_10_MS, chances=chances)
        (alone,) = evidence_of(run, tests, P95_10_MS, workers=1)
        (of_runs,) = evidence_of_runs([run], P95_10_MS, workers=1, chances=chances)
        assert (alone.verdict, of_runs.verdict) == (expected, expected)


def without_answers(run: Run, which: list[int]) -> Run:
    ended = run.samples.ended_ns().copy()
    ended[which] = 0
    return replace(run, samples=replace(run.samples, ended=ended.tobytes()))


def test_what_comes_after_a_request_without_an_answer_that_may_keep_the_limit_is_not_known() -> None:
    """At 900 requests/s the last nine of a run have waited for 10 ms at most when it ends."""
    run = without_answers(run_of(1000), [995, 998])
    (evidence,) = evidence_of(run, start_tests(P95_10_MS), P95_10_MS, workers=1)
    assert (evidence.samples, evidence.violations) == (995, 0)


def test_requests_that_wait_for_longer_than_the_limit_when_the_run_ends_broke_it() -> None:
    run = without_answers(run_of(1000), list(range(400, 1000)))
    (evidence,) = evidence_of(run, start_tests(P95_10_MS), P95_10_MS, workers=1)
    assert (evidence.samples, evidence.violations) == (991, 591)
    assert evidence.verdict != "PASS"
    (evidence,) = evidence_of_runs([run, run], P95_10_MS, workers=1)
    assert (evidence.samples, evidence.violations) == (1982, 1182)


def test_a_request_that_may_still_keep_the_longest_of_several_limits_is_not_known() -> None:
    """Of the 18 within 20 ms of the end the first has waited for 18.9 ms."""
    limits = (*P95_10_MS, LatencyThreshold(percentile="p99", limit_ms=20.0))
    run = without_answers(run_of(1000), list(range(980, 1000)))
    counted = evidence_of(run, start_tests(limits), limits, workers=1)
    assert [(evidence.samples, evidence.violations) for evidence in counted] == [(982, 2), (982, 2)]


def test_failed_requests_took_longer_than_any_limit_and_kept_a_worker_busy() -> None:
    run = run_of(1000, rate_per_s=500)
    failed = replace(run, samples=replace(run.samples, ended=(-run.samples.ended_ns()).tobytes()))
    assert verdict(failed) == "FAIL"
    assert was_unhurried(run, 1)
    assert was_unhurried(failed, 1)


@pytest.mark.parametrize(
    ("requests", "rate_per_s", "workers", "unhurried"),
    [(1000, 500, 1, True), (1000, 900, 1, False), (1000, 900, 2, True), (199, 500, 1, False), (5, 500, 1, False)],
)
def test_time_to_spare_is_read_from_what_was_recorded(
    requests: int, rate_per_s: float, workers: int, unhurried: bool
) -> None:
    assert was_unhurried(run_of(requests, rate_per_s=rate_per_s), workers) == unhurried


def test_requests_that_share_a_call_keep_their_worker_busy_once() -> None:
    run = run_of(1000, rate_per_s=1800)
    due = run.samples.scheduled_ns()
    started = np.repeat(due[1::2], 2)
    joined = replace(run.samples, started=started.tobytes(), ended=(started + MS // 2).tobytes())
    assert was_unhurried(replace(run, samples=joined), 1)  # 900 calls of 0.5 ms a second, not 1,800


def test_without_thresholds_there_is_nothing_to_be_cautious_about() -> None:
    assert growth_seen_s(()) == 0.0
    assert evidence_of(run_of(10), (), (), workers=1) == ()


def test_an_endpoint_that_pauses_and_answers_at_once_otherwise_has_time_to_spare() -> None:
    """All requests that come while it pauses are begun, and wait inside: two at a time on average."""
    due = S + (np.arange(3000) * S / 300).astype(np.int64)
    in_pause = (due - S) % (3 * S) < S // 5
    ended = np.where(in_pause, due - (due - S) % (3 * S) + S // 5, due + MS)
    run = _recorded(due, ended, 300)
    assert was_unhurried(run, 1)
    (evidence,) = evidence_of_runs([run], (LatencyThreshold(percentile="p95", limit_ms=400.0),), workers=1)
    assert evidence.verdict == "PASS"


def test_a_run_too_short_for_a_growing_queue_says_how_many_times_as_long_decides() -> None:
    (alone,) = evidence_of(run_of(90), start_tests(P95_10_MS), P95_10_MS, workers=1)
    (of_runs,) = evidence_of_runs([run_of(180), run_of(90)], P95_10_MS, workers=1)
    for found in (alone, of_runs):
        assert found.verdict == "UNDECIDED"
        assert found.decided_by == pytest.approx(2.0, rel=0.01)


def test_without_a_limit_there_is_no_evidence() -> None:
    assert evidence_of(run_of(10), start_tests(()), (), workers=1) == ()


def test_one_request_that_is_lost_makes_nobody_busy() -> None:
    """It had waited for longer than the limit, so it broke it, and the others say how busy servers were."""
    run = without_answers(run_of(2000, rate_per_s=500), [10])
    assert was_unhurried(run, 1)
    (evidence,) = evidence_of_runs([run], P95_10_MS, workers=1)
    assert (evidence.verdict, evidence.samples, evidence.violations) == ("PASS", 2000, 1)


def test_one_run_of_busy_servers_is_enough_for_a_longer_run_to_be_needed() -> None:
    idle, busy = run_of(90, rate_per_s=400), run_of(90)
    verdicts = [evidence_of_runs(runs, P95_10_MS, workers=1)[0].verdict for runs in ([idle, idle], [busy, idle])]
    assert verdicts == ["PASS", "UNDECIDED"]
