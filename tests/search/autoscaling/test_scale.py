"""The number of instances that a rate needs, and their scaling policy, for made-up jobs."""

from __future__ import annotations

import json
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.example_counts import examples

from servefit.backends.model import Model
from servefit.backends.model.types import Format, Signature, Task
from servefit.errors import SpecError
from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.profiler.machine.host import describe_host
from servefit.profiler.machine.instance_profile import InstanceProfile
from servefit.profiler.queueing.after_idle import AfterIdle
from servefit.profiler.queueing.service import BatchTimes, ServiceTimes
from servefit.profiler.record.types import Configuration
from servefit.search.autoscaling.scale import scale
from servefit.search.jobs.job import RecommendationJob
from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla
from servefit.search.simulation.endpoint import EndpointCosts
from servefit.search.storage.header import JobHeader, JobState, PayloadFacts
from servefit.search.storage.steps import Result, Step, StepKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.search.conftest import MakeTrial

    from servefit.profiler.evidence.limits import Verdict
    from servefit.search.request.job_request import Deployed
    from servefit.search.results.recommendation import Trial
    from servefit.search.storage.header import JobStatus

CONFIGURATION = Configuration(vcpus=1, backend="treelite")
SMALL = InstanceProfile(name="small", vcpus=1, memory_bytes=2**30, price_per_hour=0.1)
LARGE = InstanceProfile(name="large", vcpus=2, memory_bytes=2**30, price_per_hour=0.3)
P95_10_MS = (LatencyThreshold(percentile="p95", limit_ms=10.0),)
AT_600 = Sla(thresholds=P95_10_MS, rate_per_s=600)
EXPONENTIAL_1_MS = ServiceTimes(batches=(BatchTimes.of(1, np.random.default_rng(0).exponential(1e6, 200_000)),))


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path))


def job(
    *trials: Trial,
    sla: Sla | None = None,
    service: ServiceTimes | None = None,
    profiles: Sequence[InstanceProfile] = (SMALL,),
    status: JobStatus = "COMPLETED",
    costs: EndpointCosts | None = None,
    deploy: Deployed = "library",
) -> RecommendationJob:
    """A job of ``trials``, the last of which stands for its configuration; calls of it were timed as ``service``, and
    requests to its endpoint took ``costs`` beside."""
    results: list[tuple[StepKind, Configuration, Result]] = [
        ("load_test", trial.configuration, trial) for trial in trials
    ]
    if service is not None:
        results.append(("service_time", CONFIGURATION, service))
    if costs is not None:
        results.append(("endpoint_costs", CONFIGURATION, costs))
    header = JobHeader(
        request=JobRequest(name="fraud", sla=sla or Sla(), deploy=deploy),
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
        profiles=tuple(profiles),
        servefit="0.1",
        created_at=1e9,
    )
    steps = [
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
    ]
    return RecommendationJob.of(header, JobState(status=status), steps)


def test_without_a_limit_an_instance_gets_a_part_of_its_capacity_less_the_headroom(trial: MakeTrial) -> None:
    plan = scale(job(trial(CONFIGURATION)), rate_per_s=2000, headroom=0.2)
    assert (plan.rate.highest_per_s, plan.rate.basis) == (800.0, "utilisation")
    assert plan.target.rate_per_s == pytest.approx(640)
    assert plan.target.invocations_per_minute == pytest.approx(38_400)
    assert plan.instances == 4
    assert plan.cost_per_hour(plan.instances) == pytest.approx(0.4)
    assert any("no limit on latency" in note for note in plan.notes)


def test_bounds_are_one_instance_and_twice_the_rate_unless_rates_are_given(trial: MakeTrial) -> None:
    found = job(trial(CONFIGURATION))
    default = scale(found, rate_per_s=2000)
    assert (default.target.min_capacity, default.target.max_capacity, default.max_rate_per_s) == (1, 7, 4000)
    assert any("--max-rate" in note for note in default.notes)
    bounded = scale(found, rate_per_s=2000, min_rate_per_s=700, max_rate_per_s=2600)
    assert (bounded.target.min_capacity, bounded.target.max_capacity) == (2, 5)
    assert not any("--max-rate" in note for note in bounded.notes)


def test_cooldowns_are_a_minute_and_the_measured_load_time_and_the_default_of_sagemaker(trial: MakeTrial) -> None:
    slow = trial(CONFIGURATION)
    slow = replace(slow, measurement=replace(slow.measurement, load_s=2.3))
    target = scale(job(slow), rate_per_s=1).target
    assert (target.scale_in_cooldown_s, target.scale_out_cooldown_s) == (300, 63)


