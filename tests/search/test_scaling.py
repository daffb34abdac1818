"""How many instances a rate takes, from jobs put together by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from math import ceil, log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from servefit.backends.model.types import Format, Model, Signature, Task
from servefit.errors import SpecError
from servefit.profiler.host import describe_host
from servefit.profiler.limits import LatencyThreshold
from servefit.profiler.storage.measurements import save_measurement
from servefit.profiler.summary import Summary
from servefit.profiler.traffic import ClosedLoop, OpenLoop
from servefit.profiler.types import Configuration, InstanceProfile, Measurement, Run, Samples, TelemetryPoint
from servefit.search.header import JobHeader, JobState, PayloadFacts
from servefit.search.job import RecommendationJob, job_folder
from servefit.search.queueing.service import BatchTimes, ServiceTimes
from servefit.search.recommendation import Trial, Verdict
from servefit.search.request import JobRequest
from servefit.search.scaling import scale
from servefit.search.sla import Sla
from servefit.search.steps import Kind, Result, Step

ONE = Configuration(vcpus=1, backend="treelite")
BATCHED = replace(ONE, max_batch=8)
PROFILE = InstanceProfile(name="small", vcpus=1, memory_bytes=2**30, price_per_hour=0.1)
P95_10_MS = (LatencyThreshold(percentile="p95", limit_ms=10.0),)
EXPONENTIAL_1_MS = ServiceTimes(batches=(BatchTimes.of(1, np.random.default_rng(0).exponential(1e6, 200_000)),))
S = 1_000_000_000


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path))
    return tmp_path


def summary(*, per_s: float, p95_ms: float = 1.0, loop: str = "closed") -> Summary:
    return Summary(
        loop="open" if loop == "open" else "closed",
        throughput_per_s=per_s,
        offered_per_s=per_s if loop == "open" else None,
        samples=1000,
        latency_ms={"p50": 0.5, "p90": 0.9, "p95": p95_ms, "p99": None},
        latency_ms_ci95={"p95": (0.9 * p95_ms, 1.1 * p95_ms)},
        service_ms={},
        lag_ms={},
        saturated=False,
        backlog=0,
        cpu_percent=50.0,
        peak_memory_bytes=2**20,
        memory_percent=None,
        steal_percent=None,
        gpu_percent=None,
        gpu_memory_bytes=None,
        gpu_power_w=None,
    )


def trial(
    *,
    verdict: Verdict = "PASS",
    capacity_per_s: float = 1000.0,
    at_rate: bool = False,
    instances: int = 1,
    configuration: Configuration = ONE,
    load_s: float = 0.1,
    kept_in: str | None = None,
    nth_round: int | None = None,
) -> Trial:
    return Trial(
        configuration=configuration,
        measurement=Measurement(
            configuration=configuration,
            host_fingerprint="f",
            containment="uncontained",
            envelope="affinity",
            memory_limit_bytes=None,
            cpus=(0,),
            runs=(),
            load_s=load_s,
            peak_memory_bytes=2**20,
        ),
        capacity=summary(per_s=capacity_per_s),
        at_rate=summary(per_s=1.0, loop="open") if at_rate else None,
        instance_count=instances,
        verdict=verdict,
        reason=None if verdict == "PASS" else "p95 is 12 ms, limit 10 ms",
        violation=0.2 if verdict == "FAIL" else 0.0,
        kept_in=kept_in,
        round=nth_round,
    )


def job(
    *trials: Trial, sla: Sla | None = None, service: ServiceTimes | None = None, profile: InstanceProfile = PROFILE,
    profiles: Sequence[InstanceProfile] = (), **request: Any,
) -> RecommendationJob:  # fmt: skip
    """A job of ``trials``, the last of which stands for its configuration."""
    results: list[tuple[Kind, Configuration, Result]] = [("load_test", one.configuration, one) for one in trials]
    if service is not None:
        results.insert(0, ("service_time", replace(trials[0].configuration, max_batch=1), service))
    header = JobHeader(
        request=JobRequest(name="fraud", sla=sla or Sla(), **request),
        model=Model(
            source="model.onnx",
            file=Path("/models/model.onnx"),
            format=Format.ONNX,
            digest="0" * 64,
            size_bytes=1024,
            signature=Signature(task=Task.BINARY, features=30, outputs=1),
        ),
        payload=PayloadFacts(source="rows.csv", rows=10, digest="1" * 64, synthetic=False, truncated_from=None),
        host=describe_host(),
        profiles=tuple(profiles) or (profile,),
        servefit="0.1",
        created_at=1e9,
    )
    return RecommendationJob.of(
        header,
        JobState(status="COMPLETED"),
        [
            Step(
                number=number,
                kind=kind,
                status="COMPLETED",
                backend=configuration.backend,
                configuration=configuration,
                host_fingerprint="f",
                began_at=1e9 + number,
                ended_at=1e9 + number,
                result=result,
            )
            for number, (kind, configuration, result) in enumerate(results)
        ],
    )


def open_run(rate_per_s: float, response_ms: float, *, requests: int = 1000, **facts: Any) -> Run:
    """Evenly spaced arrivals, each served in a call of its own as soon as it is due."""
    due = S + (np.arange(requests) * S / rate_per_s).astype(np.int64)
    run = _run(due, due, due + round(1e6 * response_ms), OpenLoop(rate_per_s=rate_per_s, duration_s=requests))
    return replace(run, **facts)


def closed_run(calls_ms: np.ndarray) -> Run:
    """One user."""
    ended = S + np.cumsum(1e6 * calls_ms).astype(np.int64)
    started = np.concatenate([[S], ended[:-1]])
    return _run(started, started, ended, ClosedLoop.constant(users=1, duration_s=60))


def _run(due: np.ndarray, started: np.ndarray, ended: np.ndarray, traffic: OpenLoop | ClosedLoop) -> Run:
    return Run(
        driver="inprocess",
        traffic=traffic,
        samples=Samples(scheduled=due.tobytes(), started=started.tobytes(), ended=ended.tobytes()),
        plateau_ns=(S, int(ended.max()) + 1),
        offered=len(due),
        backlog=0,
        lags=b"",
        busy_cpu_ns=S,
        threads_per_worker=(1,),
        threads_outside=0,
        peak_memory_bytes=2**20,
        telemetry=(),
    )


def keep(trial: Trial, *runs: Run, name: str = "measurements/0001.servefit") -> Trial:
    """``trial`` with raw samples in the job's folder."""
    path = job_folder("fraud") / name
    path.parent.mkdir(parents=True, exist_ok=True)
    save_measurement(replace(trial.measurement, runs=runs), path)
    return replace(trial, kept_in=name)


