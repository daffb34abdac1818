"""Recommendation jobs through boto3: made, watched, stopped, deployed, and taken up by the next server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xgboost
from botocore.exceptions import ClientError
from tests.aws.conftest import OPTIONS, ROLE, started
from tests.tiny_model import ROWS, tiny_booster

from servefit.search.jobs.lifecycle import load_job

if TYPE_CHECKING:
    from tests.aws.conftest import Server

pytestmark = pytest.mark.timed
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/xgboost:1.7-1"
ENDED = ("COMPLETED", "FAILED", "STOPPED")


@pytest.fixture(scope="module")
def uploaded(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    model, payload = server.put_model(tmp_path_factory.mktemp("uploaded"))
    sagemaker = server.client("sagemaker")
    container = {"Image": IMAGE, "ModelDataUrl": model}
    sagemaker.create_model(ModelName="tiny", PrimaryContainer=container, ExecutionRoleArn=ROLE)
    return {"model": "tiny", "payload": payload}


def asked(name: str, uploaded: dict[str, str], **changes: Any) -> dict[str, Any]:
    """An Advanced job that takes some seconds."""
    config = {
        "ModelName": uploaded["model"],
        "JobDurationInSeconds": 30,
        "ContainerConfig": {"PayloadConfig": {"SamplePayloadUrl": uploaded["payload"]}},
        "EndpointConfigurations": [{"InstanceType": "ml.c5.large"}],
        "ResourceLimit": {"MaxNumberOfTests": 1, "MaxParallelOfTests": 2},
    }
    config |= changes.pop("config", {})
    return {"JobName": name, "JobType": "Advanced", "RoleArn": ROLE, "InputConfig": config, **changes}


def waited_for(sagemaker: Any, name: str, *, timeout_s: float = 120) -> dict[str, Any]:
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        told: dict[str, Any] = sagemaker.describe_inference_recommendations_job(JobName=name)
        if told["Status"] in ENDED:
            return told
        time.sleep(0.2)
    raise AssertionError(f"{name} is not over")


def refused(call: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call()
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


@pytest.fixture(scope="module")
def job(server: Server, uploaded: dict[str, str]) -> dict[str, Any]:
    """A job that is over."""
    sagemaker = server.client("sagemaker")
    sagemaker.create_inference_recommendations_job(**asked("first", uploaded))
    return waited_for(sagemaker, "first")


def test_a_job_ends_with_recommendations_in_the_units_of_aws(job: dict[str, Any]) -> None:
    assert job["Status"] == "COMPLETED", job
    best = job["InferenceRecommendations"][0]
    assert best["RecommendationId"].startswith("first/")
    assert len(best["RecommendationId"].partition("/")[2]) == 8
    metrics = best["Metrics"]
    assert metrics["MaxInvocations"] > 60
    assert metrics["ModelLatency"] >= 1
    assert isnan(metrics["CostPerHour"])
    assert isnan(metrics["CostPerInference"])
    assert best["EndpointConfiguration"]["InstanceType"] == "ml.c5.large"
    variables = {each["Key"]: each["Value"] for each in best["ModelConfiguration"]["EnvironmentParameters"]}
    assert variables["OMP_NUM_THREADS"] == "1"
    assert variables["SAGEMAKER_MODEL_SERVER_WORKERS"] == "1"
    assert variables["SERVEFIT_MEASURED_AS"] == "local-1c"
    assert job["CompletionTime"] >= job["CreationTime"]


def test_what_was_sent_is_told_back_as_it_was(job: dict[str, Any], uploaded: dict[str, str]) -> None:
    sent = asked("first", uploaded)
    assert {key: job[key] for key in ("JobName", "JobType", "RoleArn", "InputConfig")} == sent


def test_its_steps_are_load_tests_that_do_not_overlap(server: Server, job: dict[str, Any]) -> None:
    steps = server.client("sagemaker").list_inference_recommendations_job_steps(JobName="first")["Steps"]
    assert steps
    assert {step["StepType"] for step in steps} == {"BENCHMARK"}
    times = sorted(
        (step["InferenceBenchmark"]["InvocationStartTime"], step["InferenceBenchmark"]["InvocationEndTime"])
        for step in steps
    )
    assert all(end <= begin for (_, end), (begin, _) in pairwise(times))


def test_the_journal_has_a_line_for_each_test_and_one_at_the_end(server: Server, job: dict[str, Any]) -> None:
    logs = server.client("logs")
    where = {"logGroupName": "/aws/sagemaker/InferenceRecommendationsJobs", "logStreamName": "first/execution"}
    first = logs.get_log_events(**where)
    lines = [event["message"] for event in first["events"]]
    assert any("tests are made one at a time" in line for line in lines)
    assert any("max_invocations " in line for line in lines)
    assert lines[-1] == "the job is over: COMPLETED"
    again = logs.get_log_events(**where, nextToken=first["nextForwardToken"])
    assert (again["events"], again["nextForwardToken"]) == ([], first["nextForwardToken"])
    assert refused(lambda: logs.get_log_events(**{**where, "logStreamName": "other/execution"}))[0] == (
        "ResourceNotFoundException"
    )


def test_it_is_a_job_of_servefit_too(server: Server, job: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(server.home))
    assert load_job("first").status == "COMPLETED"


def test_a_plan_of_instances_follows_from_it(server: Server, job: dict[str, Any]) -> None:
    sagemaker = server.client("sagemaker")
    identifier = job["InferenceRecommendations"][0]["RecommendationId"]
    asked_for = {"InferenceRecommendationsJobName": "first", "RecommendationId": identifier}
    half = sagemaker.get_scaling_configuration_recommendation(**asked_for, TargetCpuUtilizationPerCore=50)
    tenth = sagemaker.get_scaling_configuration_recommendation(**asked_for, TargetCpuUtilizationPerCore=10)
    assert 0 < tenth["Metric"]["InvocationsPerInstance"] < half["Metric"]["InvocationsPerInstance"]
    policy = half["DynamicScalingConfiguration"]["ScalingPolicies"][0]["TargetTracking"]
    assert policy["TargetValue"] == pytest.approx(half["Metric"]["InvocationsPerInstance"], rel=0.01)
    assert refused(
        lambda: sagemaker.get_scaling_configuration_recommendation(
            InferenceRecommendationsJobName="first", RecommendationId="first/00000000"
        )
    )[0] == ("ResourceNotFound")


def test_what_was_recommended_is_what_an_endpoint_serves(server: Server, job: dict[str, Any]) -> None:
    sagemaker, runtime = server.client("sagemaker"), server.client("sagemaker-runtime")
    best = job["InferenceRecommendations"][0]
    variables = {each["Key"]: each["Value"] for each in best["ModelConfiguration"]["EnvironmentParameters"]}
    container = {"Image": IMAGE, "ModelDataUrl": "s3://models/tiny/model.ubj", "Environment": variables}
    sagemaker.create_model(ModelName="deployed", PrimaryContainer=container, ExecutionRoleArn=ROLE)
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": "deployed",
        "InstanceType": "ml.c5.large",
        "InitialInstanceCount": 1,
        "InitialVariantWeight": 1,
    }
    sagemaker.create_endpoint_config(EndpointConfigName="deployed", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="deployed", EndpointConfigName="deployed")
    sagemaker.get_waiter("endpoint_in_service").wait(
        EndpointName="deployed", WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    headline = (server.home / "api" / "endpoints" / "deployed" / "stdout.txt").read_text()
    assert "is served at" in headline
    assert f"by {variables['SERVEFIT_BACKEND']}, 1 worker x 1 thread" in headline
    assert "as local-1c" in headline
    answer = runtime.invoke_endpoint(
        EndpointName="deployed",
        ContentType="text/csv",
        Body="\n".join(",".join(f"{value:g}" for value in row) for row in ROWS),
    )
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    found = np.array([float(line) for line in answer["Body"].read().split()])
    assert found == pytest.approx(tiny_booster().predict(xgboost.DMatrix(ROWS)), rel=1e-5)
    other = refused(lambda: runtime.invoke_endpoint(EndpointName="deployed", Body=b"1,2", TargetVariant="other"))
    assert (other[0], "its variant is AllTraffic" in other[1]) == ("ValidationError", True)
    with pytest.raises(ClientError) as caught:
        runtime.invoke_endpoint(
            EndpointName="deployed", ContentType="text/csv", Body="no,numbers", TargetVariant="AllTraffic"
        )
    response = caught.value.response
    assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == ("ModelError", 424)
    assert response["OriginalStatusCode"] == 400
    # In the order of the SDK: the endpoint goes last.
    sagemaker.delete_model(ModelName="deployed")
    sagemaker.delete_endpoint_config(EndpointConfigName="deployed")
    sagemaker.delete_endpoint(EndpointName="deployed")
    assert refused(lambda: sagemaker.describe_endpoint(EndpointName="deployed"))[1].startswith("Could not find")
    assert refused(lambda: runtime.invoke_endpoint(EndpointName="deployed", Body=b"1,2"))[0] == "ValidationError"


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"JobName": "first"}, "ResourceInUse", "already exists"),
        ({"config": {"ModelPackageVersionArn": "arn:aws:sagemaker:us-east-1:123456789012:model-package/g/1"}},
         "ValidationException", "Exactly one of ModelName and ModelPackageVersionArn"),
        ({"config": {"ModelName": "other"}}, "ValidationException", "Could not find model"),
        ({"config": {"ContainerConfig": {}}}, "ValidationException", "There is no sample payload"),
        ({"config": {"EndpointConfigurations": [{"EnvironmentParameterRanges": {}}]}}, "ValidationException",
         "Exactly one of InstanceType and ServerlessConfig"),
        ({"config": {"EndpointConfigurations": [{"InstanceType": "ml.m5.large"}] * 11}}, "ValidationException",
         "less than or equal to 10"),
        ({"config": {"ContainerConfig": {"PayloadConfig": {"SamplePayloadUrl": "https://example.com/a"}}}},
         "ValidationException", "nothing is fetched from elsewhere"),
        ({"config": {"JobDurationInSeconds": 1}}, "ValidationException", "JobDurationInSeconds: "),
    ],
)  # fmt: skip
def test_a_request_that_makes_no_sense_is_refused(
    server: Server, uploaded: dict[str, str], job: dict[str, Any], changes: dict[str, Any], code: str, words: str
) -> None:
    sagemaker = server.client("sagemaker")
    request = asked("refused", uploaded, config=changes.pop("config", {})) | changes
    found, message = refused(lambda: sagemaker.create_inference_recommendations_job(**request))
    assert found == code
    assert words in message


def test_a_type_that_is_too_big_fails_with_the_way_out(server: Server, uploaded: dict[str, str]) -> None:
    sagemaker = server.client("sagemaker")
    config = {"EndpointConfigurations": [{"InstanceType": "ml.m5.24xlarge"}]}
    sagemaker.create_inference_recommendations_job(**asked("big", uploaded, config=config))
    told = waited_for(sagemaker, "big")
    assert told["Status"] == "FAILED"
    assert "--map ml.m5.24xlarge=" in told["FailureReason"]
    assert "InferenceRecommendations" not in told
    (step,) = sagemaker.list_inference_recommendations_job_steps(JobName="big")["Steps"]
    assert step["Status"] == "FAILED"
    assert step["InferenceBenchmark"]["EndpointConfiguration"]["InstanceType"] == "ml.m5.24xlarge"


def test_a_model_that_is_not_there_fails_the_job_and_names_its_url(server: Server, uploaded: dict[str, str]) -> None:
    sagemaker = server.client("sagemaker")
    container = {"Image": IMAGE, "ModelDataUrl": "s3://models/missing.tar.gz"}
    sagemaker.create_model(ModelName="missing", PrimaryContainer=container, ExecutionRoleArn=ROLE)
    sagemaker.create_inference_recommendations_job(**asked("missing", uploaded, config={"ModelName": "missing"}))
    told = waited_for(sagemaker, "missing")
    assert told["Status"] == "FAILED"
    assert "s3://models/missing.tar.gz" in told["FailureReason"]
    assert str(server.home) not in told["FailureReason"]


@pytest.mark.parametrize("what", ["model", "payload"])
def test_a_bucket_that_is_not_there_fails_the_job_and_says_that_buckets_are_the_servers_own(
    server: Server, uploaded: dict[str, str], what: str
) -> None:
    sagemaker, name = server.client("sagemaker"), f"no-bucket-of-the-{what}"
    url = "s3://fraud-of-aws/deep/down/model.tar.gz"
    container = {"Image": IMAGE, "ModelDataUrl": url}
    sagemaker.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=ROLE)
    given = {**uploaded, "model": name} if what == "model" else {**uploaded, "payload": url}
    sagemaker.create_inference_recommendations_job(**asked(name, given))
    told = waited_for(sagemaker, name)
    assert told["Status"] == "FAILED"
    assert told["FailureReason"].startswith(f"{url}: there is no bucket fraud-of-aws: objects are files below")
    where = {"logGroupName": "/aws/sagemaker/InferenceRecommendationsJobs", "logStreamName": f"{name}/execution"}
    lines = [event["message"] for event in server.client("logs").get_log_events(**where)["events"]]
    assert lines[-1] == f"the job is over: FAILED: {told['FailureReason']}"


def test_a_type_that_this_machine_cannot_be_fails_with_the_reason(server: Server, uploaded: dict[str, str]) -> None:
    sagemaker = server.client("sagemaker")
    types = [{"InstanceType": name} for name in ("ml.inf2.xlarge", "ml.t2.medium")]
    sagemaker.create_inference_recommendations_job(
        **asked("no-such-machine", uploaded, config={"EndpointConfigurations": types})
    )
    told = waited_for(sagemaker, "no-such-machine")
    steps = sagemaker.list_inference_recommendations_job_steps(JobName="no-such-machine")["Steps"]
    reasons = [step["InferenceBenchmark"]["FailureReason"] for step in steps]
    assert reasons[0].startswith("it needs 1 AWS Inferentia2 accelerator")
    assert reasons[1].startswith("it is burstable")
    assert all(reason in told["FailureReason"] for reason in reasons)


def test_a_job_is_stopped_once(server: Server, uploaded: dict[str, str]) -> None:
    sagemaker = server.client("sagemaker")
    sagemaker.create_inference_recommendations_job(**asked("running", uploaded))
    sagemaker.create_inference_recommendations_job(**asked("waiting", uploaded))
    sagemaker.stop_inference_recommendations_job(JobName="waiting")
    assert waited_for(sagemaker, "waiting")["Status"] == "STOPPED"
    sagemaker.stop_inference_recommendations_job(JobName="running")
    assert refused(lambda: sagemaker.stop_inference_recommendations_job(JobName="running"))[0] == "ValidationException"
    assert waited_for(sagemaker, "running")["Status"] == "STOPPED"
    assert refused(lambda: sagemaker.stop_inference_recommendations_job(JobName="nobody"))[0] == "ResourceNotFound"


@pytest.mark.thorough
def test_a_job_survives_the_kill_of_its_server_and_the_next_one_knows_how_it_ended(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with started(home, *OPTIONS) as server:
        model, payload = server.put_model(tmp_path)
        sagemaker = server.client("sagemaker")
        container = {"Image": IMAGE, "ModelDataUrl": model}
        sagemaker.create_model(ModelName="tiny", PrimaryContainer=container, ExecutionRoleArn=ROLE)
        sagemaker.create_inference_recommendations_job(**asked("killed", {"model": "tiny", "payload": payload}))
        while sagemaker.describe_inference_recommendations_job(JobName="killed")["Status"] == "PENDING":
            time.sleep(0.1)
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(10)
    with started(home, *OPTIONS) as server:
        told = waited_for(server.client("sagemaker"), "killed")
    assert told["Status"] == "COMPLETED", told
    assert told["InferenceRecommendations"]


def test_a_second_server_on_the_same_state_is_told_where_the_first_is(server: Server) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "servefit", "api", "--port", "0"],
        env={**os.environ, "SERVEFIT_HOME": str(server.home)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert server.address in done.stderr