def test_a_limit_is_kept_by_simulation_and_the_curve_shows_what_it_expects(trial: MakeTrial) -> None:
    plan = scale(job(trial(CONFIGURATION), sla=Sla(thresholds=P95_10_MS), service=EXPONENTIAL_1_MS), rate_per_s=100)
    assert (plan.rate.basis, plan.rate.source) == ("simulated", "estimated")
    estimated = {point.rate_per_s: point for point in plan.curve if point.source == "estimated"}
    assert estimated.keys() == {plan.rate.highest_per_s, plan.target.rate_per_s}
    assert estimated[plan.rate.highest_per_s].latency_ms["p95"] == pytest.approx(10, rel=0.1)
    assert [point.rate_per_s for point in plan.curve] == sorted(point.rate_per_s for point in plan.curve)
    assert (plan.curve[-1].rate_per_s, plan.curve[-1].source) == (1000.0, "measured")
    assert any("no PASS was measured at a rate" in note for note in plan.notes)


def test_a_curve_to_draw_goes_from_the_rate_asked_beyond_the_highest(trial: MakeTrial) -> None:
    sla = Sla(thresholds=P95_10_MS, rate_per_s=100)
    found = job(trial(CONFIGURATION), sla=sla, service=EXPONENTIAL_1_MS)
    few, many = scale(found, rate_per_s=100), scale(found, rate_per_s=100, estimates=8)
    assert replace(many, curve=few.curve) == few
    rates = [point.rate_per_s for point in many.curve if point.source == "estimated"]
    assert len(rates) >= 8
    assert min(rates) >= min(100, many.rate.highest_per_s / 2)
    assert many.rate.highest_per_s < max(rates) < many.rate.capacity_per_s
    latencies = [point.latency_ms["p95"] or 0.0 for point in many.curve if point.source == "estimated"]
    assert latencies == sorted(latencies)


@pytest.mark.parametrize("estimates", [-1, 101, 2.5])
def test_a_number_of_estimates_that_makes_no_sense_is_refused(trial: MakeTrial, estimates: Any) -> None:
    with pytest.raises(SpecError, match=r"^estimates: "):
        scale(job(trial(CONFIGURATION)), rate_per_s=1, estimates=estimates)


def test_what_was_measured_at_a_rate_wins_over_the_simulation(trial: MakeTrial) -> None:
    failed, passed = trial(CONFIGURATION, verdict="FAIL", violation=0.2), trial(CONFIGURATION, instances=2)
    plan = scale(job(failed, passed, sla=AT_600, service=EXPONENTIAL_1_MS), rate_per_s=600, headroom=0)
    assert (plan.rate.highest_per_s, plan.rate.basis) == (300.0, "measured")
    assert plan.instances == 2
    assert any("what was measured at a rate is believed" in note for note in plan.notes)
    assert any("raw samples are not on this host: 2;" in note for note in plan.notes)


def test_what_nothing_was_measured_or_simulated_for_is_said(trial: MakeTrial) -> None:
    plan = scale(job(trial(CONFIGURATION), sla=Sla(thresholds=P95_10_MS)), rate_per_s=1)
    assert plan.rate.basis == "utilisation"
    assert any("whether the limits hold at the target is not known" in note for note in plan.notes)


def test_the_best_recommendation_is_planned_unless_another_is_named(trial: MakeTrial) -> None:
    on_large = trial(replace(CONFIGURATION, vcpus=2), throughput_per_s=1500.0)
    found = job(trial(CONFIGURATION), on_large, profiles=(SMALL, LARGE))
    best, second = found.recommendations
    assert scale(found, rate_per_s=1).recommendation == best
    named = scale(found, rate_per_s=1, recommendation_id=second.id)
    assert named.recommendation == second
    assert named.rate.capacity_per_s == second.trial.capacity.throughput_per_s
    assert named.cost_per_hour(2) == 2 * (second.profile.price_per_hour or 0)


def test_a_profile_without_a_price_costs_nobody_knows_what(trial: MakeTrial) -> None:
    plan = scale(job(trial(CONFIGURATION), profiles=[replace(SMALL, price_per_hour=None)]), rate_per_s=1)
    assert plan.to_dict()["cost_per_hour"] == {"at_rate": None, "at_min": None, "at_max": None}


def test_what_was_not_asked_for_is_said_in_notes_and_not_added(trial: MakeTrial) -> None:
    found = job(trial(CONFIGURATION), sla=AT_600, service=EXPONENTIAL_1_MS)
    single = scale(found, rate_per_s=100)
    assert single.instances == 1
    assert any("for availability, run two" in note for note in single.notes)
    more = scale(found, rate_per_s=600)
    assert more.instances == 2
    assert any("the job itself recommends 1 for this rate, which leaves no headroom" in note for note in more.notes)


