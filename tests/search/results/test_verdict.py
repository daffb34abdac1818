"""The verdict of a trial on an SLA."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING

import pytest

from servefit.profiler.evidence.intervals import t_quantile
from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.profiler.evidence.verdict import combined_verdict, failures, judge, judge_prediction, widening

if TYPE_CHECKING:
    from tests.search.conftest import MakeEvidence, MakeSummary

    from servefit.profiler.evidence.limits import Verdict
    from servefit.profiler.evidence.summary import Summary

LIMIT = (LatencyThreshold(percentile="p95", limit_ms=10.0),)


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
    found = judge(LIMIT, capacity=judged)
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
    """One of four takes 1.26 times the width on the logarithm of five runs, of the blocks of one run 1.19 times."""
    judged = summary(p95_ms=8.0, interval=(7.2, 9.6))
    found = judge(LIMIT, capacity=judged, chances=chances, runs=runs)
    assert found.verdict == verdict
    assert ("not sure enough" in (found.reason or "")) == (verdict == "UNDECIDED")


def test_too_few_samples_decide_nothing(summary: MakeSummary) -> None:
    found = judge(LIMIT, capacity=summary(p95_ms=None))
    assert found.verdict == "UNDECIDED"
    assert found.reason == "1,000 samples are too few for p95"
    assert found.violation == 0.0


@pytest.mark.parametrize(
    ("failed", "largest_call", "verdict"), [(100, 1, "FAIL"), (55, 1, "UNDECIDED"), (100, 50, "UNDECIDED")]
)
def test_where_the_percentile_failed_the_limit_is_broken_if_enough_requests_did(
    summary: MakeSummary, failed: int, largest_call: int, verdict: str
) -> None:
    """Those of one call fail together."""
    found = judge(LIMIT, capacity=replace(summary(p95_ms=None), failed=failed, largest_call=largest_call))
    assert found.verdict == verdict
    assert found.reason == f"{failed} of 1,000 requests failed, which count as longer than 10 ms"
    assert (found.violation > 0) == (verdict == "FAIL")


def test_a_limit_far_above_all_that_was_measured_holds_without_an_interval(summary: MakeSummary) -> None:
    found = judge(LIMIT, capacity=summary(p95_ms=1.2))
    assert (found.verdict, found.reason) == ("PASS", None)
    assert found.violation < 0


def test_a_call_or_two_of_many_requests_decide_nothing_however_far_the_limit_is(summary: MakeSummary) -> None:
    for p95_ms in (0.1, 100.0):
        few = replace(summary(p95_ms=p95_ms), latency_ms={"p50": p95_ms, "p95": p95_ms}, largest_call=128)
        assert judge(LIMIT, capacity=few).verdict == "UNDECIDED"
        assert judge(LIMIT, capacity=replace(few, largest_call=64)).verdict != "UNDECIDED"


def test_a_limit_below_the_median_is_broken_without_an_interval(summary: MakeSummary) -> None:
    slow = replace(summary(p95_ms=30.0), latency_ms={"p50": 12.0, "p75": 15.0, "p95": 30.0})
    found = judge(LIMIT, capacity=slow)
    assert (found.verdict, found.reason) == ("FAIL", "p50 is 12 ms, limit 10 ms on p95")
    assert found.violation == pytest.approx(2)
    lower = (LatencyThreshold(percentile="p75", limit_ms=10.0),)
    assert judge(lower, capacity=slow).verdict == "UNDECIDED"


def test_a_percentile_without_an_interval_decides_nothing_nearer_to_the_limit(summary: MakeSummary) -> None:
    for p95_ms in (1.5, 100.0):
        found = judge(LIMIT, capacity=summary(p95_ms=p95_ms))
        assert found.verdict == "UNDECIDED"
        assert "too few to say how certain p95 is" in (found.reason or "")


def test_a_rate_is_not_met_by_what_answered_nothing(summary: MakeSummary) -> None:
    assert judge((), asked_per_s=100.0, capacity=summary(throughput_per_s=0.0)).verdict == "FAIL"


@pytest.mark.parametrize(("verdict", "p95_ms"), [("PASS", 1.0), ("FAIL", 50.0), ("UNDECIDED", 9.9)])
def test_latency_at_a_rate_is_what_the_sequential_test_says(
    summary: MakeSummary, evidence: MakeEvidence, verdict: Verdict, p95_ms: float
) -> None:
    at_rate = summary(p95_ms=p95_ms)
    busy = summary(p95_ms=500.0, interval=(450.0, 550.0))
    found = judge(LIMIT, asked_per_s=100.0, capacity=busy, at_rate=at_rate, evidence=[evidence(verdict)])
    assert found.verdict == verdict
    assert (found.reason is None) == (verdict == "PASS")
    assert verdict == "PASS" or "7 of 100 requests took longer than 10 ms" in (found.reason or "")
    assert (found.violation > 0) == (verdict == "FAIL")


def test_the_reason_says_how_many_of_the_slow_requests_failed(summary: MakeSummary, evidence: MakeEvidence) -> None:
    at_rate = replace(summary(p95_ms=None), failed=5)
    found = judge(LIMIT, asked_per_s=100.0, capacity=summary(), at_rate=at_rate, evidence=[evidence("UNDECIDED")])
    assert "7 of 100 requests took longer than 10 ms; 5 requests failed, which count as longer" in (found.reason or "")


def test_a_saturated_instance_fails_whatever_its_latency(summary: MakeSummary, evidence: MakeEvidence) -> None:
    at_rate = summary(p95_ms=1.0, interval=(0.9, 1.1), saturated=True)
    found = judge(LIMIT, asked_per_s=100.0, capacity=summary(), at_rate=at_rate, evidence=[evidence("PASS")])
    assert found.verdict == "FAIL"
    assert "saturated" in (found.reason or "")
    assert found.violation > 0


def test_an_sla_that_asks_nothing_is_met(summary: MakeSummary) -> None:
    assert judge((), capacity=summary(p95_ms=None)).verdict == "PASS"


@pytest.mark.parametrize(("interval", "verdict"), [((4.0, 10.0), "PASS"), ((10.0, 12.0), "UNDECIDED")])
def test_an_interval_that_ends_at_the_limit_keeps_it_and_one_that_begins_there_does_not_break_it(
    summary: MakeSummary, interval: tuple[float, float], verdict: str
) -> None:
    judged = summary(p95_ms=sum(interval) / 2, interval=interval)
    found = judge(LIMIT, capacity=judged)
    assert (found.verdict, found.violation) == (verdict, sum(interval) / 20 - 1)


def test_an_interval_is_widened_as_far_as_the_chances_and_the_runs_ask_and_never_narrowed() -> None:
    assert widening(1, 5) == 1.0
    assert widening(4, 5) == pytest.approx(t_quantile(0.9875, 4) / t_quantile(0.975, 4))
    assert widening(4, 3) == pytest.approx(t_quantile(0.9875, 2) / t_quantile(0.975, 2))
    # Of one run or two it is by Student over ten blocks.
    assert widening(4, 1) == widening(4, 2) == pytest.approx(t_quantile(0.9875, 9) / t_quantile(0.975, 9))


def test_an_interval_within_the_limit_that_is_not_sure_enough_says_so(summary: MakeSummary) -> None:
    found = judge(LIMIT, capacity=summary(p95_ms=9.0, interval=(8.0, 10.0)), chances=4)
    assert found.verdict == "UNDECIDED"
    assert found.reason == (
        "p95 is 9 ms (8 ms to 10 ms), limit 10 ms, which is not sure enough for one of several measurements that may "
        "pass"
    )


@pytest.mark.parametrize(("p95_ms", "verdict"), [(1.25, "PASS"), (1.26, "UNDECIDED")])
def test_a_limit_is_far_away_at_eight_times_all_that_was_measured(
    summary: MakeSummary, p95_ms: float, verdict: str
) -> None:
    assert judge(LIMIT, capacity=summary(p95_ms=p95_ms)).verdict == verdict


@pytest.mark.parametrize(("largest_call", "verdict"), [(None, "PASS"), (100, "PASS"), (101, "UNDECIDED")])
def test_a_limit_that_is_far_away_takes_ten_calls(summary: MakeSummary, largest_call: int | None, verdict: str) -> None:
    of_calls = replace(summary(p95_ms=1.0), largest_call=largest_call)
    assert judge(LIMIT, capacity=of_calls).verdict == verdict


@pytest.mark.parametrize(
    ("percentile", "median_ms", "verdict"),
    [("p90", 10.5, "FAIL"), ("p89", 10.5, "UNDECIDED"), ("p90", 10.0, "UNDECIDED"), ("p90", None, "UNDECIDED")],
)
def test_the_median_breaks_limits_on_what_a_tenth_or_less_may_exceed(
    summary: MakeSummary, percentile: str, median_ms: float | None, verdict: str
) -> None:
    limits = (LatencyThreshold(percentile=percentile, limit_ms=10.0),)
    slow = replace(summary(), latency_ms={"p50": median_ms, percentile: 9.0})
    found = judge(limits, capacity=slow)
    assert found.verdict == verdict
    # The percentile itself does not show it.
    assert found.violation == pytest.approx(0.01 if verdict == "FAIL" else 0.0)


@pytest.mark.parametrize(
    ("verdict", "p95_ms", "violation"),
    [
        ("FAIL", 15.0, 0.5),
        ("FAIL", 9.0, 0.01),
        ("FAIL", None, 1.0),
        ("PASS", 15.0, 0.0),
        ("PASS", 5.0, -0.5),
        ("UNDECIDED", 5.0, 0.0),
        ("UNDECIDED", 15.0, 0.5),
        ("UNDECIDED", None, 0.0),
    ],
)
def test_a_violation_is_by_how_much_a_limit_is_exceeded_and_never_contradicts_the_verdict(
    summary: MakeSummary, evidence: MakeEvidence, verdict: Verdict, p95_ms: float | None, violation: float
) -> None:
    found = judge(
        LIMIT, asked_per_s=100.0, capacity=summary(), at_rate=summary(p95_ms=p95_ms), evidence=[evidence(verdict)]
    )
    assert found.verdict == verdict
    assert found.violation == pytest.approx(violation)


def test_the_reason_is_that_of_the_worst_limit_of_the_verdict(summary: MakeSummary, evidence: MakeEvidence) -> None:
    limits = [("p50", 0.4), ("p90", 0.5), ("p95", 0.9)]
    thresholds = tuple(LatencyThreshold(percentile=name, limit_ms=limit_ms) for name, limit_ms in limits)

    def found(*verdicts: Verdict) -> tuple[str, str | None, float]:
        seen = [evidence(verdict) for verdict in verdicts]
        judged = judge(thresholds, asked_per_s=100.0, capacity=summary(), at_rate=summary(p95_ms=3.0), evidence=seen)
        return judged.verdict, (judged.reason or "").partition(",")[0], round(judged.violation, 6)

    assert found("FAIL", "FAIL", "PASS") == ("FAIL", "p90 is 900 us", 0.8)
    assert found("FAIL", "UNDECIDED", "UNDECIDED") == ("FAIL", "p50 is 500 us", 2.333333)
    assert found("PASS", "UNDECIDED", "UNDECIDED") == ("UNDECIDED", "p95 is 3 ms", 2.333333)
    assert found("PASS", "PASS", "PASS") == ("PASS", "", 0.0)


@pytest.mark.parametrize(
    ("budget_s", "decided_by", "missing"),
    [
        (None, 4.0, "; 20 s of such traffic would decide"),
        (40.0, 4.0, "; 20 s of such traffic would decide: --budget 160s"),
        (40.0, 400.0, "; more than 5 min of such traffic would decide"),
        (40.0, inf, "; that is so close to the limit that no longer run is likely to decide"),
    ],
)
def test_what_is_missing_is_said_of_what_is_undecided_alone(
    summary: MakeSummary, evidence: MakeEvidence, budget_s: float | None, decided_by: float, missing: str
) -> None:
    def reason(verdict: Verdict, decided_by: float | None) -> str | None:
        slow = replace(evidence(verdict), burst=5.0, decided_by=decided_by)
        figures = replace(summary(), offered_per_s=200.0)
        return judge(
            LIMIT, asked_per_s=100.0, capacity=summary(), at_rate=figures, evidence=[slow], budget_s=budget_s
        ).reason

    too_slow = "p95 is 1 ms, limit 10 ms: 7 of 100 requests took longer than 10 ms"
    assert reason("FAIL", None) == too_slow
    assert reason("UNDECIDED", decided_by) == f"{too_slow}, and slow requests came together: they count as 20{missing}"


@pytest.mark.parametrize(
    ("throughput_per_s", "saturated", "violation"),
    [(200.0, False, -0.75), (40.0, False, 0.0), (40.0, True, 0.25), (200.0, True, 0.01), (0.0, True, 1.0)],
)
def test_a_rate_is_violated_by_how_much_of_its_share_an_instance_does_not_answer(
    summary: MakeSummary, throughput_per_s: float, saturated: bool, violation: float
) -> None:
    capacity = summary(throughput_per_s=throughput_per_s)
    at_rate = summary(throughput_per_s=45.0, saturated=saturated)
    found = judge((), asked_per_s=50.0, capacity=capacity, at_rate=at_rate)
    assert found.violation == pytest.approx(violation)
    assert found.reason == ("saturated: 45 of 50 requests/s were answered" if saturated else None)


def test_an_endpoint_that_answers_nothing_violates_all_of_a_rate(summary: MakeSummary) -> None:
    found = judge((), asked_per_s=100.0, capacity=summary())
    assert (found.verdict, found.violation) == ("FAIL", 1.0)
    assert found.reason == "not one request was answered while it was measured"


def test_an_sla_that_asks_nothing_is_not_violated(summary: MakeSummary) -> None:
    assert judge((), capacity=summary()).violation == 0.0


def predicted(summary: MakeSummary, p90_ms: float | None, p95_ms: float | None, *, saturated: bool = False) -> Summary:
    return replace(
        summary(saturated=saturated),
        latency_ms={"p90": p90_ms, "p95": p95_ms},
        offered_per_s=400.0 if saturated else 1.0,
    )


@pytest.mark.parametrize(
    ("p90_ms", "p95_ms", "verdict", "reason", "violation"),
    [
        (4.0, 7.0, "PASS", None, -0.2),
        (
            3.0,
            8.5,
            "UNDECIDED",
            "p95 is predicted to be 8.5 ms, limit 10 ms: too near to tell without a measurement",
            0.0,
        ),
        (
            5.5,
            9.9,
            "UNDECIDED",
            "p90 is predicted to be 5.5 ms, limit 5 ms: too near to tell without a measurement",
            0.1,
        ),
        (7.0, 11.0, "FAIL", "p90 is predicted to be 7 ms, limit 5 ms", 0.4),
        (7.0, 20.0, "FAIL", "p95 is predicted to be 20 ms, limit 10 ms", 1.0),
        (3.0, None, "UNDECIDED", "p95 is of too few requests to be predicted", 0.0),
        (None, None, "UNDECIDED", "p90 is of too few requests to be predicted", 0.0),
        (
            6.0,
            None,
            "UNDECIDED",
            "p90 is predicted to be 6 ms, limit 5 ms: too near to tell without a measurement",
            0.2,
        ),
    ],
)
def test_a_prediction_decides_what_is_a_quarter_off_its_limits(
    summary: MakeSummary, p90_ms: float | None, p95_ms: float | None, verdict: str, reason: str | None, violation: float
) -> None:
    limits = (LatencyThreshold(percentile="p90", limit_ms=5.0), *LIMIT)
    found = judge_prediction(limits, predicted(summary, p90_ms, p95_ms))
    assert (found.verdict, found.reason) == (verdict, reason)
    assert found.violation == pytest.approx(violation)


@pytest.mark.parametrize(("p95_ms", "violation"), [(5.0, 0.01), (20.0, 1.0)])
def test_a_rate_that_is_predicted_to_be_too_high_fails_whatever_the_latency(
    summary: MakeSummary, p95_ms: float, violation: float
) -> None:
    found = judge_prediction(LIMIT, predicted(summary, 1.0, p95_ms, saturated=True))
    assert (found.verdict, found.violation) == ("FAIL", violation)
    assert found.reason == "400 requests/s are predicted to be more than it answers"


@pytest.mark.parametrize(("failed", "fails"), [(0, False), (10, False), (11, True)])
def test_one_failed_request_in_a_hundred_is_the_most_that_passes(
    summary: MakeSummary, failed: int, fails: bool
) -> None:
    found = failures(replace(summary(), samples=1000, failed=failed))
    assert (found is not None) is fails
    if found is not None:
        assert (found.verdict, found.reason, found.violation) == ("FAIL", "11 of 1,000 requests failed", 1.0)


@pytest.mark.parametrize(("backlog", "verdict"), [(50, "PASS"), (51, "UNDECIDED")])
def test_a_rate_is_not_known_to_be_carried_where_many_wait_at_the_end(
    summary: MakeSummary, backlog: int, verdict: str
) -> None:
    found = judge((), asked_per_s=100.0, capacity=summary(), at_rate=replace(summary(), backlog=backlog))
    assert found.verdict == verdict
    assert (found.reason or "").startswith("51 of 1,000 requests were waiting") == (verdict == "UNDECIDED")
    assert (found.violation == 0.0) == (verdict == "UNDECIDED")


def test_one_limit_that_fails_is_enough_and_all_have_to_pass() -> None:
    assert combined_verdict(["PASS", "UNDECIDED", "FAIL"]) == "FAIL"
    assert combined_verdict(["PASS", "UNDECIDED"]) == "UNDECIDED"
    assert combined_verdict(["PASS", "PASS"]) == combined_verdict([]) == "PASS"


def test_failed_requests_break_a_rate_without_limits_alone(summary: MakeSummary, evidence: MakeEvidence) -> None:
    failing = replace(summary(), failed=11)
    assert judge((), capacity=failing).verdict == "FAIL"
    assert judge((), asked_per_s=100.0, capacity=summary(), at_rate=failing).verdict == "FAIL"
    assert (
        judge(LIMIT, asked_per_s=100.0, capacity=summary(), at_rate=failing, evidence=[evidence("PASS")]).verdict
        == "PASS"
    )
