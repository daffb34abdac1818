"""CatBoost's models: how they are opened, what their loss says of predictions, and their trees as JSON."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from servefit.backends.model.types import Format, Task
from servefit.errors import UnsupportedModel

_FORMATS = {Format.CATBOOST_CBM: "cbm", Format.CATBOOST_JSON: "json"}


@dataclass(frozen=True, slots=True)
class Meaning:
    """The meaning of the predictions of a model that was fitted by a ``loss``: ``asked`` is CatBoost's type of
    prediction, and ``finish`` Treelite's name of what makes it of the sums of leaves."""

    task: Task
    asked: str = "RawFormulaVal"
    finish: str = "identity"


_BINARY = Meaning(Task.BINARY, "Probability", "sigmoid")
_RANKING = Meaning(Task.RANKING)
_EXPONENT = Meaning(Task.REGRESSION, "Exponent", "exponential")
_MEANINGS = {
    **dict.fromkeys(("Logloss", "CrossEntropy", "Focal"), _BINARY),
    "MultiClass": Meaning(Task.MULTICLASS, "Probability", "softmax"),
    "MultiClassOneVsAll": Meaning(Task.MULTICLASS, "Probability", "multiclass_ova"),
    **dict.fromkeys(("MultiLogloss", "MultiCrossEntropy"), Meaning(Task.LABELS, "Probability", "sigmoid")),
    **dict.fromkeys(("Poisson", "Tweedie"), _EXPONENT),
    **dict.fromkeys(("YetiRank", "YetiRankPairwise", "PairLogit", "PairLogitPairwise", "QueryRMSE"), _RANKING),
    **dict.fromkeys(
        ("QuerySoftMax", "QueryCrossEntropy", "LambdaMart", "StochasticFilter", "StochasticRank"), _RANKING
    ),
}
"""By CatBoost's names of losses; any other is one of a regression."""

_SCRIPT = "serve it by a script: code/inference.py beside it, and --trust-code"
_UNSERVED = ("RMSEWithUncertainty",)
"""Losses whose predictions are of a kind that no task of servefit has."""


def open_catboost(path: Path, model_format: Format) -> Any:
    """Return the ``catboost.CatBoost`` in a file. Raises CatBoostError."""
    import catboost

    model = catboost.CatBoost()
    model.load_model(str(path), format=_FORMATS[model_format])
    return model


def as_estimator(path: Path, model_format: Format) -> Any:
    """Return the model in a file as an estimator of scikit-learn. Raises CatBoostError, and UnsupportedModel."""
    import catboost

    of_classes = meaning_of(loss_of(open_catboost(path, model_format))).task.is_of_classes
    estimator = catboost.CatBoostClassifier() if of_classes else catboost.CatBoostRegressor()
    estimator.load_model(str(path), format=_FORMATS[model_format])
    return estimator


def loss_of(model: Any) -> str:
    """Return the name of the loss that a model was fitted by. Raises UnsupportedModel."""
    parameters = json.loads(model.get_metadata()["params"] or "{}")
    if "loss_function" not in parameters:
        raise UnsupportedModel("a CatBoost model that does not say its loss, as sums of models", remedy=_SCRIPT)
    return str(parameters["loss_function"]["type"])


def meaning_of(loss: str) -> Meaning:
    """Return the meaning of predictions. Raises UnsupportedModel."""
    if loss in _UNSERVED:
        raise UnsupportedModel(
            f"a CatBoost model of the loss {loss}",
            remedy=_SCRIPT,
        )
    return _MEANINGS.get(loss, Meaning(Task.REGRESSION))


def opened_with_meaning(path: Path, model_format: Format) -> tuple[Any, Meaning]:
    """Return the model in a file, and the meaning of its predictions. Raises as the two do."""
    model = open_catboost(path, model_format)
    return model, meaning_of(loss_of(model))


def predicted(model: Any, meaning: Meaning, rows: np.ndarray, threads: int) -> np.ndarray:
    """Predict ``rows`` (n, features): (n,) or (n, outputs), of two classes the probability of the second."""
    predictions = np.asarray(model.predict(rows, prediction_type=meaning.asked, thread_count=threads))
    return predictions[:, 1] if meaning.task is Task.BINARY else predictions


def document_of(model: Any) -> dict[str, Any]:
    """Return what CatBoost writes of a model as JSON, which has its trees."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.json")
        model.save_model(str(file), format="json")
        document: dict[str, Any] = json.loads(file.read_bytes())
    return document
