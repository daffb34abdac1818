"""``Client``: boto3's client of SageMaker without a server, on the same jobs and objects as one has."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.aws.conftest import ROLE, started
from tests.tiny_model import ROWS, tiny_model

from servefit.errors import SpecError
from servefit.sagemaker import Client, session
from servefit.search.jobs.lifecycle import load_job

pytestmark = pytest.mark.integration

SETTINGS: dict[str, Any] = {"allow_noise": True, "profiles": {"ml.c5.large": "local-1c"}}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    monkeypatch.setenv("SERVEFIT_HOME", str(folder))
    return folder


@pytest.fixture
def client(home: Path) -> Iterator[Client]:
    with Client(**SETTINGS) as made:
        yield made


def begin(client: Client, folder: Path, *, name: str) -> None:
    """Begin a job of some seconds, on files that are named as such."""
    model = tiny_model(folder / "model.ubj")
    np.savetxt(folder / "payload.csv", ROWS, delimiter=",", fmt="%g")
    client.create_model(
        ModelName="tiny",
        PrimaryContainer={"Image": "none", "ModelDataUrl": model.as_uri()},
        ExecutionRoleArn=ROLE,
    )
    client.create_inference_recommendations_job(
        JobName=name,
        JobType="Default",
        RoleArn=ROLE,
        InputConfig={
            "ModelName": "tiny",
            "JobDurationInSeconds": 30,
            "ResourceLimit": {"MaxNumberOfTests": 1},
            "ContainerConfig": {
                "PayloadConfig": {"SamplePayloadUrl": (folder / "payload.csv").as_uri()},
                "SupportedInstanceTypes": ["ml.c5.large"],
            },
        },
    )


def waited_for(client: Client, name: str) -> dict[str, Any]:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        told = client.describe_inference_recommendations_job(JobName=name)
        if told["Status"] in ("COMPLETED", "FAILED", "STOPPED"):
            return told
        time.sleep(0.2)
    raise AssertionError(f"{name} is not over")


@pytest.mark.thorough
@pytest.mark.timed
def test_a_job_is_made_watched_and_scaled_without_a_server(client: Client, tmp_path: Path) -> None:
    begin(client, tmp_path, name="first")
    told = waited_for(client, "first")
    assert told["Status"] == "COMPLETED", told
    best = told["InferenceRecommendations"][0]
    assert best["EndpointConfiguration"]["InstanceType"] == "ml.c5.large"
    steps = client.list_inference_recommendations_job_steps(JobName="first")["Steps"]
    assert {step["Status"] for step in steps} == {"COMPLETED"}
    scaling = client.get_scaling_configuration_recommendation(
        InferenceRecommendationsJobName="first", RecommendationId=best["RecommendationId"]
    )
    assert scaling["Metric"]["InvocationsPerInstance"] < best["Metrics"]["MaxInvocations"]
    listed = client.list_inference_recommendations_jobs()["InferenceRecommendationsJobs"]
    assert [each["JobName"] for each in listed] == ["first"]
    assert load_job("first").status == "COMPLETED"
    with pytest.raises(client.exceptions.ClientError, match="cannot be stopped"):
        client.stop_inference_recommendations_job(JobName="first")


@pytest.mark.thorough
@pytest.mark.timed
def test_a_job_of_a_client_that_was_closed_goes_on_with_the_next_one(home: Path, tmp_path: Path) -> None:
    with Client(**SETTINGS) as first:
        begin(first, tmp_path, name="goes-on")
        while first.describe_inference_recommendations_job(JobName="goes-on")["Status"] == "PENDING":
            time.sleep(0.1)
    with Client(**SETTINGS) as second:
        assert waited_for(second, "goes-on")["Status"] == "COMPLETED"


def test_errors_are_those_of_boto3(client: Client) -> None:
    with pytest.raises(client.exceptions.ResourceNotFound, match="Could not find"):
        client.describe_inference_recommendations_job(JobName="nobody")
    with pytest.raises(AttributeError):
        client.describe_nothing  # noqa: B018


@pytest.mark.thorough
def test_objects_go_through_the_same_session_whatever_address_its_clients_are_told(
    client: Client, home: Path, tmp_path: Path
) -> None:
    s3 = client.boto_session.client("s3", endpoint_url="https://s3.us-east-1.amazonaws.com")
    s3.create_bucket(Bucket="models")
    (tmp_path / "large").write_bytes(np.random.default_rng(0).bytes(20 * 2**20))
    s3.upload_file(str(tmp_path / "large"), "models", "folder/large")
    s3.download_file("models", "folder/large", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == (tmp_path / "large").read_bytes()
    assert (home / "api" / "s3" / "models" / "folder" / "large").is_file()
    sts = client.boto_session.client("sts", endpoint_url="https://sts.us-east-1.amazonaws.com")
    assert sts.get_caller_identity()["Account"] == "123456789012"


@pytest.mark.thorough
def test_the_server_of_the_folder_answers_where_there_is_one(home: Path) -> None:
    with started(home) as server:
        server.client("sagemaker").create_model_package_group(ModelPackageGroupName="of-the-server")
        with Client() as client:
            groups = client.list_model_package_groups()["ModelPackageGroupSummaryList"]
            assert [each["ModelPackageGroupName"] for each in groups] == ["of-the-server"]
        with pytest.raises(SpecError, match="has this state folder, and its own settings"):
            Client(time_scale=0.5)


@pytest.mark.parametrize(
    "config",
    [
        None,
        pytest.param(
            {"proxies": {"http": "http://127.0.0.1:9"}, "retries": {"total_max_attempts": 1}},
            marks=pytest.mark.thorough,
        ),
    ],
)
def test_a_server_is_reached_where_a_proxy_is_set(
    home: Path, monkeypatch: pytest.MonkeyPatch, config: dict[str, Any] | None
) -> None:
    from botocore.config import Config

    with started(home):
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        with Client() as client:
            sts = client.boto_session.client("sts", config=None if config is None else Config(**config))
            assert sts.get_caller_identity()["Account"] == "123456789012"
            assert client.list_models()["Models"] == []


def test_a_second_client_of_a_program_is_told_what_to_do_with_the_first(client: Client) -> None:
    with pytest.raises(SpecError, match=r"exists already in this program; close it, or hand it to session\(\)"):
        Client()
    assert client.list_models()["Models"] == []


@pytest.mark.thorough
def test_another_program_is_told_who_has_the_folder(client: Client, home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "servefit", "api", "--port", "0"],
        env={**os.environ, "SERVEFIT_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert f"process {os.getpid()}" in done.stderr


@pytest.mark.thorough
def test_the_folder_is_free_once_nobody_has_the_client_or_one_of_its_methods(home: Path) -> None:
    operation = Client().list_models
    gc.collect()
    assert operation()["Models"] == []
    del operation
    gc.collect()
    Client().close()


def test_a_closed_client_says_so(home: Path) -> None:
    client = Client()
    client.close()
    with pytest.raises(SpecError, match="is closed"):
        client.list_models()


def test_calls_that_wait_end_with_the_client(client: Client, tmp_path: Path) -> None:
    client.create_model_package_group(ModelPackageGroupName="group")
    begin(client, tmp_path, name="watched")
    logs = client.boto_session.client("logs")
    stream = {"logGroupName": "/aws/sagemaker/InferenceRecommendationsJobs", "logStreamName": "watched/execution"}
    with ThreadPoolExecutor(4) as threads:
        waiting = [threads.submit(logs.get_log_events, **stream, nextToken="f/0") for _ in range(4)]
        assert not wait(waiting, timeout=1).done
        client.close()
        assert wait(waiting, timeout=10).not_done == set()
    for call in waiting:
        with pytest.raises(SpecError, match="is closed"):
            call.result()


@pytest.mark.thorough
def test_calls_that_begin_while_the_client_is_closed_end_too(home: Path) -> None:
    def call_until_closed(client: Client) -> str:
        while True:
            try:
                client.list_models()
            except SpecError as error:
                return str(error)

    for _ in range(2):
        client = Client()
        with ThreadPoolExecutor(4) as threads:
            calling = [threads.submit(call_until_closed, client) for _ in range(4)]
            time.sleep(0.1)
            client.close()
            assert wait(calling, timeout=10).not_done == set()
        assert {each.result() for each in calling} == {"client is closed; make another one"}


FORKS = """
import gc, os, signal, sys, time
from servefit.aws.state.claim import holder_of
from servefit.errors import ServefitError
from servefit.sagemaker import Client
from servefit.state import state_folder

