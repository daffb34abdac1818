"""The predictions of a scikit-learn estimator, as one number or several a row.

The inspection and scikit-learn's own backend both use it, so that they agree.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.model.sklearn_steps import last_of
from servefit.backends.model.types import Task

if TYPE_CHECKING:
    from servefit.backends.model.sklearn_frames import Frame


ROWS_REFUSED = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError)
"""Errors of estimators, and of functions of the user's in them, for rows that they do not take."""


def prediction_method(estimator: Any, task: Task) -> str:
    """Return the method whose result is the prediction: probabilities where there are any, the score of an outlier
    detector, else what ``predict`` gives."""
    if task.is_of_classes and hasattr(estimator, "predict_proba"):
        return "predict_proba"
    return "decision_function" if task is Task.OUTLIER else "predict"


def set_jobs(estimator: Any, threads: int) -> None:
    """Have all parts of ``estimator`` use so many threads of joblib."""
    for name in estimator.get_params():
        if name.rpartition("__")[2] == "n_jobs":
            estimator.set_params(**{name: threads})
    last = last_of(estimator)
    if hasattr(last, "get_all_params"):  # CatBoost takes them in each call alone
        for method in ("predict", "predict_proba"):
            if hasattr(last, method):
                setattr(last, method, partial(getattr(last, method), thread_count=threads))


def predict(estimator: Any, task: Task, rows: np.ndarray, frame: Frame | None = None) -> np.ndarray:
    """Predict ``rows`` (n, features): (n,) or (n, outputs), as ``Signature`` says for the task. ``frame`` is how an
    estimator is called that does not take rows of numbers."""
    method = prediction_method(estimator, task)
    try:
        output = getattr(estimator, method)(rows if frame is None else frame(rows))
    except Exception as error:
        if type(error).__name__ != "CatBoostError":
            raise
        raise ValueError(str(error)) from error  # as other libraries do for rows that they do not take
    return as_array(output, second=method == "predict_proba" and task is Task.BINARY)


def as_array(output: Any, *, second: bool) -> np.ndarray:
    """Return ``output``, what a method of an estimator gave, as numbers.

    Args:
        output: An array, a sparse matrix, or of several targets a list with the probabilities of each.
        second: Take the second of two columns alone, the probability of the second class.

    Returns:
        (rows,) or (rows, outputs): of a list all targets side by side, of a target of two classes the second.
    """
    if isinstance(output, list):
        output = np.concatenate([shares[:, shares.shape[1] == 2 :] for shares in output], axis=1)
    predictions = np.asarray(output.toarray() if hasattr(output, "toarray") else output)
    if second:
        predictions = predictions[:, 1]
    if predictions.ndim == 2 and predictions.shape[1] == 1:
        predictions = predictions[:, 0]
    return predictions if predictions.dtype.kind == "f" else predictions.astype(np.float64)


def has_several_targets(classifier: Any) -> bool:
    """Return whether a fitted ``classifier`` answers several targets, or labels of which a row has several or none:
    then the probabilities of two are not those of a class and of the other."""
    last = last_of(classifier)
    if hasattr(last, "best_estimator_"):
        return has_several_targets(last.best_estimator_)
    if hasattr(last, "estimator_") and hasattr(last, "support_"):  # of a selection of columns, which asks it
        return has_several_targets(last.estimator_)
    if isinstance(getattr(last, "classes_", None), list) or getattr(last, "multilabel_", False):
        return True
    if "multilabel" in getattr(getattr(last, "_label_binarizer", None), "y_type_", ""):
        return True
    if hasattr(last, "get_all_params"):  # of CatBoost
        return str(last.get_all_params()["loss_function"]).startswith(("MultiLogloss", "MultiCrossEntropy"))
    if not hasattr(last, "get_booster"):
        return False
    return int(learner_of(last)["learner_model_param"].get("num_target", 1)) > 1


def learner_of(estimator: Any) -> dict[str, Any]:
    """Return the learner's part of the configuration that an estimator of XGBoost was fitted with."""
    learner: dict[str, Any] = json.loads(estimator.get_booster().save_config())["learner"]
    return learner
