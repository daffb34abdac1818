"""An ONNX model of an ensemble: one TreeEnsembleRegressor that sums the leaves, then the nodes that turn sums into
predictions, by the names of Treelite's post-processors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.converting.onnx_trees.flat import FlatTrees, flatten
from servefit.backends.libraries.trees import header
from servefit.errors import CompileFailed

if TYPE_CHECKING:
    import onnx
    import treelite

INPUT, OUTPUT = "rows", "predictions"
_IR_VERSION, _OPSET, _ML_OPSET = 8, 17, 3


def onnx_model(
    trees: treelite.Model, *, column: int | None, outlier_offset: float | None, rows: str = "float32"
) -> onnx.ModelProto:
    """Convert ``trees``. The input "rows" is (n, features) of the datatype ``rows``, float32 or float64, NaN meaning
    missing; the output "predictions" is (n, outputs) float32: all outputs, or that of ``column`` alone. With an offset
    it is scikit-learn's decision function of outliers. Raises CompileFailed for a post-processor without ONNX nodes."""
    import onnx

    datatype = np.float64 if rows == "float64" else np.float32
    base_scores = np.atleast_1d(trees.get_header_accessor().get_field("base_scores")).astype(datatype)
    flat = flatten(trees, datatype)
    if column is not None:
        base_scores, flat = base_scores[column : column + 1], flat.only_output(column)
    nodes = _postprocess(trees, "margins")
    if outlier_offset is not None:
        nodes.add("Neg")
        nodes.add("Add", constant=-outlier_offset)
    ensemble = _ensemble(flat, base_scores)
    (nodes.nodes[-1] if nodes.nodes else ensemble).output[0] = OUTPUT
    kind = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [ensemble, *nodes.nodes],
        "trees",
        [
            onnx.helper.make_tensor_value_info(
                INPUT, onnx.helper.np_dtype_to_tensor_dtype(np.dtype(rows)), [None, trees.num_feature]
            )
        ],
        [onnx.helper.make_tensor_value_info(OUTPUT, kind, [None, len(base_scores)])],
        nodes.constants,
    )
    opsets = [onnx.helper.make_opsetid("", _OPSET), onnx.helper.make_opsetid("ai.onnx.ml", _ML_OPSET)]
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)


def _ensemble(flat: FlatTrees, base_scores: np.ndarray) -> onnx.NodeProto:
    import onnx
    import onnx.numpy_helper

    node = onnx.helper.make_node("TreeEnsembleRegressor", [INPUT], ["margins"], domain="ai.onnx.ml")

    # onnx.helper.make_attribute looks at every element of a list, which takes seconds for a million nodes.
    def add(name: str, values: Any) -> None:
        attribute = node.attribute.add()
        attribute.name = name
        if isinstance(values, int):
            attribute.type, attribute.i = onnx.AttributeProto.INT, values
        elif values.dtype == object:
            attribute.type = onnx.AttributeProto.STRINGS
            attribute.strings.extend(value.encode() for value in values)
        elif values.dtype == np.float64:
            attribute.name = f"{name}_as_tensor"
            attribute.type = onnx.AttributeProto.TENSOR
            attribute.t.CopyFrom(onnx.numpy_helper.from_array(values))
        elif values.dtype == np.float32:
            attribute.type = onnx.AttributeProto.FLOATS
            attribute.floats.extend(values.tolist())
        else:
            attribute.type = onnx.AttributeProto.INTS
            attribute.ints.extend(values.astype(np.int64).tolist())

    add("n_targets", len(base_scores))
    if base_scores.any():
        add("base_values", base_scores)
    add("nodes_treeids", flat.tree)
    add("nodes_nodeids", flat.node)
    add("nodes_featureids", flat.feature)
    add("nodes_values", flat.value)
    add("nodes_modes", flat.mode)
    add("nodes_truenodeids", flat.true)
    add("nodes_falsenodeids", flat.false)
    if flat.missing_is_true.any():
        add("nodes_missing_value_tracks_true", flat.missing_is_true)
    add("target_treeids", flat.leaf_tree)
    add("target_nodeids", flat.leaf_node)
    add("target_ids", flat.leaf_output)
    add("target_weights", flat.leaf_value)
    return node


class _Nodes:
    """A chain of ONNX nodes in the making: each takes the output of the one before it, called ``last``."""

    def __init__(self, first: str) -> None:
        self.last = first
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(
        self, operator: str, *, constant: float | None = None, constant_first: bool = False, **attributes: Any
    ) -> None:
        import onnx

        inputs = [self.last]
        if constant is not None:
            name = f"constant{len(self.constants)}"
            self.constants.append(onnx.numpy_helper.from_array(np.array(constant, dtype=np.float32), name))
            inputs = [name, self.last] if constant_first else [self.last, name]
        self.last = f"{operator.lower()}{len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(operator, inputs, [self.last], **attributes))


def _postprocess(trees: treelite.Model, margins: str) -> _Nodes:
    """Return the nodes that turn ``margins``, (n, outputs), into predictions of that shape. Raises CompileFailed.

    onnxruntime's own Sigmoid and LOGISTIC approximate: at a score of 1e-5 they are off by up to 11 %, or give 0. The
    nodes here keep small probabilities to the last float32 digits.
    """
    name, nodes = header(trees, "postprocessor"), _Nodes(margins)
    if name in ("identity", "identity_multiclass"):
        return nodes
    if name in ("sigmoid", "multiclass_ova"):
        _sigmoid(nodes, float(header(trees, "sigmoid_alpha")))
    elif name == "softmax":
        nodes.add("Softmax", axis=1)
    elif name == "exponential":
        nodes.add("Exp")
    elif name == "logarithm_one_plus_exp":
        nodes.add("Softplus")
    elif name == "signed_square":
        _signed_square(nodes)
    elif name == "hinge":
        nodes.add("Greater", constant=0.0)
        nodes.add("Cast", to=1)
    elif name == "exponential_standard_ratio":
        nodes.add("Mul", constant=-np.log(2) / float(header(trees, "ratio_c")))
        nodes.add("Exp")
    else:
        raise CompileFailed("onnxruntime", f"no ONNX nodes for Treelite's post-processor {name!r}")
    return nodes


def _sigmoid(nodes: _Nodes, alpha: float) -> None:
    """Return 1 / (1 + exp(-alpha * x)): the relative error is that of exp, however small the result."""
    if alpha == 1:
        nodes.add("Neg")
    else:
        nodes.add("Mul", constant=-alpha)
    nodes.add("Exp")
    nodes.add("Add", constant=1.0)
    nodes.add("Reciprocal")


def _signed_square(nodes: _Nodes) -> None:
    import onnx

    margins = nodes.last
    nodes.add("Abs")
    nodes.nodes.append(onnx.helper.make_node("Mul", [margins, nodes.last], ["signed_square"]))
    nodes.last = "signed_square"
