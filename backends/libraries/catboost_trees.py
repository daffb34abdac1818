"""CatBoost's trees as a Treelite model, from what CatBoost writes as JSON.

A tree of CatBoost asks the same question at all nodes of a level, so its leaf is a number of as many bits; with other
policies of growth its nodes differ. A value goes right if it is greater than the border, as float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.libraries.tree_building import BuiltTrees, Node, Question
from servefit.errors import UnsupportedModel

if TYPE_CHECKING:
    import treelite

    from servefit.backends.libraries.catboost_library import Meaning


def trees_of_catboost(document: Mapping[str, Any], features: int, meaning: Meaning) -> treelite.Model:
    """Return the trees of ``document``, which read rows of so many ``features``. Raises UnsupportedModel for questions
    about categories."""
    scale, bias = document["scale_and_bias"]
    bases = [float(base) for base in (bias if isinstance(bias, list) else [bias])]
    columns = _columns(document)
    return BuiltTrees(
        trees=[list(_nodes(tree, columns, len(bases), float(scale))) for tree in _trees(document)],
        features=features,
        task=meaning.task,
        bases=bases,
        finish=meaning.finish,
    ).build()


def _trees(document: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    trees: Sequence[Mapping[str, Any]] = document.get("oblivious_trees") or document.get("trees") or ()
    return trees


def _columns(document: Mapping[str, Any]) -> dict[int, tuple[int, bool]]:
    """Return by CatBoost's number of a feature its column, and whether a missing value is less than all others."""
    return {
        int(feature["feature_index"]): (
            int(feature["flat_feature_index"]),
            feature.get("nan_value_treatment", "AsIs") != "AsTrue",  # as it is, it is greater than nothing
        )
        for feature in document["features_info"]["float_features"]
    }


def _nodes(
    tree: Mapping[str, Any], columns: Mapping[int, tuple[int, bool]], outputs: int, scale: float
) -> Iterator[Node]:
    """Yield the nodes of a tree in the order of their numbers, level by level."""
    if "leaf_values" not in tree:
        yield from _uneven_nodes(tree, columns, scale)
        return
    splits = tree.get("splits") or ()
    for level, split in enumerate(reversed(splits)):  # the last one is the highest bit of a leaf's number
        below = 2 ** (level + 1) - 1
        for node in range(2**level):
            yield _question(split, columns, below + 2 * node, below + 2 * node + 1)
    leaves = np.array(tree["leaf_values"], dtype=np.float64).reshape(2 ** len(splits), outputs) * scale
    yield from leaves.tolist()


def _uneven_nodes(tree: Mapping[str, Any], columns: Mapping[int, tuple[int, bool]], scale: float) -> Iterator[Node]:
    numbers = count(1)
    waiting = [tree]
    for node in waiting:  # which grows by the children of each
        if "split" not in node:
            values = node["value"] if isinstance(node["value"], list) else [node["value"]]
            yield [float(value) * scale for value in values]
            continue
        yield _question(node["split"], columns, next(numbers), next(numbers))
        waiting += [node["left"], node["right"]]


def _question(split: Mapping[str, Any], columns: Mapping[int, tuple[int, bool]], left: int, right: int) -> Question:
    if "float_feature_index" not in split:
        raise UnsupportedModel("a CatBoost model that asks for categories")
    column, missing_left = columns[int(split["float_feature_index"])]
    return Question(column, float(np.float32(split["border"])), missing_left, left, right)
