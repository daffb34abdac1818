"""The inspection of a CatBoost model. Runs in the inspection's child process."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from servefit.backends.inspection.forest import forest_of, treelite_trees
from servefit.backends.libraries.catboost_library import document_of, loss_of, meaning_of, open_catboost, predicted
from servefit.backends.libraries.catboost_trees import trees_of_catboost
from servefit.backends.model.inspection_record import Inspection
from servefit.backends.model.types import Format, Signature, Task, TreeStructure
from servefit.backends.model.width import check_width
from servefit.errors import UnsupportedModel


def inspect_catboost(path: Path, model_format: Format, folder: Path) -> Inspection:
    """Open a model of CatBoost; write its splits into ``folder``. Raises UnsupportedModel."""
    model = open_catboost(path, model_format)
    loss = loss_of(model)
    meaning = meaning_of(loss)
    names = [str(name) for name in model.feature_names_]
    others = [kind for kind in ("text", "embedding") if getattr(model, f"get_{kind}_feature_indices")()]
    if others:
        raise UnsupportedModel(
            f"a CatBoost model of {' and '.join(others)} features",
            remedy="encode them before CatBoost, in a pipeline of scikit-learn; or serve a script: code/inference.py "
            "beside it, and --trust-code",
        )
    check_width(len(names))
    document = document_of(model)
    forest = forest_of(treelite_trees(trees_of_catboost(document, len(names), meaning)), len(names))
    forest.save_splits(folder / "splits.npz")
    predictions = predicted(model, meaning, np.zeros((3, len(names)), dtype=np.float32), threads=1)
    several = predictions.ndim == 2 and meaning.task in (Task.REGRESSION, Task.LABELS)
    made_up = [str(nth) for nth in range(len(names))]
    return Inspection(
        format=model_format,
        signature=Signature(
            task=meaning.task,
            features=len(names),
            outputs=1 if predictions.ndim == 1 else predictions.shape[1],
            feature_names=() if names == made_up else tuple(names),
        ),
        trees=TreeStructure(
            trees=forest.trees,
            nodes=forest.nodes,
            max_depth=forest.max_depth,
            objective=loss,
            booster="catboost",
            categorical_splits=False,
            peculiarities=("multi_target",) if several else (),
        ),
        splits_name="splits.npz",
    )
