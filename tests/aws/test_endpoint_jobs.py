"""Recommendation jobs on endpoints that are there already, through boto3: of the server, and anything at a URL here."""

from __future__ import annotations

import os
import signal
import time
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.aws.conftest import OPTIONS, ROLE, started
from tests.aws.slow_server import TAKES_S, slow_server
from tests.aws.test_jobs import IMAGE, refused, waited_for

from servefit.aws.jobs.endpoint_load import KeptLoad
from servefit.aws.jobs.queue import KIND as JOB
from servefit.aws.state.resources import Resources
from servefit.processes import living

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.aws.conftest import Server

pytestmark = pytest.mark.timed

PHASE = {"InitialNumberOfUsers": 1, "SpawnRate": 60, "DurationInSeconds": 2}
TRAFFIC = {"TrafficType": "PHASES", "Phases": [PHASE]}
SAYS = {"logGroupName": "/aws/sagemaker/InferenceRecommendationsJobs"}


def make_endpoint(server: Server, name: str, model_url: str, *, waits: bool = True) -> None:
    client = server.client("sagemaker")
    container = {"Image": IMAGE, "ModelDataUrl": model_url, "Environment": {"SERVEFIT_BACKEND": "forest"}}
    client.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=ROLE)
    variant = {"VariantName": "blue", "ModelName": name, "InstanceType": "ml.local-1c", "InitialInstanceCount": 2}
    client.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    client.create_endpoint(EndpointName=name, EndpointConfigName=name)
    if waits:
        client.get_waiter("endpoint_in_service").wait(EndpointName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})


