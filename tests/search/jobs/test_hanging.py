"""Jobs with backends that hang: each ends within its limit, the others are measured, and the job keeps to its time."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

import servefit
from servefit.errors import SpecError, TimedOut
from servefit.search.optimizer.progress import SilentProgress

if TYPE_CHECKING:
    from pathlib import Path

    from tests.search.jobs.conftest import Install

    from servefit.search.jobs.job import RecommendationJob
    from servefit.search.optimizer.progress import Moment

HANG = "time.sleep(3600)"
HANG_IN_WORKERS = f"if 'servefit.profiler.drivers.driving.entering' in sys.modules: {HANG}"


class Heard(SilentProgress):
    """Keeps the stages of a job."""

    def __init__(self) -> None:
        self.stages: list[str] = []

    def stage(self, text: str, at: Moment | None = None) -> None:
        self.stages.append(text)


def job_on(
    model: Path,
    budget_s: int,
    *,
    backends: Sequence[str] = ("xgboost",),
    progress: SilentProgress | None = None,
    tests: int = 2,
) -> RecommendationJob:
    """A short job, whose time is kept."""
    began = time.monotonic()
    try:
        return servefit.right_size(
            model,
            job_name="job",
            supported_instance_types=["local-1c"],
            backends=list(backends),
            batch_sizes=[1],
            max_tests=tests,
            job_duration_in_seconds=budget_s,
            allow_noise=True,
            over_http=False,
            progress=progress,
        )
    finally:
        assert time.monotonic() - began < 1.5 * budget_s


@pytest.mark.timed
@pytest.mark.thorough
def test_backends_that_hang_before_they_are_measured_are_ended_and_the_others_are_measured(
    install: Install, model: Path
) -> None:
    install("importing", importing=HANG)
    install("compiling", compiling=HANG)
    install("checking", predicting=HANG)
    heard = Heard()
    job = job_on(model, 20, backends=("importing", "compiling", "checking", "treelite", "xgboost"), progress=heard)
    # What is quick and certain comes first.
    assert [report.backend for report in job.compilation] == ["xgboost", "treelite", "compiling", "checking"]
    assert job.best is not None
    (skipped,) = (skipped.reason for skipped in job.skipped if skipped.name == "importing")
    assert "it did not say within 5 s what it can do (package importing 1.0)" in skipped
    failed = {report.backend: report for report in job.compilation if report.status == "FAILED"}
    assert failed.keys() == {"compiling", "checking"}
    assert re.fullmatch(r"compiling: compiling did not finish within (4\.[0-9]|5) s", failed["compiling"].reason or "")
    for name in failed:
        assert any(
            f"{name} was not compiled and checked within the 5 s that it had" in warning for warning in job.warnings
        )
        assert failed[name].seconds < 7
    # Each has a countdown of what is left of its own 5 s when its turn comes. The first of the two was begun beside the
    # backend before it, and the second one beside the first, which leaves it next to nothing.
    left = {
        name: [stage.removeprefix(f"compiling with {name}: ") for stage in heard.stages if f"with {name}: " in stage]
        for name in failed
    }
    assert re.fullmatch("[1-4] s more at most", left["compiling"][0])
    assert len(left["checking"]) <= 1


@pytest.mark.timed
@pytest.mark.thorough
def test_a_backend_that_hangs_when_it_is_measured_is_given_up(install: Install, model: Path) -> None:
    install("stalling", predicting=HANG_IN_WORKERS)
    heard = Heard()
    job = job_on(model, 24, backends=("stalling", "xgboost"), tests=3, progress=heard)
    assert job.best is not None
    assert {trial.configuration.backend for trial in job.trials} == {"xgboost"}
    (timed_out,) = (step for step in job.steps if step.backend == "stalling" and step.kind != "compilation")
    assert timed_out.status == "FAILED"
    assert any("stalling was given up: " in warning and "did not finish within" in warning for warning in job.warnings)
    counted = [stage.rpartition(": ")[2] for stage in heard.stages if stage.startswith(f"step {timed_out.number}: ")]
    assert counted[:2] == ["4 s more at most", "2 s more at most"]


def endless(path: Path, *, most_rows: int) -> Path:
    """An ONNX model whose calls with more than ``most_rows`` never end."""
    from onnx import TensorProto, helper

    value, condition = (
        helper.make_tensor_value_info("value", TensorProto.FLOAT, ["n", 2]),
        helper.make_tensor_value_info("condition", TensorProto.BOOL, []),
    )
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["condition"], ["go_on"]),
            helper.make_node("Sin", ["value"], ["next"]),
        ],
        "body",
        [helper.make_tensor_value_info("nth", TensorProto.INT64, []), condition, value],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, ["n", 2]),
        ],
    )
    graph = helper.make_graph(
        [
            helper.make_node("Shape", ["x"], ["rows"], start=0, end=1),
            helper.make_node("Greater", ["rows", "most"], ["beyond"]),
            helper.make_node("Cast", ["beyond"], ["one"], to=TensorProto.INT64),
            helper.make_node("Mul", ["one", "many"], ["product"]),
            helper.make_node("Squeeze", ["product"], ["times"]),
            helper.make_node("Loop", ["times", "yes", "x"], ["y"], body=body),
        ],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [
            helper.make_tensor("most", TensorProto.INT64, [1], [most_rows]),
            helper.make_tensor("many", TensorProto.INT64, [1], [2**40]),
            helper.make_tensor("yes", TensorProto.BOOL, [], [True]),
        ],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(made.SerializeToString())
    return path


@pytest.mark.timed
@pytest.mark.usefixtures("install")
def test_a_model_whose_calls_never_end_is_given_up_within_the_time(tmp_path: Path) -> None:
    job = job_on(endless(tmp_path / "model.onnx", most_rows=16), 6, backends=("onnxruntime", "treelite"))
    assert job.status == "FAILED"
    assert job.trials == ()
    (compilation,) = job.compilation
    assert (compilation.backend, compilation.status) == ("onnxruntime", "FAILED")
    assert any("predicting with the model's own library did not finish within" in warning for warning in job.warnings)


@pytest.mark.timed
@pytest.mark.thorough
@pytest.mark.usefixtures("install")
def test_a_model_that_cannot_be_opened_within_the_time_is_given_up_then(tmp_path: Path) -> None:
    told = r"opening \S+model\.onnx with onnx did not finish before the budget of 6 s ran out; use --budget 12s or more"
    with pytest.raises(TimedOut, match=told):
        job_on(endless(tmp_path / "model.onnx", most_rows=0), 6, backends=("onnxruntime",))


@pytest.mark.integration
def test_a_time_in_which_nothing_can_be_measured_is_refused_with_one_that_is_enough(model: Path) -> None:
    heard = Heard()
    with pytest.raises(
        SpecError, match=r"budget: '1s' is too little: .* a single test takes 1\.4 s, .*; give 8s or more"
    ):
        servefit.right_size(model, job_duration_in_seconds=1, progress=heard)
    assert not any(stage.startswith("compiling") for stage in heard.stages)
