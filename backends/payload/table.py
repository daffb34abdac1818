"""What every payload reader produces, and the one place where it is checked against the model's signature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from servefit.errors import PayloadMismatch

if TYPE_CHECKING:
    from servefit.backends.model import Signature

MAX_ROWS = 10_000
"""More rows than this make a sample no better; the first ones are kept."""

_FLOAT32_MAX = np.finfo(np.float32).max


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The first rows of a payload: float64 ``values`` (rows, columns), NaN meaning missing, the columns' ``names``
    where the file gives them, and ``total_rows``, the number of rows in the file."""

    values: np.ndarray
    total_rows: int
    names: tuple[str, ...] | None = None


def matrix(source: str, rows: Sequence[Sequence[float]]) -> np.ndarray:
    """``rows`` as one array. Raises PayloadMismatch when there are none, or not all are as long as the first."""
    if not rows:
        raise no_rows(source)
    width = len(rows[0])
    for number, row in enumerate(rows, start=1):
        if len(row) != width:
            raise PayloadMismatch(source, expected=f"{_columns(width)} in row {number}, as in row 1", got=str(len(row)))
    return np.array(rows, dtype=np.float64).reshape(len(rows), width)


def no_rows(source: str) -> PayloadMismatch:
    return PayloadMismatch(source, expected="at least one row", got="none")


def not_a_number(source: str, row: int, column: int, name: str | None, cell: object) -> PayloadMismatch:
    """The error for a cell that holds something else. ``row`` and ``column`` count from 1."""
    return PayloadMismatch(source, expected=f"a number in {place(row, column, name)}", got=f"{cell!r:.60}")


def place(row: int, column: int, name: str | None) -> str:
    """Where a cell is, to a person."""
    return f"row {row}, column {column}" + ("" if name is None else f" ({' '.join(name.split()):.60})")


def rows_for(table: Table, signature: Signature | None, source: str) -> np.ndarray:
    """The table as C-contiguous float32 (rows, features), its columns in the model's order.

    Columns named like the model's features are picked by name, others go by position; all as they are where no model is
    known (``signature`` is None). Raises PayloadMismatch for a wrong number of columns, infinities, values beyond
    float32, missing values where the model takes none, and fractions where it takes whole numbers.
    """
    if not len(table.values):
        raise no_rows(source)
    values, names = (table.values, table.names) if signature is None else _in_order(table, signature, source)
    if signature is not None and values.shape[1] != signature.features:
        raise PayloadMismatch(source, expected=_columns(signature.features), got=str(values.shape[1]))

    def refuse(wrong: np.ndarray, expected: str, note: str = "") -> None:
        if wrong.any():
            row, column = (int(index) for index in np.argwhere(wrong)[0])
            where = place(row + 1, column + 1, None if names is None else names[column])
            raise PayloadMismatch(source, expected=f"{expected} in {where}", got=f"{values[row, column]}{note}")

    refuse(np.isinf(values), "a finite number")
    with np.errstate(over="ignore", invalid="ignore"):  # a signalling NaN is a missing value too
        rows = np.ascontiguousarray(values, dtype=np.float32)
    refuse(np.isinf(rows), "a number", ", which is beyond float32")
    if signature is not None and not signature.accepts_missing:
        refuse(np.isnan(values), "a number, as the model takes no missing values,")
    if signature is not None and signature.integer_features:
        refuse(fractions(rows, signature), "a whole number")
    return rows


def fractions(rows: np.ndarray, signature: Signature) -> np.ndarray:
    """Where ``rows`` hold no whole number in a column that takes only those."""
    wrong = np.zeros(rows.shape, dtype=bool)
    columns = list(signature.integer_features)
    wrong[:, columns] = rows[:, columns] != np.trunc(rows[:, columns])
    return wrong


def _in_order(table: Table, signature: Signature, source: str) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """The table's values with the columns that the model names picked and ordered, and the names that then hold."""
    names, wanted = table.names, signature.feature_names
    if names is None or not set(names) & set(wanted):
        return table.values, names
    position = {name: index for index, name in enumerate(names)}
    absent = [name for name in wanted if name not in position]
    if absent:
        raise PayloadMismatch(
            source,
            expected=f"a column for each of the model's {len(wanted)} feature names",
            got=f"no column {absent[0]!r}" + (f", nor {len(absent) - 1} others" if len(absent) > 1 else ""),
        )
    return table.values[:, [position[name] for name in wanted]], wanted


def _columns(count: int) -> str:
    return "1 column" if count == 1 else f"{count} columns"
