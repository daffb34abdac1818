"""Upgrades XGBoost's binary format, which xgboost 3.1 and later refuse, to UBJSON. Runs in the child process.

Treelite still reads the trees. They are put into a JSON document that the installed xgboost wrote itself for the same
objective, and the result is only used if xgboost then predicts what Treelite predicts from the old file.
"""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np

from servefit.backends.inspection.forest import Forest, forest_of, treelite_trees
from servefit.backends.model.formats import legacy_xgboost_names
from servefit.backends.model.width import check_width
from servefit.errors import CorruptModel, UnsupportedModel

_REMEDY = "open it with XGBoost 3.0 or older and save it as UBJSON"
_RENAMED_OBJECTIVES = {"reg:linear": "reg:squarederror"}
_NO_PARENT = 2**31 - 1
"""Of a root, as xgboost writes it."""

_BEST_ITERATION = re.compile(rb"\x0e\0\0\0\0\0\0\0best_iteration.\0\0\0\0\0\0\0(\d+)", re.DOTALL)
_ROWS_COMPARED = 256
"""Rows, on the trees' own thresholds too, on which the upgraded model is checked. Chosen, not measured."""


def upgrade(path: Path, upgraded: Path) -> None:
    """Write the legacy model at ``path`` as UBJSON. Raises UnsupportedModel or CorruptModel where that is not exact."""
    import treelite
    import xgboost

    content = path.read_bytes()
    names = legacy_xgboost_names(content)
    if names is None:
        raise CorruptModel(path, "it is not in XGBoost's binary format")
    objective, booster_name = names
    if booster_name == "gblinear":
        raise UnsupportedModel("a linear booster in XGBoost's retired binary format", remedy=_REMEDY)
    old = treelite.frontend.load_xgboost_model_legacy_binary(str(path))
    check_width(old.num_feature)
    if not old.num_tree:
        raise CorruptModel(path, "it has no trees")
    forest = forest_of(treelite_trees(old), old.num_feature)
    objective = _RENAMED_OBJECTIVES.get(objective, objective)
    document = _empty_model(old, objective)
    _fill(document["learner"], old, content, booster_name)
    booster = xgboost.Booster({"nthread": 1})
    booster.load_model(bytearray(json.dumps(document, separators=(",", ":")).encode()))
    _compare(booster, old, forest, objective)
    booster.save_model(upgraded)


def _empty_model(old: Any, objective: str) -> dict[str, Any]:
    """Return the JSON of a model without trees for the objective, as the installed xgboost writes it."""
    import xgboost

    classes = int(_header(old, "num_class")[0])
    parameters = {"objective": objective, "base_score": _base_score(old), "nthread": 1}
    if objective.startswith("multi:"):
        parameters["num_class"] = classes
    rows = xgboost.DMatrix(np.zeros((1, old.num_feature), dtype=np.float32), label=np.zeros(1), nthread=1)
    try:
        untrained = xgboost.train(parameters, rows, num_boost_round=0)
    except xgboost.core.XGBoostError as error:
        raise UnsupportedModel(
            f"the objective {objective!r} in XGBoost's retired binary format", remedy=_REMEDY
        ) from error
    document: dict[str, Any] = json.loads(untrained.save_raw("json"))
    return document


def _base_score(old: Any) -> float:
    """Return the base score as xgboost takes it, before its objective's link function; Treelite keeps it after."""
    margin = float(np.ravel(_header(old, "base_scores"))[0])
    link = _header(old, "postprocessor")
    if link == "sigmoid":
        return float(1 / (1 + np.exp(-margin)))
    return float(np.exp(margin)) if link == "exponential" else margin


