"""The trees of an ensemble as Treelite reads them: their sizes, their sanity, and the values they split on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_NUMERICAL, _CATEGORICAL = 1, 2  # Treelite's TreeNodeType; 0 is a leaf


class BrokenTree(ValueError):
    """A tree that cannot be walked, or that looks at a feature that is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forest:
    """Counts of a whole ensemble, and its splits: int64 ``split_features`` beside float64 ``split_thresholds``, int64
    ``category_features`` beside the int64 ``categories`` that those features' splits name."""

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


def read_forest(model: Any, features: int) -> Forest:
    """Read every tree of a ``treelite.Model`` for rows of ``features`` columns. Raises BrokenTree.

    The native libraries do not check: xgboost 3.2 reads outside the row for a feature that is out of range, and
    crashes on a loop.
    """
    numerical, categorical = [], []
    nodes = 0
    for index in range(model.num_tree):
        tree = model.get_tree_accessor(index)
        kinds, split_on = tree.get_field("node_type"), tree.get_field("split_index").astype(np.int64)
        inner = kinds != 0
        _check_links(index, tree.get_field("cleft")[inner], tree.get_field("cright")[inner], len(kinds))
        if (split_on[inner] >= features).any() or (split_on[inner] < 0).any():
            raise BrokenTree(f"tree {index} splits on feature {split_on[inner].max()}, and there are {features}")
        nodes += len(kinds)
        numeric = kinds == _NUMERICAL
        numerical.append((split_on[numeric], tree.get_field("threshold")[numeric].astype(np.float64)))
        if (kinds == _CATEGORICAL).any():
            begins, ends = tree.get_field("category_list_begin"), tree.get_field("category_list_end")
            lengths = np.where(kinds == _CATEGORICAL, ends - begins, 0).astype(np.int64)
            categorical.append((np.repeat(split_on, lengths), tree.get_field("category_list").astype(np.int64)))
    split_features, split_thresholds = _unique(numerical, np.float64)
    category_features, categories = _unique(categorical, np.int64)
    return Forest(
        trees=model.num_tree,
        nodes=nodes,
        max_depth=int(model.get_tree_depth().max()) if model.num_tree else 0,
        split_features=split_features,
        split_thresholds=split_thresholds,
        category_features=category_features,
        categories=categories,
    )


def save_splits(forest: Forest, path: Path) -> None:
    """Write the splits as the NPZ file that ``servefit.backends.rows`` reads."""
    with path.open("wb") as stream:
        np.savez(
            stream,
            split_features=forest.split_features,
            split_thresholds=forest.split_thresholds,
            category_features=forest.category_features,
            categories=forest.categories,
        )


def _check_links(index: int, left: np.ndarray, right: np.ndarray, nodes: int) -> None:
    """Every child exists, no node has two parents and the root has none: then a walk from the root ends."""
    children = np.concatenate([left, right])
    if children.size and (children.min() < 0 or children.max() >= nodes):
        raise BrokenTree(f"tree {index} points to a node that it does not have")
    parents = np.bincount(children, minlength=nodes)
    if nodes and (parents[0] or parents.max() > 1):
        raise BrokenTree(f"tree {index} has a loop")


def _unique(pairs: list[tuple[np.ndarray, np.ndarray]], dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """Join the pairs of arrays and drop repetitions, sorted by the first array and then by the second."""
    if not pairs:
        return np.empty(0, np.int64), np.empty(0, dtype)
    features = np.concatenate([first for first, _ in pairs])
    values = np.concatenate([second for _, second in pairs])
    order = np.lexsort((values, features))
    features, values = features[order], values[order]
    new = np.ones(len(features), dtype=bool)
    new[1:] = (features[1:] != features[:-1]) | (values[1:] != values[:-1])
    return features[new], values[new]
