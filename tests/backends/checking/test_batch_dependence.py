"""Models whose predictions of a row depend on the other rows of a call: they are detected, reported and verified."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.delegating_backends import delegating_backend
from tests.onnx_models import FLOAT, INT64, encoder, hashed, node, quantised, save

from servefit.backends.checking.batch_dependence import depends_on_batch
from servefit.backends.checking.verification import check_batch_dependence
from servefit.backends.compilation import compile_model, load_predictor
from servefit.backends.model import Model
from servefit.backends.payload import Payload
from servefit.backends.types import Settings
from servefit.errors import OutputMismatch, SpecError
from servefit.profiler.procedures.prepare import Deployment, prepare

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("in_this_process")]

SAID = "its predictions depend on what else is in the call"
ROWS = np.random.default_rng(3).standard_normal((40, 6)).astype(np.float32)


@pytest.fixture(scope="module")
def dynamic(tmp_path_factory: pytest.TempPathFactory, session_home: Path) -> Model:
    """A dynamically quantised layer of six features and three outputs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERVEFIT_HOME", str(session_home))
        return Model.load(quantised(tmp_path_factory.mktemp("model") / "model.onnx"))


def test_a_dynamically_quantised_model_says_so(dynamic: Model) -> None:
    assert dynamic.batch_dependent
    assert [SAID in warning for warning in dynamic.warnings] == [True]
    assert "--allow-batch-dependence" in dynamic.warnings[0]
    again = Model.load(dynamic.file)
    assert (again.batch_dependent, again.warnings) == (True, dynamic.warnings)


@pytest.mark.usefixtures("own_home")
def test_a_dynamically_quantised_model_is_compiled_by_its_own_library(dynamic: Model) -> None:
    compiled = compile_model(dynamic, "onnxruntime", payload=Payload(rows=ROWS, source="rows.npy"))
    assert compiled.rows_checked == 32 + 32
    predictor = load_predictor(compiled.artifact, Settings(threads=1))
    alone = np.concatenate([predictor.predict(ROWS[nth : nth + 1]) for nth in range(8)])
    assert not np.allclose(alone, predictor.predict(ROWS[:8]), rtol=1e-3)


@pytest.mark.usefixtures("own_home")
def test_a_backend_that_is_wrong_about_rows_alone_is_still_found_out(
    dynamic: Model, install: Callable[[str, str, str], None]
) -> None:
    predicting = "return self.right.predict(rows) * (1.1 if len(rows) == 1 else 1)"
    source = delegating_backend("wrong_alone", to="onnxruntime", predicting=predicting)
    install("wrong_alone", "wrong_alone_backend:Backend", source)
    with pytest.raises(OutputMismatch, match="drawn rows, one at a time"):
        compile_model(dynamic, "wrong_alone")


def centred(path: Path) -> Path:
    """A network that takes the mean of the rows off each."""
    nodes = [node("ReduceMean", ["x"], ["mean"], axes=[0]), node("Sub", ["x", "mean"], ["y"])]
    return save(path, {"x": (FLOAT, ["n", 3])}, nodes, {"y": FLOAT})


def decibels(path: Path) -> Path:
    """A network that cuts off what is far below the loudest row of a call."""
    nodes = [
        node("Abs", ["x"], ["size"]),
        node("Log", ["size"], ["loudness"]),
        node("ReduceMax", ["loudness"], ["loudest"], keepdims=0),
        node("Sub", ["loudest", "range"], ["least"]),
        node("Max", ["loudness", "least"], ["y"]),
    ]
    return save(path, {"x": (FLOAT, ["n", 3])}, nodes, {"y": FLOAT}, {"range": np.float32(9)})


def layer(path: Path) -> Path:
    weights = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)
    return save(path, {"x": (FLOAT, ["n", 6])}, [node("MatMul", ["x", "w"], ["y"])], {"y": FLOAT}, {"w": weights})


@pytest.mark.parametrize(
    ("make", "depends"),
    [(quantised, True), (centred, True), (decibels, True), (layer, False), (encoder, False), (hashed, False)],
)
def test_batch_dependence_is_detected_with_the_models_own_library(
    make: Callable[[Path], Path], depends: bool, tmp_path: Path
) -> None:
    model = Model.load(make(tmp_path / "model.onnx"))
    assert model.batch_dependent == depends
    assert any(SAID in warning for warning in model.warnings) == depends