def test_doubts_about_the_recommendation_are_said(trial: MakeTrial) -> None:
    unsure = replace(trial(CONFIGURATION, verdict="UNDECIDED"), reason="p95 is 9.9 ms")
    plan = scale(job(unsure, sla=AT_600, service=EXPONENTIAL_1_MS, status="STOPPED"), rate_per_s=100)
    assert any("whether the SLA is met is undecided: p95 is 9.9 ms" in note for note in plan.notes)
    assert any("the job is STOPPED" in note for note in plan.notes)


@pytest.mark.parametrize(("verdict", "words"), [("FAIL", "does not meet p95 <= 10 ms"), ("INVALID", "no valid")])
def test_a_recommendation_that_does_not_meet_the_sla_gives_no_policy(
    trial: MakeTrial, verdict: Verdict, words: str
) -> None:
    tested = replace(trial(CONFIGURATION, verdict=verdict), reason="p95 is 12 ms")
    with pytest.raises(SpecError, match=words) as caught:
        scale(job(tested, sla=AT_600), rate_per_s=1)
    assert "p95 is 12 ms" in caught.value.message
    assert caught.value.remedy


def test_a_limit_that_no_rate_of_arrivals_keeps_gives_no_policy(trial: MakeTrial) -> None:
    tight = Sla(thresholds=(LatencyThreshold(percentile="p95", limit_ms=1.0),))
    with pytest.raises(SpecError, match="at any rate of arrivals"):
        scale(job(trial(CONFIGURATION), sla=tight, service=EXPONENTIAL_1_MS), rate_per_s=1)


def test_an_unknown_recommendation_is_refused_with_the_closest(trial: MakeTrial) -> None:
    found = job(trial(CONFIGURATION))
    known = found.recommendations[0].id
    with pytest.raises(SpecError) as caught:
        scale(found, rate_per_s=1, recommendation_id=known[:-1])
    assert caught.value.remedy == f"did you mean {known!r}?"


def test_a_job_that_measured_nothing_gives_no_policy(trial: MakeTrial) -> None:
    with pytest.raises(SpecError, match="nothing was measured"):
        scale(job(), rate_per_s=1)
    with pytest.raises(SpecError, match="answered no request"):
        scale(job(trial(CONFIGURATION, throughput_per_s=0.0)), rate_per_s=1)


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
def test_rates_and_headrooms_that_make_no_sense_are_refused(
    trial: MakeTrial, field: str, asked: dict[str, float]
) -> None:
    wanted: dict[str, Any] = {"rate_per_s": 100.0, **asked}
    with pytest.raises(SpecError) as caught:
        scale(job(trial(CONFIGURATION)), **wanted)
    assert caught.value.field == field


def test_the_document_holds_the_policy_under_the_names_of_sagemaker_too(trial: MakeTrial) -> None:
    plan = scale(job(trial(CONFIGURATION), sla=AT_600, service=EXPONENTIAL_1_MS), rate_per_s=600)
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


def test_a_plan_is_about_what_the_job_deploys_and_says_what_comes_on_top_of_a_library(trial: MakeTrial) -> None:
    over_http = replace(trial(CONFIGURATION), driver="http")
    endpoint = scale(job(over_http, deploy="endpoint"), rate_per_s=600)
    library = scale(job(trial(CONFIGURATION), deploy="library"), rate_per_s=600)
    assert [plan.to_dict()["deployment"] for plan in (endpoint, library)] == ["endpoint", "library"]
    assert [plan.to_dict()["driver"] for plan in (endpoint, library)] == ["http", "inprocess"]
    assert [any("HTTP" in note for note in plan.notes) for plan in (endpoint, library)] == [False, True]
    assert endpoint.to_dict()["instance"]["capacity_source"] == "measured"


def test_a_plan_of_an_endpoint_that_was_predicted_says_so(trial: MakeTrial) -> None:
    predicted = replace(trial(CONFIGURATION), driver="http", basis="predicted")
    plan = scale(job(predicted, deploy="endpoint"), rate_per_s=600)
    assert plan.to_dict()["instance"]["capacity_source"] == "estimated"
    assert plan.notes[0].startswith("the endpoint's figures are predicted")


