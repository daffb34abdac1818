"""Tree ensembles of any library as Treelite models: what the backends treelite, tl2cgen and onnxruntime start from.

Treelite reads nearly every model of xgboost, LightGBM and scikit-learn exactly. What it is known to read wrongly, or
not at all, is refused here by name. Parity checks everything again.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.model.types import Format, Library, Model
from servefit.backends.types import Availability
from servefit.errors import CompileFailed

if TYPE_CHECKING:
    import treelite

REFUSED_PECULIARITIES = {
    "zero_as_missing": "Treelite does not know LightGBM's zero_as_missing",
    "linear_tree": "Treelite does not know LightGBM's linear trees",
}

SKLEARN_ENSEMBLES = frozenset(
    f"{ensemble}{kind}"
    for ensemble in ("RandomForest", "ExtraTrees", "GradientBoosting", "HistGradientBoosting")
    for kind in ("Classifier", "Regressor")
) | {"IsolationForest"}


def readable(model: Model) -> Availability:
    """Whether Treelite reads ``model`` exactly, told from what is known about it."""
    if model.library is Library.ONNX:
        return Availability.no("it serves tree ensembles of xgboost, LightGBM and scikit-learn, not ONNX models")
    if model.trees is None:
        return Availability.no("it serves tree ensembles, and this model has no trees")
    for peculiarity in model.trees.peculiarities:
        if peculiarity in REFUSED_PECULIARITIES:
            return Availability.no(REFUSED_PECULIARITIES[peculiarity])
    if model.trees.objective == "multi:softmax":
        return Availability.no("Treelite gives probabilities where the objective multi:softmax gives a class number")
    if model.library is Library.SKLEARN and model.trees.objective not in SKLEARN_ENSEMBLES:
        return Availability.no(f"Treelite does not read scikit-learn's {model.trees.objective}")
    return Availability.yes()


def read_trees(model: Model, backend: str) -> treelite.Model:
    """Read ``model`` into Treelite on behalf of ``backend``. Raises CompileFailed with Treelite's own reason."""
    import treelite

    try:
        if model.format is Format.LIGHTGBM_TEXT:
            return treelite.frontend.load_lightgbm_model(model.file)
        if model.format is Format.PICKLE:
            # Model.load has made sure that the user trusts it.
            return treelite.sklearn.import_model(pickle.loads(model.file.read_bytes()))
        return treelite.frontend.load_xgboost_model(model.file)
    except (treelite.TreeliteError, NotImplementedError, ValueError) as error:
        raise CompileFailed(backend, f"Treelite cannot read it: {str(error).splitlines()[0]}") from error


def category_facts(model: Model) -> dict[str, Any]:
    """What ``WholeCategories`` has to know about ``model``, as JSON values."""
    categorical = []
    if model.splits is not None:
        with np.load(model.splits, allow_pickle=False) as splits:
            categorical = np.unique(splits["category_features"]).tolist()
    return {"categorical_features": categorical, "negative_fractions_are_zero": model.library is not Library.XGBOOST}


class WholeCategories:
    """Makes whole numbers of categories, as the libraries do before they look a category up.

    XGBoost takes -0.5 for an invalid category, LightGBM for category 0.
    """

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self.columns = np.array(facts["categorical_features"], dtype=np.int64)
        self._round = np.trunc if facts["negative_fractions_are_zero"] else np.floor

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """``rows`` with whole categories; a copy."""
        rows = rows.copy()
        rows[:, self.columns] = self._round(rows[:, self.columns])
        return rows


def header(trees: treelite.Model, name: str) -> Any:
    """A field of a Treelite model's header: a string, a number, or an array where the field has several values."""
    value = trees.get_header_accessor().get_field(name)
    return value if isinstance(value, str) else value.item() if value.size == 1 else value