@pytest.fixture(scope="module")
def uploaded(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    model, payload = server.put_model(tmp_path_factory.mktemp("uploaded"))
    make_endpoint(server, "fraud", model)
    return {"model": model, "payload": payload}


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[str]:
    """The URL of a server of somebody else."""
    with slow_server() as url:
        yield url


def asked(name: str, endpoint: str = "fraud", *, url: str | None = None, **changes: Any) -> dict[str, Any]:
    """A job on an endpoint alone that takes some seconds."""
    config = {"Endpoints": [{"EndpointName": endpoint}], "TrafficPattern": TRAFFIC, **changes.pop("config", {})}
    tags = [] if url is None else [{"Key": "servefit:url", "Value": url}]
    return {"JobName": name, "JobType": "Advanced", "RoleArn": ROLE, "InputConfig": config, "Tags": tags, **changes}


def payload_of(uploaded: dict[str, str]) -> dict[str, Any]:
    return {"ContainerConfig": {"PayloadConfig": {"SamplePayloadUrl": uploaded["payload"]}}}


def carried_out(server: Server, request: dict[str, Any]) -> dict[str, Any]:
    client = server.client("sagemaker")
    client.create_inference_recommendations_job(**request)
    return waited_for(client, request["JobName"])


def steps_of(server: Server, name: str) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = server.client("sagemaker").list_inference_recommendations_job_steps(JobName=name)[
        "Steps"
    ]
    return steps


def lines_of(server: Server, name: str) -> list[str]:
    found = server.client("logs").get_log_events(**SAYS, logStreamName=f"{name}/execution")
    return [event["message"] for event in found["events"]]


@pytest.fixture(scope="module")
def loaded(server: Server, uploaded: dict[str, str]) -> dict[str, Any]:
    """A job on an endpoint of the server that is over."""
    return carried_out(server, asked("loaded"))


def test_an_endpoint_is_told_with_what_it_does(loaded: dict[str, Any]) -> None:
    assert loaded["Status"] == "COMPLETED", loaded
    (performance,) = loaded["EndpointPerformances"]
    assert performance["EndpointInfo"] == {"EndpointName": "fraud"}
    metrics = performance["Metrics"]
    assert metrics["MaxInvocations"] > 600
    assert metrics["ModelLatency"] >= 1
    assert isinstance(metrics["MaxInvocations"], int)
    assert "InferenceRecommendations" not in loaded
    assert loaded["InputConfig"] == {"Endpoints": [{"EndpointName": "fraud"}], "TrafficPattern": TRAFFIC}


def test_its_load_is_a_step_of_the_variant(server: Server, loaded: dict[str, Any]) -> None:
    (step,) = steps_of(server, "loaded")
    assert (step["StepType"], step["Status"], step["JobName"]) == ("BENCHMARK", "COMPLETED", "loaded")
    benchmark = step["InferenceBenchmark"]
    assert benchmark["EndpointConfiguration"] == {
        "EndpointName": "fraud",
        "VariantName": "blue",
        "InstanceType": "ml.local-1c",
        "InitialInstanceCount": 2,
    }
    told = loaded["EndpointPerformances"][0]["Metrics"]
    assert benchmark["EndpointMetrics"] == told
    assert {key: benchmark["Metrics"][key] for key in told} == told
    took = benchmark["InvocationEndTime"] - benchmark["InvocationStartTime"]
    assert took.total_seconds() >= 2
    assert benchmark["InvocationEndTime"] <= loaded["LastModifiedTime"]
    steps = server.client("sagemaker").list_inference_recommendations_job_steps(JobName="loaded", Status="FAILED")
    assert steps["Steps"] == []


def test_its_requests_are_metrics_of_the_variant(server: Server, loaded: dict[str, Any]) -> None:
    cloudwatch = server.client("cloudwatch")
    variant = [{"Name": "EndpointName", "Value": "fraud"}, {"Name": "VariantName", "Value": "blue"}]
    clients = [{"Name": "JobName", "Value": loaded["JobName"]}, {"Name": "EndpointName", "Value": "fraud"}]
    span = {"StartTime": loaded["CreationTime"], "EndTime": loaded["LastModifiedTime"], "Period": 60}

    def points(namespace: str, name: str, dimensions: list[dict[str, str]], statistic: str) -> list[float]:
        found = cloudwatch.get_metric_statistics(
            Namespace=namespace, MetricName=name, Dimensions=dimensions, Statistics=[statistic], **span
        )
        return [each[statistic] for each in found["Datapoints"]]

    of_clients = "/aws/sagemaker/InferenceRecommendationsJobs"
    answered = sum(points("AWS/SageMaker", "Invocations", variant, "Sum"))
    assert answered > 0
    assert sum(points("AWS/SageMaker", "ModelLatency", variant, "SampleCount")) == answered
    assert sum(points(of_clients, "ClientInvocations", clients, "Sum")) == answered
    assert max(points(of_clients, "NumberOfUsers", clients, "Maximum")) >= 1
    assert max(points("AWS/SageMaker", "OverheadLatency", variant, "Average")) > 0
    listed = cloudwatch.list_metrics(Namespace=of_clients, Dimensions=clients)["Metrics"]
    assert "ClientLatency" in {each["MetricName"] for each in listed}


def test_the_journal_says_what_was_loaded_and_what_to_bear_in_mind(server: Server, loaded: dict[str, Any]) -> None:
    lines = lines_of(server, "loaded")
    assert any(line.startswith("endpoint fraud is loaded, at http://127.0.0.1:") for line in lines)
    assert any("rows are random numbers" in line and "SamplePayloadUrl" in line for line in lines)
    most = loaded["EndpointPerformances"][0]["Metrics"]["MaxInvocations"]
    assert any(line.startswith(f"endpoint fraud: max_invocations {most}, model_latency_ms.p95 ") for line in lines)
    assert lines[-1] == "the job is over: COMPLETED"


@pytest.mark.thorough
def test_a_server_of_somebody_else_is_loaded_by_its_url(
    server: Server, uploaded: dict[str, str], elsewhere: str
) -> None:
    limits = {"ModelLatencyThresholds": [{"Percentile": "P95", "ValueInMilliseconds": 5}]}
    config = {**payload_of(uploaded), "TrafficPattern": {"Phases": [{**PHASE, "InitialNumberOfUsers": 4}]}}
    request = asked("elsewhere", "theirs", url=elsewhere, config=config, StoppingConditions=limits)
    told = carried_out(server, request)
    # A limit that does not hold is a result.
    assert told["Status"] == "COMPLETED", told
    (performance,) = told["EndpointPerformances"]
    assert performance["EndpointInfo"] == {"EndpointName": "theirs"}
    assert performance["Metrics"]["ModelLatency"] > ceil(1000 * TAKES_S)
    assert 0 < performance["Metrics"]["MaxInvocations"] < 60 * 10 / TAKES_S
    (step,) = steps_of(server, "elsewhere")
    assert step["InferenceBenchmark"]["EndpointConfiguration"] == {"EndpointName": "theirs", "VariantName": "theirs"}
    assert any("p95 <= 5 ms: FAIL" in line for line in lines_of(server, "elsewhere"))


@pytest.mark.thorough
def test_the_rate_that_is_to_be_served_is_decided_too(server: Server, uploaded: dict[str, str]) -> None:
    stopping = {
        "MaxInvocations": 6000,
        "ModelLatencyThresholds": [{"Percentile": "P95", "ValueInMilliseconds": 1000}],
        "FlatInvocations": "Continue",
    }
    told = carried_out(server, asked("at-rate", config=payload_of(uploaded), StoppingConditions=stopping))
    assert told["Status"] == "COMPLETED", told
    assert told["EndpointPerformances"][0]["Metrics"]["MaxInvocations"] > 6000
    assert any("p95 <= 1 s at 100 requests/s: PASS" in line for line in lines_of(server, "at-rate"))


@pytest.mark.thorough
def test_an_endpoint_is_loaded_before_instance_types_are_measured(server: Server, uploaded: dict[str, str]) -> None:
    config = {
        **payload_of(uploaded),
        "ModelName": "fraud",
        "EndpointConfigurations": [{"InstanceType": "ml.c5.large"}],
        "ResourceLimit": {"MaxNumberOfTests": 1, "MaxParallelOfTests": 1},
        "JobDurationInSeconds": 20,
    }
    told = carried_out(server, asked("both", config=config))
    assert told["Status"] == "COMPLETED", told
    assert told["EndpointPerformances"][0]["EndpointInfo"]["EndpointName"] == "fraud"
    assert told["InferenceRecommendations"][0]["EndpointConfiguration"]["InstanceType"] == "ml.c5.large"
    first, *others = steps_of(server, "both")
    assert first["InferenceBenchmark"]["EndpointConfiguration"]["EndpointName"] == "fraud"
    assert others
    ended = first["InferenceBenchmark"]["InvocationEndTime"]
    assert all(each["InferenceBenchmark"]["InvocationStartTime"] >= ended for each in others)


@pytest.mark.thorough
def test_a_default_job_without_a_model_loads_the_endpoint_alone(server: Server, uploaded: dict[str, str]) -> None:
    told = carried_out(server, asked("default-alone") | {"JobType": "Default"})
    assert told["Status"] == "COMPLETED", told
    assert told["EndpointPerformances"][0]["EndpointInfo"] == {"EndpointName": "fraud"}
    assert "InferenceRecommendations" not in told
    (step,) = steps_of(server, "default-alone")
    assert step["InferenceBenchmark"]["EndpointConfiguration"]["EndpointName"] == "fraud"


@pytest.mark.thorough
@pytest.mark.parametrize("source", ["model", "package", "nobody says"])
def test_a_default_job_with_a_model_loads_the_endpoint_and_then_measures_the_types_of_the_model(
    server: Server, uploaded: dict[str, str], source: str
) -> None:
    config: dict[str, Any] = {"ResourceLimit": {"MaxNumberOfTests": 1}, "JobDurationInSeconds": 20}
    types = ["ml.c5.large"]
    if source == "package":
        specification = {
            "Containers": [{"Image": IMAGE, "ModelDataUrl": uploaded["model"]}],
            "SupportedRealtimeInferenceInstanceTypes": types,
            "SupportedContentTypes": ["text/csv"],
        }
        made = server.client("sagemaker").create_model_package(
            ModelPackageName="packed", InferenceSpecification=specification, SamplePayloadUrl=uploaded["payload"]
        )
        config["ModelPackageVersionArn"] = made["ModelPackageArn"]
    else:
        config |= {"ModelName": "fraud", **payload_of(uploaded)}
        if source == "model":
            config["ContainerConfig"] = {**config["ContainerConfig"], "SupportedInstanceTypes": types}
    name = f"default-{source.replace(' ', '-')}"
    told = carried_out(server, asked(name, config=config) | {"JobType": "Default"})
    assert told["Status"] == "COMPLETED", told
    assert told["EndpointPerformances"][0]["EndpointInfo"] == {"EndpointName": "fraud"}
    found = {each["EndpointConfiguration"]["InstanceType"] for each in told["InferenceRecommendations"]}
    if source == "nobody says":
        assert all(each.startswith("ml.local-") for each in found)
    else:
        assert found == set(types)
    first, *others = steps_of(server, name)
    assert first["InferenceBenchmark"]["EndpointConfiguration"]["EndpointName"] == "fraud"
    assert others


@pytest.mark.thorough
def test_an_endpoint_that_is_deleted_before_its_turn_fails_the_job(server: Server, uploaded: dict[str, str]) -> None:
    client = server.client("sagemaker")
    make_endpoint(server, "gone", uploaded["model"], waits=False)
    client.create_inference_recommendations_job(**asked("before"))
    client.create_inference_recommendations_job(**asked("gone", "gone"))
    client.delete_endpoint(EndpointName="gone")
    told = waited_for(client, "gone")
    assert told["Status"] == "FAILED"
    assert told["FailureReason"] == "endpoint gone: it is not in service: it was deleted"
    assert "EndpointPerformances" not in told
    (step,) = steps_of(server, "gone")
    assert step["Status"] == "FAILED"
    assert "was deleted" in step["InferenceBenchmark"]["FailureReason"]
    waited_for(client, "before")


def test_an_endpoint_that_has_failed_fails_the_job_with_the_reason(server: Server, uploaded: dict[str, str]) -> None:
    make_endpoint(server, "broken", "s3://models/missing.ubj", waits=False)
    client = server.client("sagemaker")
    while client.describe_endpoint(EndpointName="broken")["EndpointStatus"] == "Creating":
        time.sleep(0.1)
    told = carried_out(server, asked("broken", "broken"))
    assert told["Status"] == "FAILED"
    assert "endpoint broken: it is not in service: it is Failed: " in told["FailureReason"]


@pytest.mark.thorough
def test_an_endpoint_that_is_being_created_is_waited_for(server: Server, uploaded: dict[str, str]) -> None:
    make_endpoint(server, "young", uploaded["model"], waits=False)
    told = carried_out(server, asked("young", "young"))
    assert told["Status"] == "COMPLETED", told
    server.client("sagemaker").delete_endpoint(EndpointName="young")


def test_a_url_where_nobody_answers_fails_the_job(server: Server, uploaded: dict[str, str]) -> None:
    told = carried_out(server, asked("silent", "silent", url="http://127.0.0.1:1", config=payload_of(uploaded)))
    assert told["Status"] == "FAILED"
    assert "does not answer" in told["FailureReason"]


def test_a_payload_that_is_not_there_fails_the_job_and_is_named_by_its_url(
    server: Server, uploaded: dict[str, str]
) -> None:
    config = {"ContainerConfig": {"PayloadConfig": {"SamplePayloadUrl": "s3://models/none.csv"}}}
    told = carried_out(server, asked("no-payload", config=config))
    assert told["Status"] == "FAILED"
    assert "s3://models/none.csv" in told["FailureReason"]


def test_a_server_that_does_not_say_what_it_takes_needs_a_payload(
    server: Server, uploaded: dict[str, str], elsewhere: str
) -> None:
    told = carried_out(server, asked("no-rows", "theirs", url=elsewhere))
    assert told["Status"] == "FAILED"
    assert "payload is not given" in told["FailureReason"]


PACKAGE = "arn:aws:sagemaker:us-east-1:123456789012:model-package/none/1"


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (asked("bad", "nobody"), 'Could not find endpoint "nobody"'),
        (asked("bad", config={"Endpoints": [{}]}), "EndpointName must be given"),
        (asked("bad", config={"Endpoints": [{"EndpointName": "a"}, {"EndpointName": "b"}]}), "less than or equal to 1"),
        (asked("bad", config={"ModelName": "fraud"}) | {"JobType": "Default"}, "There is no sample payload"),
        (asked("bad", config={"ModelName": "fraud", "ModelPackageVersionArn": PACKAGE}) | {"JobType": "Default"},
         "Exactly one of ModelName"),
        (asked("bad", config={"ModelName": "nobody"}) | {"JobType": "Default"}, "Could not find model"),
        (asked("bad", config={"Endpoints": []}) | {"JobType": "Default"}, "Exactly one of ModelName"),
        (asked("bad", config={"EndpointConfigurations": [{"InstanceType": "ml.c5.large"}]}) | {"JobType": "Default"},
         "EndpointConfigurations are for an Advanced job"),
        (asked("bad", config={"Endpoints": []}, url="http://127.0.0.1:1"), "EndpointConfigurations must be given"),
        (asked("bad", config={"EndpointConfigurations": [{"InstanceType": "ml.c5.large"}]}),
         "Exactly one of ModelName"),
        (asked("bad", config={"EndpointConfigurations": [{"ServerlessConfig": {"MemorySizeInMB": 1024,
         "MaxConcurrency": 1}}]}), "Exactly one of ModelName"),
        (asked("bad", config={"ModelName": "fraud", "ModelPackageVersionArn": PACKAGE}), "Exactly one of ModelName"),
        (asked("bad", config={"ModelName": "nobody"}), "Could not find model"),
        (asked("bad", config={"ModelPackageVersionArn": PACKAGE}), "Could not find model package"),
        (asked("bad", config={"ContainerConfig": {"PayloadConfig": {"SamplePayloadUrl": "https://example.com/a"}}}),
         "nothing is fetched from elsewhere"),
        (asked("bad", config={"JobDurationInSeconds": 1}), "less than the 2 s of the phases"),
        (asked("bad", StoppingConditions={"MaxInvocations": 0}), "not above zero"),
        (asked("bad", StoppingConditions={"ModelLatencyThresholds": [{"Percentile": "P95",
         "ValueInMilliseconds": 2**31 - 1}]}), "above 3600"),
        (asked("bad", url="http://10.0.0.1:8080"), "10.0.0.1 is not this machine"),
        (asked("bad", url="http://example.com"), "example.com is not this machine"),
        (asked("bad", url="http://0.0.0.0:80"), "is not this machine"),
        (asked("bad", url="http://127.1:80"), "is not this machine"),
        (asked("bad", url="http://127.0.0.1:99999"), "is no URL"),
        (asked("bad", url="http://127.0.0.1:0/"), "nothing can listen at port 0"),
        (asked("bad", url="http://localhost:0"), "nothing can listen at port 0"),
        (asked("bad", url="http://a:b@127.0.0.1"), "user name and a password"),
        (asked("bad", url="ftp://127.0.0.1"), "no address of a server"),
        (asked("bad", url=""), "no address of a server"),
    ],
)  # fmt: skip
def test_a_request_that_makes_no_sense_is_refused(
    server: Server, uploaded: dict[str, str], request_: dict[str, Any], words: str
) -> None:
    client = server.client("sagemaker")
    code, message = refused(lambda: client.create_inference_recommendations_job(**request_))
    assert code == "ValidationException"
    assert words in message


