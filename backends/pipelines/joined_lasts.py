"""Estimators of scikit-learn that join or bend the predictions of others, which are read in their turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from servefit.backends.model.sklearn_io import has_several_targets
from servefit.backends.pipelines.branches import Chain
from servefit.backends.pipelines.lasts import (
    Calibrated,
    Linear,
    Mean,
    PowersUndone,
    QuantilesUndone,
    SideBySide,
    Stacked,
    Undone,
    Vote,
)
from servefit.backends.pipelines.numbers import Elementwise, elementwise
from servefit.backends.pipelines.sample import Sample, predicted
from servefit.backends.pipelines.trees import as_forest_of_scores
from servefit.backends.pipelines.values import PipelineStep, dense

Read: TypeAlias = Callable[[Any, str, Sample, str], PipelineStep]
"""Reads an estimator: with its method, the rows that it is given and its name."""


def joined_last(read: Read, estimator: Any, method: str, sample: Sample) -> PipelineStep | None:
    """Return what computes ``method`` of ``estimator``; None where it joins none, or in a way that is not known."""
    kind = type(estimator)
    if not kind.__module__.startswith("sklearn.") or kind.__name__ not in _READERS:
        return None
    return _READERS[kind.__name__](read, estimator, method, sample)


def _voting(read: Read, estimator: Any, method: str, sample: Sample) -> PipelineStep | None:
    weights = [
        1.0 if estimator.weights is None else float(weight)
        for (_, chosen), weight in zip(
            estimator.estimators, estimator.weights or [1.0] * len(estimator.estimators), strict=True
        )
        if not isinstance(chosen, str)
    ]
    steps = tuple(
        read(inner, method, sample, name)
        for (name, _), inner in zip(_kept(estimator.estimators), estimator.estimators_, strict=True)
    )
    if method == "predict" and hasattr(estimator, "classes_"):
        return Vote(steps, tuple(weights), np.asarray(estimator.classes_, dtype=np.float64))
    return Mean(steps, tuple(weight / sum(weights) for weight in weights))


def _kept(estimators: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    return [(name, entry) for name, entry in estimators if not isinstance(entry, str)]


def _calibrated(read: Read, estimator: Any, method: str, sample: Sample) -> PipelineStep | None:
    if method != "predict_proba":
        return None
    entry = [_one_calibrated(read, inner, sample) for inner in estimator.calibrated_classifiers_]
    if any(step is None for step in entry):
        return None
    return Mean(tuple(step for step in entry if step is not None), (1 / len(entry),) * len(entry))


def _one_calibrated(read: Read, calibrated: Any, sample: Sample) -> PipelineStep | None:
    inner = calibrated.estimator
    asked = "decision_function" if hasattr(inner, "decision_function") else "predict_proba"
    curves = []
    for curve in calibrated.calibrators:
        if hasattr(curve, "a_"):
            curves.append((np.asarray(curve.a_), np.asarray(curve.b_)))
        elif hasattr(curve, "X_thresholds_"):
            curves.append((curve.X_thresholds_, curve.y_thresholds_))
        else:
            return None
    if len(inner.classes_) != len(calibrated.classes):
        return None
    return Calibrated(read(inner, asked, sample, "calibrated"), tuple(curves), hasattr(calibrated.calibrators[0], "a_"))


def _ada_boost(read: Read, estimator: Any, method: str, sample: Sample) -> PipelineStep | None:
    if method != "predict_proba" or (forest := as_forest_of_scores(estimator)) is None:
        return None
    scores = read(forest, "predict", sample, "estimators_")
    outputs, finish = forest.n_outputs_, "logistic" if forest.n_outputs_ == 1 else "softmax"
    return Stacked((scores,), Linear(np.eye(outputs), np.zeros(outputs), finish), passed=False)


def _one_against_others(read: Read, estimator: Any, method: str, sample: Sample) -> PipelineStep | None:
    if method != "predict_proba":
        return None
    if not all(hasattr(inner, "classes_") for inner in estimator.estimators_):
        return None  # a class that all rows of the training had, or none
    steps = tuple(read(inner, method, sample, "estimators_") for inner in estimator.estimators_)
    return steps[0] if len(steps) == 1 else SideBySide(steps, as_shares=not estimator.multilabel_)


def _of_several_targets(read: Read, estimator: Any, method: str, sample: Sample) -> PipelineStep | None:
    steps = tuple(read(inner, method, sample, "estimators_") for inner in estimator.estimators_)
    return SideBySide(steps, as_shares=False)


def _stacking(read: Read, estimator: Any, method: str, sample: Sample) -> PipelineStep | None:
    if has_several_targets(estimator.final_estimator_) or (estimator.passthrough and sample.places is not None):
        return None
    parts, steps = [], []
    for (name, _), inner, asked in zip(
        _kept(estimator.estimators), estimator.estimators_, estimator.stack_method_, strict=True
    ):
        steps.append(read(inner, asked, sample, name))
        parts.append(predicted(inner, asked, sample.theirs).reshape(len(dense(sample.ours)), -1))
    if estimator.passthrough:
        parts.append(dense(sample.ours))
    behind = np.concatenate(parts, axis=1)
    last = read(estimator.final_estimator_, method, Sample(behind, behind, None), "final_estimator")
    return Stacked(tuple(steps), last, estimator.passthrough)


def _transformed_target(read: Read, estimator: Any, method: str, sample: Sample) -> PipelineStep | None:
    back = _back(estimator.transformer_)
    return None if back is None else Undone(read(estimator.regressor_, method, sample, "regressor"), back)


def _back(transformer: Any) -> PipelineStep | None:
    """Return what takes back what ``transformer`` did to the target."""
    if hasattr(transformer, "inverse_func"):
        function = transformer.inverse_func
        inner = isinstance(function, np.ufunc) and function.nin == 1 and function.nout == 1
        return Elementwise(((function, None),)) if inner and not transformer.inv_kw_args else None
    if hasattr(transformer, "mean_") and hasattr(transformer, "scale_"):
        scale = transformer.scale_ if transformer.with_std else None
        return elementwise((np.multiply, scale), (np.add, transformer.mean_ if transformer.with_mean else None))
    if hasattr(transformer, "data_min_"):
        return elementwise((np.subtract, transformer.min_), (np.divide, transformer.scale_))
    if getattr(transformer, "method", None) == "yeo-johnson":
        undone = PowersUndone(float(transformer.lambdas_[0]))
        scaled = _back(transformer._scaler) if transformer.standardize else None
        return undone if scaled is None else Chain((scaled, undone))
    if hasattr(transformer, "quantiles_"):
        from scipy.special import ndtr

        shares = ndtr if transformer.output_distribution == "normal" else None
        return QuantilesUndone(transformer.quantiles_[:, 0], transformer.references_, shares)
    return None


def _with_threshold(read: Read, estimator: Any, method: str, sample: Sample) -> PipelineStep | None:
    return None if method == "predict" else read(estimator.estimator_, method, sample, "estimator_")


def _grid_search(read: Read, estimator: Any, method: str, sample: Sample) -> PipelineStep | None:
    return read(estimator.best_estimator_, method, sample, "best_estimator_")


_READERS: Mapping[str, Callable[[Read, Any, str, Sample], PipelineStep | None]] = {
    "VotingClassifier": _voting,
    "VotingRegressor": _voting,
    "CalibratedClassifierCV": _calibrated,
    "AdaBoostClassifier": _ada_boost,
    "OneVsRestClassifier": _one_against_others,
    "MultiOutputClassifier": _of_several_targets,
    "MultiOutputRegressor": _of_several_targets,
    "StackingClassifier": _stacking,
    "StackingRegressor": _stacking,
    "TransformedTargetRegressor": _transformed_target,
    "FixedThresholdClassifier": _with_threshold,
    "TunedThresholdClassifierCV": _with_threshold,
    "GridSearchCV": _grid_search,
    "RandomizedSearchCV": _grid_search,
}
"""By the name of the class."""
