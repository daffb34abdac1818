"""What the next server finds of endpoints and jobs when one was killed, or ended."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.aws.conftest import OPTIONS, ROLE, started
from tests.aws.test_jobs import IMAGE, asked, waited_for

from servefit.aws.endpoints.hosts import KIND as ENDPOINT
from servefit.aws.jobs.files import JobFiles, JobOutcome
from servefit.aws.jobs.queue import KIND as JOB
from servefit.aws.state.resources import Resources
from servefit.processes import living

if TYPE_CHECKING:
    from tests.aws.conftest import Server

pytestmark = pytest.mark.timed


def kill(server: Server) -> None:
    server.process.send_signal(signal.SIGKILL)
    server.process.wait(10)


def mark_of(home: Path, kind: str, name: str) -> str:
    resources = Resources(home / "api" / "resources.db")
    try:
        return str(resources.get(kind, name).document["Process"])
    finally:
        resources.close()


def make_endpoint(server: Server, folder: Path) -> None:
    model, _ = server.put_model(folder)
    client = server.client("sagemaker")
    container = {"Image": IMAGE, "ModelDataUrl": model, "Environment": {"SERVEFIT_BACKEND": "forest"}}
    client.create_model(ModelName="served", PrimaryContainer=container, ExecutionRoleArn=ROLE)
    variant = {"VariantName": "v", "ModelName": "served", "InstanceType": "ml.local-1c", "InitialInstanceCount": 1}
    client.create_endpoint_config(EndpointConfigName="served", ProductionVariants=[variant])
    client.create_endpoint(EndpointName="served", EndpointConfigName="served")
    in_service(client)


def in_service(client: Any) -> None:
    client.get_waiter("endpoint_in_service").wait(EndpointName="served", WaiterConfig={"Delay": 1, "MaxAttempts": 60})


def invoke(server: Server) -> bytes:
    answer = server.client("sagemaker-runtime").invoke_endpoint(
        EndpointName="served", ContentType="text/csv", Body="1,2"
    )
    return bytes(answer["Body"].read())


@pytest.mark.thorough
def test_an_endpoint_outlives_a_server_that_is_killed_and_is_found_by_the_next(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with started(home, *OPTIONS) as server:
        make_endpoint(server, tmp_path)
        before = invoke(server)
        kill(server)
    first = mark_of(home, ENDPOINT, "served")
    assert living(first) is not None
    with started(home, *OPTIONS) as server:
        in_service(server.client("sagemaker"))
        assert invoke(server) == before
        assert mark_of(home, ENDPOINT, "served") == first
    assert living(first) is None, "a server that ends takes its endpoints with it"
    with started(home, *OPTIONS) as server:
        in_service(server.client("sagemaker"))
        assert invoke(server) == before
        server.client("sagemaker").delete_endpoint(EndpointName="served")
        last = mark_of_deleted(home)
    assert last is None


def mark_of_deleted(home: Path) -> str | None:
    resources = Resources(home / "api" / "resources.db")
    try:
        return next((str(each.document["Process"]) for each in resources.all(ENDPOINT)), None)
    finally:
        resources.close()


@pytest.mark.thorough
def test_a_job_that_was_stopped_is_not_taken_up_again(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with started(home, *OPTIONS) as server:
        model, payload = server.put_model(tmp_path)
        client = server.client("sagemaker")
        container = {"Image": IMAGE, "ModelDataUrl": model}
        client.create_model(ModelName="tiny", PrimaryContainer=container, ExecutionRoleArn=ROLE)
        client.create_inference_recommendations_job(**asked("stopped", {"model": "tiny", "payload": payload}))
        while client.describe_inference_recommendations_job(JobName="stopped")["Status"] == "PENDING":
            time.sleep(0.1)
        process = mark_of(home, JOB, "stopped")
        client.stop_inference_recommendations_job(JobName="stopped")
        kill(server)
    until = time.monotonic() + 60
    while living(process) is not None and time.monotonic() < until:
        time.sleep(0.1)
    with started(home, *OPTIONS) as server:
        client = server.client("sagemaker")
        until = time.monotonic() + 10
        while (told := client.describe_inference_recommendations_job(JobName="stopped"))["Status"] == "STOPPING":
            assert time.monotonic() < until
            time.sleep(0.1)
    assert told["Status"] == "STOPPED"


@pytest.mark.thorough
def test_a_job_that_ended_without_a_server_was_complete_when_it_ended(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with started(home, *OPTIONS) as server:
        _, payload = server.put_model(tmp_path)
        client = server.client("sagemaker")
        container = {"Image": IMAGE, "ModelDataUrl": "s3://models/missing.tar.gz"}
        client.create_model(ModelName="missing", PrimaryContainer=container, ExecutionRoleArn=ROLE)
        client.create_inference_recommendations_job(**asked("alone", {"model": "missing", "payload": payload}))
        while client.describe_inference_recommendations_job(JobName="alone")["Status"] == "PENDING":
            time.sleep(0.02)
        process = mark_of(home, JOB, "alone")
        kill(server)
    assert living(process) is not None
    until = time.monotonic() + 60
    while living(process) is not None and time.monotonic() < until:
        time.sleep(0.02)
    ended_at = time.time()
    time.sleep(1)
    with started(home, *OPTIONS) as server:
        told = waited_for(server.client("sagemaker"), "alone")
    assert told["Status"] == "FAILED"
    assert told["CreationTime"].timestamp() < told["CompletionTime"].timestamp() <= ended_at


def test_an_outcome_that_does_not_say_when_can_still_be_read(tmp_path: Path) -> None:
    (tmp_path / "outcome.json").write_text('{"status":"FAILED","reason":"it was too slow"}')
    assert JobFiles(tmp_path).outcome() == JobOutcome(status="FAILED", reason="it was too slow")
