"""The example notebook by the real SageMaker SDK, as a person runs it, and what else the SDK does in its own way."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from tests.aws.conftest import Server, started
from tests.aws.sdk.environments import NEWEST, OLDEST, QUERY, sdk_python
from tests.tiny_model import tiny_booster

pytestmark = [pytest.mark.timed, pytest.mark.timeout(900), pytest.mark.thorough]
ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "sagemaker"
NOTEBOOK = EXAMPLE / "inference_recommender.ipynb"
PROGRAMS = Path(__file__).parent / "sdk"
PNG = b"\x89PNG\r\n\x1a\n"

KEPT = """
import json
from pathlib import Path

Path("found.json").write_text(
    json.dumps(
        {
            "jobs": [default_job, advanced_job],
            "metrics": json.loads(metrics.to_json(orient="records")),
            "recommended": best["RecommendationId"],
            "served": served.tolist(),
        },
        default=str,
    )
)
"""
"""A cell after those of the example, which keeps what they found for the tests."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """The example, after it was run: its cells with their outputs, and what it found, in its folder."""

    folder: Path
    cells: list[Any]
    found: Mapping[str, Any]

    @property
    def jobs(self) -> list[Mapping[str, Any]]:
        return list(self.found["jobs"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server under which the hour of the example's longest job takes 32 s, and that leaves a CPU to the clients of
    its load tests."""
    maps = ("--map", "ml.c5.large=local-1c", "--map", "ml.m5.large=local-1c")
    with started(tmp_path_factory.mktemp("home"), "--allow-noise", "--time-scale", "0.009", *maps) as running:
        yield running


