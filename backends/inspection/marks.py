"""The values at which the predictions of a fitted scikit-learn estimator change, or that are usual, by column of its
rows: the thresholds of trees, the edges of bins, what scalers and components call the middle and the spread, and rows
of the training that are kept. ``payload.rows`` draws hard rows around them. An estimator of which nothing is known has
none. Runs in the inspection's child process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from servefit.backends.inspection.forest import Forest
from servefit.backends.model.sklearn_steps import is_dropped, names_of, positions_of

Marks = dict[int, np.ndarray]
"""Values by the number of the column."""

_KEPT_ROWS = ("_fit_X", "X_train_", "X_fit_", "support_vectors_", "cluster_centers_", "theta_", "means_")
"""Attributes of estimators that are rows of the training, or means of some: of neighbours, Gaussian processes, kernels,
support vectors, clusters, and classes."""

_SPREADS = np.linspace(-2.5, 2.5, 11)
"""Usual values behind a scaler: some times the spread of a column to either side of its middle."""
_MAX_OF_COLUMN = 256
"""Of the marks of a column, evenly spaced, so that a forest of a million thresholds is not kept. Chosen."""

_BY_COLUMN = frozenset(
    {"StandardScaler", "MinMaxScaler", "MaxAbsScaler", "RobustScaler", "PowerTransformer", "QuantileTransformer"}
)
"""Transformers that give as many columns as they take, each from its own, and compute the value from what they gave."""


def marks_of(estimator: Any, features: int) -> Marks:
    """Return the marks of ``estimator`` in the ``features`` columns of its rows."""
    marks = _marks(estimator, features)
    return {column: _thinned(values) for column, values in marks.items() if len(_thinned(values))}


def as_splits(marks: Mapping[int, np.ndarray]) -> Forest:
    """Return ``marks`` as the splits of trees are kept, which ``rows`` reads."""
    columns = sorted(marks)
    nothing = np.empty(0, np.int64)
    return Forest(
        trees=0,
        nodes=0,
        max_depth=0,
        split_features=np.concatenate([nothing, *(np.full(len(marks[column]), column) for column in columns)]),
        split_thresholds=np.concatenate([np.empty(0), *(marks[column] for column in columns)]),
        category_features=nothing,
        categories=nothing,
    )


def _thinned(values: np.ndarray) -> np.ndarray:
    distinct = np.unique(values[np.isfinite(values)])
    if len(distinct) <= _MAX_OF_COLUMN:
        return distinct
    return distinct[np.linspace(0, len(distinct) - 1, _MAX_OF_COLUMN).astype(np.int64)]


def _marks(step: Any, width: int) -> Marks:
    if hasattr(step, "steps"):
        return _of_pipeline([inner for _, inner in step.steps], width)
    if hasattr(step, "transformers_"):
        return _of_columns(step)
    marks = _joined([_of_step(step), *(_marks(estimator, width) for estimator in _sub_estimators(step, width))])
    if type(step).__name__ in _BY_COLUMN:
        usual = dict.fromkeys(range(width), _SPREADS)
        marks = _joined([marks, _taken_back(step, usual, width)])
    return {column: values for column, values in marks.items() if column < width}


def _of_pipeline(steps: list[Any], width: int) -> Marks:
    """Return the marks of the first step, and those of later steps as far as the steps before them can be inverted."""
    first, *others = steps
    if first is None or isinstance(first, str):
        return _of_pipeline(others, width) if others else {}
    marks = _marks(first, width)
    if not others:
        return marks
    after = _width_after(first, width)
    return marks if after is None else _joined([marks, _taken_back(first, _of_pipeline(others, after), width)])


def _width_after(step: Any, width: int) -> int | None:
    """Return the number of columns after ``step``, or None if marks cannot be taken back through it."""
    if type(step).__name__ in _BY_COLUMN:
        return width
    if type(step).__name__ == "SimpleImputer" and not step.add_indicator:
        return width if len(step.statistics_) == width and np.asarray(step.statistics_).dtype.kind == "f" else None
    if hasattr(step, "get_support"):
        return int(step.get_support().sum())
    if hasattr(step, "output_indices_"):
        return max((place.stop for place in step.output_indices_.values()), default=0)
    return None


def _taken_back(step: Any, marks: Marks, width: int) -> Marks:
    """Return ``marks`` of what ``step`` gives as values of what it takes."""
    if type(step).__name__ == "SimpleImputer":
        return marks
    if hasattr(step, "get_support"):
        kept = np.flatnonzero(step.get_support()).tolist()
        return {kept[column]: values for column, values in marks.items()}
    if hasattr(step, "output_indices_"):
        return _taken_back_through_columns(step, marks)
    # A tree that parts missing values from all others has an infinite threshold, which no scaler takes.
    marks = {column: values[np.isfinite(values)] for column, values in marks.items()}
    marks = {column: values for column, values in marks.items() if len(values)}
    most = max(map(len, marks.values()), default=0)
    if not most:
        return {}
    rows = np.zeros((most, width))
    for column, values in marks.items():
        rows[:, column] = np.resize(values, most)
    with np.errstate(all="ignore"):
        back = np.asarray(step.inverse_transform(rows), dtype=np.float64)
    return {column: back[:, column] for column in marks}


def _of_columns(step: Any) -> Marks:
    return _joined(
        [
            {columns[nth]: values for nth, values in _marks(transformer, len(columns)).items()}
            for _, transformer, columns in _transformers(step)
            if not isinstance(transformer, str)
        ]
    )


def _taken_back_through_columns(step: Any, marks: Marks) -> Marks:
    parts: list[Marks] = []
    for name, transformer, columns in _transformers(step):
        place = step.output_indices_.get(name, slice(0, 0))
        own = {column - place.start: values for column, values in marks.items() if place.start <= column < place.stop}
        if isinstance(transformer, str):  # "passthrough"
            back = own
        elif hasattr(transformer, "steps"):
            back = _back_through_steps([inner for _, inner in transformer.steps], own, len(columns))
        else:
            back = _taken_back(transformer, own, len(columns)) if _width_after(transformer, len(columns)) else {}
        parts.append({columns[nth]: values for nth, values in back.items() if nth < len(columns)})
    return _joined(parts)


def _back_through_steps(steps: list[Any], marks: Marks, width: int) -> Marks:
    widths = [width]
    for step in steps:
        after = _width_after(step, widths[-1])
        if after is None:
            return {}
        widths.append(after)
    for step, before in zip(reversed(steps), reversed(widths[:-1]), strict=True):
        marks = _taken_back(step, marks, before)
    return marks


def _transformers(step: Any) -> Iterator[tuple[str, Any, list[int]]]:
    """Yield the transformers of a ColumnTransformer with the numbers of the columns that each takes."""
    names = names_of(step)
    for name, transformer, chosen in step.transformers_:
        if not is_dropped(transformer):
            yield name, transformer, positions_of(chosen, names, step.n_features_in_)


def _sub_estimators(step: Any, width: int) -> Iterator[Any]:
    """Yield the fitted estimators of an ensemble that take the same ``width`` columns as the ensemble."""
    if getattr(step, "estimators_features_", None) is not None and getattr(step, "max_features", 1.0) != 1.0:
        return  # each has columns of its own
    estimators = list(_each_of(getattr(step, "estimators_", ())))
    estimators += [calibrated.estimator for calibrated in getattr(step, "calibrated_classifiers_", ())]
    estimators += [getattr(step, name) for name in ("estimator_", "regressor_") if hasattr(step, name)]
    # An unfitted estimator has no columns; a link of a chain takes more than these.
    yield from (estimator for estimator in estimators if getattr(estimator, "n_features_in_", None) == width)


def _each_of(listed: Any) -> Iterator[Any]:
    """Yield the estimators in lists of lists. A pipeline and a forest are no list, though they have a length."""
    if isinstance(listed, list | tuple | np.ndarray):
        for item in listed:
            yield from _each_of(item)
    else:
        yield listed


def _of_step(step: Any) -> Marks:
    """Return what a step that is neither a pipeline nor an ensemble has itself."""
    missing = getattr(step, "missing", getattr(step, "missing_values", None))
    if isinstance(missing, int | float) and np.isfinite(missing):  # which XGBoost compares as float32
        return dict.fromkeys(range(step.n_features_in_), np.array([missing, np.float32(missing)], dtype=np.float64))
    if hasattr(step, "tree_"):
        tests = step.tree_.children_left >= 0
        return _by_column(step.tree_.feature[tests], step.tree_.threshold[tests])
    if hasattr(step, "_predictors"):  # of histogram gradient boosting
        nodes = np.concatenate([tree.nodes for trees in step._predictors for tree in trees])
        nodes = nodes[(nodes["is_leaf"] == 0) & (nodes["is_categorical"] == 0)]
        return _by_column(nodes["feature_idx"], nodes["num_threshold"])
    if hasattr(step, "bin_edges_"):
        return {column: np.asarray(edges, dtype=np.float64) for column, edges in enumerate(step.bin_edges_)}
    if hasattr(step, "quantiles_"):
        return dict(enumerate(np.asarray(step.quantiles_, dtype=np.float64).T))
    if hasattr(step, "get_covariance") and hasattr(step, "mean_"):  # of components
        spread = np.sqrt(np.diagonal(step.get_covariance()))
        return dict(enumerate((step.mean_ + np.outer(_SPREADS, spread)).T))
    for name in _KEPT_ROWS:
        kept = getattr(step, name, None)
        if isinstance(kept, np.ndarray) and kept.ndim == 2 and kept.dtype.kind == "f":
            return dict(enumerate(kept.T))
    if type(step).__name__ == "Binarizer":
        return dict.fromkeys(range(step.n_features_in_), np.array([step.threshold], dtype=np.float64))
    return {}


def _by_column(columns: np.ndarray, values: np.ndarray) -> Marks:
    columns = columns.astype(np.int64)
    return {int(column): values[columns == column].astype(np.float64) for column in np.unique(columns)}


def _joined(parts: list[Marks]) -> Marks:
    joined: dict[int, list[np.ndarray]] = {}
    for part in parts:
        for column, values in part.items():
            joined.setdefault(column, []).append(values)
    return {column: np.concatenate(values) for column, values in joined.items()}
