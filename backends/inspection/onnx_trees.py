"""The trees of the operator TreeEnsemble, which ai.onnx.ml has from version 5 on: inner nodes and leaves are listed
apart, and names are numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from servefit.backends.inspection.forest import BrokenTree, Tree

_EQUAL, _UNEQUAL, _MEMBER = 4, 5, 6
TESTS_OF_CATEGORIES = (_EQUAL, _UNEQUAL, _MEMBER)
"""The operator's numbers of the tests that are not of an order; those before them are <=, <, >= and >."""


def trees_of_onnx_ml_5(attributes: Mapping[str, Any]) -> Iterator[Tree]:
    """Yield the trees. The members of a set count as values that a feature is split on. Raises BrokenTree."""
    features = np.asarray(attributes["nodes_featureids"], dtype=np.int64)
    splits = np.asarray(attributes["nodes_splits"], dtype=np.float64)
    sides = ("true", "false")
    children = np.stack([np.asarray(attributes[f"nodes_{side}nodeids"], dtype=np.int64) for side in sides], axis=1)
    is_leaf = np.stack([np.asarray(attributes[f"nodes_{side}leafs"], dtype=bool) for side in sides], axis=1)
    is_member = np.asarray(attributes["nodes_modes"]) == _MEMBER
    sets = dict(zip(np.flatnonzero(is_member).tolist(), _sets(attributes.get("membership_values", ())), strict=False))
    for number, root in enumerate(attributes["tree_roots"]):
        inner, parents, below, nodes = _walked(int(root), children, is_leaf, number)
        tested = inner[~is_member[inner]]
        members = [(features[node], value) for node in inner[is_member[inner]].tolist() for value in sets.get(node, ())]
        yield Tree(
            nodes=nodes,
            parents=parents,
            children=below,
            split_features=np.array([*features[tested], *(feature for feature, _ in members)], dtype=np.int64),
            thresholds=np.array([*splits[tested], *(value for _, value in members)], dtype=np.float64),
            category_features=np.empty(0, np.int64),
            categories=np.empty(0, np.int64),
        )


def _walked(
    root: int, children: np.ndarray, is_leaf: np.ndarray, number: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Return the inner nodes of a tree, their numbers and those of their children within the tree, level by level from
    0, and the number of its nodes."""
    level, numbers, nodes = np.array([root]), np.array([0]), 1
    levels, parents, below = [], [], []
    while level.size:
        if ((level < 0) | (level >= len(children))).any():
            raise BrokenTree(f"tree {number} points to a node that it does not have")
        below_level = nodes + np.arange(2 * len(level)).reshape(-1, 2)
        nodes += below_level.size
        if nodes > 2 * len(children) + 1:
            raise BrokenTree(f"tree {number} comes back to a node")
        levels.append(level)
        parents.append(numbers)
        below.append(below_level)
        goes_on = ~is_leaf[level]
        level, numbers = children[level][goes_on], below_level[goes_on]
    return np.concatenate(levels), np.concatenate(parents), np.concatenate(below), nodes


def _sets(values: Any) -> Iterator[list[float]]:
    """Yield the sets of values, each of which ends with a NaN."""
    members: list[float] = []
    for value in np.asarray(values, dtype=np.float64).tolist():
        if np.isnan(value):
            yield members
            members = []
        else:
            members.append(value)
