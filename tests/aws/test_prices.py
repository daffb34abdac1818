"""CostPerHour and CostPerInference: of which price they are, and what they are where nobody knows one."""

from __future__ import annotations

import json
from math import isnan
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from tests.aws.conftest import ROLE, started
from tests.report.story import Story, configuration, simulated_host

from servefit.aws.jobs.endpoint_load import EndpointLoad, KeptLoad
from servefit.aws.jobs.files import JobFiles
from servefit.aws.jobs.plan import LoadedEndpoint, Measured, Plan
from servefit.aws.services.sagemaker.endpoint_performances import endpoint_steps
from servefit.aws.services.sagemaker.prices import TypePrices, cost_metrics, parse_prices, price_note
from servefit.aws.services.sagemaker.recommendations import recommendations, recommended, step_documents
from servefit.aws.state.resources import Resource
from servefit.aws.wire.errors import ApiError
from servefit.aws.wire.formats import write_answer
from servefit.aws.wire.messages import HttpRequest
from servefit.aws.wire.service_models import operation_model
from servefit.errors import SpecError
from servefit.profiler.machine.instance_profile import InstanceProfile
from servefit.profiler.machine.prices import KnownPrice, keep_prices
from servefit.search.jobs.lifecycle import load_job
from servefit.search.request.job_request import JobRequest

if TYPE_CHECKING:
    from pathlib import Path

    from servefit.search.jobs.job import RecommendationJob

LOCAL = InstanceProfile(name="local-1c", vcpus=1, memory_bytes=4 * 2**30)
TWO = InstanceProfile(name="local-2c", vcpus=2, memory_bytes=8 * 2**30)
SERVICE_S = 14e-6
"""What a call of the forest takes in a story."""


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path / "home"))


def priced(*types: tuple[str, str], **given: str) -> tuple[Measured, ...]:
    """Instance types as the profiles that are measured for them, with their prices, and __ for dots."""
    prices = parse_prices({name.replace("__", "."): text for name, text in given.items()})
    measured = [Measured(instance_type=instance_type, profile=profile) for instance_type, profile in types]
    return TypePrices(prices, simulated_host()).priced(measured)


def plan_of(*measured: Measured) -> Plan:
    return Plan(name="costs", measured=measured, asked={"InputConfig": {}})


def job_of_tests(*profiles: InstanceProfile) -> RecommendationJob:
    story = Story.of(JobRequest(name="costs"), profiles=profiles)
    for profile in profiles:
        story.tests(configuration("forest", vcpus=profile.vcpus, workers=profile.vcpus))
    story.keep()
    return load_job("costs")


def test_the_cost_of_an_inference_is_that_of_an_hour_over_the_invocations_of_an_hour() -> None:
    # 30,000 a minute are 1,800,000 an hour: at 0.18 an hour, 0.0000001 each.
    assert cost_metrics(0.18, 30_000) == {"CostPerHour": 0.18, "CostPerInference": pytest.approx(1e-7, rel=1e-12)}


@pytest.mark.integration
def test_a_recommendation_and_its_step_tell_what_an_inference_costs() -> None:
    (measured,) = priced(("ml.m5.large", "local-1c"))
    job = job_of_tests(LOCAL)
    (best,) = recommendations(job, plan_of(measured))
    (step,) = step_documents(job, plan_of(measured), role=ROLE)
    # One worker whose calls take 14 us answers 71,428 a second at most: 257 million an hour, for 0.115.
    least = 0.115 / (3600 / SERVICE_S)
    for metrics in (best["Metrics"], step["InferenceBenchmark"]["Metrics"]):
        assert metrics["CostPerHour"] == 0.115
        assert least < metrics["CostPerInference"] < 2 * least


def test_a_type_that_another_profile_stands_for_keeps_its_own_price() -> None:
    keep_prices({"local": KnownPrice(per_hour=0.4, source="test")})
    (measured,) = priced(("ml.m5.large", "local-1c"))
    assert (measured.price_per_hour, measured.priced_as) == (0.115, "ml.m5.large")
    assert price_note(measured) is None


