"""Networks whose outputs have the dimension that counts the rows elsewhere than in front, or none."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.onnx_models import CLASSES, FLOAT, FRAMES, INT64, answers, frames_first, node, save
from tests.serving.asked_model import AskedModel

from servefit.backends.libraries.onnx_session import open_session
from servefit.backends.model.onnx_interface import interface_of
from servefit.backends.model.onnx_io import predict
from servefit.backends.types import Settings, Target
from servefit.errors import UnsupportedModel
from servefit.serving.protocols import metadata

if TYPE_CHECKING:
    from pathlib import Path

ROWS = np.random.default_rng(1).standard_normal((3, FRAMES, 4)).astype(np.float32)


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path / "state"))


def asked(model: AskedModel, rows: np.ndarray) -> dict[str, Any]:
    tensor = {"name": "x", "shape": list(rows.shape), "datatype": "FP32", "data": rows.ravel().tolist()}
    found: dict[str, Any] = model.answer(model.infer(json.dumps({"inputs": [tensor]}).encode()))
    return found


def values(answer: dict[str, Any]) -> np.ndarray:
    (output,) = answer["outputs"]
    return np.reshape(output["data"], output["shape"])


def announced(model: AskedModel) -> tuple[list[int], int, list[int]]:
    """The shape of the output, and what Triton's configuration says of batches and of it."""
    described = json.loads(metadata.model_metadata(model.config).body)
    configured = json.loads(metadata.model_config(model.config).body)
    return described["outputs"][0]["shape"], configured["max_batch_size"], configured["output"][0]["dims"]


@pytest.mark.integration
def test_rows_that_are_the_second_dimension_come_first_in_the_answer(tmp_path: Path) -> None:
    path = frames_first(tmp_path / "speech.onnx", frames="frames")
    model = AskedModel(path)
    assert announced(model) == ([-1, -1, CLASSES], model.config.limits.rows, [-1, CLASSES])
    expected = np.moveaxis(answers(path, {"x": ROWS}), 1, 0)
    np.testing.assert_allclose(values(asked(model, ROWS)), expected, rtol=1e-5)


@pytest.mark.integration
def test_an_output_of_a_model_that_takes_one_row_has_the_shape_that_the_model_gives_it(tmp_path: Path) -> None:
    path = frames_first(tmp_path / "speech.onnx", batch=1)
    model = AskedModel(path)
    assert announced(model) == ([FRAMES, 1, CLASSES], 0, [FRAMES, 1, CLASSES])
    np.testing.assert_allclose(values(asked(model, ROWS[:1])), answers(path, {"x": ROWS[:1]}), rtol=1e-5)
    assert asked(model, ROWS)["error"] == ("inputs: the output 'y' has no dimension for rows: send one row a request")


def test_rows_of_a_fixed_batch_are_not_taken_for_parts_of_one_another(tmp_path: Path) -> None:
    path = frames_first(tmp_path / "speech.onnx", batch=4, frames=8)
    session = open_session(path, Target.CPU, Settings())
    interface, outputs = interface_of(session)
    assert outputs == 8 * CLASSES
    rows = np.random.default_rng(1).standard_normal((4, 8, 4)).astype(np.float32)
    expected = np.moveaxis(answers(path, {"x": rows}), 1, 0).reshape(4, -1)
    np.testing.assert_array_equal(predict(session, interface, rows.reshape(4, -1)), expected)


def test_a_value_that_loses_its_dimension_with_one_row_is_that_of_the_row(tmp_path: Path) -> None:
    nodes = [node("MatMul", ["x", "ones"], ["sums"]), node("Squeeze", ["sums"], ["y"])]
    path = save(tmp_path / "m.onnx", {"x": (FLOAT, ["n", 4])}, nodes, {"y": FLOAT}, {"ones": np.ones((4, 1), "f4")})
    session = open_session(path, Target.CPU, Settings())
    interface, outputs = interface_of(session)
    assert outputs == 1
    rows = np.arange(8, dtype=np.float32).reshape(2, 4)
    np.testing.assert_array_equal(predict(session, interface, rows), [6, 22])
    np.testing.assert_array_equal(predict(session, interface, rows[:1]), [6])


LOSS = node("ReduceSum", ["x"], ["loss"], keepdims=0)


def test_a_number_for_all_rows_is_no_prediction(tmp_path: Path) -> None:
    path = save(tmp_path / "loss.onnx", {"x": (FLOAT, ["n", 4])}, [LOSS], {"loss": FLOAT})
    with pytest.raises(UnsupportedModel) as raised:
        interface_of(open_session(path, Target.CPU, Settings()))
    assert str(raised.value) == (
        "unsupported model: its output 'loss' does not have a value for each row; export the model with an output of "
        "which one dimension counts the rows, as that of its input does"
    )


@pytest.mark.parametrize(
    ("other", "kind"), [(node("Relu", ["x"], ["y"]), FLOAT), (node("ArgMax", ["x"], ["y"], axis=1, keepdims=0), INT64)]
)
def test_a_number_for_all_rows_is_left_out_where_there_is_another_output(other: Any, kind: int, tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", {"x": (FLOAT, ["n", 4])}, [LOSS, other], {"y": kind, "loss": FLOAT})
    interface, _ = interface_of(open_session(path, Target.CPU, Settings()))
    assert interface.outputs == ("y",)
