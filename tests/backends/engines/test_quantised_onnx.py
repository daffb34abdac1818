"""Networks with int8 weights and activations, by ONNX Runtime's own tools: near what they were, never quite."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tests.onnx_models import FLOAT, node, perceptron, save

from servefit.backends.checking import steps
from servefit.backends.checking.calibration import MAX_ROWS_TOGETHER
from servefit.backends.checking.reference import reference
from servefit.backends.compilation import load_predictor
from servefit.backends.finding.capabilities import backend
from servefit.backends.model import Model
from servefit.backends.types import Artifact, Precision, Settings, Target
from servefit.errors import BackendError, CompileFailed

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("in_this_process")]

DYNAMIC, STATIC, OPENVINO = "onnxruntime/int8-dynamic", "onnxruntime/int8-static", "openvino/int8"
ROWS = np.random.default_rng(1).standard_normal((120, 32), dtype=np.float32)


def compiled(name: str, model: Model, folder: Path, rows: np.ndarray = ROWS) -> Artifact:
    folder.mkdir(exist_ok=True)
    calibration = rows if backend(name).calibrates else None
    facts = steps.compile_artifact(name, model, Target.CPU, folder, calibration)
    return Artifact(
        backend=name, backend_version="1", model_digest=model.digest, target=Target.CPU, folder=folder, facts=facts
    )


def convolutions(path: Path, opset: int = 17) -> Path:
    """Two convolutions over four by eight numbers and a layer, (n, 3)."""
    generator = np.random.default_rng(0)
    constants = {
        "image": np.array([-1, 1, 4, 8]),
        "flat": np.array([-1, 64]),
        "c0": generator.standard_normal((4, 1, 3, 3)).astype(np.float32) / 3,
        "b0": generator.standard_normal(4).astype(np.float32),
        "c1": generator.standard_normal((2, 4, 3, 3)).astype(np.float32) / 6,
        "b1": np.full(2, 1e-7, dtype=np.float32),
        "w": generator.standard_normal((64, 3)).astype(np.float32) / 8,
    }
    nodes = [
        node("Reshape", ["x", "image"], ["i"]),
        node("Conv", ["i", "c0", "b0"], ["j"], pads=[1, 1, 1, 1]),
        node("Relu", ["j"], ["k"]),
        node("Conv", ["k", "c1", "b1"], ["l"], pads=[1, 1, 1, 1]),
        node("Reshape", ["l", "flat"], ["m"]),
        node("MatMul", ["m", "w"], ["y"]),
    ]
    save(path, {"x": (FLOAT, ["n", 32])}, nodes, {"y": FLOAT}, constants)
    if opset != 17:
        model = onnx.load(path)
        model.opset_import[0].version = opset
        onnx.save(model, path)
    return path


def operators(folder: Path) -> Sequence[str]:
    return [each.op_type for each in onnx.load(folder / "model.onnx").graph.node]


@pytest.mark.parametrize("name", [DYNAMIC, STATIC])
def test_weights_of_8_bits_are_not_served_where_their_sums_run_over(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Model.load(perceptron(tmp_path / "m.onnx", 32, 64, 64, 4))
    instructions = "servefit.backends.engines.quantised_onnx.has_instructions"
    monkeypatch.setattr(instructions, lambda *_: True)
    wide = compiled(name, model, tmp_path / "wide")
    load_predictor(wide, Settings()).close()
    monkeypatch.setattr(instructions, lambda *flags: "avx2" in flags)
    with pytest.raises(BackendError, match="its weights have 8 bits, and the sums of their products run over"):
        load_predictor(wide, Settings())
    narrow = compiled(name, model, tmp_path / "narrow")
    load_predictor(narrow, Settings()).close()


def test_no_call_has_more_rows_than_are_judged_together(tmp_path: Path) -> None:
    """A row of large numbers takes the scale of its call away from the others."""
    model = Model.load(perceptron(tmp_path / "m.onnx", 32, 64, 64, 4))
    predictor = load_predictor(compiled(DYNAMIC, model, tmp_path / "made"), Settings())
    rows = ROWS[:100].copy()
    rows[0] *= 1000
    together = predictor.predict(rows)
    for begin in range(0, 100, MAX_ROWS_TOGETHER):
        part = slice(begin, begin + MAX_ROWS_TOGETHER)
        np.testing.assert_array_equal(together[part], predictor.predict(rows[part]))
    np.testing.assert_allclose(together[MAX_ROWS_TOGETHER:], reference(model)(rows[MAX_ROWS_TOGETHER:]), atol=0.1)
    predictor.close()


@pytest.mark.parametrize("name", [DYNAMIC, STATIC, OPENVINO])
def test_predictions_are_near_those_of_the_model_and_not_the_same(name: str, tmp_path: Path) -> None:
    model = Model.load(perceptron(tmp_path / "m.onnx", 32, 64, 64, 4))
    predictor = load_predictor(compiled(name, model, tmp_path / "made"), Settings())
    expected = reference(model)(ROWS)
    error = np.abs(predictor.predict(ROWS) - expected).max() / np.abs(expected).max()
    assert 1e-4 < error < 0.1
    assert backend(name).precision is Precision.INT8


@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize("name", [STATIC, OPENVINO])
def test_convolutions_are_quantised_with_scales_of_the_calibration_rows(name: str, opset: int, tmp_path: Path) -> None:
    model = Model.load(convolutions(tmp_path / "m.onnx", opset))
    predictor = load_predictor(compiled(name, model, tmp_path / "made"), Settings())
    expected = reference(model)(ROWS)
    assert 1e-5 < np.abs(predictor.predict(ROWS) - expected).max() / np.abs(expected).max() < 0.1


def test_convolutions_are_left_alone_dynamically(tmp_path: Path) -> None:
    compiled(DYNAMIC, Model.load(convolutions(tmp_path / "m.onnx")), tmp_path / "made")
    assert {"Conv", "MatMulInteger"} <= set(operators(tmp_path / "made"))
    assert "ConvInteger" not in operators(tmp_path / "made")


@pytest.mark.parametrize("name", [DYNAMIC, STATIC])
def test_a_network_without_constant_weights_is_refused(name: str, tmp_path: Path) -> None:
    nodes = [node("Transpose", ["x"], ["t"], perm=[0, 2, 1]), node("MatMul", ["x", "t"], ["y"])]
    model = Model.load(save(tmp_path / "m.onnx", {"x": (FLOAT, ["n", 4, 8])}, nodes, {"y": FLOAT}))
    with pytest.raises(CompileFailed, match="nothing with constant weights"):
        compiled(name, model, tmp_path / "made")


@pytest.mark.parametrize("name", [DYNAMIC, STATIC, OPENVINO])
def test_what_is_kept_is_smaller_and_holds_nothing_of_what_was_before(name: str, tmp_path: Path) -> None:
    model = Model.load(perceptron(tmp_path / "m.onnx", 32, 256, 256, 4))
    compiled(name, model, tmp_path / "made")
    kept = {path.name: path.stat().st_size for path in (tmp_path / "made").iterdir()}
    assert kept.keys() in ({"model.onnx"}, {"model.xml", "model.bin"})
    assert sum(kept.values()) < 0.6 * model.size_bytes


def test_a_network_of_two_sizes_is_calibrated_on_both(tmp_path: Path) -> None:
    constants: dict[str, Any] = {"w": np.eye(4, dtype=np.float32) * 0.7}
    nodes = [node("MatMul", ["x", "w"], ["y"])]
    model = Model.load(save(tmp_path / "m.onnx", {"x": (FLOAT, ["n", "t", 4])}, nodes, {"y": FLOAT}, constants))
    rows = np.zeros((100, 1 + 12), dtype=np.float32)
    rows[:, 0] = 2 + np.arange(100) % 2
    rows[:, 1:9] = np.random.default_rng(0).uniform(-1, 1, (100, 8))
    rows[1::2, 9:] = 10
    for name in (STATIC, OPENVINO):
        predictor = load_predictor(compiled(name, model, tmp_path / name.replace("/", "-"), rows), Settings())
        # Only the longer ones have numbers as large as this.
        got = predictor.predict(np.array([[3, *[10.0] * 12]], dtype=np.float32))
        np.testing.assert_allclose(got[0, 1:], 7, rtol=0.02)
