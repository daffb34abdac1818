"""The trees of an ONNX model that is one ensemble, as a Treelite model: of the operators TreeEnsembleClassifier,
TreeEnsembleRegressor, and TreeEnsemble, which ai.onnx.ml has from version 5 on.

Meant is what ONNX Runtime does: of a regression of one number it leaves out whatever is to follow the sum, and a
classifier of two classes whose leaves name one of them has one sum.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from servefit.backends.libraries.tree_building import BuiltTrees, Leaf, Question
from servefit.backends.model.onnx_file import attributes_of, read_onnx
from servefit.backends.model.types import Task
from servefit.errors import UnsupportedModel

if TYPE_CHECKING:
    import onnx
    import treelite

ENSEMBLE = "TreeEnsemble"
ENSEMBLES = ("TreeEnsembleClassifier", "TreeEnsembleRegressor", ENSEMBLE)
OTHER_OPERATORS = "other_operators"
"""The peculiarity of a model that is more than one ensemble."""
_AFTER = ("ZipMap", "Identity", "Cast")
"""Operators that leave what an ensemble gives as it is."""

_FINISHES = {"NONE": "identity", "LOGISTIC": "multiclass_ova", "SOFTMAX": "softmax"}
TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")
_AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")
_MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT")
"""Of these TreeEnsemble has the numbers, from 0 on."""
_OPERATORS = {
    "BRANCH_LEQ": ("<=", False),
    "BRANCH_LT": ("<", False),
    "BRANCH_GT": ("<=", True),
    "BRANCH_GTE": ("<", True),
}
"""Treelite's operator, and whether it is the opposite of what is asked."""

_Weights: TypeAlias = "list[tuple[int, float]]"
"""Of a leaf: outputs, and what is added to each."""
_Read: TypeAlias = "Question | _Weights"


def is_one_ensemble(graph: onnx.ModelProto) -> bool:
    """Return whether a model is an ensemble of trees on its only input, and nothing else that changes a number."""
    ensembles = [node for node in graph.graph.node if node.op_type in ENSEMBLES]
    others = [node for node in graph.graph.node if node.op_type not in (*ENSEMBLES, *_AFTER)]
    return len(ensembles) == 1 and not others and list(ensembles[0].input) == [graph.graph.input[0].name]


def trees_of_onnx(path: Path, features: int, task: Task) -> treelite.Model:
    """Return the trees of the model at ``path``, which read rows of so many ``features``. Raises UnsupportedModel."""
    node = next(node for node in read_onnx(path).graph.node if node.op_type in ENSEMBLES)
    attributes = attributes_of(node)
    transform, aggregate = transform_of(attributes), _aggregate_of(attributes)
    if transform not in _FINISHES or aggregate not in ("SUM", "AVERAGE"):
        raise UnsupportedModel(f"an ONNX ensemble of trees with {transform} and {aggregate}")
    trees = [list(tree) for tree in (_of_version_5 if node.op_type == ENSEMBLE else _of_version_1)(attributes)]
    outputs, finish, averaged = _outputs(attributes), _FINISHES[transform], aggregate == "AVERAGE"
    weights = [weight for tree in trees for entry in tree if not isinstance(entry, Question) for weight in entry]
    classifies = node.op_type == "TreeEnsembleClassifier"
    if classifies and outputs == 2 and len({output for output, _ in weights}) == 1:
        outputs = 1
        trees = [[_of_first_output(entry) for entry in tree] for tree in trees]
    elif outputs == 1:
        finish = "identity"
    if finish == "multiclass_ova" and (outputs == 1 or task is Task.REGRESSION):
        finish = "sigmoid"
    bases = [float(value) for value in attributes.get("base_values", ())]
    if any(bases) and (classifies or outputs > 1 or len(bases) != outputs):
        # ONNX Runtime adds none to an output that no leaf on the way names.
        raise UnsupportedModel("an ONNX ensemble of trees with base values for several outputs")
    of_several = outputs > 1 and not classifies
    if of_several and (averaged or transform == "SOFTMAX"):
        raise UnsupportedModel(f"an ONNX ensemble of trees of several outputs with {transform} and {aggregate}")
    if classifies and outputs == 1 and transform == "SOFTMAX":
        raise UnsupportedModel("an ONNX ensemble of trees with one class of two and SOFTMAX")
    outputs_of = _outputs_of(trees)
    width = 1 if outputs_of is not None else outputs
    return BuiltTrees(
        trees=[[_leaf(entry, width) for entry in tree] for tree in trees],
        features=features,
        task=task,
        bases=bases if any(bases) else [0.0] * outputs,
        finish=finish,
        outputs_of=outputs_of,
        averaged=averaged,
    ).build()


def _aggregate_of(attributes: Mapping[str, Any]) -> str:
    aggregate = attributes.get("aggregate_function", b"SUM")
    return _AGGREGATES[aggregate] if isinstance(aggregate, int) else str(aggregate.decode())


def transform_of(attributes: Mapping[str, Any]) -> str:
    """Return the name of what follows the sums."""
    transform = attributes.get("post_transform", b"NONE")
    return TRANSFORMS[transform] if isinstance(transform, int) else str(transform.decode())