def _fill(learner: dict[str, Any], old: Any, content: bytes, booster_name: str) -> None:
    """Write the old trees, and the best iteration if the old file names one, into the document."""
    trees = [_tree(old, index) for index in range(old.num_tree)]
    classes = int(_header(old, "num_class")[0])
    parallel_trees = _parallel_trees(content, booster_name)
    trees_per_iteration = classes * parallel_trees
    if len(trees) % trees_per_iteration:
        raise UnsupportedModel(f"{len(trees)} trees, which are no whole iterations", remedy=_REMEDY)
    model = learner["gradient_booster"]["model"]
    model["trees"] = trees
    model["tree_info"] = [int(index) for index in _header(old, "class_id")] if classes > 1 else [0] * len(trees)
    model["gbtree_model_param"] |= {"num_trees": str(len(trees)), "num_parallel_tree": str(parallel_trees)}
    model["iteration_indptr"] = list(range(0, len(trees) + 1, trees_per_iteration))
    if match := _BEST_ITERATION.search(content):
        learner["attributes"]["best_iteration"] = match[1].decode()


def _parallel_trees(content: bytes, booster_name: str) -> int:
    """Return the second number of the booster's own parameters, which follow its name; XGBoost before 1.6 left a 1
    there."""
    begin = content.index(booster_name.encode(), 136) + len(booster_name)
    return max(int(struct.unpack_from("<i", content, begin + 4)[0]), 1)


def _tree(old: Any, index: int) -> dict[str, Any]:
    """Return a tree in XGBoost's JSON schema."""
    accessor = old.get_tree_accessor(index)
    left, right = accessor.get_field("cleft"), accessor.get_field("cright")
    inner = left >= 0
    nodes = len(left)
    parents = np.full(nodes, _NO_PARENT)
    parents[left[inner]] = parents[right[inner]] = np.flatnonzero(inner)
    conditions = np.where(inner, accessor.get_field("threshold"), accessor.get_field("leaf_value"))
    # The shortest text of each float32, so that reading it gives the same float32.
    conditions = conditions.astype(np.float32).astype(str).astype(np.float64)
    zeros = [0.0] * nodes
    return {
        "id": index,
        "tree_param": {
            "num_deleted": "0",
            "num_feature": str(old.num_feature),
            "num_nodes": str(nodes),
            "size_leaf_vector": "1",
        },
        "left_children": left.tolist(),
        "right_children": right.tolist(),
        "parents": parents.tolist(),
        "split_indices": np.where(inner, accessor.get_field("split_index"), 0).tolist(),
        "split_conditions": conditions.tolist(),
        "default_left": np.where(inner, accessor.get_field("default_left"), 0).astype(int).tolist(),
        "split_type": [0] * nodes,
        "base_weights": zeros,
        "loss_changes": zeros,
        "sum_hessian": zeros,
        "categories": [],
        "categories_nodes": [],
        "categories_segments": [],
        "categories_sizes": [],
    }


def _compare(booster: Any, old: Any, forest: Forest, objective: str) -> None:
    """Raise UnsupportedModel unless both predict the same on rows on, above and below the trees' thresholds."""
    import treelite
    import xgboost

    generator = np.random.default_rng(0)
    rows = generator.standard_normal((_ROWS_COMPARED, old.num_feature)).astype(np.float32)
    for feature in np.unique(forest.split_features):
        thresholds = forest.split_thresholds[forest.split_features == feature].astype(np.float32)
        drawn = generator.choice(thresholds, _ROWS_COMPARED)
        side = generator.choice(np.array([-np.inf, np.inf], dtype=np.float32), _ROWS_COMPARED)
        moved = np.where(generator.random(_ROWS_COMPARED) < 0.5, drawn, np.nextafter(drawn, side))
        rows[:, feature] = np.where(generator.random(_ROWS_COMPARED) < 0.2, np.nan, moved)
    new = booster.predict(xgboost.DMatrix(rows, nthread=1))
    expected = treelite.gtil.predict(old, rows, nthread=1).reshape(_ROWS_COMPARED, -1)
    if objective == "multi:softmax":
        expected = expected.argmax(axis=1)
    if not np.allclose(new.reshape(expected.shape), expected, rtol=1e-5, atol=1e-6):
        error = np.abs(new.reshape(expected.shape) - expected).max()
        raise UnsupportedModel(
            f"an upgrade of XGBoost's retired binary format would change predictions, by up to {error:.3g}",
            remedy=_REMEDY,
        )


def _header(old: Any, name: str) -> Any:
    return old.get_header_accessor().get_field(name)
