"""The verdict of a trial on an SLA."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.search.request.sla import Sla
from servefit.search.results.verdict import judge

if TYPE_CHECKING:
    from tests.search.conftest import MakeEvidence, MakeSummary

    from servefit.profiler.evidence.sequential_test import ThresholdVerdict

LIMIT = Sla(thresholds=(LatencyThreshold(percentile="p95", limit_ms=10.0),))
LIMIT_AT_RATE = Sla(thresholds=LIMIT.thresholds, rate_per_s=100.0)


@pytest.mark.parametrize(
    ("p95_ms", "interval", "verdict"),
    [
        (5.0, (4.0, 6.0), "PASS"),
        (9.5, (9.0, 10.5), "UNDECIDED"),
        (10.5, (9.5, 11.0), "UNDECIDED"),
        (12.0, (11.0, 13.0), "FAIL"),
    ],
)
def test_a_limit_is_decided_only_when_the_whole_interval_is_on_one_side(
    summary: MakeSummary, p95_ms: float, interval: tuple[float, float], verdict: str
) -> None:
    judged = summary(p95_ms=p95_ms, interval=interval)
    found = judge(LIMIT, capacity=judged, at_rate=None, instances=1)
    assert found.verdict == verdict
    assert (found.reason is None) == (verdict == "PASS")
    assert (found.violation > 0) == (p95_ms > 10)


@pytest.mark.parametrize(
    ("chances", "runs", "verdict"),
    [(1, 5, "PASS"), (2, 5, "PASS"), (4, 5, "UNDECIDED"), (4, 1, "PASS")],
)
def test_one_of_several_chances_to_pass_takes_a_wider_interval_by_how_many_runs_it_is_of(
    summary: MakeSummary, chances: int, runs: int, verdict: str
) -> None:
    """One of four takes 1.26 times the width on the logarithm of five runs, of the parts of one run 1.15 times."""
    judged = summary(p95_ms=8.0, interval=(7.2, 9.6))
    found = judge(LIMIT, capacity=judged, at_rate=None, instances=1, chances=chances, runs=runs)
    assert found.verdict == verdict
    assert ("not sure enough" in (found.reason or "")) == (verdict == "UNDECIDED")


def test_too_few_samples_decide_nothing(summary: MakeSummary) -> None:
    found = judge(LIMIT, capacity=summary(p95_ms=None), at_rate=None, instances=1)
    assert found.verdict == "UNDECIDED"
    assert found.reason == "1,000 samples are too few for p95"


def test_a_limit_far_above_all_that_was_measured_holds_without_an_interval(summary: MakeSummary) -> None:
    found = judge(LIMIT, capacity=summary(p95_ms=1.2), at_rate=None, instances=1)
    assert (found.verdict, found.reason) == ("PASS", None)
    assert found.violation < 0


def test_a_call_or_two_of_many_requests_decide_nothing_however_far_the_limit_is(summary: MakeSummary) -> None:
    for p95_ms in (0.1, 100.0):
        few = replace(summary(p95_ms=p95_ms), latency_ms={"p50": p95_ms, "p95": p95_ms}, largest_call=128)
        assert judge(LIMIT, capacity=few, at_rate=None, instances=1).verdict == "UNDECIDED"
        assert judge(LIMIT, capacity=replace(few, largest_call=64), at_rate=None, instances=1).verdict != "UNDECIDED"


def test_a_limit_below_the_median_is_broken_without_an_interval(summary: MakeSummary) -> None:
    slow = replace(summary(p95_ms=30.0), latency_ms={"p50": 12.0, "p75": 15.0, "p95": 30.0})
    found = judge(LIMIT, capacity=slow, at_rate=None, instances=1)
    assert (found.verdict, found.reason) == ("FAIL", "p50 is 12 ms, limit 10 ms on p95")
    assert found.violation == pytest.approx(2)
    lower = Sla(thresholds=(LatencyThreshold(percentile="p75", limit_ms=10.0),))
    assert judge(lower, capacity=slow, at_rate=None, instances=1).verdict == "UNDECIDED"


def test_a_percentile_without_an_interval_decides_nothing_nearer_to_the_limit(summary: MakeSummary) -> None:
    for p95_ms in (1.5, 100.0):
        found = judge(LIMIT, capacity=summary(p95_ms=p95_ms), at_rate=None, instances=1)
        assert found.verdict == "UNDECIDED"
        assert "too few to say how certain p95 is" in (found.reason or "")


def test_a_rate_is_not_met_by_what_answered_nothing(summary: MakeSummary) -> None:
    asked = Sla(rate_per_s=100.0)
    assert judge(asked, capacity=summary(throughput_per_s=0.0), at_rate=None, instances=1).verdict == "FAIL"


@pytest.mark.parametrize(("verdict", "p95_ms"), [("PASS", 1.0), ("FAIL", 50.0), ("UNDECIDED", 9.9)])
def test_latency_at_a_rate_is_what_the_sequential_test_says(
    summary: MakeSummary, evidence: MakeEvidence, verdict: ThresholdVerdict, p95_ms: float
) -> None:
    at_rate = summary(p95_ms=p95_ms)
    busy = summary(p95_ms=500.0, interval=(450.0, 550.0))
    found = judge(LIMIT_AT_RATE, capacity=busy, at_rate=at_rate, evidence=[evidence(verdict)], instances=1)
    assert found.verdict == verdict
    assert (found.reason is None) == (verdict == "PASS")
    assert verdict == "PASS" or "7 of 100 requests took longer than 10 ms" in (found.reason or "")
    assert (found.violation > 0) == (verdict == "FAIL")


def test_a_saturated_instance_fails_whatever_its_latency(summary: MakeSummary, evidence: MakeEvidence) -> None:
    at_rate = summary(p95_ms=1.0, interval=(0.9, 1.1), saturated=True)
    found = judge(LIMIT_AT_RATE, capacity=summary(), at_rate=at_rate, evidence=[evidence("PASS")], instances=1)
    assert found.verdict == "FAIL"
    assert "saturated" in (found.reason or "")
    assert found.violation > 0


def test_an_sla_that_asks_nothing_is_met(summary: MakeSummary) -> None:
    assert judge(Sla(), capacity=summary(p95_ms=None), at_rate=None, instances=1).verdict == "PASS"