def test_without_a_limit_an_instance_is_planned_at_a_part_of_its_capacity_less_the_headroom() -> None:
    plan = scale(job(trial()), rate_per_s=2000, headroom=0.2)
    assert (plan.rate.highest_per_s, plan.rate.basis, plan.rate.source) == (800.0, "utilisation", "estimated")
    assert plan.target.rate_per_s == pytest.approx(640)
    assert plan.target.invocations_per_minute == pytest.approx(38_400)
    assert plan.instances == 4
    assert plan.cost_per_hour(plan.instances) == pytest.approx(0.4)


def test_capacities_are_one_instance_and_twice_the_rate_unless_rates_are_given() -> None:
    found = job(trial())
    default = scale(found, rate_per_s=2000).target
    assert (default.min_capacity, default.max_capacity) == (1, 7)
    given_rates = scale(found, rate_per_s=2000, min_rate_per_s=700, max_rate_per_s=2600).target
    assert (given_rates.min_capacity, given_rates.max_capacity) == (2, 5)


def test_cooldowns_come_from_the_metric_the_measured_load_time_and_the_default_of_sagemaker() -> None:
    target = scale(job(trial(load_s=2.3)), rate_per_s=1).target
    assert (target.scale_in_cooldown_s, target.scale_out_cooldown_s) == (300, 63)


