"""The verdicts of servefit, and who decides what.

| what was measured | PASS | FAIL | UNDECIDED | decided by |
|---|---|---|---|---|
| open loop at a rate | few enough requests broke the limit | too many did | neither is shown | ``sequential_test`` |
| several open loops of a winner | as one, on all their requests | the same | the same | ``run_verdict`` |
| the rate itself | no large backlog | one that grew in all runs | another | :func:`judge_rate`, ``backlog`` |
| closed loop | the 95 % interval is below the limit | it is above | it is on both sides | :func:`judge` |
| the same, percentile of failed requests | | too many failed | otherwise | :func:`judge` |
| predicted endpoint | 1.25 times it is below | 1 / 1.25 of it is above | neither | :func:`judge_prediction` |
| failed requests, no limit | 1 % at most | more | | :func:`failures` |
| several limits | all pass | one fails | neither | :func:`combined_verdict` |
| highest rate | a run at it and all together, or a replay | the lowest failed | no time | ``procedures.highest_rate`` |
| several load clients | as one closed loop, their responses together | the same | the same | :func:`judge` |
| spot checks of a fleet's agents | as the test that they repeat | the same | the same | :func:`judge` |

INVALID stands before all of them: the machine got in the way (``validity``), and nothing was measured.

In a closed loop a limit holds when the whole 95 % interval of its percentile is below it, is broken when the whole
interval is above, and is undecided in between, or with too few samples for the percentile to be known. Without an
interval it holds if it is far above all that was measured, and is broken if the median is above it. Where one of
several measurements is enough for a PASS the interval is wider, so that all of them together are as sure as one.

docs/verdicts.md explains the rules to people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from servefit.profiler.evidence.backlog import is_large
from servefit.profiler.evidence.intervals import MIN_VALUES, t_quantile
from servefit.profiler.evidence.percentile_intervals import BLOCKS
from servefit.profiler.evidence.sequential_test import ALPHA, FAIL_LEVEL, p_of_so_few
from servefit.profiler.evidence.summary import samples_needed
from servefit.quantities import ms_interval_text, ms_text, number_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from servefit.profiler.evidence.limits import LatencyThreshold, Verdict
    from servefit.profiler.evidence.sequential_test import Evidence
    from servefit.profiler.evidence.summary import Summary

PREDICTION_MARGIN = 1.25
"""A limit is predicted to hold where the predicted percentile times this is below it, and to be broken where the
percentile is above it even when divided by this: most predictions are nearer
(benchmarks/claims/endpoint_prediction.py)."""

MAX_FAILED = 0.01
"""An endpoint that lets more of the requests fail is asked for too much."""

_MIN_VIOLATION = 0.01
"""A failing figure exceeds its limit by this part at least: figures that do not show it would pass it off as met.
Chosen, not measured."""

_FAR = 8.0
"""Times the highest percentile that is known, where a limit is kept although no interval is known: three independent
requests say so much, where response times fall off at least exponentially."""

_RARE = 90.0
"""Limits on percentiles from here on are broken where half of the requests take longer, although no interval is known:
of three independent requests two would with a probability of 3 %, where a tenth may."""

_MIN_CALLS = 10
"""That either takes. Requests of one call are one request here, and calls that follow each other are alike; three times
as many as have to be independent. Chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A verdict with its reason. ``violation`` is by which part the worst limit is exceeded, negative where all leave
    room: what the search pushes below zero."""

    verdict: Verdict
    reason: str | None
    violation: float


def combined_verdict(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the verdict on several thresholds: all have to pass, and one that fails is enough. None at all is a
    PASS."""
    if "FAIL" in verdicts:
        return "FAIL"
    return "UNDECIDED" if "UNDECIDED" in verdicts else "PASS"


def failures(summary: Summary) -> Judgement | None:
    """Return the FAIL of an endpoint that let too many requests fail where no limit counts them; None where it did
    not."""
    if summary.failed <= MAX_FAILED * summary.samples:
        return None
    reason = f"{summary.failed:,} of {summary.samples:,} requests failed"
    return Judgement(verdict="FAIL", reason=reason, violation=1.0)


