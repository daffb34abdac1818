"""Instant recommendations, which DescribeModel tells: predicted from calls that are timed alone, or measured by a job
of the same model data."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import tarfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xgboost
from tests.aws.conftest import OPTIONS, ROLE, started
from tests.aws.test_jobs import IMAGE, asked, waited_for
from tests.tiny_model import ROWS, tiny_model

from servefit.aws.endpoints.commands import variables_of
from servefit.aws.jobs.model_data import DataVersions
from servefit.aws.jobs.survey import Expected, SurveyFiles
from servefit.aws.jobs.turns import DATA_VERSION, SURVEY
from servefit.aws.services.sagemaker.instant_recommendations import survey_name
from servefit.aws.state.resources import Resources
from servefit.backends.types import Settings
from servefit.processes import living
from servefit.profiler.machine.host import describe_host
from servefit.profiler.record.types import Configuration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.aws.conftest import Server

pytestmark = pytest.mark.integration

PROMISED_S = 60
"""By AWS."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("models")
    np.savetxt(made / "payload.csv", ROWS, delimiter=",", fmt="%g")
    return made


@pytest.fixture(scope="module")
def first(server: Server, folder: Path) -> str:
    """The URL of a model of which nothing is known."""
    return server.put_model(folder, key="first/model.ubj")[0]


def other_model(path: Path, rounds: int) -> Path:
    """Write a model that is like no other with another number of rounds."""
    xgboost.train({"max_depth": 1}, xgboost.DMatrix(ROWS, ROWS[:, 1]), num_boost_round=rounds).save_model(path)
    return path


def upload(server: Server, file: Path, key: str) -> str:
    client = server.client("s3")
    client.create_bucket(Bucket="models")
    client.upload_file(str(file), "models", key)
    return f"s3://models/{key}"


def make_model(server: Server, name: str, url: str | None, **container: Any) -> None:
    data = {} if url is None else {"ModelDataUrl": url}
    server.client("sagemaker").create_model(
        ModelName=name, PrimaryContainer={"Image": IMAGE, **data, **container}, ExecutionRoleArn=ROLE
    )


def told_of(server: Server, name: str) -> dict[str, Any]:
    found: dict[str, Any] = server.client("sagemaker").describe_model(ModelName=name)["DeploymentRecommendation"]
    return found


def known(server: Server, name: str) -> dict[str, Any]:
    """Return what is told of a model once that is known."""
    until = time.monotonic() + 2 * PROMISED_S  # other tests may measure
    while (told := told_of(server, name))["RecommendationStatus"] == "IN_PROGRESS":
        assert time.monotonic() < until
        time.sleep(0.2)
    return told


def surveys(server: Server) -> list[Path]:
    return sorted((server.home / "api" / "surveys").iterdir())


def keep_survey(server: Server, key: str) -> None:
    """Keep a survey of an object, as if it had been carried out."""
    version = DataVersions().of(server.home / "api" / "s3" / "models" / key)
    assert version is not None
    name = survey_name(version, describe_host())
    one = Configuration(backend="forest", vcpus=1, settings=Settings(threads=1), workers=1)
    variables = variables_of(one, measured_as=None, basis="predicted")
    survey = SurveyFiles(server.home / "api" / "surveys" / name)
    survey.folder.mkdir()
    survey.write_expected([Expected(profile="local-1c", variables=variables, capacity_per_s=10_000.0)])
    with kept(server) as resources:
        resources.add(SURVEY, name, {"Status": "COMPLETED", DATA_VERSION: version})


@pytest.fixture(scope="module")
def predicted(server: Server, first: str) -> list[dict[str, Any]]:
    """The recommendations of a model that no job was about, and that was surveyed."""
    keep_survey(server, "first/model.ubj")
    make_model(server, "first", first)
    return recommended(told_of(server, "first"), name="first")


