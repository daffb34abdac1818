"""Rows of models whose columns are of different kinds, numbers and texts, from tables: columns by name, or in the
model's order where they have none. A cell of a column of numbers must be one; in a column of texts a cell is what it
says.

How the columns become rows is for ``tensors`` to say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from servefit.backends.payload.delimited import is_missing_text, records_of
from servefit.backends.payload.exact import MAX_WHOLE, array_of, number, objects
from servefit.backends.payload.frames import frame_columns
from servefit.backends.payload.json_forms import form_of, names_of_columns
from servefit.backends.payload.table import MAX_COLUMNS, MAX_ROWS, check_width, no_rows, unused_names
from servefit.errors import PayloadMismatch

if TYPE_CHECKING:
    from servefit.backends.model import Input, Signature


_NAMELESS = re.compile(r"text|x[0-9]+")
"""Names that columns get here where the model has none for them."""


_TRUTHS = {"true": "1", "false": "0"}
"""As CatBoost writes truths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The columns of a model, (rows,) each, by name: the first of the ``total_rows`` that a table has. ``unused`` are
    the names of those that the model does not have."""

    arrays: Mapping[str, np.ndarray]
    total_rows: int
    unused: tuple[str, ...] = ()


def arrays_of_cells(
    cells: Sequence[Sequence[Any]], names: Sequence[str] | None, signature: Signature, source: str
) -> dict[str, np.ndarray]:
    """Return an array (rows,) for each column of the model. ``names`` are those of the cells of a row; if they are
    None, or none of them is a column of the model, cells follow the model's order. Raises PayloadMismatch."""
    if not cells:
        raise no_rows(source)
    wanted = [one.name for one in signature.inputs]
    if names is not None and not set(names) & set(wanted):
        names = None
    header = wanted if names is None else list(names)
    for row, values in enumerate(cells, start=1):
        if len(values) != len(header):
            expected = f"{'1 column' if len(header) == 1 else f'{len(header)} columns'} in row {row}"
            remedy = "in CSV, texts with commas, semicolons or tabs are to be quoted"
            raise PayloadMismatch(source, expected=expected, got=str(len(values)), remedy=remedy)
    places = {name: header.index(name) for name in checked_names(header, signature, source)}
    return {name: _objects([values[place] for values in cells]) for name, place in places.items()}


def checked_names(names: Sequence[str], signature: Signature, source: str) -> list[str]:
    """Return the names of the model's columns, all of which are among ``names``, and once. Raises PayloadMismatch."""
    wanted = [one.name for one in signature.inputs]
    absent = [name for name in wanted if name not in names]
    doubled = [name for name in wanted if list(names).count(name) > 1]
    expected = f"a column for each of the model's {len(wanted)} columns"
    if absent:
        more = f", nor {len(absent) - 1} others" if len(absent) > 1 else ""
        raise PayloadMismatch(source, expected=expected, got=f"no column {absent[0]!r:.60}{more}")
    if doubled:
        raise PayloadMismatch(source, expected=expected, got=f"{doubled[0]!r:.60} twice")
    return wanted


def column_of(values: np.ndarray, one: Input, source: str, *, accepts_missing: bool) -> np.ndarray:
    """Return a column in the form that the model takes, of the same shape: texts as Python strings, numbers unchanged.
    A missing text is None, a missing number NaN. Raises PayloadMismatch."""
    if one.is_text:
        return _texts(values, one, source)
    if values.dtype.kind != "O":
        return values
    cells = []
    for row, value in enumerate(values.reshape(-1).tolist(), start=1):
        if _is_missing(value) and accepts_missing and not one.is_whole:
            cells.append(float("nan"))
        elif isinstance(value, int | float) and (isinstance(value, float) or -MAX_WHOLE < value < MAX_WHOLE):
            cells.append(int(value) if isinstance(value, bool) else value)
        else:
            raise _not_a_number(source, row, one, value)
    return array_of(cells, values.shape)


def _texts(values: np.ndarray, one: Input, source: str) -> np.ndarray:
    if values.dtype.kind not in ("OUTbiu" if one.takes_digits else "OUT"):
        expected = f"texts in {one.name!r:.60}"
        raise PayloadMismatch(source, expected=expected, got=f"an array of {values.dtype}"[:100])
    flat = values.astype(object).reshape(-1)
    for row, value in enumerate(flat.tolist(), start=1):
        if _is_missing(value) and one.takes_missing:
            flat[row - 1] = None
            continue
        if one.is_date and isinstance(value, date):
            value = flat[row - 1] = value.isoformat()
        if one.takes_digits and isinstance(value, int):
            value = flat[row - 1] = str(int(value))
        if one.takes_truths and isinstance(value, str) and value.lower() in _TRUTHS:
            value = flat[row - 1] = _TRUTHS[value.lower()]
        got = f"{value!r:.60}"
        if isinstance(value, str):
            if value.isascii() or _is_unicode(value):
                continue
            got = f"{value!a:.60}, which is not Unicode"
        expected = f"a text in row {row} of {one.name!r:.60}"
        raise PayloadMismatch(source, expected=expected, got=got)
    return flat.reshape(values.shape)


def _not_a_number(source: str, row: int, one: Input, value: object) -> PayloadMismatch:
    return PayloadMismatch(source, expected=f"a number in row {row} of {one.name!r:.60}", got=f"{value!r:.60}")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can write
        return False
    return True


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value)


