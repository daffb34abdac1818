"""Tree ensembles of any library as Treelite models: what the backends treelite, tl2cgen and onnxruntime start from.

Treelite reads nearly every model of xgboost, LightGBM and scikit-learn exactly, and is given the trees of CatBoost and
ONNX node by node. What it is known to read wrongly, or not at all, is refused here by name. Parity checks everything
again.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.libraries.onnx_forest import OTHER_OPERATORS, trees_of_onnx
from servefit.backends.model.keeping import content_as_named
from servefit.backends.model.types import Format, Library, Task
from servefit.backends.types import Availability
from servefit.errors import CompileFailed, UnsupportedModel

if TYPE_CHECKING:
    import treelite

    from servefit.backends.model import Model
    from servefit.backends.model.types import TreeStructure

REFUSED_PECULIARITIES = {
    "zero_as_missing": "Treelite does not know LightGBM's zero_as_missing",
    "linear_tree": "Treelite does not know LightGBM's linear trees",
}

_LIGHTGBM_ZERO = float(np.float32(1e-35))  # kZeroThreshold of LightGBM's meta.h

SKLEARN_ENSEMBLES = frozenset(
    f"{ensemble}{kind}"
    for ensemble in ("RandomForest", "ExtraTrees", "GradientBoosting", "HistGradientBoosting")
    for kind in ("Classifier", "Regressor")
) | {"IsolationForest"}


def is_ensemble(estimator: Any) -> bool:
    """Return whether an estimator is an ensemble of trees that can be read: of scikit-learn, or of the classes that
    XGBoost, LightGBM and CatBoost have for it. Boosting from the predictions of another estimator is none, and neither
    are linear functions, alone or in leaves."""
    kind = type(estimator)
    package = kind.__module__.partition(".")[0]
    if package == "sklearn":
        begins = type(getattr(estimator, "init_", "zero"))
        return kind.__name__ in SKLEARN_ENSEMBLES and (begins is str or begins.__name__.startswith("Dummy"))
    if package not in ("xgboost", "lightgbm", "catboost") or not hasattr(estimator, "get_params"):
        return False
    options = estimator.get_params()
    return options.get("booster") != "gblinear" and not options.get("linear_tree")


def readable(model: Model) -> Availability:
    """Return whether Treelite reads ``model`` exactly, told from what is known about it."""
    if model.trees is None:
        return Availability.no("it serves tree ensembles, and this model has no trees")
    if model.library is Library.ONNX:
        return _readable_onnx(model, model.trees)
    for peculiarity in model.trees.peculiarities:
        if peculiarity in REFUSED_PECULIARITIES:
            return Availability.no(REFUSED_PECULIARITIES[peculiarity])
    if model.trees.objective == "multi:softmax":
        return Availability.no("Treelite gives probabilities where the objective multi:softmax gives a class number")
    if model.library is Library.SKLEARN and model.trees.categorical_splits:
        return Availability.no("Treelite does not take an unknown category for a missing value, as scikit-learn does")
    if model.library is Library.SKLEARN and model.trees.booster not in SKLEARN_ENSEMBLES:
        return Availability.no(f"Treelite does not read scikit-learn's {model.trees.booster}")
    return Availability.yes()


def _readable_onnx(model: Model, trees: TreeStructure) -> Availability:
    if OTHER_OPERATORS in trees.peculiarities:
        return Availability.no("it serves ONNX models that are one tree ensemble, and this one has other operators")
    if trees.categorical_splits:
        return Availability.no("it serves ONNX trees that compare numbers, and these ask for single values")
    if model.signature.row_datatype != "float32":
        return Availability.no(f"it serves ONNX trees of float32, and these take {model.signature.row_datatype}")
    return Availability.yes()


def read_trees(model: Model, backend: str) -> treelite.Model:
    """Read ``model`` into Treelite on behalf of ``backend``. Raises CompileFailed with Treelite's own reason."""
    import treelite

    try:
        if model.format is Format.LIGHTGBM_TEXT:
            return _read_lightgbm(model)
        if model.library is Library.ONNX:
            return trees_of_onnx(model.file, model.signature.features, model.signature.task)
        if model.library is Library.CATBOOST:
            return _read_catboost(model)
        if model.format is Format.PICKLE:
            return _read_estimator(unpickled(model))
        return treelite.frontend.load_xgboost_model(model.file)
    except UnsupportedModel as error:
        raise CompileFailed(backend, error.what) from error
    except (treelite.TreeliteError, NotImplementedError, ValueError) as error:
        raise CompileFailed(backend, f"Treelite cannot read it: {str(error).splitlines()[0]}") from error


def unpickled(model: Model) -> Any:
    """Return the scikit-learn estimator. Unpickling it runs its code: ``Model.load`` has made sure that the user trusts
    it."""
    return pickle.loads(model.file.read_bytes())


