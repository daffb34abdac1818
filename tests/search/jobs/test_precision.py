"""Jobs that allow less exact artifacts: what takes part, what is kept, and what is told of it."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.onnx_models import FLOAT, node, save
from tests.search.jobs.lifecycle.conftest import Listener, interrupt
from tests.short_durations import short_durations

import servefit as sf
from servefit.backends.quality.limits import QualityLimit
from servefit.errors import SpecError
from servefit.report.contents import report_of
from servefit.search.deployment.deployable import deployable_of_job
from servefit.search.fleet.subject import check_publishable
from servefit.search.jobs.job import JobInterrupted
from servefit.search.request.config_file import config_text, parse_config, read_config
from servefit.search.request.job_request import JobRequest
from servefit.search.storage.jobs import JobStore

if TYPE_CHECKING:
    from pathlib import Path

    from servefit.search.jobs.job import RecommendationJob

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("short")]

INT8 = "onnxruntime/int8-dynamic"
ROWS = np.random.default_rng(3).standard_normal((500, 8)).astype(np.float32)
WEIGHTS = np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32)
LABELS = (ROWS @ WEIGHTS).argmax(axis=1)
QUICK: dict[str, Any] = {
    "profile": "local-1c",
    "max_tests": 1,
    "deploy": "library",
    "http": False,
    "allow_noise": True,
}


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(autouse=True)
def _state(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(state))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "layer.onnx"
    return save(path, {"x": (FLOAT, ["n", 8])}, [node("MatMul", ["x", "w"], ["y"])], {"y": FLOAT}, {"w": WEIGHTS})


@pytest.fixture(scope="module")
def job(model: Path, state: Path) -> RecommendationJob:
    """A job whose only test is of an int8 artifact, scored on labels."""
    with pytest.MonkeyPatch.context() as patch, short_durations():
        patch.setenv("SERVEFIT_HOME", str(state))
        return sf.recommend(
            model,
            payload=ROWS,
            name="scored",
            backend=[INT8],
            allow_precision="int8",
            max_deviation=0.2,
            quality=LABELS,
            metric="accuracy",
            quality_drop="10%",
            **QUICK,
        )


@pytest.mark.thorough
def test_an_artifact_within_the_limits_is_one_more_backend(job: RecommendationJob) -> None:
    assert job.best is not None
    assert job.best.trial.configuration.backend == INT8
    [report] = job.compilation
    assert report.status == "COMPLETED"
    assert report.quality == job.best.quality
    assert report.quality is not None
    assert report.quality.verdict == "PASS"
    assert report.quality.drop is not None
    assert report.quality.drop.reference == 1.0


def test_quality_is_a_column_and_in_the_document(job: RecommendationJob) -> None:
    assert job.best is not None
    quality = job.best.quality
    assert quality is not None
    report = report_of(job)
    [table] = [table for table in report.tables if "quality" in table.columns and "profile" in table.columns][:1]
    assert table.rows[0][list(table.columns).index("quality")] == quality.short
    document = json.loads(json.dumps(report.document))
    [recommended] = document["recommendations"]
    assert recommended["quality"]["verdict"] == "PASS"
    assert recommended["quality"]["drop"]["metric"] == "accuracy"
    assert recommended["quality"]["text"] == document["compilation"][0]["quality"]["text"] == quality.text


def test_the_report_draws_cost_against_quality(job: RecommendationJob) -> None:
    [plot] = [plot for section in report_of(job).sections for plot in section.plots if plot.name == "cost-quality"]
    assert job.best is not None
    assert job.best.quality is not None
    assert job.best.quality.drop is not None
    [series] = plot.series
    assert (series.name, list(series.x)) == (INT8, [100 * job.best.quality.drop.drop])
    assert [guide.at for guide in plot.guides] == [10.0]
    assert plot.table.rows[0][:2] == (INT8, "int8")


def test_limits_and_labels_are_kept_with_the_job(job: RecommendationJob) -> None:
    with JobStore.open(None) as store:
        kept = store.job("scored").header.request.precision
    assert kept == job.request.precision
    assert kept.quality is not None
    assert kept.quality.labels == tuple(LABELS.tolist())
    text = config_text(job.request, model="layer.onnx")
    assert parse_config(text.encode(), "job.yaml").request("scored").precision == kept


def test_what_is_recommended_can_be_deployed(job: RecommendationJob) -> None:
    assert deployable_of_job("scored").artifact.backend == INT8


@pytest.fixture(scope="module")
def own(model: Path, state: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RecommendationJob, Path]:
    """A job that is scored by a function of the user's own, on labels in a file beside it, and their folder."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "scoring.py").write_text("def score(labels, said): return (said.argmax(axis=1) == labels).mean()")
    np.save(folder / "labels.npy", LABELS)
    scored: dict[str, Any] = {"quality": "labels.npy", "metric": "scoring:score", "quality_drop": "20%"}
    with pytest.MonkeyPatch.context() as patch, short_durations():
        patch.setenv("SERVEFIT_HOME", str(state))
        patch.chdir(folder)
        job = sf.recommend(model, payload=ROWS, name="own", backend=[INT8], allow_precision="int8", **scored, **QUICK)
        return job, folder


@pytest.mark.thorough
@pytest.mark.usefixtures("own")
def test_what_a_function_of_the_users_own_said_holds_for_what_is_deployed() -> None:
    assert deployable_of_job("own").artifact.backend == INT8