client = Client()

def child(does):
    "Fork, and return the status of a child that does something and exits as programs do; a hanging one is killed."
    sys.stdout.flush()
    if not (pid := os.fork()):
        signal.alarm(20)
        does()
        sys.exit(3)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""
"""A program with a client, and children that are forked."""


def told(code: str) -> list[str]:
    """The lines that such a program prints."""
    done = subprocess.run(
        [sys.executable, "-c", FORKS + textwrap.dedent(code)], capture_output=True, text=True, timeout=90, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.thorough
def test_nothing_ends_with_a_process_that_is_forked(home: Path, tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "model.ubj")
    code = f"""
        client.create_model(
            ModelName="tiny",
            PrimaryContainer={{"Image": "none", "ModelDataUrl": {model.as_uri()!r}}},
            ExecutionRoleArn={ROLE!r},
        )
        variant = {{"VariantName": "A", "ModelName": "tiny", "InstanceType": "local-1c", "InitialInstanceCount": 1}}
        client.create_endpoint_config(EndpointConfigName="tiny", ProductionVariants=[variant])
        client.create_endpoint(EndpointName="tiny", EndpointConfigName="tiny")
        status = lambda: client.describe_endpoint(EndpointName="tiny")["EndpointStatus"]
        while status() == "Creating":
            time.sleep(0.1)

        def drops_it():
            global client
            del client
            gc.collect()

        print(child(lambda: None), child(lambda: client.close()), child(drops_it))
        print(status())
        print(holder_of(state_folder("api")) is not None)
        """
    assert told(code) == ["3 3 3", "InService", "True"]


@pytest.mark.thorough
def test_a_client_that_was_made_in_another_process_says_so(home: Path) -> None:
    code = """
        def uses_it():
            try:
                client.list_models()
            except ServefitError as error:
                print(error)

        def makes_one():
            try:
                Client()
            except ServefitError as error:
                print(error)

        print(child(uses_it))
        print(child(makes_one))
        """
    of_another, status, refused, also = told(code)
    assert of_another.startswith("client was made in another process; make one in this process")
    assert "has a server already, at process" in refused
    assert (status, also) == ("3", "3")


@pytest.mark.thorough
def test_a_closed_client_has_given_the_folder_free_also_where_a_forked_process_lives_on(home: Path) -> None:
    code = """
        reads, writes = os.pipe()
        if not (pid := os.fork()):
            os.close(writes)
            os.read(reads, 1)
            os._exit(0)
        client.close()
        print(Client().list_models()["Models"])
        os.close(writes)
        os.waitpid(pid, 0)
        """
    assert told(code) == ["[]"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"account": "12"}, "account: '12' is not 12 digits"),
        ({"time_scale": 0}, "time_scale: 0 is not above zero"),
        ({"time_scale": "x"}, "time_scale: 'x' is not a number"),
        ({"profiles": {"ml.c5.large": "local-1000c"}}, "local-1000c"),
        ({"s3_root": "/proc/nowhere"}, "s3_root: '/proc/nowhere' cannot be a folder of objects"),
        ({"s3_root": "/proc/version"}, "s3_root: '/proc/version' cannot be a folder of objects"),
    ],
)
def test_settings_without_sense_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        Client(**settings)


def test_a_session_needs_the_sdk_and_takes_a_client_or_settings(client: Client) -> None:
    with pytest.raises(SpecError, match="give either a client or settings"):
        session(client, time_scale=2.0)
    with pytest.raises(SpecError, match=r"install sagemaker>=2\.257,<3"):
        session(client)