def test_a_price_that_is_given_or_set_comes_before_that_of_the_catalogue() -> None:
    keep_prices({"ml.m5.large": KnownPrice(per_hour=0.2, source="test")})
    assert priced(("ml.m5.large", "local-1c"))[0].price_per_hour == 0.2
    assert priced(("ml.m5.large", "local-1c"), ml__m5__large="0.3/h")[0].price_per_hour == 0.3


def test_a_type_without_a_price_costs_what_this_host_does_and_that_is_said() -> None:
    keep_prices({"local": KnownPrice(per_hour=0.4, source="test")})
    (measured,) = priced(("ml.c5.large", "local-1c"))
    assert (measured.price_per_hour, measured.priced_as) == (0.1, "local-1c")
    assert "ml.c5.large has no price of its own: its costs are those of local-1c" in (price_note(measured) or "")
    (own,) = priced(("ml.local-1c", "local-1c"))
    assert (own.price_per_hour, price_note(own)) == (0.1, None)


def test_the_price_of_another_instance_of_a_cloud_is_not_told_for_a_type() -> None:
    (measured,) = priced(("ml.c5.large", "ml.m5.large"))
    assert measured.price_per_hour is None


@pytest.mark.parametrize(
    ("instance_type", "remedy"),
    [("ml.c5.large", "--price ml.c5.large=0.21/h"), ("ml.local-1c", "servefit prices set local 0.21/h")],
)
def test_that_nobody_knows_a_price_is_said_with_the_remedy(instance_type: str, remedy: str) -> None:
    (measured,) = priced((instance_type, "local-1c"))
    note = price_note(measured) or ""
    assert note.startswith(f"{instance_type} has no price, so its CostPerHour and CostPerInference are NaN")
    assert remedy in note


@pytest.mark.integration
def test_where_nobody_knows_a_price_the_costs_are_nan() -> None:
    (measured,) = priced(("ml.c5.large", "local-1c"))
    job = job_of_tests(LOCAL)
    (best,) = recommendations(job, plan_of(measured))
    (step,) = step_documents(job, plan_of(measured), role=ROLE)
    for metrics in (best["Metrics"], step["InferenceBenchmark"]["Metrics"]):
        assert isnan(metrics["CostPerHour"])
        assert isnan(metrics["CostPerInference"])
        assert metrics["MaxInvocations"] > 0


@pytest.mark.integration
def test_the_first_recommendation_is_the_cheapest_as_it_is_told() -> None:
    # Two workers answer twice as much for five times as much.
    measured = priced(
        ("ml.c5.xlarge", "local-2c"), ("ml.c5.large", "local-1c"), ml__c5__large="0.1/h", ml__c5__xlarge="0.5/h"
    )
    job = job_of_tests(TWO, LOCAL)
    found = recommendations(job, plan_of(*measured))
    assert [each["EndpointConfiguration"]["InstanceType"] for each in found] == ["ml.c5.large", "ml.c5.xlarge"]
    assert found[0]["Metrics"]["CostPerInference"] < found[1]["Metrics"]["CostPerInference"]
    assert {each["RecommendationId"] for each in found} == set(recommended(job, plan_of(*measured)))
    measured = priced(
        ("ml.c5.xlarge", "local-2c"), ("ml.c5.large", "local-1c"), ml__c5__large="0.5/h", ml__c5__xlarge="0.1/h"
    )
    found = recommendations(job, plan_of(*measured))
    assert [each["EndpointConfiguration"]["InstanceType"] for each in found] == ["ml.c5.xlarge", "ml.c5.large"]


def test_prices_in_two_currencies_are_refused() -> None:
    with pytest.raises(ApiError, match="2 currencies"):
        priced(("ml.m5.large", "local-1c"), ("ml.c5.large", "local-2c"), ml__c5__large="0.1EUR/h")


@pytest.mark.parametrize("text", ["0.1", "0/h", "-1/h", "cheap"])
def test_what_is_no_price_of_an_hour_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="price"):
        parse_prices({"ml.c5.large": text})