@pytest.mark.thorough
def test_a_report_names_labels_as_they_lie_beside_the_file_that_it_tells_to_save(
    own: tuple[RecommendationJob, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    job, folder = own
    monkeypatch.chdir(folder)
    config = folder / "job.yaml"
    [code] = [section.code for section in report_of(job).sections if section.code and "quality:" in section.code]
    config.write_text(code)
    assert str(folder) not in code, "a report says nothing of the folders of whoever made it"
    assert read_config(config).request("again").precision.quality == QualityLimit(
        source=str(folder / "labels.npy"), metric="scoring:score", drop=0.2
    )


def test_a_config_file_may_hold_the_labels_of_as_many_rows_as_are_read(model: Path, tmp_path: Path) -> None:
    labels = np.random.default_rng(0).standard_normal(10_000)
    limits = sf.PrecisionLimits.of(allow_precision="int8", quality=labels, metric="r2", quality_drop=0.01)
    config = tmp_path / "job.yaml"
    config.write_text(config_text(JobRequest(name="long", precision=limits), model=str(model)))
    assert read_config(config).request("again").precision == limits


@pytest.mark.thorough
def test_labels_may_be_those_of_all_rows_of_which_the_first_were_taken(model: Path, state: Path) -> None:
    rows = np.random.default_rng(4).standard_normal((10_001, 8)).astype(np.float32)
    scored: dict[str, Any] = {"quality": (rows @ WEIGHTS).argmax(axis=1), "metric": "accuracy", "quality_drop": "10%"}
    sf.recommend(model, payload=rows, name="long", backend=[INT8], allow_precision="int8", **scored, **QUICK)
    shutil.rmtree(state / "artifacts")
    assert deployable_of_job("long").artifact.backend == INT8


@pytest.fixture(scope="module")
def rectified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rectifier makes zeros of whole rows; what is more, however little, is infinitely many times as much."""
    nodes = [node("MatMul", ["x", "w"], ["sums"]), node("Relu", ["sums"], ["y"])]
    inputs, outputs, weights = {"x": (FLOAT, ["n", 8])}, {"y": FLOAT}, {"w": np.abs(WEIGHTS)}
    return save(tmp_path_factory.mktemp("model") / "rectified.onnx", inputs, nodes, outputs, weights)


@pytest.mark.thorough
def test_what_is_off_where_the_model_says_zero_has_no_share_in_documents(rectified: Path) -> None:
    labels = (ROWS @ np.abs(WEIGHTS)).argmax(axis=1)
    scored: dict[str, Any] = {"quality": labels, "metric": "accuracy", "quality_drop": "30%"}
    before_tests = Listener("measuring", interrupt)
    with pytest.raises(JobInterrupted) as caught:
        sf.recommend(
            rectified,
            payload=ROWS,
            backend=[INT8],
            allow_precision="int8",
            progress=before_tests,
            **scored,
            **QUICK,
        )
    job = caught.value.job
    [report] = job.compilation
    assert report.quality is not None
    assert report.quality.largest_deviation == np.inf
    document = report_of(job).document
    assert json.loads(json.dumps(document, allow_nan=False))["compilation"][0]["quality"]["largest_deviation"] is None


@pytest.mark.thorough
def test_what_is_off_where_the_model_says_zero_has_no_share_in_plots(rectified: Path) -> None:
    deviating: dict[str, Any] = {"allow_precision": "int8", "max_deviation": "top1=0.5"}
    job = sf.recommend(rectified, payload=ROWS, backend=[INT8], **deviating, **QUICK)
    plots = [plot for part in report_of(job).sections for plot in part.plots]
    assert "cost-quality" not in {plot.name for plot in plots if plot.series}


def test_what_breaks_the_limits_is_a_failed_compilation_with_its_numbers(model: Path) -> None:
    job = sf.recommend(
        model, payload=ROWS, backend=["onnxruntime", INT8], allow_precision="int8", max_deviation=1e-6, **QUICK
    )
    failed = {report.backend: report for report in job.compilation}[INT8]
    assert failed.status == "FAILED"
    assert failed.reason is not None
    assert "largest deviation" in failed.reason
    assert "1e-06 is allowed" in failed.reason
    assert job.best is not None
    assert job.best.trial.configuration.backend == "onnxruntime"
    assert job.best.quality is None


def test_labels_that_do_not_fit_are_refused_before_there_is_a_job(model: Path) -> None:
    with pytest.raises(SpecError, match="has 3 labels, and array has 500 rows"):
        sf.recommend(
            model,
            payload=ROWS,
            name="unfit",
            allow_precision="int8",
            quality=[0, 1, 2],
            metric="accuracy",
            quality_drop=0.01,
            **QUICK,
        )
    with pytest.raises(SpecError, match="unfit"):
        sf.load_job("unfit")


def test_a_function_of_the_users_own_is_run_on_no_other_host(job: RecommendationJob) -> None:
    from dataclasses import replace

    check_publishable(job.header)
    quality = job.request.precision.quality
    assert quality is not None
    own = replace(job.request.precision, quality=replace(quality, metric="own:score"))
    with pytest.raises(SpecError, match="others run no code that a job names"):
        check_publishable(replace(job.header, request=replace(job.request, precision=own)))


@pytest.mark.thorough
def test_a_model_is_profiled_within_limits(model: Path) -> None:
    limits = sf.PrecisionLimits.of(allow_precision="int8", max_deviation="cosine=0.9")
    found = sf.profile(model, payload=ROWS, backend=INT8, precision=limits, users=1, duration_s=0.2, allow_noise=True)
    assert found.compilation.quality is not None
    assert found.compilation.quality.verdict == "PASS"
