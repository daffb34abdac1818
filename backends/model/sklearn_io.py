"""The predictions of a scikit-learn estimator, as one number or several a row.

The inspection and scikit-learn's own backend both use it, so that they agree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.model.types import Task

if TYPE_CHECKING:
    from servefit.backends.model.sklearn_frames import Frame


def prediction_method(estimator: Any, task: Task) -> str:
    """Return the method whose result is the prediction: probabilities where there are any, the score of an outlier
    detector, else what ``predict`` gives."""
    if task in (Task.BINARY, Task.MULTICLASS) and hasattr(estimator, "predict_proba"):
        return "predict_proba"
    return "decision_function" if task is Task.OUTLIER else "predict"


def set_jobs(estimator: Any, threads: int) -> None:
    """Have all parts of ``estimator`` use so many threads of joblib."""
    for name in estimator.get_params():
        if name.rpartition("__")[2] == "n_jobs":
            estimator.set_params(**{name: threads})


def predict(estimator: Any, task: Task, rows: np.ndarray, frame: Frame | None = None) -> np.ndarray:
    """Predict ``rows`` (n, features): (n,) or (n, outputs), as ``Signature`` says for the task. ``frame`` is how an
    estimator is called that does not take rows of numbers."""
    method = prediction_method(estimator, task)
    predictions = np.asarray(getattr(estimator, method)(rows if frame is None else frame(rows)))
    if method == "predict_proba" and task is Task.BINARY:
        predictions = predictions[:, 1]
    if predictions.ndim == 2 and predictions.shape[1] == 1:
        predictions = predictions[:, 0]
    return predictions if predictions.dtype.kind == "f" else predictions.astype(np.float64)