def _outputs(attributes: Mapping[str, Any]) -> int:
    labels = attributes.get("classlabels_int64s") or attributes.get("classlabels_strings")
    return int(attributes.get("n_targets", 1)) if labels is None else len(labels)


def _of_first_output(entry: _Read) -> _Read:
    return entry if isinstance(entry, Question) else [(0, weight) for _, weight in entry]


def _outputs_of(trees: Sequence[Sequence[_Read]]) -> list[int] | None:
    """Return the output that each tree adds to; None where the leaves of one add to several."""
    outputs = []
    for tree in trees:
        own = {output for entry in tree if not isinstance(entry, Question) for output, _ in entry}
        if len(own) > 1:
            return None
        outputs.append(next(iter(own), 0))
    return outputs


def _leaf(entry: _Read, width: int) -> Leaf | Question:
    if isinstance(entry, Question):
        return entry
    values = [0.0] * width
    for output, weight in entry:
        values[output if width > 1 else 0] += weight
    return values


def _of_version_1(attributes: Mapping[str, Any]) -> Iterator[Iterator[_Read]]:
    """Yield the trees of an operator that lists the nodes of all trees together, and the weights of all leaves."""
    prefix = "class" if "class_ids" in attributes else "target"
    weights: dict[tuple[int, int], _Weights] = {}
    keys = (attributes[f"{prefix}_{name}"] for name in ("treeids", "nodeids", "ids"))
    for tree, node, output, weight in zip(*keys, _floats(attributes, f"{prefix}_weights"), strict=True):
        weights.setdefault((tree, node), []).append((output, weight))
    listed = [attributes[f"nodes_{name}"] for name in ("featureids", "modes", "truenodeids", "falsenodeids")]
    tracks = attributes.get("nodes_missing_value_tracks_true") or [0] * len(listed[0])
    columns = zip(*listed, _floats(attributes, "nodes_values"), tracks, strict=True)
    nodes_of: dict[int, dict[int, tuple[Any, ...]]] = {}
    for tree, node, row in zip(attributes["nodes_treeids"], attributes["nodes_nodeids"], columns, strict=True):
        nodes_of.setdefault(tree, {})[node] = row
    for tree, nodes in nodes_of.items():
        numbers = {node: number for number, node in enumerate(sorted(nodes))}
        yield _nodes_of_version_1(nodes, numbers, {node: weights.get((tree, node), []) for node in nodes})


def _nodes_of_version_1(
    nodes: Mapping[int, tuple[Any, ...]], numbers: Mapping[int, int], weights: Mapping[int, _Weights]
) -> Iterator[_Read]:
    for node in numbers:
        feature, mode, true, false, threshold, tracks = nodes[node]
        if mode == b"LEAF":
            yield weights[node]
        else:
            yield _question(feature, mode.decode(), threshold, numbers[true], numbers[false], bool(tracks))


def _of_version_5(attributes: Mapping[str, Any]) -> Iterator[Iterator[_Read]]:
    """Yield the trees of the operator that lists inner nodes and leaves apart, each of all trees together."""
    splits, weights = _floats(attributes, "nodes_splits"), _floats(attributes, "leaf_weights")
    for root in attributes["tree_roots"]:
        yield _nodes_of_version_5(attributes, splits, weights, int(root))


def _nodes_of_version_5(
    attributes: Mapping[str, Any], splits: Sequence[float], weights: Sequence[float], root: int
) -> Iterator[_Read]:
    tracks = attributes.get("nodes_missing_value_tracks_true")
    waiting = [(root, False)]  # a tree of one leaf has a node with that leaf on both sides
    for node, is_leaf in waiting:  # which grows by the children of each
        if is_leaf:
            yield [(int(attributes["leaf_targetids"][node]), weights[node])]
            continue
        number = int(attributes["nodes_modes"][node])
        mode = _MODES[number] if number < len(_MODES) else str(number)
        below = len(waiting)
        waiting += [
            (attributes[f"nodes_{side}nodeids"][node], bool(attributes[f"nodes_{side}leafs"][node]))
            for side in ("true", "false")
        ]
        feature = attributes["nodes_featureids"][node]
        yield _question(feature, mode, splits[node], below, below + 1, bool(tracks and tracks[node]))


def _question(feature: int, mode: str, threshold: float, true: int, false: int, tracks_true: bool) -> Question:
    if mode not in _OPERATORS:
        raise UnsupportedModel(f"an ONNX ensemble of trees that asks {mode}")
    operator, is_opposite = _OPERATORS[mode]
    left, right = (false, true) if is_opposite else (true, false)
    return Question(int(feature), float(threshold), tracks_true != is_opposite, left, right, operator)


def _floats(attributes: Mapping[str, Any], name: str) -> list[float]:
    """Return numbers of float32, which may be a tensor. Raises UnsupportedModel for those of float64."""
    values = attributes.get(name)
    if values is None:
        values = attributes[f"{name}_as_tensor"]
    if isinstance(values, np.ndarray) and values.dtype != np.float32:
        raise UnsupportedModel(f"an ONNX ensemble of trees in {values.dtype}")
    return [float(value) for value in values]
