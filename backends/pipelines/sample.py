"""Rows that go through a pipeline as it is read, by scikit-learn's steps and by ours."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.model.sklearn_io import as_array, has_several_targets

if TYPE_CHECKING:
    from servefit.backends.pipelines.categories import ColumnAt
    from servefit.backends.pipelines.values import Value


@dataclass(frozen=True)
class Sample:
    """Rows between two steps: ``theirs``, as scikit-learn's steps pass them on, and ``ours``. ``places`` say where each
    column of a table is, None those that no step takes; it is None itself for numbers alone."""

    theirs: Any
    ours: Value
    places: tuple[ColumnAt | None, ...] | None


def predicted(estimator: Any, method: str, rows: Any) -> np.ndarray:
    """Return the predictions of ``estimator``, of two classes the probability of the second."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rows without the names of their columns
        output = getattr(estimator, method)(rows)
    return as_array(output, second=method == "predict_proba" and has_two_classes(estimator)).astype(np.float64)


def has_two_classes(classifier: Any) -> bool:
    """Return whether the probabilities of ``classifier`` are those of a class and of the other."""
    return len(classifier.classes_) == 2 and not has_several_targets(classifier)