def with_api(server: Server, *command: str | Path, environment: Mapping[str, str] | None = None) -> str:
    """Run a program by ``servefit api run``, and return what it prints."""
    ended = subprocess.run(
        [sys.executable, "-m", "servefit", "api", "run", "--", *map(str, command)],
        # Idle OpenMP threads would spin, and slow down all other work on a small machine.
        env={**os.environ, "SERVEFIT_HOME": str(server.home), "OMP_WAIT_POLICY": "passive", **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, f"{ended.stdout[-4000:]}\n{ended.stderr[-4000:]}"
    return ended.stdout


@pytest.fixture(scope="module")
def run(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The example, run in a copy of its folder by a kernel that has the SDK and no servefit."""
    folder = tmp_path_factory.mktemp("run") / "sagemaker"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    notebook = json.loads((folder / NOTEBOOK.name).read_text())
    notebook["cells"].append(
        {"cell_type": "code", "id": "kept", "metadata": {}, "source": KEPT, "execution_count": None, "outputs": []}
    )
    path = folder / NOTEBOOK.name
    path.write_text(json.dumps(notebook))
    own = {name: str(folder / name) for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR")}
    own |= {"JUPYTER_RUNTIME_DIR": str(folder / "runtime"), "JUPYTER_PLATFORM_DIRS": "1"}
    with_api(server, sys.executable, PROGRAMS / "notebook_run.py", path, sdk_python(NEWEST), environment=own)
    found = json.loads((folder / "found.json").read_text())
    return Run(folder=folder, cells=json.loads(path.read_text())["cells"], found=found)


def test_both_jobs_of_the_example_are_completed_with_recommendations(run: Run) -> None:
    for job in run.jobs:
        assert job["Status"] == "COMPLETED"
        types = [each["EndpointConfiguration"]["InstanceType"] for each in job["InferenceRecommendations"]]
        assert sorted(types) == ["ml.c5.large", "ml.m5.large"]
    default, advanced = run.jobs
    assert (default["JobType"], advanced["JobType"]) == ("Default", "Advanced")


def test_the_advanced_job_has_the_threads_and_the_limits_that_were_asked_for(run: Run) -> None:
    asked = run.jobs[1]
    assert [phase["DurationInSeconds"] for phase in asked["InputConfig"]["TrafficPattern"]["Phases"]] == [300, 300]
    for each in asked["InferenceRecommendations"]:
        variables = {one["Key"]: one["Value"] for one in each["ModelConfiguration"]["EnvironmentParameters"]}
        assert variables["OMP_NUM_THREADS"] in ("3", "4", "6")
        assert each["Metrics"]["ModelLatency"] <= 100
        assert each["Metrics"]["MaxInvocations"] >= 30_000


def test_what_was_deployed_predicts_as_the_model_does(run: Run) -> None:
    booster = xgboost.Booster(model_file=run.folder / "xgboost-model.ubj")
    payload = np.loadtxt(run.folder / "payload.csv", delimiter=",", dtype=np.float32)
    assert len(payload) == 1000
    assert np.array(run.found["served"]) == pytest.approx(booster.predict(xgboost.DMatrix(payload)), rel=1e-5, abs=1e-6)


def test_the_model_is_of_the_size_of_the_use_case_and_goes_up_in_parts(run: Run) -> None:
    assert 9e6 < (run.folder / "xgboost-model.ubj").stat().st_size < 12e6
    assert (run.folder / "model.tar.gz").stat().st_size > 8 * 2**20


def test_its_table_has_the_invocations_and_the_latency_of_each_recommendation(run: Run) -> None:
    rows = run.found["metrics"]
    assert [row["InstanceType"] for row in rows] == [
        each["EndpointConfiguration"]["InstanceType"] for each in run.jobs[1]["InferenceRecommendations"]
    ]
    for row in rows:
        assert row["Invocations (Sum)"] > 0
        assert row["ModelLatency (p99)"] > 0


def test_its_chart_is_a_png(run: Run) -> None:
    images = [
        output["data"]["image/png"]
        for cell in run.cells
        for output in cell.get("outputs", ())
        if "image/png" in output.get("data", {})
    ]
    assert len(images) == 1
    assert base64.b64decode(images[0]).startswith(PNG)


def test_nothing_of_it_is_left_but_its_jobs(server: Server, run: Run) -> None:
    sagemaker = server.client("sagemaker")
    assert sagemaker.list_endpoints()["Endpoints"] == []
    assert sagemaker.list_endpoint_configs()["EndpointConfigs"] == []
    assert sagemaker.list_models()["Models"] == []
    assert sagemaker.list_model_packages(ModelPackageType="Both")["ModelPackageSummaryList"] == []
    assert sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"] == []
    bucket = "sagemaker-us-east-1-123456789012"
    assert "Contents" not in server.client("s3").list_objects_v2(Bucket=bucket, Prefix="fraud-detection/")
    listed = subprocess.run(
        [sys.executable, "-m", "servefit", "jobs", "--format", "json"],
        env={**os.environ, "SERVEFIT_HOME": str(server.home)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert {job["JobName"] for job in run.jobs} <= {job["job"] for job in json.loads(listed.stdout)["jobs"]}


def test_the_oldest_boto3_of_the_sdk_gets_the_same(server: Server, run: Run) -> None:
    program = PROGRAMS / "old_boto3_run.py"
    name, file = run.jobs[1]["JobName"], run.folder / "model.tar.gz"
    found = json.loads(with_api(server, sdk_python(OLDEST), program, name, file, EXAMPLE).splitlines()[-1])
    assert found["boto3"] == "1.42.2"
    assert found["role"] == "arn:aws:iam::123456789012:role/servefit"
    assert found["parts"] == 2
    assert found["length"] == file.stat().st_size
    assert found["metrics"] == run.found["metrics"]


@pytest.mark.parametrize(
    ("packages", "content_type"),
    [(OLDEST, "application/x-amz-json-1.0"), (QUERY, "application/x-www-form-urlencoded")],
    ids=["json", "query"],
)
def test_table_and_chart_are_the_same_in_both_protocols_of_cloudwatch(
    server: Server, run: Run, packages: tuple[str, ...], content_type: str
) -> None:
    program, name = PROGRAMS / "cloudwatch_calls.py", run.jobs[1]["JobName"]
    found = json.loads(with_api(server, sdk_python(packages), program, name, EXAMPLE).splitlines()[-1])
    assert found["types"] == [content_type]
    assert found["account"] == "123456789012"
    assert found["metrics"] == run.found["metrics"]
    assert bytes.fromhex(found["chart"]) == PNG
    assert found["listed"] > 0
    assert found["refused"] == "InvalidParameterCombination"


def test_the_sdk_returns_when_a_job_is_over_and_deploys_what_was_measured(server: Server, tmp_path: Path) -> None:
    urls = server.put_model(tmp_path)
    found = json.loads(with_api(server, sdk_python(NEWEST), PROGRAMS / "right_size_run.py", *urls).splitlines()[-1])
    assert 0 <= found["late_s"] < 10, "it looks every 60 s, and the server has it wait in between"
    assert found["instance_type"] == "ml.c5.large"
    parameters = found["recommendation"]["ModelConfiguration"]["EnvironmentParameters"]
    variables = {each["Key"]: each["Value"] for each in parameters}
    headline = (server.home / "api" / "endpoints" / found["endpoint"] / "stdout.txt").read_text()
    assert f"by {variables['SERVEFIT_BACKEND']}, {variables['SAGEMAKER_MODEL_SERVER_WORKERS']} worker" in headline
    own = tiny_booster().predict(xgboost.DMatrix(np.array([[0.0, 1.0]])))[0]
    assert float(found["prediction"][0][0]) == pytest.approx(own, rel=1e-5)
