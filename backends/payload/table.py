"""The table that every payload reader produces, and the only place where it is checked against the model's
signature."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.model.width import MAX_FEATURES
from servefit.backends.payload.exact import array_of, converted, joined, narrowest, of_objects, written_as_floats
from servefit.backends.payload.parts import TensorPart, in_model_order
from servefit.errors import PayloadMismatch

if TYPE_CHECKING:
    from servefit.backends.model import Input, Signature

MAX_ROWS = 10_000
"""More rows than this make a sample no better; the first ones are kept."""

MAX_COLUMNS = MAX_FEATURES
"""More columns than the widest model has are no table but a mistake, or an attack."""

MAX_DIMENSIONS = 32
"""The most that NumPy arrays had for a long time; what has more is no rows of numbers."""

_MAX_WHOLE = np.iinfo(np.int64).max
"""The largest whole number in a row of any datatype."""
_MAX_DIGITS = 10**20
"""The largest number that is shown with all its digits: beyond uint64, which has up to 1.8e19."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadTable:
    """The first rows of a payload: ``values`` (rows, columns), NaN meaning missing, the columns' ``names`` where the
    file gives them, and ``total_rows``, the number of rows in the file.

    ``values`` are float64, or, where that would round some, int64, uint64 or Python's own numbers. ``parts`` are what
    the columns came as, where they came as tensors.
    """

    values: np.ndarray
    total_rows: int
    names: tuple[str, ...] | None = None
    parts: tuple[TensorPart, ...] = ()


def left_out(names: Sequence[str] | None, feature_names: Sequence[str]) -> frozenset[int]:
    """Return the positions of columns that :func:`rows_for` leaves out, whatever is in them: the model has features of
    other ``names``."""
    wanted = set(feature_names)
    if names is None or wanted.isdisjoint(names):
        return frozenset()
    return frozenset(nth for nth, name in enumerate(names) if name not in wanted)