def _read_lightgbm(model: Model) -> treelite.Model:
    """Read a LightGBM model. LightGBM takes every value of up to 1e-35 for zero, before it compares; it sets thresholds
    at plus and minus that bound. A value exactly on the lower bound is a zero and above the threshold, so the threshold
    is moved below it."""
    import treelite

    trees = treelite.frontend.load_lightgbm_model(model.file)
    for number in range(trees.num_tree):
        tree = trees.get_tree_accessor(number)
        thresholds = tree.get_field("threshold")
        on_bound = thresholds == -_LIGHTGBM_ZERO
        if on_bound.any():
            tree.set_field("threshold", np.where(on_bound, np.nextafter(thresholds, -np.inf), thresholds))
    return trees


def _read_catboost(model: Model) -> treelite.Model:
    from servefit.backends.libraries.catboost_library import document_of, opened_with_meaning
    from servefit.backends.libraries.catboost_trees import trees_of_catboost

    opened, meaning = opened_with_meaning(model.file, model.format)
    return trees_of_catboost(document_of(opened), model.signature.features, meaning)


def _read_estimator(estimator: Any) -> treelite.Model:
    import treelite

    trees = treelite.sklearn.import_model(estimator)
    if getattr(estimator, "loss", None) == "exponential":
        # scikit-learn's probability is the logistic function of twice the sum; Treelite leaves the two out.
        trees.get_header_accessor().set_field("sigmoid_alpha", np.array([2], dtype=np.float32))
    return trees


def output_facts(model: Model, trees: treelite.Model) -> dict[str, Any]:
    """Return how Treelite's outputs become the model's predictions, as JSON values for ``Outputs``."""
    values = int(np.sum(trees.get_header_accessor().get_field("num_class")))
    return {
        "values": values,
        "column": 1 if values == 2 and model.signature.outputs == 1 else None,
        "outlier_offset": float(unpickled(model).offset_) if model.signature.task is Task.OUTLIER else None,
    }


class Outputs:
    """Turns Treelite's outputs of n rows into predictions, (n,) or (n, outputs), without a copy but for outliers."""

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self.values: int = facts["values"]
        self._column = 0 if self.values == 1 else facts["column"]
        self._offset = facts["outlier_offset"]

    def __call__(self, values: np.ndarray) -> np.ndarray:
        if self._column is None:
            return values.reshape(-1, self.values)
        values = values.reshape(-1, self.values)[:, self._column]
        # Treelite gives an anomaly score, scikit-learn's decision function is low for outliers.
        return values if self._offset is None else -values - self._offset


class TreeOutputs:
    """The outputs that the trees of a Treelite model add to. An output is a class of a target: target * classes +
    class.

    ``first_outputs`` (trees,) has the output of each tree, or the first of those of its leaf vectors; ``scale``
    (outputs,) is what the sum of an output is multiplied with, where trees are averaged.
    """

    def __init__(self, trees: treelite.Model) -> None:
        accessor = trees.get_header_accessor()
        self._classes = int(accessor.get_field("num_class").max())
        self._targets, self._class_ids = accessor.get_field("target_id"), accessor.get_field("class_id")
        self._shape = accessor.get_field("leaf_vector_shape").tolist()
        self.count = len(accessor.get_field("num_class")) * self._classes
        self.first_outputs = np.maximum(self._targets, 0) * self._classes + np.maximum(self._class_ids, 0)
        adding = np.zeros(self.count)
        for number in range(len(self._targets)):
            adding[self.of(number)] += 1
        averaged = bool(header(trees, "average_tree_output"))
        self.scale = 1 / np.maximum(adding, 1) if averaged else np.ones(self.count)

    def of(self, tree: int) -> np.ndarray:
        """Return the outputs that one leaf of ``tree`` adds to, in the order of its leaf vector."""
        target, class_id = int(self._targets[tree]), int(self._class_ids[tree])
        targets = np.arange(self._shape[0]) if target < 0 else np.array([target])
        class_ids = np.arange(self._shape[1]) if class_id < 0 else np.array([class_id])
        outputs: np.ndarray = (targets[:, np.newaxis] * self._classes + class_ids).ravel()
        return outputs


def category_facts(model: Model) -> dict[str, Any]:
    """Return the facts about ``model`` that ``WholeCategories`` needs, as JSON values."""
    categorical = []
    if model.splits is not None:
        with np.load(BytesIO(content_as_named(model.splits)), allow_pickle=False) as splits:
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
        """Return ``rows`` with whole categories; a copy."""
        rows = rows.copy()
        rows[:, self.columns] = self._round(rows[:, self.columns])
        return rows


def header(trees: treelite.Model, name: str) -> Any:
    """Return a field of a Treelite model's header: a string, a number, or an array where the field has several
    values."""
    value = trees.get_header_accessor().get_field(name)
    return value if isinstance(value, str) else value.item() if value.size == 1 else value
