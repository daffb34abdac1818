"""scikit-learn estimators whose columns are of different kinds: how rows become the data frame, the array or the list
of texts that they are called with. What is in the columns is for ``sklearn_columns`` to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from servefit.backends.model.dates import as_dates
from servefit.backends.model.packing import Packing
from servefit.backends.model.sklearn_columns import Column, columns_of, is_missing
from servefit.backends.model.texts import TEXT_SIZE
from servefit.backends.model.types import Input, Size


@dataclass(frozen=True)
class Frame:
    """The way of rows into an estimator of columns of different kinds. ``form`` is what it is called with: a "frame" of
    pandas, a "matrix" as wide as the one that it was fitted on, or a list of "texts"."""

    columns: tuple[Column, ...]
    form: str
    width: int = 1

    @cached_property
    def has_texts(self) -> bool:
        return any(column.is_text for column in self.columns)

    @cached_property
    def is_table(self) -> bool:
        """True if rows are a table of numbers, as those of other estimators are."""
        if self.has_texts or not all(column.fits_float32 for column in self.columns):
            return False
        return len(self.columns) == 1 or not any(column.categories for column in self.columns)

    @cached_property
    def signature_parts(self) -> dict[str, Any]:
        """The parts of a signature that columns decide: features, inputs and sizes."""
        if self.is_table:
            return {"features": len(self.columns), "table_datatype": "float64"}
        return self.column_parts

    @cached_property
    def column_parts(self) -> dict[str, Any]:
        """The same parts, with each column as an input of its own."""
        inputs = tuple(column.as_input() for column in self.columns)
        if not self.has_texts:
            placed = tuple(replace(one, start=nth, stop=nth + 1) for nth, one in enumerate(inputs))
            return {"features": len(placed), "inputs": placed, "integer_features": _whole(placed)}
        sizes = (Size(name=TEXT_SIZE, usual=0),)
        places = Packing(inputs, [TEXT_SIZE]).places({TEXT_SIZE: 0})
        placed = tuple(replace(one, start=at.start, stop=at.stop) for one, at in zip(inputs, places, strict=True))
        return {
            "features": places[-1].stop,
            "inputs": placed,
            "sizes": sizes,
            "integer_features": _whole(placed),
        }

    @cached_property
    def _packing(self) -> Packing:
        return Packing([column.as_input() for column in self.columns], [TEXT_SIZE] if self.has_texts else [])

    def __call__(self, rows: np.ndarray) -> Any:
        """Return what the estimator is called with for ``rows``, packed where some columns hold texts."""
        if not self.has_texts:
            return self._of_values([_numbers(rows[:, nth], column) for nth, column in enumerate(self.columns)])
        values = self._packing.unpack(rows, {TEXT_SIZE: 0})
        return self._of_values(
            [
                _with_missing(block, column) if column.is_text else _numbers(block, column)
                for column, block in zip(self.columns, values, strict=True)
            ]
        )

    def _of_values(self, values: Sequence[np.ndarray]) -> Any:
        if self.form == "texts":
            return values[0].tolist()
        if self.form == "matrix":
            matrix = np.zeros((len(values[0]), self.width), object if self.has_texts else np.result_type(*values))
            for column, block in zip(self.columns, values, strict=True):
                matrix[:, column.position] = block
            return matrix
        import pandas as pd

        named = zip(self.columns, values, strict=True)
        return pd.DataFrame(
            {
                column.name: _of_category(block, column)
                if column.is_category
                else as_dates(block, column.name)
                if column.is_date
                else pd.Series(block, dtype=block.dtype)
                for column, block in named
            }
        )


def _whole(inputs: Sequence[Input]) -> tuple[int, ...]:
    return tuple(column for one in inputs if one.is_whole for column in range(one.start, one.stop))


def _numbers(values: np.ndarray, column: Column) -> np.ndarray:
    """Return the numbers of a column as pandas reads them: whole ones are int64 unless there are others among them.
    Those of an encoder or an imputer that was fitted on objects are the objects that they were then."""
    if column.are_objects:
        fitted = {category: category for category in column.categories}
        objects = np.empty(len(values), dtype=object)
        objects[:] = [column.missing if is_missing(value) else fitted.get(value, value) for value in values.tolist()]
        return objects
    whole = column.is_whole and (values.dtype.kind == "i" or bool((values == np.trunc(values)).all()))
    return values.astype(np.int64 if whole else np.float64)


def _of_category(values: np.ndarray, column: Column) -> Any:
    """Return ``values`` as pandas' dtype category, with those missing that are none of the column's. Raises ValueError
    for these where it takes no others."""
    import pandas as pd

    truths = {False: 0, True: 1} if {False, True}.issuperset(column.categories) else {}  # rows hold numbers
    codes = pd.Index([truths.get(one, one) for one in column.categories]).get_indexer(values)
    strange = (codes < 0) & ~pd.isna(values)
    if column.closed and strange.any():
        raise ValueError(f"{values[strange][0]!r:.60} is none of the categories of {column.name!r:.60}")
    return pd.Categorical.from_codes(codes, categories=list(column.categories))


def _with_missing(texts: np.ndarray, column: Column) -> np.ndarray:
    missing = column.missing
    if missing is not None:
        texts[[text is None for text in texts]] = missing
    return texts


def frame_of(estimator: Any) -> Frame | None:
    """Return the frame that a fitted ``estimator`` takes if its columns differ in kind, or are selected by name; None
    for an estimator of rows of numbers."""
    columns = columns_of(estimator)
    if columns is None:
        return None
    form = "texts" if columns.is_list else "frame" if columns.has_names else "matrix"
    return Frame(columns.columns, form, columns.width)
