"""The inspection of an XGBoost model. Runs in the inspection's child process."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from servefit.backends.inspection.forest import Forest, forest_of, treelite_trees
from servefit.backends.inspection.xgboost_legacy import upgrade
from servefit.backends.libraries.xgboost_c import Booster
from servefit.backends.model.inspection_record import Inspection
from servefit.backends.model.types import Format, Signature, Task, TreeStructure
from servefit.backends.model.width import check_width
from servefit.errors import CorruptModel


def inspect_xgboost(path: Path, model_format: Format, folder: Path) -> Inspection:
    """Open a model; write its splits, and the model itself if it has to be cut or rewritten, into ``folder``."""
    if model_format is Format.XGBOOST_BINARY:
        return _inspect_legacy(path, folder)
    booster = Booster.load(path, nthread=1)
    check_width(booster.features)
    warnings: tuple[str, ...] = ()
    file_name = None
    kept = _iterations_to_keep(booster)
    if kept is not None:
        # Read before it is sliced: slicing walks the trees without looking.
        _forest(path, booster.features)
        warnings = (
            f"the model calls iteration {kept - 1} its best, so {kept} of its {booster.iterations} "
            "iterations are served, as xgboost's own scikit-learn interface does",
        )
        booster = booster.first(kept)
        file_name, model_format = "model.ubj", Format.XGBOOST_UBJSON
        path = folder / file_name
        booster.save(path)
    learner = booster.learner()
    trees = _trees(path, booster, learner, folder)
    return Inspection(
        format=model_format,
        signature=_signature(booster, learner),
        trees=trees,
        file_name=file_name,
        splits_name=None if trees is None else "splits.npz",
        warnings=warnings,
    )


def _inspect_legacy(path: Path, folder: Path) -> Inspection:
    """Upgrade a model in XGBoost's retired binary format into ``folder``, and inspect that."""
    upgraded = folder / "model.ubj"
    upgrade(path, upgraded)
    inspection = inspect_xgboost(upgraded, Format.XGBOOST_UBJSON, folder)
    note = "the model is in XGBoost's retired binary format and was upgraded; both predict the same on drawn rows"
    return replace(inspection, file_name=upgraded.name, warnings=(note, *inspection.warnings))


def _iterations_to_keep(booster: Booster) -> int | None:
    """Return the number of iterations that the model's ``best_iteration`` leaves, or None where it leaves all or is not
    there."""
    best = booster.attribute("best_iteration")
    if best is None or not best.isdecimal() or int(best) + 1 >= booster.iterations:
        return None
    return int(best) + 1


def _forest(path: Path, features: int) -> Forest:
    import treelite

    return forest_of(treelite_trees(treelite.frontend.load_xgboost_model(path)), features)


def _trees(path: Path, booster: Booster, learner: dict[str, Any], folder: Path) -> TreeStructure | None:
    name = learner["gradient_booster"]["name"]
    if name == "gblinear":
        return None
    forest = _forest(path, booster.features)
    if not forest.trees:
        raise CorruptModel(path, "it has no trees")
    forest.save_splits(folder / "splits.npz")
    # A dart booster keeps its trees in a gbtree inside.
    gbtree = learner["gradient_booster"].get("gbtree", learner["gradient_booster"])
    parallel_trees = int(gbtree["gbtree_model_param"]["num_parallel_tree"])
    objective = learner["objective"]["name"]
    peculiarities = []
    if _targets(learner) > 1:
        peculiarities.append("multi_target")
    if objective == "reg:quantileerror":
        peculiarities.append("quantile")
    if learner["learner_train_param"].get("multi_strategy") == "multi_output_tree":
        peculiarities.append("vector_leaf")
    return TreeStructure(
        trees=forest.trees,
        nodes=forest.nodes,
        max_depth=forest.max_depth,
        objective=objective,
        booster="random forest" if name == "gbtree" and parallel_trees > 1 else name,
        categorical_splits=forest.has_categorical_splits,
        peculiarities=tuple(peculiarities),
    )


def _signature(booster: Booster, learner: dict[str, Any]) -> Signature:
    features = booster.features
    rows = np.zeros((3, features), dtype=np.float32)
    rows[1], rows[2] = 1, np.nan
    predictions = booster.predict(rows)
    return Signature(
        task=_task(learner["objective"]["name"], _targets(learner)),
        features=features,
        outputs=1 if predictions.ndim == 1 else predictions.shape[1],
        feature_names=booster.feature_names,
        accepts_missing=True,
    )


def _targets(learner: dict[str, Any]) -> int:
    return int(learner["learner_model_param"].get("num_target", "1"))


def _task(objective: str, targets: int) -> Task:
    kinds = {"binary": Task.BINARY if targets == 1 else Task.LABELS, "multi": Task.MULTICLASS, "rank": Task.RANKING}
    return kinds.get(objective.partition(":")[0], Task.REGRESSION)
