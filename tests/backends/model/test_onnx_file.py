"""Weights in other files are found wherever in an ONNX model they are named, and never read from anywhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tests.onnx_models import FLOAT, INT64, node, save

from servefit.backends.model import Model
from servefit.backends.model.keeping import ModelFile
from servefit.backends.model.onnx_file import read_onnx
from servefit.backends.model.onnx_weights import in_one_file
from servefit.backends.model.types import Format
from servefit.errors import CorruptModel, UnsupportedModel

if TYPE_CHECKING:
    from pathlib import Path

SECRET = np.array([3.5, -7.25, 1e6, 42], dtype=np.float32)
"""What lies in a file beside the model."""


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path / "state"))


def elsewhere(location: str = "secret.bin", kind: int = FLOAT, shape: tuple[int, ...] = (4,)) -> Any:
    """A tensor whose values are in another file."""
    tensor = TensorProto(name="elsewhere", data_type=kind, dims=shape, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", "0"), ("length", "16")):
        tensor.external_data.add(key=key, value=value)
    return tensor


def constant(output: str = "w", **attributes: Any) -> Any:
    return node("Constant", [], [output], **(attributes or {"value": elsewhere()}))


def sparse() -> Any:
    indices = helper.make_tensor("indices", INT64, [4], [0, 1, 2, 3])
    return helper.make_sparse_tensor(elsewhere(), indices, [4])


def body(name: str = "body") -> Any:
    """A graph without inputs whose one node is such a constant."""
    return helper.make_graph([constant("b")], name, [], [helper.make_tensor_value_info("b", FLOAT, [4])])


def branch(inner: Any) -> Any:
    return node("If", ["yes"], ["w"], then_branch=inner, else_branch=inner)


def model_of(nodes: list[Any], **more: Any) -> Any:
    """x + w, with the nodes that make w."""
    graph = helper.make_graph(
        [*nodes, node("Add", ["x", "w"], ["y"])],
        "graph",
        [helper.make_tensor_value_info("x", FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", FLOAT, ["n", 4])],
        [helper.make_tensor("yes", TensorProto.BOOL, [], [True])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, **more)


def with_initializer(model: Any) -> Any:
    tensor = elsewhere()
    tensor.name = "w"
    model.graph.initializer.append(tensor)
    return model


def with_sparse_initializer(model: Any) -> Any:
    model.graph.sparse_initializer.append(sparse())
    return model


def with_training(model: Any) -> Any:
    training = model.training_info.add()
    training.algorithm.CopyFrom(body("algorithm"))
    return model


def with_a_default_of_a_function(model: Any) -> Any:
    function = model.functions.add(name="Made", domain="own", output=["m"])
    function.opset_import.add(domain="", version=17)
    function.attribute_proto.append(helper.make_attribute("value", elsewhere()))
    made = node("Constant", [], ["m"])
    made.attribute.add(name="value", ref_attr_name="value", type=onnx.AttributeProto.TENSOR)
    function.node.append(made)
    return model


def function_of(nodes: list[Any]) -> Any:
    return helper.make_function("own", "Made", [], ["m"], nodes, [helper.make_opsetid("", 17)])


PLACES = {
    "an initializer": lambda: with_initializer(model_of([])),
    "a sparse initializer": lambda: with_sparse_initializer(
        model_of([constant(value=helper.make_tensor("w", 1, [4], SECRET))])
    ),
    "a constant": lambda: model_of([constant()]),
    "a sparse constant": lambda: model_of([constant(sparse_value=sparse())]),
    "a list of tensors": lambda: model_of([node("Own", [], ["w"], "own", tensors=[elsewhere()])]),
    "a branch": lambda: model_of([branch(body())]),
    "a branch of a branch": lambda: model_of(
        [
            branch(
                helper.make_graph(
                    [node("If", ["yes"], ["b"], then_branch=body(), else_branch=body())],
                    "outer",
                    [],
                    [helper.make_tensor_value_info("b", FLOAT, [4])],
                )
            )
        ]
    ),
    "the body of a loop": lambda: model_of([node("Loop", ["", "yes"], ["w"], body=body())]),
    "the body of a scan": lambda: model_of([node("Scan", ["x"], ["w"], body=body(), num_scan_inputs=1)]),
    "a list of graphs": lambda: model_of([node("Own", [], ["w"], "own", graphs=[body()])]),
    "a function": lambda: model_of([node("Made", [], ["w"], "own")], functions=[function_of([constant("m")])]),
    "a branch in a function": lambda: model_of(
        [node("Made", [], ["w"], "own")], functions=[function_of([constant("c"), branch(body())])]
    ),
    "a default of a function": lambda: with_a_default_of_a_function(model_of([node("Made", [], ["w"], "own")])),
    "what a model is trained with": lambda: with_training(
        model_of([constant(value=helper.make_tensor("w", 1, [4], SECRET))])
    ),
}


@pytest.mark.parametrize("place", PLACES)
def test_weights_in_other_files_are_refused_wherever_they_stand(place: str, tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(SECRET.tobytes())
    path = tmp_path / "model.onnx"
    path.write_bytes(PLACES[place]().SerializeToString())
    with pytest.raises(UnsupportedModel, match="keeps its weights in other files") as refused:
        read_onnx(path)
    assert refused.value.remedy == "save it as one file"


@pytest.mark.integration
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.usefixtures("in_this_process")
def test_of_weights_in_other_files_one_file_is_made_wherever_they_stand(place: str, tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(SECRET.tobytes())
    path = tmp_path / "model.onnx"
    path.write_bytes(PLACES[place]().SerializeToString())
    whole = in_one_file(ModelFile(file=path, digest="", format=Format.ONNX), tmp_path, tmp_path / "whole")
    read_onnx(whole.file)
    assert SECRET.tobytes() in whole.file.read_bytes()


@pytest.mark.integration
@pytest.mark.parametrize("place", ["a constant", "a branch"])
@pytest.mark.usefixtures("in_this_process")
def test_a_file_elsewhere_does_not_come_out_as_a_prediction(place: str, tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(SECRET.tobytes())
    path = tmp_path / "folder" / "model.onnx"
    path.parent.mkdir()
    content = PLACES[place]().SerializeToString()
    path.write_bytes(content.replace(b"\x12\x0asecret.bin", b"\x12\x0a../secret."))
    (tmp_path / "secret.").write_bytes(SECRET.tobytes())
    with pytest.raises(CorruptModel, match="which is no file in its folder"):
        Model.load(path)


@pytest.mark.integration
def test_graphs_that_are_nested_without_end_are_refused(tmp_path: Path) -> None:
    inner = helper.make_graph([], "inner", [], [])
    for _ in range(25):
        inner = helper.make_graph([node("If", ["yes"], ["w"], then_branch=inner)], "outer", [], [])
    path = tmp_path / "model.onnx"
    path.write_bytes(model_of([node("If", ["yes"], ["w"], then_branch=inner)]).SerializeToString())
    with pytest.raises(CorruptModel, match="nested more than 60"):
        Model.load(path)


@pytest.mark.integration
@pytest.mark.usefixtures("in_this_process")
def test_a_model_whose_weights_are_in_its_file_is_taken(tmp_path: Path) -> None:
    path = save(
        tmp_path / "model.onnx", {"x": (FLOAT, ["n", 4])}, [node("Add", ["x", "w"], ["y"])], {"y": FLOAT}, {"w": SECRET}
    )
    assert Model.load(path).signature.features == 4
    assert onnx.load(path).graph.initializer[0].name == "w"