@pytest.mark.integration
def test_the_costs_of_requests_to_an_endpoint_lower_the_rate_at_which_its_limits_are_expected_to_hold(
    trial: MakeTrial,
) -> None:
    costly = EndpointCosts(
        request_ns=1000.0,
        call_ns=0.0,
        after_idle=(AfterIdle(idle_ns=0.0, extra_ns=(5e6,)),),
        rows=1,
        request_bytes=100,
    )
    tested = replace(trial(CONFIGURATION), driver="http")
    known, unknown = (
        scale(
            job(tested, sla=Sla(thresholds=P95_10_MS), service=EXPONENTIAL_1_MS, costs=costs, deploy="endpoint"),
            rate_per_s=100,
        )
        for costs in (costly, None)
    )
    assert known.rate.basis == unknown.rate.basis == "simulated"
    assert known.rate.highest_per_s < unknown.rate.highest_per_s


RATES = st.floats(0.01, 1e6)
HEADROOMS = st.floats(0, 0.95)
MANY = settings(
    max_examples=examples(12, drawn=50), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def limited(trial: MakeTrial) -> RecommendationJob:
    return job(trial(CONFIGURATION), sla=Sla(thresholds=P95_10_MS), service=EXPONENTIAL_1_MS)


@pytest.mark.thorough
@pytest.mark.integration
@MANY
@given(rates=st.tuples(RATES, RATES), headrooms=st.tuples(HEADROOMS, HEADROOMS))
def test_more_requests_or_more_headroom_never_take_fewer_instances(
    limited: RecommendationJob, rates: tuple[float, float], headrooms: tuple[float, float]
) -> None:
    fewer = scale(limited, rate_per_s=min(rates), headroom=min(headrooms))
    more = scale(limited, rate_per_s=max(rates), headroom=max(headrooms))
    assert fewer.instances <= more.instances
    assert fewer.target.max_capacity <= more.target.max_capacity
    assert fewer.target.rate_per_s >= more.target.rate_per_s


@pytest.mark.integration
@MANY
@given(rate_per_s=RATES, headroom=HEADROOMS)
def test_every_instance_gets_its_target_at_most_and_one_fewer_would_not_do(
    limited: RecommendationJob, rate_per_s: float, headroom: float
) -> None:
    plan = scale(limited, rate_per_s=rate_per_s, headroom=headroom)
    assert rate_per_s / plan.instances <= plan.target.rate_per_s * (1 + 1e-6)
    assert plan.instances == 1 or rate_per_s / (plan.instances - 1) > plan.target.rate_per_s
    assert plan.target.min_capacity <= plan.instances <= plan.target.max_capacity
    assert plan.cost_per_hour(plan.instances) == pytest.approx(0.1 * plan.instances)
    assert plan.target.rate_per_s <= 0.8 * plan.rate.capacity_per_s


@pytest.mark.integration
@MANY
@given(instances=st.integers(1, 10_000), headroom=HEADROOMS)
def test_a_multiple_of_the_target_takes_as_many_instances(
    limited: RecommendationJob, instances: int, headroom: float
) -> None:
    target_per_s = scale(limited, rate_per_s=1.0, headroom=headroom).target.rate_per_s
    for times in (instances, instances + 0.5):
        plan = scale(limited, rate_per_s=times * target_per_s, headroom=headroom)
        assert plan.instances == ceil(times)


def test_arrivals_that_are_gone_leave_what_was_measured_at_a_rate(trial: MakeTrial) -> None:
    measured = replaced_arrivals(job(trial(CONFIGURATION), sla=AT_600), "gone:x=1")
    plan = scale(measured, rate_per_s=600)
    assert (plan.rate.basis, plan.rate.highest_per_s) == ("measured", 600)
    assert plan.notes[0] == (
        "nothing was simulated, and what was measured alone counts: arrivals: 'gone' is not known; "
        "install the package that offers gone again"
    )


def test_arrivals_that_are_gone_are_told_where_nothing_was_measured_at_a_rate(trial: MakeTrial) -> None:
    sla = Sla(thresholds=P95_10_MS)
    measured = replaced_arrivals(job(trial(CONFIGURATION, at_rate=False), sla=sla, service=EXPONENTIAL_1_MS), "gone")
    with pytest.raises(SpecError, match="'gone' is not known; install the package that offers gone again"):
        scale(measured, rate_per_s=600)


def replaced_arrivals(found: RecommendationJob, arrivals: str) -> RecommendationJob:
    header = replace(found.header, request=replace(found.request, arrivals=arrivals))
    return RecommendationJob.of(header, found.state, found.steps)


def test_a_plan_beyond_the_rate_of_the_job_says_what_its_configuration_was_chosen_for(trial: MakeTrial) -> None:
    found = job(trial(CONFIGURATION), sla=AT_600, service=EXPONENTIAL_1_MS)
    said = "the configuration was chosen for 600 requests/s; another may carry this rate with fewer instances"
    assert any(said in note for note in scale(found, rate_per_s=6000).notes)
    assert not any("was chosen for" in note for note in scale(found, rate_per_s=100).notes)
