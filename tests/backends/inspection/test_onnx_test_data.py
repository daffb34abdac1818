"""The models that the package onnx brings for the tests of backends, with what they answer: each is taken and answers
that, or is refused in one line that says why.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest

from servefit.backends.engines.onnxruntime import OnnxRuntimeBackend
from servefit.backends.inspection import inspect
from servefit.backends.model import Format, Model
from servefit.backends.types import Artifact, Settings, Target
from servefit.errors import UnsupportedModel

DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"
KINDS = ("pytorch-converted", "pytorch-operator", "simple")
ANSWERED = sorted(path for kind in KINDS for path in DATA.glob(f"{kind}/*/model.onnx"))
DEAR = {DATA / f"pytorch-converted/test_MaxPool{n}d_stride_padding_dilation/model.onnx" for n in (1, 2)}
"""Those that take seconds to open."""
LARGE = sorted(DATA.glob("light/*.onnx"))

REFUSED = re.compile(
    r"ONNX Runtime has no \w+ as opset [1-6] has it"
    r"|has the operator ai\.onnx\.preview\.training:Gradient, which ONNX Runtime does not know"
    r"|its input '\w+' has no dimension for rows"
    r"|its inputs differ in the number of rows"
    r"|its output '\w+' does not have a value for each row"
    r"|its input 'x' takes tensor\(string\), and rows are numbers"
    r"|it needs the locale \S+, which this host does not have"
)


def opened(path: Path, folder: Path) -> Model:
    inspection = inspect(path, Format.ONNX, folder)
    return Model(
        source=str(path),
        file=path,
        format=inspection.format,
        digest="",
        size_bytes=path.stat().st_size,
        signature=inspection.signature,
        trees=inspection.trees,
        batch_dependent=inspection.batch_dependent,
    )


def opened_or_refused(path: Path, folder: Path) -> Model | str:
    """The model, or why it is not taken."""
    try:
        return opened(path, folder)
    except UnsupportedModel as error:
        return str(error)


def predicted(model: Model, rows: np.ndarray, folder: Path) -> np.ndarray:
    backend = OnnxRuntimeBackend()
    artifact = Artifact(
        backend="onnxruntime",
        backend_version="",
        model_digest="",
        target=Target.CPU,
        folder=folder,
        facts=backend.compile(model, Target.CPU, folder),
    )
    return backend.load(artifact, Settings(threads=1)).predict(rows).reshape(len(rows), -1)


def tensors(folder: Path, kind: str, count: int) -> list[np.ndarray]:
    found = []
    for nth in range(count):
        stored = onnx.TensorProto.FromString((folder / f"{kind}_{nth}.pb").read_bytes())
        found.append(onnx.numpy_helper.to_array(stored))
    return found


def name_of(path: Path) -> str:
    return str(path.relative_to(DATA).with_suffix("")).removesuffix("/model")


@pytest.mark.integration
@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=pytest.mark.thorough if path in DEAR else (), id=name_of(path)) for path in ANSWERED],
)
def test_a_model_is_taken_and_answers_as_it_should_or_is_refused_in_one_line(path: Path, tmp_path: Path) -> None:
    model = opened_or_refused(path, tmp_path)
    if isinstance(model, str):
        assert REFUSED.search(model)
        assert "\n" not in model
        return
    signature, folder = model.signature, path.parent / "test_data_set_0"
    given = tensors(folder, "input", len(signature.inputs))
    rows = np.concatenate([array.reshape(len(array), -1) for array in given], axis=1).astype(signature.row_datatype)
    found = predicted(model, rows, tmp_path)
    names = [output.name for output in onnx.load(path).graph.output]
    expected = dict(zip(names, tensors(folder, "output", len(names)), strict=True))
    assert signature.output_tensors
    for output in signature.output_tensors:
        told = expected[output.name].reshape(len(rows), -1)
        np.testing.assert_allclose(found[:, output.start : output.stop], told, rtol=1e-3, atol=1e-5)


@pytest.mark.integration
@pytest.mark.thorough
@pytest.mark.parametrize("path", LARGE, ids=name_of)
def test_a_large_model_is_taken_and_answers_as_it_should(path: Path, tmp_path: Path) -> None:
    model = opened(path, tmp_path)
    count = model.signature.features
    # Of what else the file says nothing: onnx/backend/test/runner has it.
    found = predicted(model, (np.arange(count) / count).astype(np.float32)[np.newaxis], tmp_path)
    stored = onnx.TensorProto.FromString(path.with_name(f"{path.stem}_output_0.pb").read_bytes())
    np.testing.assert_allclose(found.reshape(-1), onnx.numpy_helper.to_array(stored).reshape(-1), rtol=1e-3, atol=1e-5)


def test_there_are_models_of_each_kind() -> None:
    assert len(ANSWERED) > 100
    assert len(LARGE) >= 8
