"""ONNX models with several interfaces, made by hand, and the predictions that they must give."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from servefit.backends.inspection import inspect
from servefit.backends.model import Format, Task
from servefit.backends.model.onnx_interface import interface_of
from servefit.backends.model.onnx_io import OnnxInterface, predict
from servefit.errors import UnsupportedModel

if TYPE_CHECKING:
    from pathlib import Path

FLOAT, INT64, STRING = 1, 7, 8


def saved(folder: Path, inputs: dict[str, tuple[int, list[Any]]], nodes: list[Any], outputs: dict[str, int]) -> Path:
    """Write a model of the nodes; inputs are by name with type and shape, outputs by name with type."""
    import onnx

    graph = onnx.helper.make_graph(
        nodes,
        "graph",
        [onnx.helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [onnx.helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()],
    )
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("ai.onnx.ml", 3)]
    path = folder / "model.onnx"
    path.write_bytes(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())
    return path


def session(path: Path) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def node(operator: str, inputs: list[str], outputs: list[str], domain: str = "", **attributes: Any) -> Any:
    import onnx

    return onnx.helper.make_node(operator, inputs, outputs, domain=domain, **attributes)


ROWS = np.arange(12, dtype=np.float32).reshape(3, 4)


def test_an_image_shaped_input_takes_flat_rows(tmp_path: Path) -> None:
    path = saved(tmp_path, {"x": (FLOAT, ["n", 2, 2])}, [node("Neg", ["x"], ["y"])], {"y": FLOAT})
    found = inspect(path, Format.ONNX, tmp_path).signature
    assert (found.task, found.features, found.outputs, found.accepts_missing) == (Task.TENSOR, 4, 4, False)
    opened = session(path)
    np.testing.assert_array_equal(predict(opened, interface_of(opened)[0], ROWS), -ROWS)


@pytest.mark.parametrize("batch", [1, 2])
def test_a_fixed_batch_is_filled_up(batch: int, tmp_path: Path) -> None:
    path = saved(tmp_path, {"x": (FLOAT, [batch, 4])}, [node("Neg", ["x"], ["y"])], {"y": FLOAT})
    opened = session(path)
    interface, outputs = interface_of(opened)
    assert (interface.batch, outputs) == (batch, 4)
    np.testing.assert_array_equal(predict(opened, interface, ROWS), -ROWS)


def test_columns_are_shared_out_among_inputs_in_order(tmp_path: Path) -> None:
    nodes = [
        node("Cast", ["b"], ["c"], to=FLOAT),
        node("Concat", ["c", "a"], ["y"], axis=1),
    ]
    path = saved(tmp_path, {"a": (FLOAT, [None, 3]), "b": (INT64, [None, 1])}, nodes, {"y": FLOAT})
    found = inspect(path, Format.ONNX, tmp_path).signature
    assert (found.features, found.integer_features, found.feature_names) == (4, (3,), ())
    opened = session(path)
    interface, _ = interface_of(opened)
    assert OnnxInterface.from_facts(interface.to_facts()) == interface
    of_before = {
        name: value for name, value in interface.to_facts().items() if name not in ("sizes", "tensors", "output_sizes")
    }
    assert OnnxInterface.from_facts(of_before) == replace(interface, tensors=())
    np.testing.assert_array_equal(predict(opened, interface, ROWS), ROWS[:, [3, 0, 1, 2]])


def test_inputs_of_one_column_are_the_names_of_the_features(tmp_path: Path) -> None:
    nodes = [node("Concat", ["age", "income"], ["y"], axis=1)]
    path = saved(tmp_path, {"age": (FLOAT, [None, 1]), "income": (FLOAT, [None, 1])}, nodes, {"y": FLOAT})
    assert inspect(path, Format.ONNX, tmp_path).signature.feature_names == ("age", "income")


def tree_ensemble(labels: int, **attributes: Any) -> list[Any]:
    """A classifier that splits column 1 at 0.5, with ``labels`` classes."""
    leaves = {"class_treeids": [], "class_nodeids": [], "class_ids": [], "class_weights": []}  # type: dict[str, list[Any]]
    for leaf, weights in ((1, [0.75, 0.25, 0.0]), (2, [0.1, 0.2, 0.7])):
        for label in range(labels):
            for name, value in zip(leaves, (0, leaf, label, weights[label]), strict=True):
                leaves[name].append(value)
    return [
        node(
            "TreeEnsembleClassifier",
            ["x"],
            ["label", "scores"],
            "ai.onnx.ml",
            nodes_treeids=[0, 0, 0],
            nodes_nodeids=[0, 1, 2],
            nodes_featureids=[1, 0, 0],
            nodes_values=[0.5, 0.0, 0.0],
            nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"],
            nodes_truenodeids=[1, 0, 0],
            nodes_falsenodeids=[2, 0, 0],
            classlabels_int64s=list(range(labels)),
            **leaves,
            **attributes,
        )
    ]


def test_a_binary_tree_ensemble_gives_the_second_probability(tmp_path: Path) -> None:
    path = saved(tmp_path, {"x": (FLOAT, [None, 4])}, tree_ensemble(2), {"label": INT64, "scores": FLOAT})
    found = inspect(path, Format.ONNX, tmp_path)
    assert (found.signature.task, found.signature.outputs) == (Task.BINARY, 1)
    assert found.signature.accepts_missing
    assert found.trees is not None
    assert (found.trees.trees, found.trees.nodes, found.trees.max_depth) == (1, 3, 1)
    with np.load(tmp_path / "splits.npz", allow_pickle=False) as splits:
        assert splits["split_features"].tolist() == [1]
        assert splits["split_thresholds"].tolist() == [0.5]
    opened = session(path)
    rows = np.array([[0, 0, 0, 0], [0, 1, 0, 0]], dtype=np.float32)
    np.testing.assert_allclose(predict(opened, interface_of(opened)[0], rows), [0.25, 0.2])


def test_probabilities_as_maps_become_columns(tmp_path: Path) -> None:
    zipmap = node("ZipMap", ["scores"], ["maps"], "ai.onnx.ml", classlabels_int64s=[0, 1, 2])
    path = saved(tmp_path, {"x": (FLOAT, [None, 4])}, [*tree_ensemble(3), zipmap], {"label": INT64})
    import onnx

    model = onnx.load(path)
    maps = onnx.helper.make_map_type_proto(INT64, onnx.helper.make_tensor_type_proto(FLOAT, None))
    model.graph.output.append(onnx.helper.make_value_info("maps", onnx.helper.make_sequence_type_proto(maps)))
    path.write_bytes(model.SerializeToString())
    found = inspect(path, Format.ONNX, tmp_path).signature
    assert (found.task, found.outputs) == (Task.MULTICLASS, 3)
    opened = session(path)
    predicted = predict(opened, interface_of(opened)[0], np.array([[0, 1, 0, 0]], dtype=np.float32))
    np.testing.assert_allclose(predicted, [[0.1, 0.2, 0.7]], rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "shape", "reason"),
    [
        (STRING, [None, 4], r"output 'y' is tensor\(string\), and predictions are numbers"),
        (FLOAT, [4], "no dimension for rows"),
    ],
)
def test_inputs_that_rows_do_not_fit_are_refused(kind: int, shape: list[Any], reason: str, tmp_path: Path) -> None:
    path = saved(tmp_path, {"x": (kind, shape)}, [node("Identity", ["x"], ["y"])], {"y": kind})
    with pytest.raises(UnsupportedModel, match=reason):
        inspect(path, Format.ONNX, tmp_path)


def test_texts_are_fed_as_they_are(tmp_path: Path) -> None:
    codes = node(
        "LabelEncoder", ["word"], ["code"], "ai.onnx.ml", keys_strings=["a", "École"], values_floats=[1.0, 2.0]
    )
    path = saved(tmp_path, {"word": (STRING, [None, 1])}, [codes], {"code": FLOAT})
    found = inspect(path, Format.ONNX, tmp_path).signature
    assert [(one.name, one.datatype) for one in found.inputs] == [("word", "str")]
    words = np.array([["École"], ["a"], ["other words"]], dtype=object)
    rows = found.packing.pack([words], {}, "float32")
    opened = session(path)
    np.testing.assert_array_equal(predict(opened, interface_of(opened)[0], rows), [2, 1, 0])


def test_weights_in_other_files_are_refused(tmp_path: Path) -> None:
    import onnx

    path = saved(tmp_path, {"x": (FLOAT, [None, 4])}, [node("Add", ["x", "w"], ["y"])], {"y": FLOAT})
    model = onnx.load(path)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(4, dtype=np.float32), "w"))
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], location="weights.bin")
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UnsupportedModel, match="weights in other files"):
        inspect(path, Format.ONNX, tmp_path)