@pytest.mark.parametrize(
    ("of_one", "of_others", "depends"),
    [(0.0, 0.0, False), (3e-3, 0.0, False), (3e-2, 0.0, True), (3e-3, -3e-3, True), (0.0, 1e-6, False)],
)
def test_what_a_library_makes_of_the_number_of_rows_is_no_dependence_on_the_others(
    of_one: float, of_others: float, depends: bool
) -> None:
    """A row alone is predicted otherwise by ``of_one``, and one whose neighbours differ from it by ``of_others``."""

    def predict(rows: np.ndarray) -> np.ndarray:
        others = (rows != rows[:1]).any()
        predictions: np.ndarray = np.tanh(rows[:, 0]) + of_one * (len(rows) == 1) + of_others * others
        return predictions

    assert depends_on_batch(ROWS[:8], predict) == depends


def test_rows_of_one_size_are_compared_with_copies_beside_them() -> None:
    rows = np.column_stack([[1, 2, 1, 2, 1, 2], ROWS[:6]]).astype(np.float32)

    def predict(rows: np.ndarray) -> np.ndarray:
        predictions = np.empty(len(rows))
        for size in np.unique(rows[:, 0]):
            own = rows[:, 0] == size
            predictions[own] = np.tanh(rows[own, 1]) + 1e-3 * own.sum()
        return predictions

    assert not depends_on_batch(rows, predict, row_sizes=1)
    assert depends_on_batch(rows, lambda rows: predict(rows) + 1e-3 * (rows[:, 1] - rows[:, 1].mean()), row_sizes=1)


def clipped(path: Path) -> Path:
    """A network that takes off each row by how much the largest value of the call is beyond a thousand."""
    nodes = [
        node("ReduceMax", ["x"], ["largest"], axes=[0, 1]),
        node("Sub", ["largest", "thousand"], ["beyond"]),
        node("Relu", ["beyond"], ["excess"]),
        node("Sub", ["x", "excess"], ["y"]),
    ]
    return save(path, {"x": (FLOAT, ["n", 6])}, nodes, {"y": FLOAT}, {"thousand": np.float32(1e3)})


def test_a_payload_may_show_what_drawn_rows_did_not(tmp_path: Path) -> None:
    model = Model.load(clipped(tmp_path / "model.onnx"))
    ordinary = Payload(rows=ROWS, source="rows.npy")
    assert check_batch_dependence(model, ordinary) == model
    rows = ROWS.copy()
    rows[39] = 5e3
    payload = replace(ordinary, rows=rows)
    assert check_batch_dependence(model, replace(payload, synthetic=True)) == model
    asked = check_batch_dependence(model, payload)
    assert asked.batch_dependent
    assert SAID in asked.warnings[-1]
    assert check_batch_dependence(asked, payload) == asked
    with pytest.raises(OutputMismatch, match="payload rows, one at a time"):
        compile_model(model, "onnxruntime", payload=payload)
    assert compile_model(asked, "onnxruntime", payload=payload).rows_checked == 32 + 32


def test_single_rows_of_whole_numbers_are_held_against_those_of_the_library(tmp_path: Path) -> None:
    nodes = [
        node("ReduceMax", ["x"], ["largest"], axes=[0, 1], keepdims=0),
        node("Sub", ["x", "largest"], ["below"]),
    ]
    model = Model.load(save(tmp_path / "model.onnx", {"x": (INT64, ["n", 6])}, nodes, {"below": INT64}))
    unaware = replace(model, batch_dependent=False)
    rows = np.arange(240, dtype=np.float32).reshape(40, 6)
    payload = Payload(rows=rows, source="rows.npy")
    assert compile_model(unaware, "onnxruntime", payload=payload).rows_checked == 32 + 32


def test_whoever_joins_requests_asks_of_the_payload_first(tmp_path: Path) -> None:
    path = clipped(tmp_path / "model.onnx")
    rows = np.concatenate([ROWS, np.full((1, 6), 5e3, np.float32)])
    with pytest.raises(SpecError, match="what this model predicts of one depends on the others"):
        prepare(path, Deployment(batch=4), payload=rows)
    assert prepare(path, Deployment(), payload=rows).model.batch_dependent


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.filterwarnings("ignore:Numerical issues")  # of a single row scaled by its own deviation
def test_pipelines_of_scikit_learn_are_asked_too(scaled: bool) -> None:
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler, scale

    first: Any = FunctionTransformer(scale) if scaled else StandardScaler()
    pipeline: Any = make_pipeline(first, LinearRegression()).fit(ROWS, ROWS[:, 0])
    assert Model.load(pipeline).batch_dependent == scaled
