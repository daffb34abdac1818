"""The inspection of a LightGBM model. Runs in the inspection's child process."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from servefit.backends.inspection import lightgbm_text
from servefit.backends.inspection.forest import forest_of
from servefit.backends.model.inspection_record import Inspection
from servefit.backends.model.types import Format, Signature, Task, TreeStructure
from servefit.backends.model.width import check_width
from servefit.errors import CorruptModel


def inspect_lightgbm(path: Path, folder: Path) -> Inspection:
    """Open a model in LightGBM's text format; write its splits into ``folder``."""
    import lightgbm

    text = lightgbm_text.parse(path.read_text(encoding="utf-8"))
    if not text.trees:
        raise CorruptModel(path, "it has no trees")
    if not text.header.get("max_feature_idx", "").isdecimal():
        raise CorruptModel(path, "its header does not say how many features there are")
    features = int(text.header["max_feature_idx"]) + 1
    check_width(features)
    forest = forest_of(lightgbm_text.trees_of(text), features)
    forest.save_splits(folder / "splits.npz")
    booster = lightgbm.Booster(model_file=str(path))
    rows = np.zeros((3, features))
    rows[1], rows[2] = 1, np.nan
    predictions = np.asarray(booster.predict(rows, num_threads=1))
    objective = text.header.get("objective", "custom").split()[0]
    return Inspection(
        format=Format.LIGHTGBM_TEXT,
        signature=Signature(
            task=_task(objective),
            features=features,
            outputs=1 if predictions.ndim == 1 else predictions.shape[1],
            feature_names=_feature_names(booster.feature_name()),
            table_datatype="float64",
        ),
        trees=TreeStructure(
            trees=forest.trees,
            nodes=forest.nodes,
            max_depth=forest.max_depth,
            objective=objective,
            booster=text.parameters.get("boosting", "gbdt"),
            categorical_splits=forest.has_categorical_splits,
            peculiarities=lightgbm_text.peculiarities(text),
        ),
        splits_name="splits.npz",
    )


def _task(objective: str) -> Task:
    kinds = {
        "binary": Task.BINARY,
        "multiclass": Task.MULTICLASS,
        "multiclassova": Task.MULTICLASS,
        "lambdarank": Task.RANKING,
        "rank_xendcg": Task.RANKING,
    }
    return kinds.get(objective, Task.REGRESSION)


def _feature_names(names: list[str]) -> tuple[str, ...]:
    """Return the names, unless they are those that LightGBM makes up for columns without names."""
    made_up = [f"Column_{index}" for index in range(len(names))]
    return () if names == made_up else tuple(names)