@pytest.mark.parametrize("capacity_per_s", [1000.0, 500.0])
def test_a_limit_is_reached_where_theory_says_it_is_at_the_capacity_that_was_measured(capacity_per_s: float) -> None:
    found = job(trial(capacity_per_s=capacity_per_s), sla=Sla(thresholds=P95_10_MS), service=EXPONENTIAL_1_MS)
    plan = scale(found, rate_per_s=100, headroom=0)
    # In M/M/1 the response time is exponential with rate mu - lambda.
    assert plan.rate.highest_per_s == pytest.approx(capacity_per_s - log(20) / 0.01, rel=0.05)
    assert plan.rate.basis == "simulated"
    (expected,) = [point for point in plan.curve if point.source == "estimated"]
    assert expected.rate_per_s == plan.rate.highest_per_s
    assert expected.latency_ms["p95"] == pytest.approx(10, rel=0.1)
    assert any("no PASS was measured at a rate" in note for note in plan.notes)


def test_a_limit_far_away_leaves_the_planned_part_of_the_capacity() -> None:
    far = Sla(thresholds=(LatencyThreshold(percentile="p95", limit_ms=1000.0),))
    assert scale(job(trial(), sla=far, service=EXPONENTIAL_1_MS), rate_per_s=1).rate.basis == "utilisation"


def test_a_pass_that_was_measured_lifts_what_the_simulation_expects() -> None:
    sla = Sla(thresholds=P95_10_MS, rate_per_s=1500)
    tests = trial(at_rate=True, instances=2), trial(at_rate=True, instances=3)
    rate = scale(job(*tests, sla=sla, service=EXPONENTIAL_1_MS), rate_per_s=1).rate
    assert (rate.highest_per_s, rate.basis, rate.source) == (750.0, "measured", "measured")


def test_no_pass_lifts_a_rate_above_the_planned_part_of_the_capacity() -> None:
    sla = Sla(thresholds=P95_10_MS, rate_per_s=900)
    tests = trial(at_rate=True, capacity_per_s=2000), trial(at_rate=True, instances=3)
    rate = scale(job(*tests, sla=sla, service=EXPONENTIAL_1_MS), rate_per_s=1).rate
    assert (rate.highest_per_s, rate.basis) == (800.0, "utilisation")


def test_a_fail_that_was_measured_leaves_the_highest_rate_that_passed_below_it() -> None:
    sla = Sla(thresholds=P95_10_MS, rate_per_s=900)
    tests = trial(at_rate=True, instances=2, verdict="FAIL"), trial(at_rate=True, instances=3)
    rate = scale(job(*tests, sla=sla, service=EXPONENTIAL_1_MS), rate_per_s=1).rate
    assert (rate.highest_per_s, rate.basis) == (300.0, "measured")


def test_a_fail_at_the_rate_of_the_recommendation_is_outvoted_by_it() -> None:
    sla = Sla(thresholds=P95_10_MS, rate_per_s=600)
    tests = trial(at_rate=True, verdict="FAIL"), trial(at_rate=True)
    plan = scale(job(*tests, sla=sla, service=EXPONENTIAL_1_MS), rate_per_s=600, headroom=0)
    assert plan.rate.highest_per_s > 600
    assert plan.instances == 1


def test_without_anything_to_simulate_with_only_a_rate_that_passed_counts() -> None:
    at_rate = scale(job(trial(at_rate=True), sla=Sla(thresholds=P95_10_MS, rate_per_s=300)), rate_per_s=1)
    assert (at_rate.rate.highest_per_s, at_rate.rate.basis) == (300.0, "measured")
    closed = scale(job(trial(), sla=Sla(thresholds=P95_10_MS)), rate_per_s=1)
    assert (closed.rate.highest_per_s, closed.rate.basis) == (800.0, "utilisation")
    assert any("whether the limits hold at the target is not known" in note for note in closed.notes)


def test_calls_of_the_load_test_stand_in_for_service_times() -> None:
    calls_ms = np.random.default_rng(1).exponential(1.0, 20_000)
    tested = keep(trial(), closed_run(calls_ms))
    rate = scale(job(tested, sla=Sla(thresholds=P95_10_MS)), rate_per_s=1).rate
    assert rate.highest_per_s == pytest.approx(1000 - log(20) / 0.01, rel=0.05)
    assert rate.basis == "simulated"