def recommended(told: dict[str, Any], *, name: str) -> list[dict[str, Any]]:
    """Return recommendations for the profiles of this machine, which are as the SDK takes them."""
    assert told["RecommendationStatus"] == "COMPLETED"
    found: list[dict[str, Any]] = told["RealTimeInferenceRecommendations"]
    types = [each["InstanceType"] for each in found]
    assert "ml.local-1c" in types
    assert len(set(types)) == len(types) <= 3
    for each in found:
        assert re.match(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,63}\/\w{8}$", each["RecommendationId"])
        assert each["RecommendationId"].startswith(f"{name}/")
        assert each["Environment"]["SERVEFIT_BACKEND"]
        assert int(each["Environment"]["OMP_NUM_THREADS"]) >= 1
        assert int(each["Environment"]["SAGEMAKER_MODEL_SERVER_WORKERS"]) >= 1
    one = next(each for each in found if each["InstanceType"] == "ml.local-1c")
    assert one["Environment"]["SAGEMAKER_MODEL_SERVER_WORKERS"] == "1"
    return found


def test_a_model_that_was_surveyed_is_recommended_for_the_profiles_of_this_machine(
    predicted: list[dict[str, Any]],
) -> None:
    assert [each["Environment"]["SERVEFIT_BACKEND"] for each in predicted] == ["forest"]


@pytest.mark.thorough
def test_a_model_of_which_nothing_is_known_is_surveyed_when_it_is_described(server: Server, folder: Path) -> None:
    make_model(server, "unknown", upload(server, other_model(folder / "unknown.ubj", 20), "unknown/model.ubj"))
    assert told_of(server, "unknown") == {"RecommendationStatus": "IN_PROGRESS"}
    recommended(known(server, "unknown"), name="unknown")


@pytest.mark.thorough
def test_what_was_recommended_is_what_an_endpoint_serves(
    server: Server, first: str, predicted: list[dict[str, Any]]
) -> None:
    client = server.client("sagemaker")
    one = next(each for each in predicted if each["InstanceType"] == "ml.local-1c")
    make_model(server, "deployed", first, Environment=one["Environment"])
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": "deployed",
        "InstanceType": one["InstanceType"],
        "InitialInstanceCount": 1,
    }
    client.create_endpoint_config(EndpointConfigName="deployed", ProductionVariants=[variant])
    client.create_endpoint(EndpointName="deployed", EndpointConfigName="deployed")
    client.get_waiter("endpoint_in_service").wait(EndpointName="deployed", WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    headline = (server.home / "api" / "endpoints" / "deployed" / "stdout.txt").read_text()
    assert f"by {one['Environment']['SERVEFIT_BACKEND']}, 1 worker x 1 thread" in headline
    assert "as local-1c" in headline
    client.delete_endpoint(EndpointName="deployed")


def test_another_model_of_the_same_data_is_known_at_once_also_when_it_was_uploaded_again(
    server: Server, folder: Path, first: str, predicted: list[dict[str, Any]]
) -> None:
    before = surveys(server)
    make_model(server, "second", first)
    told = told_of(server, "second")
    assert told["RecommendationStatus"] == "COMPLETED"
    names = [each["RecommendationId"].replace("second/", "first/") for each in told["RealTimeInferenceRecommendations"]]
    assert names == [each["RecommendationId"] for each in predicted]
    upload(server, tiny_model(folder / "again.ubj"), "first/model.ubj")
    assert told_of(server, "second") == told
    assert surveys(server) == before


@pytest.mark.thorough
def test_other_data_under_the_same_url_is_another_model(
    server: Server, folder: Path, predicted: list[dict[str, Any]]
) -> None:
    url = upload(server, tiny_model(folder / "changing.ubj"), "changing/model.ubj")
    make_model(server, "changing", url)
    assert told_of(server, "changing")["RecommendationStatus"] == "COMPLETED"
    upload(server, other_model(folder / "changed.ubj", 3), "changing/model.ubj")
    assert told_of(server, "changing")["RecommendationStatus"] == "IN_PROGRESS"
    assert known(server, "changing")["RecommendationStatus"] == "COMPLETED"


def test_a_model_of_a_package_is_recommended_too(server: Server, first: str, predicted: list[dict[str, Any]]) -> None:
    client = server.client("sagemaker")
    specification = {"Containers": [{"Image": IMAGE, "ModelDataUrl": first}], "SupportedContentTypes": ["text/csv"]}
    package = client.create_model_package(ModelPackageName="packed", InferenceSpecification=specification)
    containers = [{"ModelPackageName": package["ModelPackageArn"]}]
    client.create_model(ModelName="of-package", Containers=containers, ExecutionRoleArn=ROLE)
    told = told_of(server, "of-package")
    assert told["RecommendationStatus"] == "COMPLETED"
    assert told["RealTimeInferenceRecommendations"][0]["RecommendationId"].startswith("of-package/")
    client.delete_model_package(ModelPackageName="packed")
    assert told_of(server, "of-package") == {"RecommendationStatus": "FAILED"}


@pytest.mark.timed
@pytest.mark.thorough
def test_what_a_job_has_measured_is_told_at_once(server: Server, folder: Path) -> None:
    url = upload(server, other_model(folder / "measured.ubj", 4), "measured/model.ubj")
    make_model(server, "measured", url)
    client = server.client("sagemaker")
    payload = upload(server, folder / "payload.csv", "measured/payload.csv")
    before = surveys(server)
    request = asked("measured-first", {"model": "measured", "payload": payload})
    client.create_inference_recommendations_job(**request)
    # The job will say more: nothing is measured for it beforehand.
    assert told_of(server, "measured") == {"RecommendationStatus": "IN_PROGRESS"}
    job = waited_for(client, "measured-first")
    assert job["Status"] == "COMPLETED", job
    told = told_of(server, "measured")
    assert surveys(server) == before
    assert told["RecommendationStatus"] == "COMPLETED"
    found, measured = told["RealTimeInferenceRecommendations"], job["InferenceRecommendations"]
    assert [each["InstanceType"] for each in found] == [
        each["EndpointConfiguration"]["InstanceType"] for each in measured
    ]
    best = {each["Key"]: each["Value"] for each in measured[0]["ModelConfiguration"]["EnvironmentParameters"]}
    assert found[0]["Environment"] == best
    assert found[0]["RecommendationId"].startswith("measured/")


def served_as(server: Server, model: str, name: str) -> dict[str, str]:
    """Return the variables with which an endpoint of a model on the type that jobs here measure is served."""
    client = server.client("sagemaker")
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": model,
        "InstanceType": "ml.c5.large",
        "InitialInstanceCount": 1,
    }
    client.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    client.create_endpoint(EndpointName=name, EndpointConfigName=name)
    with kept(server) as resources:
        found: dict[str, str] = resources.get("endpoint", name).document["Served"]["environment"]
    client.delete_endpoint(EndpointName=name)
    return found


