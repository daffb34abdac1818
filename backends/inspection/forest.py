"""The trees of an ensemble, whichever library wrote them: their sizes, their sanity, and the values they split on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from servefit.state import writing

_NUMERICAL, _CATEGORICAL = 1, 2  # Treelite's TreeNodeType; 0 is a leaf


class BrokenTree(ValueError):
    """A tree that cannot be walked, or that looks at a feature that is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """One tree of ``nodes`` nodes, the root being 0, and its splits in any order.

    ``parents`` are the inner nodes and ``children`` (inner nodes, 2) their children. Numeric splits are
    ``split_features`` beside ``thresholds``; categorical ones are ``category_features`` beside the ``categories`` that
    they name, one entry a category.
    """

    nodes: int
    parents: np.ndarray
    children: np.ndarray
    split_features: np.ndarray
    thresholds: np.ndarray
    category_features: np.ndarray
    categories: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class Forest:
    """Counts of a whole ensemble, and its splits without repetitions, sorted by feature and value: int64
    ``split_features`` beside float64 ``split_thresholds``, int64 ``category_features`` beside int64 ``categories``."""

    trees: int
    nodes: int
    max_depth: int
    split_features: np.ndarray
    split_thresholds: np.ndarray
    category_features: np.ndarray
    categories: np.ndarray

    @property
    def has_categorical_splits(self) -> bool:
        return bool(self.category_features.size)

    def save_splits(self, path: Path) -> None:
        """Write the splits as the NPZ file that ``servefit.backends.payload.rows`` reads. Raises StateError."""
        with writing(path), path.open("wb") as stream:
            np.savez(
                stream,
                split_features=self.split_features,
                split_thresholds=self.split_thresholds,
                category_features=self.category_features,
                categories=self.categories,
            )


def forest_of(trees: Iterable[Tree], features: int) -> Forest:
    """Join trees that read rows of ``features`` columns. Raises BrokenTree.

    The native libraries do not check: xgboost 3.2 reads outside the row for a feature that is out of range and crashes
    on a loop, and Treelite 4.8 takes all the memory there is for a loop in a LightGBM model.
    """
    numerical: list[tuple[np.ndarray, np.ndarray]] = []
    categorical: list[tuple[np.ndarray, np.ndarray]] = []
    count = nodes = max_depth = 0
    for tree in trees:
        used = np.concatenate([tree.split_features, tree.category_features])
        if used.size and not 0 <= used.min() <= used.max() < features:
            raise BrokenTree(f"tree {count} splits on feature {used.max()}, and there are {features}")
        max_depth = max(max_depth, _depth(count, tree))
        nodes += tree.nodes
        count += 1
        numerical.append((tree.split_features, tree.thresholds))
        categorical.append((tree.category_features, tree.categories))
    split_features, split_thresholds = _unique(numerical, np.float64)
    category_features, categories = _unique(categorical, np.int64)
    return Forest(
        trees=count,
        nodes=nodes,
        max_depth=max_depth,
        split_features=split_features,
        split_thresholds=split_thresholds,
        category_features=category_features,
        categories=categories,
    )


def treelite_trees(model: Any) -> Iterator[Tree]:
    """Yield the trees of a ``treelite.Model``."""
    for index in range(model.num_tree):
        accessor = model.get_tree_accessor(index)
        kinds, split_on = accessor.get_field("node_type"), accessor.get_field("split_index").astype(np.int64)
        numeric, categorical = kinds == _NUMERICAL, kinds == _CATEGORICAL
        parents = np.flatnonzero(kinds)
        begins, ends = accessor.get_field("category_list_begin"), accessor.get_field("category_list_end")
        lengths = np.where(categorical, ends - begins, 0).astype(np.int64) if categorical.any() else 0
        yield Tree(
            nodes=len(kinds),
            parents=parents,
            children=np.stack([accessor.get_field("cleft"), accessor.get_field("cright")], axis=1)[parents],
            split_features=split_on[numeric],
            thresholds=accessor.get_field("threshold")[numeric].astype(np.float64),
            category_features=np.repeat(split_on, lengths),
            categories=accessor.get_field("category_list").astype(np.int64),
        )


def _depth(index: int, tree: Tree) -> int:
    """Return the longest way from the root to a leaf. Raises BrokenTree unless every child exists, no node has two
    parents and the root has none; then every walk from the root ends."""
    if tree.children.size and not 0 <= tree.children.min() <= tree.children.max() < tree.nodes:
        raise BrokenTree(f"tree {index} points to a node that it does not have")
    parents_of = np.bincount(tree.children.ravel(), minlength=tree.nodes)
    if tree.nodes and (parents_of[0] or parents_of.max() > 1):
        raise BrokenTree(f"tree {index} has a loop")
    children = np.full((tree.nodes, 2), -1)
    children[tree.parents] = tree.children
    depth = 0
    level = children[0]
    while (level := level[level >= 0]).size:
        depth += 1
        level = children[level].ravel()
    return depth


def _unique(pairs: list[tuple[np.ndarray, np.ndarray]], dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """Join the pairs of arrays and drop repetitions, sorted by the first array and then by the second."""
    features = np.concatenate([np.empty(0, np.int64), *(first for first, _ in pairs)])
    values = np.concatenate([np.empty(0, dtype), *(second for _, second in pairs)])
    order = np.lexsort((values, features))
    features, values = features[order], values[order]
    new = np.ones(len(features), dtype=bool)
    new[1:] = (features[1:] != features[:-1]) | (values[1:] != values[:-1])
    return features[new], values[new]
