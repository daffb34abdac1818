"""Inputs that are the same in all requests become part of an ONNX model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.onnx_models import FLOAT, INT64, node, of_all_outputs, save
from tests.tiny_model import tiny_model

from servefit.backends.compilation import compile_model, load_predictor
from servefit.backends.model import Model
from servefit.backends.model.kept import check_kept
from servefit.backends.types import Settings
from servefit.errors import SpecError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("in_this_process")]

ROWS = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path / "state"))


@pytest.fixture
def stream(tmp_path: Path) -> Path:
    """A network of sound as people publish them: samples (n, 4), a state (2, n, 4), and a rate without a shape."""
    nodes = [
        node("Cast", ["rate"], ["per_s"], to=FLOAT),
        node("Div", ["x", "per_s"], ["scaled"]),
        node("Add", ["scaled", "state"], ["sum"]),
        node("ReduceMean", ["sum"], ["y"], axes=[0], keepdims=0),
        node("Identity", ["sum"], ["next_state"]),
    ]
    inputs: dict[str, tuple[int, list[Any]]] = {
        "x": (FLOAT, ["n", 4]),
        "state": (FLOAT, [2, "n", 4]),
        "rate": (INT64, []),
    }
    return save(tmp_path / "stream.onnx", inputs, nodes, {"y": FLOAT, "next_state": FLOAT})


def predicted(model: Model, rows: np.ndarray = ROWS) -> np.ndarray:
    return load_predictor(compile_model(model, "onnxruntime").artifact, Settings()).predict(rows)


def test_a_rate_and_a_state_are_as_they_were_said(stream: Path) -> None:
    model = Model.load(stream, inputs={"rate": 16000, "state": "zeros"})
    feeds = {"x": ROWS, "state": np.zeros((2, 3, 4), np.float32), "rate": np.array(16000)}
    np.testing.assert_allclose(predicted(model), of_all_outputs(stream, feeds)["y"], rtol=1e-6)
    assert [each.name for each in model.signature.inputs] == ["x"]
    assert [each.name for each in model.signature.output_tensors] == ["y"]


def test_other_values_are_another_model(stream: Path) -> None:
    digests = {Model.load(stream, inputs={"rate": rate, "state": 0}).digest for rate in (8000, 16000, "8000")}
    assert len(digests) == 2


def test_a_file_that_is_gone_is_made_again_with_them(stream: Path) -> None:
    model = Model.load(stream, inputs={"rate": 16000, "state": "zeros"})
    assert [(each.name, each.value) for each in model.constants] == [("rate", 16000), ("state", 0)]
    model.file.unlink()
    check_kept(model)
    assert Model.load(model.file).digest == model.digest


def test_a_number_fills_every_shape(stream: Path) -> None:
    model = Model.load(stream, inputs={"rate": 1, "state": 2.5})
    np.testing.assert_allclose(predicted(model), ROWS + 2.5, rtol=1e-6)


def test_a_value_is_rounded_to_floats_and_not_to_whole_numbers(stream: Path) -> None:
    model = Model.load(stream, inputs={"rate": 1, "state": 0.1})
    np.testing.assert_allclose(predicted(model), ROWS + np.float32(0.1), rtol=1e-6)


def test_sizes_without_a_name_are_the_rows(tmp_path: Path) -> None:
    inputs: dict[str, tuple[int, list[Any]]] = {"x": (FLOAT, [None, 4]), "state": (FLOAT, [2, None, 4])}
    nodes = [node("Add", ["x", "state"], ["sum"]), node("ReduceMean", ["sum"], ["y"], axes=[0], keepdims=0)]
    model = Model.load(save(tmp_path / "m.onnx", inputs, nodes, {"y": FLOAT}), inputs={"state": "zeros"})
    np.testing.assert_allclose(predicted(model), ROWS, rtol=1e-6)


@pytest.mark.parametrize(
    ("inputs", "problem"),
    [
        ({"rat": 16000}, "'rat' is not known; did you mean 'rate'"),
        ({"rate": "fast"}, "is no value of 'rate': it takes a number, or 'zeros'"),
        ({"rate": 0.5}, "is no value of int64"),
        ({"rate": float("nan")}, "is no value of int64"),
        ({"rate": 1e30}, "is no value of int64"),
        ({"rate": 2**53 + 1}, "whole numbers are held exactly up to 2"),
        ({"rate": str(2**53 + 1)}, "whole numbers are held exactly up to 2"),
        ({"rate": 10**400}, "whole numbers are held exactly up to 2"),
        ({"x": 0, "state": 0, "rate": 1}, "leaves no input for requests"),
    ],
)
def test_values_that_make_no_sense_are_refused(inputs: dict[str, Any], problem: str, stream: Path) -> None:
    with pytest.raises(SpecError, match=problem):
        Model.load(stream, inputs=inputs)


def test_a_size_that_no_other_input_has_is_named(tmp_path: Path) -> None:
    inputs: dict[str, tuple[int, list[Any]]] = {"x": (FLOAT, ["n", 4]), "state": (FLOAT, ["layers", 4])}
    path = save(tmp_path / "m.onnx", inputs, [node("Add", ["x", "state"], ["y"])], {"y": FLOAT})
    with pytest.raises(SpecError, match=r"has a size \(layers\) that no other input has"):
        Model.load(path, inputs={"state": 0})


def test_a_model_of_trees_has_no_such_inputs(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="is for ONNX files"):
        Model.load(tiny_model(tmp_path / "model.ubj"), inputs={"rate": 1})