@pytest.mark.timed
@pytest.mark.thorough
def test_an_endpoint_is_served_as_it_was_measured_for_the_same_data_alone(
    server: Server, folder: Path, first: str
) -> None:
    url = upload(server, other_model(folder / "same.ubj", 11), "same/model.ubj")
    make_model(server, "same", url)
    client = server.client("sagemaker")
    payload = upload(server, folder / "payload.csv", "same/payload.csv")
    client.create_inference_recommendations_job(**asked("same", {"model": "same", "payload": payload}))
    assert waited_for(client, "same")["Status"] == "COMPLETED"
    assert "SERVEFIT_BACKEND" in served_as(server, "same", "of-the-same")
    make_model(server, "elsewhere", upload(server, folder / "same.ubj", "elsewhere/model.ubj"))
    assert served_as(server, "elsewhere", "of-the-same-elsewhere") == served_as(server, "same", "of-the-same-again")
    upload(server, other_model(folder / "not-the-same.ubj", 12), "same/model.ubj")
    assert served_as(server, "same", "of-other-data") == {}


@pytest.mark.timed
@pytest.mark.thorough
@pytest.mark.parametrize("when", ["before its turn", "while it is measured"])
def test_a_job_counts_for_the_data_that_it_measured(server: Server, folder: Path, first: str, when: str) -> None:
    client, name = server.client("sagemaker"), f"overwritten-{when.replace(' ', '-')}"
    both = (13, 14) if when == "before its turn" else (15, 16)
    old, new = (other_model(folder / f"{name}-{rounds}.ubj", rounds) for rounds in both)
    url = upload(server, old, f"{name}/model.ubj")
    make_model(server, name, url)
    payload = upload(server, folder / "payload.csv", f"{name}/payload.csv")
    if when == "before its turn":
        client.create_inference_recommendations_job(**asked(f"{name}-ahead", {"model": name, "payload": payload}))
        client.create_inference_recommendations_job(**asked(name, {"model": name, "payload": payload}))
        while client.describe_inference_recommendations_job(JobName=f"{name}-ahead")["Status"] == "PENDING":
            time.sleep(0.1)
        assert client.describe_inference_recommendations_job(JobName=name)["Status"] == "PENDING"
        upload(server, new, f"{name}/model.ubj")
        client.stop_inference_recommendations_job(JobName=f"{name}-ahead")
    else:
        client.create_inference_recommendations_job(**asked(name, {"model": name, "payload": payload}))
        while not client.list_inference_recommendations_job_steps(JobName=name)["Steps"]:
            time.sleep(0.1)
        upload(server, new, f"{name}/model.ubj")
    job = waited_for(client, name)
    assert job["Status"] == "COMPLETED", job
    with kept(server) as resources:
        version = resources.get("inference-recommendations-job", name).document["DataVersion"]
    of = hashlib.sha256(new.read_bytes()).hexdigest()
    assert version == (of if when == "before its turn" else None)
    upload(server, old, f"{name}/model.ubj")
    assert served_as(server, name, f"{name}-old") == {}