def test_small_batches_are_taken_to_last_as_long_as_full_ones_where_only_those_were_seen() -> None:
    tested = keep(trial(configuration=BATCHED, capacity_per_s=8000.0), closed_run(np.full(5000, 1.0)))
    limit = Sla(thresholds=(LatencyThreshold(percentile="p95", limit_ms=1.5),))
    batched = scale(job(tested, sla=limit), rate_per_s=1)
    (expected,) = [point for point in batched.curve if point.rate_per_s == batched.rate.highest_per_s]
    assert batched.rate.basis == "simulated"
    assert 1.0 <= (expected.latency_ms["p95"] or 0) <= 1.55


def test_every_open_loop_that_was_recorded_is_a_point_of_the_curve() -> None:
    sla = Sla(thresholds=P95_10_MS, rate_per_s=400)
    disturbed = TelemetryPoint(at_ns=2 * S, over_ns=S, cpu_percent=100.0, memory_bytes=1, foreign_percent=90.0)
    tested = keep(
        trial(at_rate=True, instances=4),
        closed_run(np.full(1000, 1.0)),
        open_run(400, 20.0),
        open_run(200, 2.0),
        open_run(133, 2.0, requests=20),
        open_run(120, 20.0, telemetry=(disturbed,)),
        open_run(100, 2.0),
    )
    plan = scale(job(tested, sla=sla, service=EXPONENTIAL_1_MS), rate_per_s=1)
    measured = {point.rate_per_s: point.verdict for point in plan.curve if point.source == "measured"}
    assert measured == {100: "PASS", 120: "INVALID", 133: "UNDECIDED", 200: "PASS", 400: "FAIL", 1000: None}
    assert [point.rate_per_s for point in plan.curve] == sorted(point.rate_per_s for point in plan.curve)
    assert (plan.rate.highest_per_s, plan.rate.basis) == (200.0, "measured")
    (point,) = [point for point in plan.curve if point.rate_per_s == 200]
    assert point.latency_ms["p95"] == pytest.approx(2.0)
    assert point.samples == 1000
    assert not any("raw samples" in note for note in plan.notes)


def test_a_run_that_was_disturbed_counts_where_noise_was_allowed() -> None:
    sla = Sla(thresholds=P95_10_MS, rate_per_s=400)
    disturbed = TelemetryPoint(at_ns=2 * S, over_ns=S, cpu_percent=100.0, memory_bytes=1, foreign_percent=90.0)
    tested = keep(trial(at_rate=True, instances=4), open_run(200, 20.0, telemetry=(disturbed,)), open_run(100, 2.0))
    found = job(tested, sla=sla, service=EXPONENTIAL_1_MS, allow_noise=True)
    assert scale(found, rate_per_s=1).rate.highest_per_s == 100.0


def test_rounds_of_finalists_count_when_they_were_made_at_a_rate() -> None:
    sla = Sla(thresholds=P95_10_MS, rate_per_s=400)
    in_turn = keep(trial(at_rate=True, nth_round=0), open_run(400, 20.0), name="measurements/0002.servefit")
    found = job(trial(at_rate=True, instances=4), in_turn, sla=sla, service=EXPONENTIAL_1_MS)
    assert scale(found, rate_per_s=1).rate.highest_per_s == 100.0


@pytest.mark.parametrize("lost", ["missing", "cut short", "another test's"])
def test_summaries_stand_in_for_raw_samples_that_are_not_here(lost: str) -> None:
    sla = Sla(thresholds=P95_10_MS, rate_per_s=400)
    tested = keep(trial(at_rate=True), open_run(400, 2.0), open_run(300, 20.0))
    path = job_folder("fraud") / (tested.kept_in or "")
    if lost == "missing":
        path.unlink()
    elif lost == "cut short":
        path.write_bytes(path.read_bytes()[:50])
    else:
        keep(replace(tested, measurement=replace(tested.measurement, load_s=0.2)), open_run(400, 2.0))
    plan = scale(job(tested, sla=sla), rate_per_s=1)
    measured = {point.rate_per_s: point.verdict for point in plan.curve if point.source == "measured"}
    assert measured == {400: "PASS", 1000: None}
    assert any("raw samples of 1 tests are not on this host" in note for note in plan.notes)


