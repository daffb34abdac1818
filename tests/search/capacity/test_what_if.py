"""The changes that would make an SLA hold."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.profiler.machine.instance_profile import InstanceProfile
from servefit.profiler.queueing.service import BatchTimes, ServiceTimes
from servefit.profiler.record.types import Configuration
from servefit.quantities import parse_duration_ms
from servefit.search.capacity.what_if import changes
from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla
from servefit.search.results.ranking import recommendation

if TYPE_CHECKING:
    from tests.search.conftest import MakeTrial

    from servefit.search.results.recommendation import Recommendation

CONFIGURATION = Configuration(vcpus=1, backend="a")
PROFILE = InstanceProfile(name="a", vcpus=1, memory_bytes=2**30)
MILLISECOND = ServiceTimes(batches=(BatchTimes(requests=1, strata_ns=(0.8e6, 1e6, 1.2e6)),))


def limited(limit_ms: float | None, rate_per_s: float | None = None) -> JobRequest:
    thresholds = () if limit_ms is None else (LatencyThreshold(percentile="p95", limit_ms=limit_ms),)
    return JobRequest(name="job", sla=Sla(thresholds=thresholds, rate_per_s=rate_per_s))


def failed(
    trial: MakeTrial, *, p95_ms: float | None, per_s: float = 1000.0, instances: int = 1, at_rate: bool = True
) -> Recommendation:
    measured = trial(
        CONFIGURATION,
        p95_ms=p95_ms,
        throughput_per_s=per_s,
        verdict="FAIL",
        violation=1.0,
        instances=instances,
        at_rate=at_rate,
    )
    return recommendation(PROFILE, measured)


def per_instance(sentence: str) -> tuple[float, int]:
    """The rate and the number of instances that a sentence names."""
    found = re.search(r"at most (\S+) requests/s on each instance, which is ([\d,]+) instances", sentence)
    assert found is not None
    return float(found[1].replace(",", "")), int(found[2].replace(",", ""))


def test_the_limit_that_would_have_held_is_the_one_that_was_measured(trial: MakeTrial) -> None:
    (sentence,) = changes(failed(trial, p95_ms=12.34), None, limited(10.0, 500.0))
    assert sentence == "a limit of 13 ms on p95 instead of 10 ms: that is what was measured"


@pytest.mark.parametrize(
    ("measured_ms", "named"),
    [(1.1, "1.1 ms"), (99.01, "100 ms"), (123.4, "130 ms"), (1999.0, "2 s"), (0.0421, "43 us"), (0.28, "280 us")],
)
def test_a_limit_is_rounded_up_to_two_digits(trial: MakeTrial, measured_ms: float, named: str) -> None:
    (sentence,) = changes(failed(trial, p95_ms=measured_ms), None, limited(0.01, 500.0))
    assert sentence.startswith(f"a limit of {named} on p95")


@given(st.floats(1e-3, 1e6))
def test_a_limit_that_is_named_would_have_held_and_is_no_more_than_a_tenth_too_high(
    trial: MakeTrial, measured_ms: float
) -> None:
    (sentence,) = changes(failed(trial, p95_ms=measured_ms), None, limited(1e-4, 500.0))
    number, unit = sentence.split()[3:5]
    named_ms = parse_duration_ms("limit", number.replace(",", "") + unit)
    assert measured_ms * (1 - 1e-6) <= named_ms <= 1.1001 * measured_ms


def test_limits_that_have_to_change_together_are_one_sentence(trial: MakeTrial) -> None:
    thresholds = tuple(LatencyThreshold(percentile=name, limit_ms=0.6) for name in ("p50", "p90", "p95"))
    request = JobRequest(name="job", sla=Sla(thresholds=thresholds, rate_per_s=500.0))
    (sentence,) = changes(failed(trial, p95_ms=12.34), None, request)
    assert sentence == (
        "limits of 900 us on p90 instead of 600 us and 13 ms on p95 instead of 600 us: that is what was measured"
    )


def test_how_long_a_growing_queue_made_requests_wait_is_no_limit_to_set(trial: MakeTrial) -> None:
    best = failed(trial, p95_ms=5000.0, per_s=1000.0)
    assert best.trial.at_rate is not None
    saturated = replace(best, trial=replace(best.trial, at_rate=replace(best.trial.at_rate, saturated=True)))
    assert changes(saturated, None, limited(5.0, 950.0)) == ()
    (shared,) = changes(saturated, MILLISECOND, limited(5.0, 950.0))
    assert per_instance(shared)[1] == 2


def test_a_rate_that_is_too_high_for_the_limit_is_shared_by_more_instances(trial: MakeTrial) -> None:
    best = failed(trial, p95_ms=50.0, per_s=1000.0)
    limit, shared = changes(best, MILLISECOND, limited(5.0, 950.0))
    assert "50 ms" in limit
    rate_per_s, instances = per_instance(shared)
    assert 500 < rate_per_s < 950
    assert instances == 2
    assert shared.endswith("(estimated)")


def test_the_estimate_is_stretched_to_the_capacity_that_was_measured(trial: MakeTrial) -> None:
    def named(per_s: float, limit_ms: float) -> float:
        best = failed(trial, p95_ms=50.0, per_s=per_s)
        return per_instance(changes(best, MILLISECOND, limited(limit_ms, 950.0))[-1])[0]

    assert named(500.0, 18.0) == pytest.approx(named(1000.0, 9.0) / 2, rel=0.02)


def test_a_limit_below_a_single_call_asks_for_a_faster_model(trial: MakeTrial) -> None:
    sentences = changes(failed(trial, p95_ms=1.3), MILLISECOND, limited(0.5, 100.0))
    assert sentences[-1] == ("a faster model: one request takes longer than the limit even when nothing else is served")


def test_a_limit_that_a_single_call_keeps_and_batches_do_not_asks_for_another_batching(trial: MakeTrial) -> None:
    waiting = replace(CONFIGURATION, max_batch=8, batch_delay_us=20_000)
    best = recommendation(PROFILE, trial(waiting, p95_ms=25.0, throughput_per_s=1000.0, verdict="FAIL", violation=1.0))
    sentences = changes(best, MILLISECOND, limited(5.0, 100.0))
    assert sentences[-1] == (
        "a faster model or another batching: with this batching no rate keeps the limits (estimated)"
    )


def test_in_a_closed_loop_fewer_users_are_what_would_help(trial: MakeTrial) -> None:
    sentences = changes(failed(trial, p95_ms=9.0, at_rate=False), MILLISECOND, limited(5.0))
    found = re.fullmatch(
        r"fewer users: the limits hold up to about (\S+) requests/s on an instance \(estimated\)", sentences[-1]
    )
    assert found is not None
    assert 500 < float(found[1]) < 1000


def test_a_rate_alone_that_saturates_an_instance_is_shared_too(trial: MakeTrial) -> None:
    (sentence,) = changes(failed(trial, p95_ms=None, per_s=1000.0), MILLISECOND, limited(None, 2500.0))
    rate_per_s, instances = per_instance(sentence)
    assert 800 < rate_per_s <= 1000
    assert instances == 3


def test_what_already_has_the_instances_is_not_told_to_have_them(trial: MakeTrial) -> None:
    best = failed(trial, p95_ms=50.0, per_s=1000.0, instances=10)
    assert len(changes(best, MILLISECOND, limited(5.0, 950.0))) == 1


def test_what_answered_nothing_is_not_estimated(trial: MakeTrial) -> None:
    assert changes(failed(trial, p95_ms=None, per_s=0.0), MILLISECOND, limited(5.0, 950.0)) == ()


def test_where_nothing_was_asked_nothing_has_to_change(trial: MakeTrial) -> None:
    assert changes(failed(trial, p95_ms=9.0), MILLISECOND, limited(None)) == ()


def test_a_seed_gives_the_same_sentences(trial: MakeTrial) -> None:
    best = failed(trial, p95_ms=50.0)
    assert changes(best, MILLISECOND, limited(5.0, 950.0)) == changes(best, MILLISECOND, limited(5.0, 950.0))
