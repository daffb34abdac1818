"""Steps that stay in scikit-learn, or in the library that they come from: called as they were fitted, with an array, a
list of texts, or a frame of pandas that has the names of the columns."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from servefit.backends.model.dates import as_dates
from servefit.backends.model.sklearn_io import ROWS_REFUSED, as_array
from servefit.backends.pipelines.categories import TEXT, ColumnAt
from servefit.backends.pipelines.values import BACKEND, MISSING, Numbers, Value, count_of, dense, texts_of
from servefit.errors import RowsRefused


@dataclass(frozen=True)
class CallForm:
    """The form in which a step takes its columns: a "matrix", one that is "sparse", a "frame" with ``names``, or a
    "series" or "list" of the only one."""

    form: str
    places: tuple[ColumnAt, ...] | None
    names: tuple[str, ...] = ()

    def __call__(self, value: Value) -> Any:
        if self.form == "sparse":
            from scipy.sparse import csr_matrix

            return csr_matrix(dense(value))
        if self.places is None:
            numbers = dense(value)
            return numbers if self.form == "matrix" else self._frame(list(numbers.T))
        names = self.names or ("the only column",) * len(self.places)
        columns = [_column(value, place, name) for place, name in zip(self.places, names, strict=True)]
        if self.form == "series":
            return self._frame(columns)[self.names[0]]
        if self.form == "list":
            return columns[0].tolist()
        if self.form == "frame":
            return self._frame(columns)
        kind: type = object if any(column.dtype == object for column in columns) else np.float64
        matrix: np.ndarray = np.empty((count_of(value), len(columns)), dtype=kind)
        for nth, column in enumerate(columns):
            matrix[:, nth] = column
        return matrix

    def _frame(self, columns: list[np.ndarray]) -> Any:
        import pandas as pd

        return pd.DataFrame(dict(zip(self.names, columns, strict=True)), copy=False)


def _column(value: Value, place: ColumnAt, name: str) -> np.ndarray:
    if place.kind != TEXT:
        numbers = dense(value)[:, place.nth]
        return numbers.astype(np.int64) if place.is_whole and (numbers == np.trunc(numbers)).all() else numbers
    texts = np.empty(count_of(value), dtype=object)
    texts[:] = [place.missing if text == MISSING else text.decode() for text in texts_of(value)[place.nth]]
    return np.asarray(as_dates(texts, name)) if place.is_date else texts


@dataclass(frozen=True)
class Foreign:
    """Calls ``method`` of ``estimator``. ``second`` takes of the probabilities of two classes the second."""

    estimator: Any
    method: str
    taken: CallForm
    second: bool = False

    def __call__(self, value: Value) -> Numbers:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # rows without the names of their columns
                output = getattr(self.estimator, self.method)(self.taken(value))
        except ROWS_REFUSED as error:  # a category that it does not know, mostly
            raise RowsRefused(BACKEND, (str(error).splitlines() or [type(error).__name__])[0][:300]) from error
        if self.method != "transform":
            return as_array(output, second=self.second)
        numbers = np.asarray(output.toarray() if hasattr(output, "toarray") else output)
        return numbers if numbers.dtype.kind == "f" else numbers.astype(np.float64)