def test_other_configurations_say_nothing_about_this_one() -> None:
    sla = Sla(thresholds=P95_10_MS, rate_per_s=400)
    other = trial(configuration=replace(ONE, backend="xgboost"), at_rate=True, verdict="FAIL")
    plan = scale(job(trial(at_rate=True, instances=2), other, sla=sla, service=EXPONENTIAL_1_MS), rate_per_s=1)
    assert plan.recommendation.trial.configuration == ONE
    assert not any(point.verdict == "FAIL" for point in plan.curve)
    assert plan.rate.basis == "simulated"


def test_the_best_recommendation_is_planned_unless_another_is_named() -> None:
    large = InstanceProfile(name="large", vcpus=2, memory_bytes=2**30, price_per_hour=0.3)
    on_large = trial(configuration=replace(ONE, vcpus=2), capacity_per_s=1500.0)
    found = job(trial(), on_large, profiles=(PROFILE, large))
    best, second = found.recommendations
    assert scale(found, rate_per_s=1).recommendation == best
    named = scale(found, rate_per_s=1, recommendation_id=second.id)
    assert named.recommendation == second
    assert named.rate.capacity_per_s == second.trial.capacity.throughput_per_s


def test_a_profile_without_a_price_costs_nobody_knows_what() -> None:
    plan = scale(job(trial(), profile=replace(PROFILE, price_per_hour=None)), rate_per_s=1)
    assert plan.to_dict()["cost_per_hour"] == {"at_rate": None, "at_min": None, "at_max": None}


def test_what_was_not_asked_for_is_said_in_notes_and_not_added() -> None:
    sla = Sla(thresholds=P95_10_MS, rate_per_s=600)
    single = scale(job(trial(at_rate=True), sla=sla, service=EXPONENTIAL_1_MS), rate_per_s=100)
    assert single.instances == 1
    assert any("for availability, run two" in note for note in single.notes)
    more = scale(job(trial(at_rate=True), sla=sla, service=EXPONENTIAL_1_MS), rate_per_s=600)
    assert more.instances == 2
    assert any("the job itself recommends 1 for this rate" in note for note in more.notes)
    undecided = scale(job(trial(at_rate=True, verdict="UNDECIDED"), sla=sla, service=EXPONENTIAL_1_MS), rate_per_s=100)
    assert any("whether the SLA is met is undecided" in note for note in undecided.notes)


@pytest.mark.parametrize(
    ("verdict", "words"), [("FAIL", "does not meet P95 <= 10 ms"), ("INVALID", "has no valid measurement")]
)
def test_a_recommendation_that_does_not_meet_the_sla_gives_no_policy(verdict: Verdict, words: str) -> None:
    found = job(trial(verdict=verdict), sla=Sla(thresholds=P95_10_MS))
    with pytest.raises(SpecError) as caught:
        scale(found, rate_per_s=1)
    assert words.lower() in str(caught.value).lower()
    assert caught.value.remedy


def test_a_limit_that_no_rate_of_arrivals_keeps_gives_no_policy() -> None:
    tight = Sla(thresholds=(LatencyThreshold(percentile="p95", limit_ms=1.0),))
    with pytest.raises(SpecError, match="at any rate of arrivals"):
        scale(job(trial(), sla=tight, service=EXPONENTIAL_1_MS), rate_per_s=1)


def test_an_unknown_recommendation_is_refused_with_the_closest() -> None:
    found = job(trial())
    assert found.best is not None
    with pytest.raises(SpecError) as caught:
        scale(found, rate_per_s=1, recommendation_id=found.best.id[:-1])
    assert caught.value.remedy == f"did you mean {found.best.id!r}?"


def test_a_job_that_measured_nothing_gives_no_policy() -> None:
    with pytest.raises(SpecError, match="nothing was measured"):
        scale(job(), rate_per_s=1)
    with pytest.raises(SpecError, match="answered no request"):
        scale(job(trial(capacity_per_s=0.0)), rate_per_s=1)