def survey_process(server: Server) -> int:
    """Return the process that carries out the survey that runs, once there is one."""
    until = time.monotonic() + PROMISED_S
    while True:
        with kept(server) as resources:
            running = [each.document for each in resources.all("model-survey")]
        marks = [each["Process"] for each in running if each["Status"] == "IN_PROGRESS"]
        if marks and (pid := living(marks[0])) is not None:
            return pid
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.mark.thorough
def test_a_survey_that_was_killed_is_made_again_after_a_while(server: Server, folder: Path) -> None:
    make_model(server, "killed", upload(server, other_model(folder / "killed.ubj", 17), "killed.ubj"))
    assert told_of(server, "killed")["RecommendationStatus"] == "IN_PROGRESS"
    os.kill(survey_process(server), signal.SIGKILL)
    assert known(server, "killed") == {"RecommendationStatus": "FAILED"}
    # Not at once: a model that takes its process down would keep the machine busy.
    assert told_of(server, "killed") == {"RecommendationStatus": "FAILED"}
    long_ago(server)
    assert told_of(server, "killed") == {"RecommendationStatus": "IN_PROGRESS"}
    assert known(server, "killed")["RecommendationStatus"] == "COMPLETED"


@pytest.mark.thorough
def test_a_survey_whose_data_was_overwritten_is_of_nothing(server: Server, folder: Path) -> None:
    old, new = other_model(folder / "old.ubj", 18), other_model(folder / "new.ubj", 19)
    make_model(server, "renewed", upload(server, old, "renewed.ubj"))
    assert told_of(server, "renewed")["RecommendationStatus"] == "IN_PROGRESS"
    survey_process(server)
    upload(server, new, "renewed.ubj")
    assert known(server, "renewed")["RecommendationStatus"] == "COMPLETED"
    upload(server, old, "renewed.ubj")
    assert told_of(server, "renewed") == {"RecommendationStatus": "FAILED"}
    long_ago(server)
    assert known(server, "renewed")["RecommendationStatus"] == "COMPLETED"


@contextmanager
def kept(server: Server) -> Iterator[Resources]:
    """Give what the server keeps."""
    resources = Resources(server.home / "api" / "resources.db")
    try:
        yield resources
    finally:
        resources.close()


def long_ago(server: Server) -> None:
    """Have all surveys that have failed end an hour earlier than they did."""
    with kept(server) as resources:
        for each in resources.all("model-survey"):
            if each.document["Status"] == "FAILED":
                resources.change(
                    each.kind, each.name, lambda was: {**was, "CompletionTime": was["CompletionTime"] - 3600}
                )


def no_data(server: Server, folder: Path) -> str:
    return "s3://models/nothing/model.tar.gz"


def no_model(server: Server, folder: Path) -> str:
    (folder / "text.txt").write_text("no model")
    return upload(server, folder / "text.txt", "broken/text.ubj")


def empty_archive(server: Server, folder: Path) -> str:
    with tarfile.open(folder / "empty.tar.gz", "w:gz"):
        pass
    return upload(server, folder / "empty.tar.gz", "broken/model.tar.gz")