@pytest.mark.integration
def test_a_plan_of_an_earlier_version_costs_what_its_profile_did() -> None:
    plan = msgspec.json.decode(
        b'{"name": "costs", "measured": [{"instance_type": "ml.c5.large", "profile": "local-1c"}], "asked": {}}',
        type=Plan,
    )
    (best,) = recommendations(job_of_tests(msgspec.structs.replace(LOCAL, price_per_hour=0.05)), plan)
    assert best["Metrics"]["CostPerHour"] == 0.05


def test_the_step_of_an_endpoint_that_is_loaded_tells_what_it_costs(tmp_path: Path) -> None:
    endpoint = LoadedEndpoint(name="fraud", instance_type="ml.m5.large", instance_count=2, price_per_hour=0.09)
    files = JobFiles(tmp_path / "job")
    files.write_plan(Plan(name="costs", measured=(), asked={}, endpoint=endpoint))
    KeptLoad(files.folder).write(EndpointLoad(status="COMPLETED", max_invocations=30_000, model_latency_ms=2.0))
    job = Resource(
        kind="inference-recommendations-job", name="costs", document={"Status": "COMPLETED"}, created=0.0, modified=0.0
    )
    (step,) = endpoint_steps(job, files)
    metrics = step["InferenceBenchmark"]["Metrics"]
    assert (metrics["CostPerHour"], metrics["CostPerInference"]) == (0.18, pytest.approx(1e-7))


@pytest.mark.parametrize(
    ("agent", "content"), [("Boto3/1.44.8 md/Botocore#1.44.8", b"NaN"), ("aws-sdk-go-v2/1.30", b'"NaN"')]
)
def test_what_is_not_available_is_a_number_for_botocore_and_a_text_for_others(agent: str, content: bytes) -> None:
    model = operation_model("sagemaker", "DescribeInferenceRecommendationsJob")
    assert model is not None
    result = {"InferenceRecommendations": [{"Metrics": cost_metrics(None, 60)}]}
    request = HttpRequest(method="POST", path="/", headers={"user-agent": agent})
    answer = write_answer("sagemaker", model, result, request, request_id="r")
    assert answer.body.count(content) == 2
    assert bool(json.loads(answer.body)) is True
    assert (b'"NaN"' in answer.body) is (content == b'"NaN"')


def job(**config: Any) -> dict[str, Any]:
    asked = {"ModelName": "m", "EndpointConfigurations": [{"InstanceType": "ml.c5.large"}], **config}
    payload = {"PayloadConfig": {"SamplePayloadUrl": "s3://nowhere/payload"}}
    return {
        "JobName": "priced",
        "JobType": "Advanced",
        "RoleArn": ROLE,
        "InputConfig": {**asked, "ContainerConfig": payload},
    }


@pytest.mark.thorough
@pytest.mark.integration
def test_the_log_of_a_job_says_at_once_which_type_has_no_price(tmp_path: Path) -> None:
    options = ("--map", "ml.c5.large=local-1c", "--map", "ml.c5.xlarge=local-1c", "--price", "ml.c5.xlarge=0.2/h")
    with started(tmp_path / "api", *options) as server:
        client = server.client("sagemaker")
        container = {"Image": "i", "ModelDataUrl": "s3://nowhere/model"}
        client.create_model(ModelName="m", PrimaryContainer=container, ExecutionRoleArn=ROLE)
        types = [{"InstanceType": name} for name in ("ml.c5.large", "ml.c5.xlarge")]
        client.create_inference_recommendations_job(**job(EndpointConfigurations=types))
        where = {"logGroupName": "/aws/sagemaker/InferenceRecommendationsJobs", "logStreamName": "priced/execution"}
        events = server.client("logs").get_log_events(**where)["events"]
        about = [event["message"] for event in events if "has no price" in event["message"]]
        assert len(about) == 1
        assert about[0].startswith("ml.c5.large has no price")
