"""Comparisons of trees, made in float64 before the trees are walked: for kernels that compare float32.

Each pair of a feature and a threshold becomes a column of its own, which is 1 where the feature is above the threshold,
0 where it is not, and NaN where it is missing. The trees then test these columns, which float32 holds, and decide as
they did before.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from servefit.errors import CompileFailed

if TYPE_CHECKING:
    import treelite

_NUMERICAL, _LESS_OR_EQUAL = 1, 3  # Treelite's
_OUTPUT = "comparisons"
_BETWEEN = 0.5
"""A threshold between 0 and 1."""


def compare_before(trees: treelite.Model, file: Path, outputs: tuple[str, ...]) -> tuple[str, ...]:
    """Have the ONNX model in ``file``, whose only output is (rows, features), compare them as ``trees`` do, and the
    trees test what it gives. Gives the names of its ``outputs`` then. Raises CompileFailed for trees that compare in
    another way."""
    features, thresholds = _comparisons(trees)
    if not len(features):
        return outputs
    _append(file, features, thresholds)
    places = {pair: nth for nth, pair in enumerate(zip(features.tolist(), thresholds.tolist(), strict=True))}
    for number in range(trees.num_tree):
        tree = trees.get_tree_accessor(number)
        tests = tree.get_field("node_type") == _NUMERICAL
        split, threshold = tree.get_field("split_index").copy(), tree.get_field("threshold").copy()
        split[tests] = [places[pair] for pair in zip(split[tests].tolist(), threshold[tests].tolist(), strict=True)]
        threshold[tests] = _BETWEEN
        tree.set_field("split_index", split)
        tree.set_field("threshold", threshold)
    trees.get_header_accessor().set_field("num_feature", np.array([len(features)], dtype=np.int32))
    return (_OUTPUT,)


def _comparisons(trees: treelite.Model) -> tuple[np.ndarray, np.ndarray]:
    """Return the feature and the threshold of each comparison that occurs, ordered by both."""
    found = [np.empty((0, 2))]
    for number in range(trees.num_tree):
        tree = trees.get_tree_accessor(number)
        kinds = tree.get_field("node_type")
        tests = kinds == _NUMERICAL
        if (kinds > _NUMERICAL).any() or (tree.get_field("cmp")[tests] != _LESS_OR_EQUAL).any():
            raise CompileFailed("forest", "its trees do not compare numbers with thresholds alone")
        found.append(np.stack([tree.get_field("split_index")[tests], tree.get_field("threshold")[tests]], axis=1))
    pairs = np.unique(np.concatenate(found), axis=0)
    return pairs[:, 0].astype(np.int64), pairs[:, 1]


def _append(file: Path, features: np.ndarray, thresholds: np.ndarray) -> None:
    """Append the comparisons to the ONNX model in ``file``."""
    import onnx
    from onnx import TensorProto
    from onnx.helper import make_node, make_tensor_value_info
    from onnx.numpy_helper import from_array

    model = onnx.load(file)
    graph = model.graph
    (given,) = graph.output
    constants = {
        "compared_features": features,
        "compared_thresholds": thresholds,
        "compared_missing": np.array(np.nan, dtype=np.float32),
    }
    graph.initializer.extend(from_array(values, name) for name, values in constants.items())
    graph.node.extend(
        [
            make_node("Cast", [given.name], ["compared_given"], to=TensorProto.DOUBLE),
            make_node("Gather", ["compared_given", "compared_features"], ["compared_values"], axis=1),
            make_node("Less", ["compared_thresholds", "compared_values"], ["compared_above"]),
            make_node("Cast", ["compared_above"], ["compared_numbers"], to=TensorProto.FLOAT),
            make_node("IsNaN", ["compared_values"], ["compared_absent"]),
            make_node("Where", ["compared_absent", "compared_missing", "compared_numbers"], [_OUTPUT]),
        ]
    )
    graph.output.remove(given)
    graph.output.append(make_tensor_value_info(_OUTPUT, TensorProto.FLOAT, ["rows", len(features)]))
    file.write_bytes(model.SerializeToString())