def test_a_url_without_an_endpoint_is_refused(server: Server, uploaded: dict[str, str]) -> None:
    request = asked("bad", url="http://127.0.0.1:1", config={**payload_of(uploaded), "ModelName": "fraud"})
    request["InputConfig"] |= {"Endpoints": [], "EndpointConfigurations": [{"InstanceType": "ml.c5.large"}]}
    client = server.client("sagemaker")
    code, message = refused(lambda: client.create_inference_recommendations_job(**request))
    assert (code, "give its name in InputConfig.Endpoints" in message) == ("ValidationException", True)


LONG = {**TRAFFIC, "Phases": [{**PHASE, "SpawnRate": 1, "DurationInSeconds": 60}]}


def begun(server: Server, name: str) -> None:
    """Wait until the load of a job runs."""
    until = time.monotonic() + 60
    while not any("users in phases" in line for line in lines_of(server, name)):
        assert time.monotonic() < until
        time.sleep(0.1)


def test_a_job_is_stopped_in_the_load(server: Server, uploaded: dict[str, str]) -> None:
    client = server.client("sagemaker")
    client.create_inference_recommendations_job(**asked("stopped", config={"TrafficPattern": LONG}))
    begun(server, "stopped")
    (step,) = steps_of(server, "stopped")
    assert step["Status"] == "IN_PROGRESS"
    began = time.monotonic()
    client.stop_inference_recommendations_job(JobName="stopped")
    told = waited_for(client, "stopped", timeout_s=40)
    assert told["Status"] == "STOPPED"
    assert time.monotonic() - began < 40
    assert "EndpointPerformances" not in told
    (step,) = steps_of(server, "stopped")
    assert (step["Status"], step["InferenceBenchmark"]["FailureReason"]) == ("FAILED", "interrupted")
    assert lines_of(server, "stopped")[-1] == "the job is over: STOPPED"