@pytest.mark.parametrize(
    ("field", "asked"),
    [
        ("rate", {"rate_per_s": 0.0}),
        ("rate", {"rate_per_s": -5.0}),
        ("rate", {"rate_per_s": float("nan")}),
        ("rate", {"rate_per_s": float("inf")}),
        ("rate", {"rate_per_s": 1e300}),
        ("headroom", {"headroom": 1.0}),
        ("headroom", {"headroom": -0.1}),
        ("headroom", {"headroom": float("nan")}),
        ("min_rate", {"min_rate_per_s": 0.0}),
        ("min_rate", {"min_rate_per_s": 300.0, "max_rate_per_s": 200.0}),
        ("min_rate", {"min_rate_per_s": 101.0}),
        ("max_rate", {"max_rate_per_s": -1.0}),
        ("max_rate", {"max_rate_per_s": 99.0}),
    ],
)
def test_rates_and_headrooms_that_make_no_sense_are_refused(field: str, asked: dict[str, float]) -> None:
    with pytest.raises(SpecError) as caught:
        scale(job(trial()), **{"rate_per_s": 100.0, **asked})  # type: ignore[arg-type]
    assert caught.value.field == field


def test_the_document_holds_the_policy_under_the_names_of_sagemaker_too() -> None:
    sla = Sla(thresholds=P95_10_MS, rate_per_s=600)
    plan = scale(job(trial(at_rate=True), sla=sla, service=EXPONENTIAL_1_MS), rate_per_s=600)
    document = json.loads(json.dumps(plan.to_dict(), allow_nan=False))
    target = plan.target
    assert document["DynamicScalingConfiguration"] == {
        "MinCapacity": target.min_capacity,
        "MaxCapacity": target.max_capacity,
        "ScaleInCooldown": 300,
        "ScaleOutCooldown": 61,
        "ScalingPolicies": [
            {
                "TargetTracking": {
                    "MetricInfo": {"Predefined": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}},
                    "TargetValue": target.invocations_per_minute,
                }
            }
        ],
    }
    assert document["instances"] == plan.instances
    assert document["target"]["invocations_per_minute"] == target.invocations_per_minute
    assert document["instance"]["source"] == "estimated"
    assert {point["source"] for point in document["curve"]} == {"measured", "estimated"}
    assert document["notes"] == list(plan.notes)


RATES = st.floats(0.01, 1e6)
HEADROOMS = st.floats(0, 0.95)
ANY_PLAN = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def tight_job() -> RecommendationJob:
    return job(trial(), sla=Sla(thresholds=P95_10_MS), service=EXPONENTIAL_1_MS)


@ANY_PLAN
@given(rates=st.tuples(RATES, RATES), headrooms=st.tuples(HEADROOMS, HEADROOMS))
def test_more_requests_or_more_headroom_never_take_fewer_instances(
    tight_job: RecommendationJob, rates: tuple[float, float], headrooms: tuple[float, float]
) -> None:
    fewer = scale(tight_job, rate_per_s=min(rates), headroom=min(headrooms))
    more = scale(tight_job, rate_per_s=max(rates), headroom=max(headrooms))
    assert fewer.instances <= more.instances
    assert fewer.target.max_capacity <= more.target.max_capacity
    assert fewer.target.rate_per_s >= more.target.rate_per_s


@ANY_PLAN
@given(rate_per_s=RATES, headroom=HEADROOMS)
def test_every_instance_gets_its_target_at_most_and_one_fewer_would_not_do(
    tight_job: RecommendationJob, rate_per_s: float, headroom: float
) -> None:
    plan = scale(tight_job, rate_per_s=rate_per_s, headroom=headroom)
    assert rate_per_s / plan.instances <= plan.target.rate_per_s * (1 + 1e-6)
    assert plan.instances == 1 or rate_per_s / (plan.instances - 1) > plan.target.rate_per_s
    assert plan.target.min_capacity <= plan.instances <= plan.target.max_capacity
    assert plan.cost_per_hour(plan.instances) == pytest.approx(0.1 * plan.instances)
    assert plan.target.rate_per_s <= 0.8 * plan.rate.capacity_per_s


@ANY_PLAN
@given(instances=st.integers(1, 10_000), headroom=HEADROOMS)
def test_so_many_times_the_target_take_so_many_instances(
    tight_job: RecommendationJob, instances: int, headroom: float
) -> None:
    target_per_s = scale(tight_job, rate_per_s=1.0, headroom=headroom).target.rate_per_s
    assert scale(tight_job, rate_per_s=instances * target_per_s, headroom=headroom).instances == instances
    assert scale(tight_job, rate_per_s=(instances + 0.5) * target_per_s, headroom=headroom).instances == ceil(
        instances + 0.5
    )
