"""OpenVINO's IR and ONNX Runtime's ``.ort`` are models of their own: what is served is what their runtime predicts."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from tests.onnx_models import FLOAT, TEXT_INPUTS, node, of_all_outputs, perceptron, save, text, texts

from servefit.backends.compilation import compile_model, load_predictor
from servefit.backends.finding.capabilities import backend
from servefit.backends.libraries.openvino_library import core, imported_silently
from servefit.backends.model import Model
from servefit.backends.model.types import Format
from servefit.backends.payload.reading import payload_for
from servefit.backends.types import Settings
from servefit.errors import CorruptModel, RowsRefused, SpecError, UnsupportedModel

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("in_this_process")]

ROWS = np.random.default_rng(0).standard_normal((5, 6)).astype(np.float32)


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path / "state"))


def as_ir(file: Path, name: str = "net") -> Path:
    """Return a folder with the ONNX model in ``file`` as IR."""
    folder = file.with_suffix("")
    folder.mkdir()
    graph = core().read_model(str(file))
    imported_silently("openvino").save_model(graph, str(folder / f"{name}.xml"), compress_to_fp16=False)
    return folder


def as_ort(file: Path) -> Path:
    """Return the ONNX model in ``file`` in ONNX Runtime's own format."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(file.with_suffix(".ort"))
    options.add_session_config_entry("session.save_model_format", "ORT")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return file.with_suffix(".ort")


def predictor_of(model: Model, name: str) -> Any:
    return load_predictor(compile_model(model, name).artifact, Settings())


def archived(folder: Path) -> Path:
    path = folder.with_suffix(".tar.gz")
    with tarfile.open(path, "w:gz") as archive:
        for file in folder.iterdir():
            archive.add(file, file.name)
    return path


@pytest.mark.parametrize("named", ["folder", "graph", "archive"])
def test_a_model_of_openvino_is_served_as_the_network_that_it_was_made_of(named: str, tmp_path: Path) -> None:
    file = perceptron(tmp_path / "net.onnx", 6, 16, 3)
    folder = as_ir(file)
    model = Model.load({"folder": folder, "graph": folder / "net.xml", "archive": archived(folder)}[named])
    assert (model.format, model.reference) == (Format.OPENVINO_IR, "openvino")
    expected = onnxruntime.InferenceSession(file).run(None, {model.signature.inputs[0].name: ROWS})[0]
    np.testing.assert_allclose(predictor_of(model, "openvino").predict(ROWS), expected, rtol=1e-5, atol=1e-6)
    assert Model.load(folder).digest == model.digest


def test_a_model_in_onnx_runtimes_own_format_is_served(tmp_path: Path) -> None:
    file = perceptron(tmp_path / "net.onnx", 6, 16, 3)
    path = as_ort(file)
    model = Model.load(path)
    assert (model.format, model.reference) == (Format.ONNX_ORT, "onnxruntime")
    expected = onnxruntime.InferenceSession(file).run(None, {model.signature.inputs[0].name: ROWS})[0]
    np.testing.assert_allclose(predictor_of(model, "onnxruntime").predict(ROWS), expected, rtol=1e-5, atol=1e-6)
    assert Model.load(path).format is Format.ONNX_ORT


@pytest.mark.parametrize(("converted", "name"), [(as_ir, "openvino"), (as_ort, "onnxruntime")])
def test_texts_of_any_length_are_served_in_either(converted: Any, name: str, tmp_path: Path) -> None:
    file = texts(tmp_path / "texts.onnx")
    model = Model.load(converted(file))
    requests = [text(length, seed) for seed, length in enumerate((5, 17, 40))]
    payload = payload_for(model, [{name: row[name][0] for name in TEXT_INPUTS} for row in requests])
    predictions = load_predictor(compile_model(model, name, payload=payload).artifact, Settings()).predict(payload.rows)
    for request, row in zip(requests, predictions, strict=True):
        own = of_all_outputs(file, request)
        [(_, sizes)] = model.signature.output_packing.groups(row[np.newaxis])
        for place in model.signature.output_packing.places(sizes):
            got = row[place.start : place.stop].reshape(place.shape)
            np.testing.assert_allclose(got, own[place.tensor.name][0], rtol=1e-5, atol=1e-6)
    tokens = next(one for one in model.signature.inputs if one.is_whole)
    assert tokens.whole_range[1] > 1


def test_inputs_and_outputs_that_were_saved_without_names_have_those_that_openvino_gives(tmp_path: Path) -> None:
    openvino = imported_silently("openvino")
    ops = imported_silently("openvino.opset13")
    row = ops.parameter([-1, 6], np.float32)
    row.set_friendly_name("row")
    graph = openvino.Model([ops.result(ops.tanh(row))], [row], "unnamed")
    openvino.save_model(graph, str(tmp_path / "unnamed.xml"), compress_to_fp16=False)
    model = Model.load(tmp_path / "unnamed.xml")
    assert [one.name for one in model.signature.inputs] == ["row"]
    np.testing.assert_allclose(predictor_of(model, "openvino").predict(ROWS), np.tanh(ROWS), rtol=1e-5, atol=1e-6)