def unused_names(names: Sequence[str] | None, feature_names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the same columns, in their order."""
    return () if names is None else tuple(names[nth] for nth in sorted(left_out(names, feature_names)))


def matrix(source: str, rows: Sequence[Sequence[float]]) -> np.ndarray:
    """Return ``rows`` as one array. Raises PayloadMismatch when there are none, or not all are as long as the first."""
    if not rows:
        raise no_rows(source)
    width = len(rows[0])
    for number, row in enumerate(rows, start=1):
        if len(row) != width:
            raise PayloadMismatch(source, expected=f"{_columns(width)} in row {number}, as in row 1", got=str(len(row)))
    return array_of(rows, (len(rows), width))


def table_of_columns(names: Sequence[str], columns: Iterable[np.ndarray], total_rows: int, source: str) -> PayloadTable:
    """Return ``columns`` (rows,), of numbers or of Python's own objects, side by side. Raises PayloadMismatch, also for
    one that holds anything but numbers."""
    check_width(source, len(names), MAX_COLUMNS)
    numbers = []
    arrays = iter(columns)
    for name in names:
        try:
            column = next(arrays)
            numbers.append((of_objects(column) if column.dtype == object else column).reshape(-1, 1))
        except (ValueError, TypeError, OverflowError) as error:
            expected = f"numbers in the column {name!r:.60}"
            raise PayloadMismatch(source, expected=expected, got=str(error).splitlines()[0][:100]) from error
    if not numbers or not len(numbers[0]):
        raise no_rows(source)
    return PayloadTable(values=joined(numbers, axis=1), names=tuple(names), total_rows=total_rows)


def no_rows(source: str) -> PayloadMismatch:
    return PayloadMismatch(source, expected="at least one row", got="none")


def check_width(source: str, columns: int, most: int) -> None:
    """Raise PayloadMismatch for more ``columns`` than ``most``, before each of them is looked at."""
    if columns > most:
        raise PayloadMismatch(source, expected=f"at most {_columns(most)}", got=str(columns))


def not_a_number(source: str, row: int, column: int, name: str | None, cell: object) -> PayloadMismatch:
    """Return the error for a cell that holds something else. ``row`` and ``column`` count from 1."""
    return PayloadMismatch(source, expected=f"a number in {place(row, column, name)}", got=f"{cell!r:.60}")


def place(row: int, column: int, name: str | None) -> str:
    """Return the place of a cell, to a person."""
    return f"row {row}, column {column}" + ("" if name is None else f" ({' '.join(name.split()):.60})")


def rows_for(table: PayloadTable, signature: Signature | None, source: str) -> np.ndarray:
    """Return the table as C-contiguous (rows, features) of the datatype that the model's rows have, its columns in the
    model's order.

    Columns named like the model's features are picked by name, tensors named like its inputs too; others go by
    position. Where no model is known (``signature`` is None) all are as they are, in the narrowest datatype of rows
    that rounds no number. Raises PayloadMismatch for a wrong number of columns or of names, infinities, values
    that the datatype of their input or of the rows does not hold, missing values where the model takes none, and
    fractions where it takes whole numbers.
    """
    _check_size(table, source)
    values, names = (table.values, table.names) if signature is None else _in_order(table, signature, source)
    if signature is not None and values.shape[1] != signature.features:
        raise PayloadMismatch(source, expected=_columns(signature.features), got=str(values.shape[1]))
    refuse = _Refusing(values, names, signature, source)
    approximate = values.astype(np.float64, copy=False)
    refuse(np.isinf(approximate), "a finite number")
    datatype = narrowest(values, approximate) if signature is None else signature.row_datatype
    if datatype == "float32":
        with np.errstate(over="ignore", invalid="ignore"):  # a signalling NaN is a missing value too
            rows = approximate.astype(np.float32)
        refuse(np.isinf(rows), "a number", ", which is beyond float32")
    if signature is not None and not signature.accepts_missing:
        refuse(_missing_where_none_is_taken(approximate, signature), "a number, as the model takes no missing values,")
    if signature is not None and signature.integer_features:
        refuse(_in_whole_columns(approximate != np.trunc(approximate), signature), "a whole number")
        refuse(_in_whole_columns(written_as_floats(values), signature), "a whole number without a point or an exponent")
    if datatype != "float32":
        rows, rounded = converted(values, datatype)
        wrong = rounded if signature is None else _in_whole_columns(rounded, signature)
        refuse(wrong, f"a number that {datatype}, the datatype of rows, holds exactly")
    if signature is not None:
        for model_input in signature.inputs:
            if model_input.datatype != datatype:
                refuse(*_outside(rows, model_input))
    return np.ascontiguousarray(rows)


def _check_size(table: PayloadTable, source: str) -> None:
    rows, columns = table.values.shape
    if not rows:
        raise no_rows(source)
    if table.names is not None and len(table.names) != columns:
        expected = f"{_columns(len(table.names))} in row 1, as many as there are names"
        raise PayloadMismatch(source, expected=expected, got=str(columns))


@dataclass(frozen=True, slots=True)
class _Refusing:
    """Raises PayloadMismatch for the first of ``values`` that is wrong, and says where it is."""

    values: np.ndarray
    names: Sequence[str] | None
    signature: Signature | None
    source: str

    def __call__(self, wrong: np.ndarray, expected: str, note: str = "") -> None:
        if wrong.any():
            row, column = (int(index) for index in np.argwhere(wrong)[0])
            where = place(row + 1, column + 1, self._name(column))
            got = f"{_shown(self.values[row, column])}{note}"
            raise PayloadMismatch(self.source, expected=f"{expected} in {where}", got=got)

    def _name(self, column: int) -> str | None:
        """Return the name to call a column by: its own, or that of the input that it belongs to where there are
        several."""
        if self.names is not None:
            return self.names[column]
        inputs = () if self.signature is None else self.signature.inputs
        return next(
            (
                model_input.name
                for model_input in inputs
                if len(inputs) > 1 and model_input.start <= column < model_input.stop
            ),
            None,
        )


def unused_columns(table: PayloadTable, signature: Signature | None) -> tuple[str, ...]:
    """Return the names of the columns that :func:`rows_for` leaves out, since the model has none of that name."""
    names = table.names or tuple(part.name or "" for part in table.parts)
    return unused_names(names, () if signature is None else signature.feature_names)


def _missing_where_none_is_taken(values: np.ndarray, signature: Signature) -> np.ndarray:
    missing: np.ndarray = np.isnan(values)
    if missing.any():
        for one in signature.inputs:
            if one.takes_missing:
                missing[:, one.start : one.stop] = False
    return missing


def _in_whole_columns(mask: np.ndarray, signature: Signature) -> np.ndarray:
    """Return ``mask``, restricted to the columns that take whole numbers alone."""
    if not mask.any():
        return mask
    columns = list(signature.integer_features)
    there = np.zeros(mask.shape, dtype=bool)
    there[:, columns] = mask[:, columns]
    return there


def _outside(rows: np.ndarray, model_input: Input) -> tuple[np.ndarray, str, str]:
    """Return a mask of what ``rows`` hold and the datatype of an input does not, and what to say of it."""
    columns = rows[:, model_input.start : model_input.stop]
    outside = np.zeros(rows.shape, dtype=bool)
    if not model_input.is_whole:
        with np.errstate(over="ignore", invalid="ignore"):
            outside[:, model_input.start : model_input.stop] = np.isinf(columns.astype(model_input.datatype))
        return outside, "a number", f", which is beyond {model_input.datatype}"
    low, high = 0, 1
    if model_input.datatype != "bool":
        low, high = int(np.iinfo(model_input.datatype).min), min(int(np.iinfo(model_input.datatype).max), _MAX_WHOLE)
    outside[:, model_input.start : model_input.stop] = (columns < low) | (columns > high)
    return outside, f"a whole number from {low} to {high}", ""


def _in_order(table: PayloadTable, signature: Signature, source: str) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Return the table's values with the columns that the model names picked and ordered, and the names that then
    hold."""
    if table.parts:
        ordered = in_model_order(table.values, table.parts, signature, source)
        return ordered, (signature.feature_names or None) if len(table.parts) > 1 else None
    names, wanted = table.names, signature.feature_names
    if names is None or not set(names) & set(wanted):
        if names is not None:
            _check_inputs_in_order(names, signature, source)
        return table.values, names
    expected = f"a column for each of the model's {len(wanted)} feature names"
    position = {name: index for index, name in enumerate(names)}
    absent = [name for name in wanted if name not in position]
    if absent:
        got = f"no column {absent[0]!r}" + (f", nor {len(absent) - 1} others" if len(absent) > 1 else "")
        raise PayloadMismatch(source, expected=expected, got=got)
    if len(position) < len(names):
        times = Counter(names)
        doubled = next((name for name in wanted if times[name] > 1), None)
        if doubled is not None:
            raise PayloadMismatch(source, expected=expected, got=f"{doubled!r:.60} twice")
    return table.values[:, [position[name] for name in wanted]], wanted


def _check_inputs_in_order(names: Sequence[str], signature: Signature, source: str) -> None:
    """Raise PayloadMismatch if all columns are named after several inputs, as in "a, a, b" or "a.0, a.1, b", in another
    order than the model's: columns without names in the model are read by position."""
    inputs = [model_input.name for model_input in signature.inputs]
    if len(inputs) < 2:
        return
    wanted: list[str | None] = [
        model_input.name for model_input in signature.inputs for _ in range(model_input.stop - model_input.start)
    ]
    order = [_input_of(column, inputs) for column in names]
    if order != wanted and Counter(order) == Counter(wanted):
        expected = f"the columns of {', '.join(map(repr, inputs)):.400}, in that order"
        raise PayloadMismatch(source, expected=expected, got=", ".join(map(repr, dict.fromkeys(order)))[:400])


def _input_of(column: str, inputs: Sequence[str]) -> str | None:
    """Return the input whose name a column has, or begins with, as "a", "a.0", "a_0" and "a0" do with "a"."""
    rests = {name: column.removeprefix(name) for name in inputs if column.startswith(name)}
    own = [name for name, rest in rests.items() if rest.isdigit() or not rest[:1].isalnum()]
    return max(own, key=len, default=None)


def _shown(value: Any) -> Any:
    """Return a number as a person reads it: one of a hundred digits was hardly written with all of them."""
    return float(value) if isinstance(value, int) and abs(value) > _MAX_DIGITS else value


def _columns(count: int) -> str:
    return "1 column" if count == 1 else f"{count} columns"