def judge_prediction(thresholds: Sequence[LatencyThreshold], predicted: Summary) -> Judgement:
    """Hold ``predicted`` figures against the limits."""
    shown = [(predicted.latency_ms[threshold.percentile], threshold) for threshold in thresholds]
    violation = max((value / threshold.limit_ms - 1 for value, threshold in shown if value is not None), default=0.0)
    if predicted.saturated:
        reason = f"{number_text(predicted.offered_per_s or 0.0)} requests/s are predicted to be more than it answers"
        return Judgement(verdict="FAIL", reason=reason, violation=max(violation, _MIN_VIOLATION))
    if broken := exceeded(thresholds, predicted.latency_ms, by=PREDICTION_MARGIN):
        return Judgement(verdict="FAIL", reason=max(broken)[1], violation=violation)
    if near := exceeded(thresholds, predicted.latency_ms, by=1 / PREDICTION_MARGIN):
        reason = f"{max(near)[1]}: too near to tell without a measurement"
        return Judgement(verdict="UNDECIDED", reason=reason, violation=max(violation, 0.0))
    if rare := [threshold.percentile for value, threshold in shown if value is None]:
        reason = f"{rare[0]} is of too few requests to be predicted"
        return Judgement(verdict="UNDECIDED", reason=reason, violation=max(violation, 0.0))
    return Judgement(verdict="PASS", reason=None, violation=min(violation, 0.0))


def exceeded(
    thresholds: Sequence[LatencyThreshold], latency_ms: Mapping[str, float | None], *, by: float
) -> list[tuple[float, str]]:
    """Return the limits that predicted percentiles exceed ``by`` this factor: by how much, and in words."""
    beyond = []
    for threshold in thresholds:
        value_ms = latency_ms[threshold.percentile]
        if value_ms is not None and value_ms > by * threshold.limit_ms:
            reason = f"{threshold.percentile} is predicted to be {ms_text(value_ms)}, limit {threshold.limit_text}"
            beyond.append((value_ms / threshold.limit_ms, reason))
    return beyond


def judge(
    thresholds: Sequence[LatencyThreshold],
    *,
    capacity: Summary,
    at_rate: Summary | None = None,
    evidence: Sequence[Evidence] = (),
    asked_per_s: float | None = None,
    chances: int = 1,
    runs: int = 1,
    budget_s: float | None = None,
) -> Judgement:
    """Hold the figures of one instance against the limits, and against the rate that is ``asked_per_s`` of it.

    Args:
        thresholds: The limits; without any, and without a rate, the verdict is PASS.
        capacity: The closed loop. Where nothing was asked at a rate it is what limits are held against.
        at_rate: The open loop at the rate; None where none was asked, or where ``capacity`` answered nothing.
        evidence: That of the open loop on every limit.
        asked_per_s: The rate that an instance has to carry, if any.
        chances: Without a rate, a PASS is one of so many; those of ``evidence`` are in it.
        runs: The figures of the closed loop are of so many.
        budget_s: That of a job: the reason of an UNDECIDED then says which would do.
    """
    if at_rate is None:
        wider = widening(chances, runs)
        findings = [_judge_interval(threshold, capacity, wider) for threshold in thresholds]
    else:
        findings = [
            _judge_evidence(threshold, at_rate, part, budget_s)
            for threshold, part in zip(thresholds, evidence, strict=True)
        ]
    if asked_per_s is not None:
        findings.append(judge_rate(asked_per_s, capacity=capacity, at_rate=at_rate))
    if not thresholds and (failed := failures(at_rate or capacity)) is not None:
        findings.append(failed)
    if not findings:
        return Judgement(verdict="PASS", reason=None, violation=0.0)
    violation = max(finding.violation for finding in findings)
    for verdict in ("FAIL", "UNDECIDED"):
        if unmet := [finding for finding in findings if finding.verdict == verdict]:
            worst = max(unmet, key=lambda finding: finding.violation)
            return Judgement(verdict=worst.verdict, reason=worst.reason, violation=max(violation, 0.0))
    return Judgement(verdict="PASS", reason=None, violation=violation)


def _judge_evidence(
    threshold: LatencyThreshold, summary: Summary, evidence: Evidence, budget_s: float | None
) -> Judgement:
    value = summary.latency_ms[threshold.percentile]
    reason = f"{evidence.violations:,} of {evidence.samples:,} requests took longer than {threshold.limit_text}"
    if summary.failed:
        reason += f"; {summary.failed:,} requests failed, which count as longer"
    if evidence.verdict == "UNDECIDED":
        traffic_s = summary.samples / summary.offered_per_s if summary.offered_per_s else 0.0
        reason += evidence.worth_text + evidence.missing_text(traffic_s, budget_s=budget_s)
    violation = 1.0 if evidence.verdict == "FAIL" else 0.0
    if value is not None:
        reason = f"{threshold.percentile} is {ms_text(value)}, limit {threshold.limit_text}: {reason}"
        violation = value / threshold.limit_ms - 1
    if evidence.verdict == "PASS":
        violation = min(violation, 0.0)
    if evidence.verdict == "FAIL":
        violation = max(violation, _MIN_VIOLATION)
    return Judgement(
        verdict=evidence.verdict, reason=None if evidence.verdict == "PASS" else reason, violation=violation
    )