def read_columns(path: Path, signature: Signature, source: str) -> Columns:
    """Return the columns of a CSV file. Raises PayloadMismatch."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            return columns_of_csv(stream, signature, source)
    except UnicodeDecodeError as error:
        raise PayloadMismatch(source, expected="CSV in UTF-8", got="bytes that are no text") from error


def columns_of_csv(stream: TextIO, signature: Signature, source: str, *, most_rows: int = MAX_ROWS) -> Columns:
    """Return the same of an open ``stream``, keeping ``most_rows`` rows. A first line that names at least half of the
    model's columns is a header. An empty cell is missing, or an empty text if the column has no missing ones. In a
    column of numbers NA, NaN, null and none are missing too, and true and false are 1 and 0."""
    records = records_of(stream, source)
    first = next(records)
    names = [cell.strip() for cell in first]
    is_header = _is_header(names, signature)
    cells = list(islice(records, most_rows)) if is_header else [first, *islice(records, most_rows - 1)]
    total_rows = len(cells) + sum(1 for _ in records)
    check_width(source, max(map(len, cells), default=0), MAX_COLUMNS)
    header = names if is_header else None
    arrays = arrays_of_cells(cells, header, signature, source)
    read = {one.name: _read(arrays[one.name], one, source) for one in signature.inputs}
    return Columns(arrays=read, total_rows=total_rows, unused=unused_names(header, signature.column_names))


def _is_header(names: Sequence[str], signature: Signature) -> bool:
    """Return whether the cells of a first line are names. One that is misspelt, or lacking, is for
    :func:`checked_names` to tell: as texts, all of them would be taken for a row."""
    wanted = {one.name for one in signature.inputs}
    return 2 * len(wanted & set(names)) >= len(wanted)


def _read(cells: np.ndarray, one: Input, source: str) -> np.ndarray:
    """Return the cells of a column as what they say."""
    if one.is_text:
        return _objects([None if not cell and one.takes_missing else cell for cell in cells.tolist()])
    numbers: list[Any] = []
    for row, cell in enumerate(cells.tolist(), start=1):
        text = cell.strip()
        try:
            numbers.append(None if is_missing_text(text) else number(text))
        except ValueError as error:
            raise _not_a_number(source, row, one, cell) from error
    return _objects(numbers)


def columns_of_objects(source: Any, signature: Signature, where: str) -> Columns:
    """Return the columns of what Python has: a data frame of pandas or polars, a mapping of names to columns, a list of
    mappings, rows of cells, or a list of cells for a model of one column. Raises PayloadMismatch."""
    if isinstance(source, Sequence) and source and all(isinstance(item, Mapping) for item in source):
        names = list(dict.fromkeys(str(name) for item in source for name in item))
        source = {name: [item.get(name) for item in source] for name in names}
    frame = frame_columns(source)
    if frame is not None or isinstance(source, Mapping):
        keys = list(source) if frame is None else range(len(frame.names))
        names = [str(key) for key in keys] if frame is None else list(frame.names)
        wanted = [one.name for one in signature.inputs]
        if len(names) == len(wanted) and all(_NAMELESS.fullmatch(name) for name in wanted):
            names = wanted  # those of the table are as good as none
        of_table = dict(zip(names, keys, strict=True))
        read = source.__getitem__ if frame is None else frame.read
        columns = {name: _read_of(read, of_table[name], name, where) for name in checked_names(names, signature, where)}
        return Columns(
            arrays={name: column[:MAX_ROWS] for name, column in columns.items()},
            total_rows=max(map(len, columns.values())) if frame is None else frame.total_rows,
            unused=unused_names(names, signature.column_names),
        )
    if isinstance(source, str | bytes) or not hasattr(source, "__iter__"):
        raise PayloadMismatch(where, expected="a table with the columns of the model", got=f"{source!r:.60}")
    rows = list(source)
    if not any(isinstance(row, Sequence | np.ndarray) and not isinstance(row, str) for row in rows):
        rows = [[cell] for cell in rows] if len(signature.inputs) == 1 else [rows]
    arrays = arrays_of_cells(rows[:MAX_ROWS], None, signature, where)
    return Columns(arrays=arrays, total_rows=len(rows))


def _read_of(read: Callable[[Any], Any], key: Any, name: str, source: str) -> np.ndarray:
    try:
        return _objects(list(read(key)))
    except (ValueError, TypeError, OverflowError) as error:  # of pyarrow, for what Python does not hold
        got = (str(error).splitlines() or [type(error).__name__])[0][:100]
        raise PayloadMismatch(source, expected=f"values in the column {name!r:.60}", got=got) from error


def _objects(values: Sequence[Any]) -> np.ndarray:
    return objects([_of_python(value) if isinstance(value, np.generic) else value for value in values])


def _of_python(value: np.generic) -> Any:
    return str(value) if isinstance(value, np.datetime64) else value.item()  # of nanoseconds Python has none


def cells_of(document: Any, signature: Signature, source: str) -> tuple[list[Any], Sequence[str] | None] | None:
    """Return the rows of a JSON document that lists cells, and their names where it has them: ``{"columns", "data"}``,
    ``{"instances": rows}``, ``{"features": row}``, rows, or one row; None for any other. Where the model has one
    column, cells are rows. Raises PayloadMismatch."""
    names = None
    rows = document
    if isinstance(document, Mapping):
        form = form_of(document, signature.column_names, source)
        rows = None if form is None else document[form]
        names = names_of_columns(document, source) if form == "data" else None
    if not isinstance(rows, list) or not rows or any(isinstance(row, Mapping) for row in rows):
        return None
    if not all(isinstance(row, list) for row in rows):
        rows = [rows] if len(signature.inputs) > 1 else [[cell] for cell in rows]
    return rows, names
