"""The values that go from step to step: numbers, texts, and the few values of wide rows that are not zero.

A value is an array (rows, columns) of float64, a ``MixedTable`` with columns of texts, a ``Sparse``, or a list of
arrays and sparse values that lie side by side. Texts are the bytes of UTF-8, as they come in rows: nothing is decoded
to look a category up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np

BACKEND = "pipeline"
"""The name under which rows are refused."""

MISSING = b"\xfe"
"""A missing text: see ``model.texts``."""


class MixedTable(NamedTuple):
    """Columns of different kinds: ``numbers`` (rows, columns), and a list of all rows' values for each of ``texts``.
    The steps know which column is which."""

    numbers: np.ndarray
    texts: list[list[bytes]]


@dataclass(frozen=True, slots=True)
class Sparse:
    """The values of ``count`` rows of ``width`` columns that are not zero: ``rows``, ``columns`` and ``values``, one
    entry each. ``values`` is None where all are 1. A column is not named twice in a row."""

    count: int
    width: int
    rows: np.ndarray
    columns: np.ndarray
    values: np.ndarray | None = None

    def into(self, dense: np.ndarray) -> None:
        """Write the values into ``dense`` (count, width), which has what the others are."""
        dense[self.rows, self.columns] = 1.0 if self.values is None else self.values

    def dot(self, weights: np.ndarray) -> np.ndarray:
        """Return the product with ``weights`` (width, outputs), (count, outputs)."""
        terms = weights[self.columns]
        if self.values is not None:
            terms *= self.values[:, np.newaxis]
        if self.count == 1:
            return np.asarray(terms.sum(axis=0, keepdims=True))
        product = np.zeros((self.count, weights.shape[1]))
        for output in range(weights.shape[1]):
            product[:, output] = np.bincount(self.rows, terms[:, output], self.count)
        return product


Numbers: TypeAlias = "np.ndarray | Sparse | list[np.ndarray | Sparse]"
"""The numbers of all columns; a list has parts side by side."""

Value: TypeAlias = "Numbers | MixedTable"


class PipelineStep(Protocol):
    """Computes one step for all rows of a call. It can be pickled, holds no estimator of scikit-learn unless it is made
    to call one, and is used by one thread."""

    def __call__(self, value: Value, /) -> Value: ...


def parts_of(numbers: Numbers) -> list[np.ndarray | Sparse]:
    return numbers if isinstance(numbers, list) else [numbers]


def texts_of(value: Value) -> list[list[bytes]]:
    """Return the columns of texts. Raises TypeError where there are only numbers."""
    if not isinstance(value, MixedTable):
        raise TypeError("a step of texts is given numbers alone")
    return value.texts


def dense(value: Value) -> np.ndarray:
    """Return numbers as one array of float64, (rows, columns)."""
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, MixedTable):
        return value.numbers
    parts = parts_of(value)
    if not any(isinstance(part, Sparse) for part in parts):
        return np.concatenate(parts, axis=1)  # type: ignore[arg-type]
    return _joined(parts, np.zeros((count_of(value), _width(parts))))


def without_zeros(value: Value, datatype: np.dtype[Any]) -> np.ndarray:
    """Return numbers as one array of ``datatype``, in which those that are 0 are missing: not those that only round to
    it."""
    parts = []
    for part in parts_of(dense(value) if isinstance(value, MixedTable) else value):
        numbers = part.values if isinstance(part, Sparse) else part
        if numbers is not None and (is_zero := numbers == 0).any():
            numbers = np.where(is_zero, np.nan, numbers)
            part = replace(part, values=numbers) if isinstance(part, Sparse) else numbers
        parts.append(part)
    return _joined(parts, np.full((count_of(value), _width(parts)), np.nan, datatype))


def _width(parts: list[np.ndarray | Sparse]) -> int:
    return sum(part.width if isinstance(part, Sparse) else part.shape[1] for part in parts)


def _joined(parts: list[np.ndarray | Sparse], joined: np.ndarray) -> np.ndarray:
    """Write ``parts`` side by side into an array of what the values of sparse ones are that are left out."""
    begin = 0
    for part in parts:
        width = _width([part])
        if isinstance(part, Sparse):
            part.into(joined[:, begin : begin + width])
        else:
            joined[:, begin : begin + width] = part
        begin += width
    return joined


def dot(value: Value, weights: np.ndarray) -> np.ndarray:
    """Return the product of numbers with ``weights`` (columns, outputs), (rows, outputs)."""
    if isinstance(value, np.ndarray):
        product: np.ndarray = value @ weights
        return product
    if isinstance(value, MixedTable):
        return dot(value.numbers, weights)
    begin = 0
    total: np.ndarray | float = 0.0
    for part in parts_of(value):
        width = part.width if isinstance(part, Sparse) else part.shape[1]
        own = weights[begin : begin + width]
        total = total + (part.dot(own) if isinstance(part, Sparse) else part @ own)
        begin += width
    return np.asarray(total)


def is_finite(value: Value) -> bool:
    """Return whether all numbers are finite."""
    for part in parts_of(value.numbers if isinstance(value, MixedTable) else value):
        numbers = part.values if isinstance(part, Sparse) else part
        # A sum is quick, and finite only if all its terms are; of large terms it may overflow.
        if numbers is not None and not np.isfinite(numbers.sum()) and not np.isfinite(numbers).all():
            return False
    return True


def count_of(value: Value) -> int:
    """Return the number of rows."""
    if isinstance(value, MixedTable):
        return len(value.numbers)
    first = parts_of(value)[0]
    return first.count if isinstance(first, Sparse) else len(first)