def pickled(server: Server, folder: Path) -> str:
    (folder / "model.pkl").write_bytes(b"\x80\x04}\x94.")
    return upload(server, folder / "model.pkl", "broken/model.pkl")


def a_device(server: Server, folder: Path) -> str:
    return "file:///dev/zero"


def no_name(server: Server, folder: Path) -> str:
    return "file:///a%00b"


@pytest.mark.parametrize(
    "url_of",
    [
        no_data,
        pickled,
        *(pytest.param(url_of, marks=pytest.mark.thorough) for url_of in (no_model, empty_archive, a_device, no_name)),
    ],
)
def test_data_that_cannot_be_read_fails(server: Server, folder: Path, url_of: Callable[[Server, Path], str]) -> None:
    name = url_of.__name__.replace("_", "-")
    make_model(server, name, url_of(server, folder))
    assert known(server, name) == {"RecommendationStatus": "FAILED"}
    long_ago(server)
    assert told_of(server, name) == {"RecommendationStatus": "FAILED"}


def test_a_model_without_data_has_none(server: Server) -> None:
    make_model(server, "empty", None)
    assert told_of(server, "empty") == {"RecommendationStatus": "NOT_APPLICABLE"}


def test_data_that_comes_later_is_read_then(server: Server, folder: Path, predicted: list[dict[str, Any]]) -> None:
    make_model(server, "later", "s3://models/later/model.ubj")
    assert told_of(server, "later") == {"RecommendationStatus": "FAILED"}
    upload(server, tiny_model(folder / "later.ubj"), "later/model.ubj")
    assert told_of(server, "later")["RecommendationStatus"] == "COMPLETED"


@pytest.mark.timed
@pytest.mark.thorough
def test_a_job_does_not_wait_behind_the_models_that_were_described(server: Server, folder: Path) -> None:
    client = server.client("sagemaker")
    names = ["crowd-5", "crowd-6"]
    for rounds, name in enumerate(names, start=5):
        make_model(server, name, upload(server, other_model(folder / f"{name}.ubj", rounds), f"{name}.ubj"))
        assert told_of(server, name)["RecommendationStatus"] == "IN_PROGRESS"
    make_model(server, "hurried", upload(server, other_model(folder / "hurried.ubj", 9), "hurried.ubj"))
    payload = upload(server, folder / "payload.csv", "hurried.csv")
    began = time.monotonic()
    told_of(server, "crowd-5")
    assert time.monotonic() - began < 5
    client.create_inference_recommendations_job(**asked("hurried", {"model": "hurried", "payload": payload}))
    assert waited_for(client, "hurried", timeout_s=240)["Status"] == "COMPLETED"
    told = [told_of(server, name)["RecommendationStatus"] for name in names]
    assert "IN_PROGRESS" in told
    for name in names:
        assert known(server, name)["RecommendationStatus"] == "COMPLETED"


@pytest.mark.thorough
def test_a_survey_is_taken_up_by_the_next_server_and_kept(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with started(home, *OPTIONS) as server:
        url, _ = server.put_model(tmp_path)
        make_model(server, "model", url)
        assert told_of(server, "model")["RecommendationStatus"] == "IN_PROGRESS"
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(10)
    with started(home, *OPTIONS) as server:
        told = known(server, "model")
        assert told["RecommendationStatus"] == "COMPLETED"
    with started(home, *OPTIONS) as server:
        assert told_of(server, "model") == told
        (survey,) = surveys(server)
        assert json.loads((survey / "expected.json").read_text())


@pytest.mark.thorough
def test_what_has_failed_is_tried_again_by_the_next_server(tmp_path: Path) -> None:
    import pickle

    home, file = tmp_path / "home", tmp_path / "model.pkl"
    file.write_bytes(pickle.dumps(xgboost.XGBRegressor(n_estimators=2).fit(ROWS, ROWS[:, 0])))
    with started(home, *OPTIONS) as server:
        make_model(server, "pickled", upload(server, file, "model.pkl"))
        assert known(server, "pickled")["RecommendationStatus"] == "FAILED"
    with started(home, *OPTIONS, "--trust-pickle") as server:
        assert known(server, "pickled")["RecommendationStatus"] == "COMPLETED"
    shutil.rmtree(home)
