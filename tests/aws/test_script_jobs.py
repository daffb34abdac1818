"""Jobs and endpoints of models with a script, through boto3: on a server that runs scripts, and one that does not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.aws.conftest import OPTIONS, ROLE, Server, started
from tests.aws.test_jobs import IMAGE, waited_for
from tests.scripts import MEANS, archive, photos, scripted

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration


def begun(server: Server, folder: Path, name: str) -> dict[str, Any]:
    """A job of a script that reads JPEG files, whose extensions do not say so, once it is over."""
    s3, sagemaker = server.client("s3"), server.client("sagemaker")
    s3.create_bucket(Bucket="scripts")
    model = scripted(folder / "model.tar.gz", MEANS, offset__txt="100")
    files = {path.stem: path.read_bytes() for path in photos(folder / "photos").iterdir()}
    s3.upload_file(str(model), "scripts", "model.tar.gz")
    s3.upload_file(str(archive(folder / "payload.tar.gz", files)), "scripts", "payload.tar.gz")
    container = {"Image": IMAGE, "ModelDataUrl": "s3://scripts/model.tar.gz"}
    sagemaker.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=ROLE)
    payload = {"SamplePayloadUrl": "s3://scripts/payload.tar.gz", "SupportedContentTypes": ["image/jpeg"]}
    config = {
        "ModelName": name,
        "JobDurationInSeconds": 30,
        "ContainerConfig": {"PayloadConfig": payload},
        "EndpointConfigurations": [{"InstanceType": "ml.c5.large"}],
        "ResourceLimit": {"MaxNumberOfTests": 1, "MaxParallelOfTests": 1},
    }
    sagemaker.create_inference_recommendations_job(JobName=name, JobType="Advanced", RoleArn=ROLE, InputConfig=config)
    return waited_for(sagemaker, name)


@pytest.mark.timed
@pytest.mark.thorough
def test_a_server_that_trusts_code_measures_and_serves_the_script(tmp_path: Path) -> None:
    with started(tmp_path / "home", *OPTIONS, "--trust-code") as server:
        told = begun(server, tmp_path, "photos")
        assert told["Status"] == "COMPLETED", told
        found = told["InferenceRecommendations"][0]["ModelConfiguration"]["EnvironmentParameters"]
        variables = {each["Key"]: each["Value"] for each in found}
        assert variables["SERVEFIT_BACKEND"] == "script"
        sagemaker, runtime = server.client("sagemaker"), server.client("sagemaker-runtime")
        container = {"Image": IMAGE, "ModelDataUrl": "s3://scripts/model.tar.gz", "Environment": variables}
        sagemaker.create_model(ModelName="deployed", PrimaryContainer=container, ExecutionRoleArn=ROLE)
        variant = {
            "VariantName": "AllTraffic",
            "ModelName": "deployed",
            "InstanceType": "ml.c5.large",
            "InitialInstanceCount": 1,
        }
        sagemaker.create_endpoint_config(EndpointConfigName="deployed", ProductionVariants=[variant])
        sagemaker.create_endpoint(EndpointName="deployed", EndpointConfigName="deployed")
        waiter = sagemaker.get_waiter("endpoint_in_service")
        waiter.wait(EndpointName="deployed", WaiterConfig={"Delay": 1, "MaxAttempts": 60})
        answer = runtime.invoke_endpoint(EndpointName="deployed", ContentType="image/jpeg", Body=b"\1\2\3")
        assert json.loads(answer["Body"].read()) == {"mean": 102.0}
        assert answer["ContentType"] == "application/json"
        sagemaker.delete_endpoint(EndpointName="deployed")


@pytest.mark.thorough
def test_a_server_that_does_not_says_which_consent_it_lacks(tmp_path: Path) -> None:
    with started(tmp_path / "home", *OPTIONS) as server:
        told = begun(server, tmp_path, "photos")
        assert told["Status"] == "FAILED"
        assert "--trust-code" in told["FailureReason"]
        logs = server.client("logs")
        where = {"logGroupName": "/aws/sagemaker/InferenceRecommendationsJobs", "logStreamName": "photos/execution"}
        lines = [event["message"] for event in logs.get_log_events(**where)["events"]]
        assert any("code/inference.py is run by a server that was started with --trust-code" in line for line in lines)
