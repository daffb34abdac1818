"""GetLogEvents and DescribeLogStreams: the lines of jobs by number and by time, as CloudWatch Logs has them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from tests.aws.conftest import ROLE

if TYPE_CHECKING:
    from tests.aws.conftest import Server

pytestmark = pytest.mark.integration

GROUP = "/aws/sagemaker/InferenceRecommendationsJobs"
JOBS = ("logged-a", "logged-b", "logged-c")


@pytest.fixture(scope="module")
def logs(server: Server) -> Any:
    """A client, where three jobs are over: there is no bucket of their model."""
    sagemaker = server.client("sagemaker")
    container = {"Image": "i", "ModelDataUrl": "s3://nowhere/model"}
    sagemaker.create_model(ModelName="logged", PrimaryContainer=container, ExecutionRoleArn=ROLE)
    for name in JOBS:
        payload = {"PayloadConfig": {"SamplePayloadUrl": "s3://nowhere/payload"}}
        config = {"ModelName": "logged", "ContainerConfig": payload}
        sagemaker.create_inference_recommendations_job(
            JobName=name, JobType="Default", RoleArn=ROLE, InputConfig=config
        )
    while any(
        sagemaker.describe_inference_recommendations_job(JobName=name)["Status"] in ("PENDING", "IN_PROGRESS")
        for name in JOBS
    ):
        time.sleep(0.05)
    return server.client("logs")


def events(logs: Any, **given: Any) -> list[dict[str, Any]]:
    where = {"logGroupName": GROUP, "logStreamName": f"{JOBS[0]}/execution"}
    return list(logs.get_log_events(**where, **given)["events"])


def test_the_last_lines_are_told_where_the_head_is_not_asked_for(logs: Any) -> None:
    every = events(logs)
    assert len(every) >= 2
    assert events(logs, limit=1) == every[-1:]
    assert events(logs, limit=1, startFromHead=True) == every[:1]


def test_lines_are_told_of_the_time_that_is_asked_for(logs: Any) -> None:
    every = events(logs)
    last_ms = every[-1]["timestamp"]
    assert events(logs, startTime=last_ms)[-1] == every[-1]
    assert every[-1] not in events(logs, endTime=last_ms)
    assert events(logs, startTime=last_ms + 1) == []


def test_streams_come_in_pages(logs: Any) -> None:
    asked = {"logGroupName": GROUP, "logStreamNamePrefix": "logged-", "orderBy": "LogStreamName"}
    first = logs.describe_log_streams(**asked, limit=2)
    second = logs.describe_log_streams(**asked, limit=50, nextToken=first["nextToken"])
    names = [each["logStreamName"] for page in (first, second) for each in page["logStreams"]]
    assert names == [f"{name}/execution" for name in JOBS]
    assert "nextToken" not in second


@pytest.mark.parametrize(
    ("operation", "given", "words"),
    [
        ("describe_log_streams", {"orderBy": "LastEventTime"}, "orderBy is not carried out here with any other value"),
        ("describe_log_streams", {"descending": True}, "descending is not carried out here with any other value"),
        ("filter_log_events", {}, "use GetLogEvents"),
    ],
)
def test_what_is_not_done_of_the_lines_of_jobs_is_refused(
    logs: Any, operation: str, given: dict[str, Any], words: str
) -> None:
    with pytest.raises(ClientError, match=words):
        getattr(logs, operation)(logGroupName=GROUP, **given)