def widening(chances: int, runs: int) -> float:
    """Return how many times wider the 95 % interval of a percentile, on the logarithm, has to be below a limit, so that
    one of so many ``chances`` passes wrongly in 5 % of cases at most [Bonferroni]. The interval is by Student over so
    many ``runs``, or, where they are too few for that, over blocks of one."""
    degrees = (runs if runs >= MIN_VALUES else BLOCKS) - 1
    return max(1.0, t_quantile(1 - ALPHA / chances, degrees) / t_quantile(0.975, degrees))


def _judge_interval(threshold: LatencyThreshold, summary: Summary, wider: float) -> Judgement:
    value = summary.latency_ms[threshold.percentile]
    if value is None:
        return _judge_unknown(threshold, summary)
    violation = value / threshold.limit_ms - 1
    if threshold.percentile not in summary.latency_ms_ci95:
        return _judge_from_afar(threshold, summary, violation)
    low, high = summary.latency_ms_ci95[threshold.percentile]
    if value * (high / value) ** wider <= threshold.limit_ms:
        return Judgement(verdict="PASS", reason=None, violation=violation)
    measured = f"{threshold.percentile} is {ms_interval_text(value, low, high)}, limit {threshold.limit_text}"
    if high <= threshold.limit_ms:
        measured += ", which is not sure enough for one of several measurements that may pass"
    return Judgement(verdict="FAIL" if low > threshold.limit_ms else "UNDECIDED", reason=measured, violation=violation)


def _judge_unknown(threshold: LatencyThreshold, summary: Summary) -> Judgement:
    """Hold a percentile that is not known against its limit: there are too few samples, or so many requests failed,
    each of which took longer than any limit. Those of one call failed together."""
    if not summary.failed or summary.samples < samples_needed(threshold.rank):
        reason = f"{summary.samples:,} samples are too few for {threshold.percentile}"
        return Judgement(verdict="UNDECIDED", reason=reason, violation=0.0)
    calls, answered = (
        count / (summary.largest_call or 1) for count in (summary.samples, summary.samples - summary.failed)
    )
    fails = p_of_so_few(calls, answered, threshold.rank / 100) <= FAIL_LEVEL
    reason = (
        f"{summary.failed:,} of {summary.samples:,} requests failed, which count as longer than {threshold.limit_text}"
    )
    return Judgement(verdict="FAIL" if fails else "UNDECIDED", reason=reason, violation=1.0 if fails else 0.0)


def _judge_from_afar(threshold: LatencyThreshold, summary: Summary, violation: float) -> Judgement:
    """Hold figures that have no interval against a limit: it has to be far from all of them."""
    reason = f"{summary.samples:,} samples are too few to say how certain {threshold.percentile} is"
    undecided = Judgement(verdict="UNDECIDED", reason=reason, violation=violation)
    if summary.samples < _MIN_CALLS * (summary.largest_call or 1):
        return undecided
    slowest = max(value_ms for value_ms in summary.latency_ms.values() if value_ms is not None)
    if _FAR * slowest <= threshold.limit_ms:
        return Judgement(verdict="PASS", reason=None, violation=violation)
    median = summary.latency_ms.get("p50")
    if median is not None and median > threshold.limit_ms and threshold.rank >= _RARE:
        reason = f"p50 is {ms_text(median)}, limit {threshold.limit_text} on {threshold.percentile}"
        return Judgement(verdict="FAIL", reason=reason, violation=max(violation, _MIN_VIOLATION))
    return undecided


def judge_rate(asked_per_s: float, *, capacity: Summary, at_rate: Summary | None) -> Judgement:
    """Hold the open loop ``at_rate`` against the rate that was asked of it; ``capacity`` is the closed loop."""
    if at_rate is None:
        return Judgement(verdict="FAIL", reason="not one request was answered while it was measured", violation=1.0)
    violation = asked_per_s / capacity.throughput_per_s - 1 if capacity.throughput_per_s else 1.0
    if at_rate.saturated:
        reason = (
            f"saturated: {number_text(at_rate.throughput_per_s)} of {number_text(asked_per_s)} requests/s were answered"
        )
        return Judgement(verdict="FAIL", reason=reason, violation=max(violation, _MIN_VIOLATION))
    if is_large(at_rate.backlog, offered=at_rate.samples, workers=1):
        waiting = f"{at_rate.backlog:,} of {at_rate.samples:,} requests were waiting at the end"
        reason = f"{waiting}: the server had paused, or answers no more than that"
        return Judgement(verdict="UNDECIDED", reason=reason, violation=max(violation, 0.0))
    return Judgement(verdict="PASS", reason=None, violation=min(violation, 0.0))