def test_the_limit_of_a_table_is_that_of_the_requests(tmp_path: Path) -> None:
    model = Model.load(as_ir(texts(tmp_path / "texts.onnx")))
    payload = payload_for(model, [{name: text(5, 0)[name][0] for name in TEXT_INPUTS}])
    predictor = predictor_of(model, "openvino")
    beyond = payload.rows.copy()
    beyond[:, len(model.signature.sizes)] = 1e6
    with pytest.raises(RowsRefused, match="1000000 is looked up in a table"):
        predictor.predict(beyond)


def test_other_backends_say_why_they_do_not_serve_either(tmp_path: Path) -> None:
    file = perceptron(tmp_path / "net.onnx", 6, 16, 3)
    ort, ir = Model.load(as_ort(file)), Model.load(as_ir(file))
    assert backend("openvino").supports(ort).reason == "it does not read ONNX Runtime's own format"
    for name in ("onnxruntime", "onnxruntime/int8-dynamic", "torch"):
        assert not backend(name).supports(ir).available
    assert not backend("onnxruntime/int8-dynamic").supports(ort).available


def test_an_input_is_not_made_constant_in_either(tmp_path: Path) -> None:
    file = perceptron(tmp_path / "net.onnx", 6, 16, 3)
    for path in (as_ort(file), as_ir(file)):
        with pytest.raises(SpecError, match="is for ONNX files and modules of PyTorch"):
            Model.load(path, inputs={"x": 0})


def test_a_graph_without_its_weights_is_refused_with_their_name(tmp_path: Path) -> None:
    folder = as_ir(perceptron(tmp_path / "net.onnx", 6, 16, 3))
    (folder / "net.bin").unlink()
    with pytest.raises(CorruptModel, match=r"its weights net\.bin are not beside it"):
        Model.load(folder)


def test_two_graphs_in_one_folder_are_two_models(tmp_path: Path) -> None:
    folder = as_ir(perceptron(tmp_path / "net.onnx", 6, 16, 3))
    for suffix in (".xml", ".bin"):
        (folder / f"other{suffix}").write_bytes((folder / f"net{suffix}").read_bytes())
    with pytest.raises(UnsupportedModel, match="2 models in one place"):
        Model.load(folder)


@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_files_that_are_cut_off_are_damaged(kept: float, tmp_path: Path) -> None:
    file = perceptron(tmp_path / "net.onnx", 6, 16, 3)
    ort, folder = as_ort(file), as_ir(file)
    for path in (ort, folder / "net.xml"):
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * kept)])
        with pytest.raises(CorruptModel):
            Model.load(path)


def test_weights_that_are_cut_off_are_damaged(tmp_path: Path) -> None:
    folder = as_ir(perceptron(tmp_path / "net.onnx", 6, 16, 3))
    content = (folder / "net.bin").read_bytes()
    (folder / "net.bin").write_bytes(content[:-8])
    with pytest.raises(CorruptModel, match="OpenVINO does not read it"):
        Model.load(folder)


def test_an_archive_with_other_files_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        archive.writestr("openvino/model.xml", '<net version="11"/>')
        archive.writestr("openvino/../../outside", "x")
    with pytest.raises(CorruptModel, match="alone"):
        Model.load(tmp_path / "model.zip")


def test_a_tensor_of_any_number_of_dimensions_is_refused(tmp_path: Path) -> None:
    openvino, ops = imported_silently("openvino"), imported_silently("openvino.opset13")
    row = ops.parameter(openvino.PartialShape.dynamic(), np.float32)
    openvino.save_model(openvino.Model([ops.result(ops.tanh(row))], [row], "any"), str(tmp_path / "any.xml"))
    with pytest.raises(UnsupportedModel, match="any number of dimensions"):
        Model.load(tmp_path / "any.xml")


def test_a_forest_in_onnx_runtimes_own_format_takes_missing_numbers(tmp_path: Path) -> None:
    ensemble = node(
        "TreeEnsembleRegressor",
        ["x"],
        ["y"],
        domain="ai.onnx.ml",
        n_targets=1,
        nodes_treeids=[0, 0, 0],
        nodes_nodeids=[0, 1, 2],
        nodes_featureids=[0, 0, 0],
        nodes_modes=["BRANCH_LT", "LEAF", "LEAF"],
        nodes_values=[0.5, 0.0, 0.0],
        nodes_truenodeids=[1, 0, 0],
        nodes_falsenodeids=[2, 0, 0],
        nodes_missing_value_tracks_true=[1, 0, 0],
        target_treeids=[0, 0],
        target_nodeids=[1, 2],
        target_ids=[0, 0],
        target_weights=[1.0, 2.0],
    )
    model = Model.load(as_ort(save(tmp_path / "tree.onnx", {"x": (FLOAT, ["n", 1])}, [ensemble], {"y": FLOAT})))
    assert model.signature.accepts_missing
    rows = np.array([[0.2], [0.7], [np.nan]], np.float32)
    np.testing.assert_array_equal(predictor_of(model, "onnxruntime").predict(rows), [1, 2, 1])
