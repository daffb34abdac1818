"""What a model's own library predicts, by the plainest call that it documents: the measure of every artifact.

Runs in a child process. Slow on purpose: one thread, and none of the shortcuts that the backends take.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from servefit.backends.model.types import Library, Model

if TYPE_CHECKING:
    from collections.abc import Callable


def reference_predictions(model: Model, rows: np.ndarray) -> np.ndarray:
    """Predict float32 ``rows`` (n, features): (n,) or (n, outputs), in the sense of ``Predictor.predict``."""
    return _REFERENCES[model.library](model, rows)


def _xgboost(model: Model, rows: np.ndarray) -> np.ndarray:
    import xgboost

    booster = xgboost.Booster({"nthread": 1, "verbosity": 0}, model_file=str(model.file))
    matrix = xgboost.DMatrix(rows, nthread=1, feature_types=booster.feature_types, enable_categorical=True)
    predictions: np.ndarray = booster.predict(matrix, validate_features=False)
    return predictions


def _lightgbm(model: Model, rows: np.ndarray) -> np.ndarray:
    import lightgbm

    booster = lightgbm.Booster(model_file=model.file)
    return np.asarray(booster.predict(rows, num_threads=1))


_REFERENCES: dict[Library, Callable[[Model, np.ndarray], np.ndarray]] = {
    Library.XGBOOST: _xgboost,
    Library.LIGHTGBM: _lightgbm,
}
