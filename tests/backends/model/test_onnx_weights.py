"""ONNX models whose weights lie in files beside them are opened as one file, and nothing else is read for them."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from tests.onnx_models import node

from servefit.backends.compilation import compile_model, load_predictor
from servefit.backends.model import Model
from servefit.backends.types import Settings
from servefit.errors import CorruptModel, UnsupportedModel

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("in_this_process")]

WEIGHTS = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
ROWS = np.random.default_rng(1).standard_normal((4, 5)).astype(np.float32)


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path / "state"))


def network() -> Any:
    """x @ w."""
    graph = onnx.helper.make_graph(
        [node("MatMul", ["x", "w"], ["y"])],
        "graph",
        [onnx.helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 5])],
        [onnx.helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(WEIGHTS, "w")],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """A model as torch.onnx.export writes it: the weights lie in model.onnx.data."""
    path = tmp_path / "exported" / "model.onnx"
    path.parent.mkdir()
    onnx.save(network(), path, save_as_external_data=True, location="model.onnx.data", size_threshold=0)
    assert (path.parent / "model.onnx.data").stat().st_size >= WEIGHTS.nbytes
    return path


def said(exported: Path, **entries: str) -> None:
    """Have the model say something else of where its weights are."""
    model = onnx.load(exported, load_external_data=False)
    for key, value in entries.items():
        for entry in [each for each in model.graph.initializer[0].external_data if each.key == key]:
            entry.value = value
    exported.write_bytes(model.SerializeToString())


def predicted(source: Path) -> np.ndarray:
    artifact = compile_model(source, "onnxruntime").artifact
    return load_predictor(artifact, Settings()).predict(ROWS)


def test_a_model_with_its_weights_beside_it_predicts_as_one_file_does(exported: Path) -> None:
    np.testing.assert_allclose(predicted(exported), ROWS @ WEIGHTS, rtol=1e-5, atol=1e-6)


def test_its_folder_and_its_archive_are_the_same_model(exported: Path, tmp_path: Path) -> None:
    archive = tmp_path / "model.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(exported.parent, arcname=".")
    digests = {Model.load(source).digest for source in (exported, exported.parent, archive)}
    assert len(digests) == 1


def test_other_weights_are_another_model(exported: Path) -> None:
    before = Model.load(exported).digest
    (exported.parent / "model.onnx.data").write_bytes((WEIGHTS + 1).tobytes())
    assert Model.load(exported).digest != before
    np.testing.assert_allclose(predicted(exported), ROWS @ (WEIGHTS + 1), rtol=1e-5, atol=1e-5)


def test_weights_whose_first_bytes_are_those_of_a_pickle_are_no_second_model(exported: Path) -> None:
    content = b"\x80\x04\x95" + WEIGHTS.tobytes()[3:]
    (exported.parent / "model.onnx.data").write_bytes(content)
    assert Model.load(exported.parent).signature.outputs == 3


def test_a_model_stays_open_without_its_folder(exported: Path) -> None:
    model = Model.load(exported)
    for file in exported.parent.iterdir():
        file.unlink()
    artifact = compile_model(model, "onnxruntime").artifact
    np.testing.assert_allclose(load_predictor(artifact, Settings()).predict(ROWS), ROWS @ WEIGHTS, rtol=1e-5, atol=1e-6)


def test_weights_that_are_not_there_are_named(exported: Path) -> None:
    (exported.parent / "model.onnx.data").unlink()
    with pytest.raises(
        CorruptModel, match=r"'w' are to be in 'model.onnx.data', which cannot be read: No such file"
    ) as e:
        Model.load(exported)
    assert e.value.remedy == "put it beside the model"


def test_a_file_that_is_too_short_is_refused(exported: Path) -> None:
    (exported.parent / "model.onnx.data").write_bytes(WEIGHTS.tobytes()[:-1])
    with pytest.raises(CorruptModel, match="ends before they do: 60 bytes from 0 on are needed"):
        Model.load(exported)


def test_a_place_beyond_all_files_is_beyond_this_one(exported: Path) -> None:
    said(exported, offset=str(2**63))
    with pytest.raises(CorruptModel, match="ends before they do: 60 bytes from 9223372036854775808 on are needed"):
        Model.load(exported)


@pytest.mark.parametrize(
    "location", ["/etc/passwd", "../secret.bin", "a/../../secret.bin", ".secret", "*/_ORT_MEM_ADDR_/*", "", ".", "a\0b"]
)
def test_nothing_is_read_but_files_of_its_folder(location: str, exported: Path) -> None:
    for name in ("../secret.bin", ".secret"):
        (exported.parent / name).write_bytes(WEIGHTS.tobytes())
    said(exported, location=location)
    with pytest.raises(CorruptModel, match=r"which is no file in its folder|which cannot be read"):
        Model.load(exported)


def test_a_link_that_leads_out_of_the_folder_is_not_followed(exported: Path, tmp_path: Path) -> None:
    data = exported.parent / "model.onnx.data"
    (tmp_path / "secret.bin").write_bytes(WEIGHTS.tobytes())
    data.unlink()
    data.symlink_to(tmp_path / "secret.bin")
    with pytest.raises(CorruptModel, match="a link that leads out of the model's folder") as refused:
        Model.load(exported)
    assert refused.value.remedy == "copy the folder with what its links lead to: cp -rL"


def test_a_pipe_is_not_waited_for(exported: Path) -> None:
    import os

    data = exported.parent / "model.onnx.data"
    data.unlink()
    os.mkfifo(data)
    with pytest.raises(CorruptModel, match="which is no regular file"):
        Model.load(exported)


@pytest.mark.parametrize("entry", ["offset", "length"])
@pytest.mark.parametrize("value", ["-1", "x", "1e3", "9" * 30, "\u0663"])
def test_places_that_are_no_numbers_are_refused(entry: str, value: str, exported: Path) -> None:
    said(exported, **{entry: value})
    with pytest.raises(CorruptModel, match="at a place that is no number"):
        Model.load(exported)


def test_a_length_that_does_not_fit_the_shape_is_refused(exported: Path) -> None:
    said(exported, length="64")
    with pytest.raises(CorruptModel, match="have 64 bytes there, and their shape takes 60"):
        Model.load(exported)


def test_weights_beyond_what_one_file_holds_are_refused_before_they_are_read(exported: Path) -> None:
    model = onnx.load(exported, load_external_data=False)
    model.graph.initializer[0].dims[:] = [2**20, 2**20]
    del model.graph.initializer[0].external_data[1:]
    exported.write_bytes(model.SerializeToString())
    with pytest.raises(UnsupportedModel, match="weights of more than 2 GiB"):
        Model.load(exported)


def test_texts_in_other_files_are_refused(exported: Path) -> None:
    model = onnx.load(exported, load_external_data=False)
    model.graph.initializer[0].data_type = TensorProto.STRING
    exported.write_bytes(model.SerializeToString())
    with pytest.raises(UnsupportedModel, match="values of the type 8 in other files"):
        Model.load(exported)


def test_a_damaged_file_is_said_to_be_damaged(exported: Path) -> None:
    exported.write_bytes(exported.read_bytes()[:-7])
    with pytest.raises(CorruptModel, match="cannot read a model"):
        Model.load(exported)
