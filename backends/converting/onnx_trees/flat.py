"""The nodes of an ensemble as flat arrays, in the terms of ONNX: from Treelite's trees, one row per node."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.libraries.trees import TreeOutputs

if TYPE_CHECKING:
    import treelite

LEAF, LESS, LESS_OR_EQUAL, EQUAL = "LEAF", "BRANCH_LT", "BRANCH_LEQ", "BRANCH_EQ"
_MODES = np.array([LEAF, EQUAL, LESS, LESS_OR_EQUAL, "BRANCH_GT", "BRANCH_GTE"], dtype=object)
"""ONNX's node modes by Treelite's comparison operators; a leaf has none, which is 0."""
_CATEGORICAL = 2
"""Treelite's node type of a test on categories."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatTrees:
    """Every array but the leaves' has one entry a node; ``true`` and ``false`` are node numbers within the tree.

    ``leaf_*`` have one entry for each value that a leaf adds to an output.
    """

    tree: np.ndarray
    node: np.ndarray
    feature: np.ndarray
    value: np.ndarray
    mode: np.ndarray
    true: np.ndarray
    false: np.ndarray
    missing_is_true: np.ndarray
    leaf_tree: np.ndarray
    leaf_node: np.ndarray
    leaf_output: np.ndarray
    leaf_value: np.ndarray

    def only_output(self, number: int) -> FlatTrees:
        """Return the same trees, adding to output ``number`` alone, which becomes output 0."""
        kept = self.leaf_output == number
        return replace(
            self,
            leaf_tree=self.leaf_tree[kept],
            leaf_node=self.leaf_node[kept],
            leaf_output=np.zeros(kept.sum(), dtype=np.int64),
            leaf_value=self.leaf_value[kept],
        )


def flatten(trees: treelite.Model, datatype: type[np.floating[Any]]) -> FlatTrees:
    """Return the nodes of all trees, with averaging worked into the leaves. Values and leaves are of ``datatype``, that
    of the rows."""
    outputs = TreeOutputs(trees)
    parts = [_tree(trees, number, outputs, datatype) for number in range(trees.num_tree)]
    return FlatTrees(**{name: np.concatenate([part[name] for part in parts]) for name in FlatTrees.__slots__})


def _tree(
    trees: treelite.Model, number: int, outputs: TreeOutputs, datatype: type[np.floating[Any]]
) -> dict[str, np.ndarray]:
    get = trees.get_tree_accessor(number).get_field
    kind, left, right = get("node_type"), get("cleft").astype(np.int64), get("cright").astype(np.int64)
    count = len(kind)
    mode = _MODES[np.where(kind == 0, 0, get("cmp"))]
    tree = {
        "tree": np.full(count, number),
        "node": np.arange(count),
        "feature": np.where(kind == 0, 0, get("split_index")),
        "value": _thresholds(get("threshold"), mode, datatype),
        "mode": mode,
        "true": np.where(kind == 0, 0, left),
        "false": np.where(kind == 0, 0, right),
        "missing_is_true": (kind != 0) & (get("default_left") != 0),
    }
    leaves = _leaves(get("leaf_value"), get("leaf_vector"), np.flatnonzero(kind == 0), number, outputs)
    tree.update({**leaves, "leaf_value": leaves["leaf_value"].astype(datatype)})
    if (kind == _CATEGORICAL).any():
        lists = (
            get("category_list"),
            get("category_list_begin").astype(np.int64),
            get("category_list_end").astype(np.int64),
        )
        _expand_categories(tree, np.flatnonzero(kind == _CATEGORICAL), *lists, get("category_list_right_child") != 0)
    return tree


def _thresholds(thresholds: np.ndarray, mode: np.ndarray, datatype: type[np.floating[Any]]) -> np.ndarray:
    """Return float64 thresholds as ``datatype``, rounded so that no input of that changes sides.

    For x <= t the largest float32 not above t decides alike for every float32 x, for x < t the smallest not below it;
    >= and > are their complements.
    """
    with np.errstate(over="ignore"):
        rounded = thresholds.astype(datatype)
    back = rounded.astype(np.float64)
    down = np.isin(mode, (LESS_OR_EQUAL, "BRANCH_GT")) & (back > thresholds)
    up = np.isin(mode, (LESS, "BRANCH_GTE")) & (back < thresholds)
    rounded[down] = np.nextafter(rounded[down], datatype(-np.inf))
    rounded[up] = np.nextafter(rounded[up], datatype(np.inf))
    return rounded


def _leaves(
    values: np.ndarray, vectors: np.ndarray, leaves: np.ndarray, number: int, outputs: TreeOutputs
) -> dict[str, np.ndarray]:
    """Return the leaves of one tree. Leaf vectors lie in the order of the nodes, one per leaf, where there are any."""
    targets = outputs.of(number)
    added = vectors.astype(np.float64) if vectors.size else values[leaves].astype(np.float64)
    return {
        "leaf_tree": np.full(len(leaves) * len(targets), number),
        "leaf_node": np.repeat(leaves, len(targets)),
        "leaf_output": np.tile(targets, len(leaves)),
        "leaf_value": added * np.tile(outputs.scale[targets], len(leaves)),
    }


def _expand_categories(
    tree: dict[str, np.ndarray],
    splits: np.ndarray,
    categories: np.ndarray,
    begins: np.ndarray,
    ends: np.ndarray,
    matches_go_right: np.ndarray,
) -> None:
    """Replace each "is the category one of these" by a chain of equality tests that share their true branch.

    onnxruntime takes such a chain for set membership. The first test stays where the split was; the others get new
    node numbers at the end.
    """
    extra: dict[str, list[np.ndarray]] = {
        name: [] for name in ("feature", "value", "mode", "true", "false", "missing_is_true")
    }
    count = len(tree["node"])
    for split in splits:
        listed = categories[begins[split] : ends[split]].astype(tree["value"].dtype)
        left, right, missing_left = tree["true"][split], tree["false"][split], tree["missing_is_true"][split]
        match, other = (right, left) if matches_go_right[split] else (left, right)
        missing_matches = bool(missing_left) != bool(matches_go_right[split])
        if not listed.size:
            # Nothing matches: NaN equals nothing, so this test is only ever true for a missing value.
            listed = np.array([np.nan], dtype=tree["value"].dtype)
        added = len(listed) - 1
        others = np.append(count + np.arange(added), other)
        tree["value"][split], tree["mode"][split] = listed[0], EQUAL
        tree["true"][split], tree["false"][split], tree["missing_is_true"][split] = match, others[0], missing_matches
        extra["feature"].append(np.full(added, tree["feature"][split]))
        extra["value"].append(listed[1:])
        extra["mode"].append(np.full(added, EQUAL, dtype=object))
        extra["true"].append(np.full(added, match))
        extra["false"].append(others[1:])
        extra["missing_is_true"].append(np.full(added, missing_matches))
        count += added
    for name, chains in extra.items():
        tree[name] = np.concatenate([tree[name], *chains])
    tree["node"], tree["tree"] = np.arange(count), np.full(count, tree["tree"][0])