def process_of(home: Path, name: str) -> str:
    resources = Resources(home / "api" / "resources.db")
    try:
        return str(resources.get(JOB, name).document["Process"])
    finally:
        resources.close()


@pytest.mark.thorough
def test_a_load_survives_the_kill_of_its_server_and_is_repeated_where_its_process_was_killed_too(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    with started(home, *OPTIONS) as server:
        model, _ = server.put_model(tmp_path)
        make_endpoint(server, "fraud", model)
        client = server.client("sagemaker")
        client.create_inference_recommendations_job(**asked("kept"))
        begun(server, "kept")
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(10)
    with started(home, *OPTIONS) as server:
        client = server.client("sagemaker")
        told = waited_for(client, "kept")
        assert told["Status"] == "COMPLETED", told
        assert lines_of(server, "kept").count("users in phases") == 1
        client.create_inference_recommendations_job(**asked("repeated"))
        begun(server, "repeated")
        mark = process_of(home, "repeated")
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(10)
        os.kill(living(mark) or 0, signal.SIGKILL)
        while living(mark) is not None:
            time.sleep(0.1)
    kept = KeptLoad(home / "api" / "jobs" / "repeated").read()
    assert kept is not None
    assert kept.status == "IN_PROGRESS"
    with started(home, *OPTIONS) as server:
        client = server.client("sagemaker")
        again = waited_for(client, "repeated")
        assert again["Status"] == "COMPLETED", again
        assert again["EndpointPerformances"]
        assert lines_of(server, "repeated").count("users in phases") == 2
        assert (
            client.describe_inference_recommendations_job(JobName="kept")["EndpointPerformances"]
            == (told["EndpointPerformances"])
        )
        client.delete_endpoint(EndpointName="fraud")
