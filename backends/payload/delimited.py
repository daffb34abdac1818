"""Rows from CSV text: comma, semicolon or tab, quoted or not, with a header or without."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TextIO

from servefit.backends.payload.exact import number
from servefit.backends.payload.table import (
    MAX_COLUMNS,
    MAX_ROWS,
    PayloadTable,
    check_width,
    left_out,
    matrix,
    no_rows,
    not_a_number,
)
from servefit.errors import PayloadMismatch

_MISSING = frozenset({"", "na", "nan", "n/a", "null", "none"})

_QUOTED = re.compile(r'(?<![^,;\t])"[^"]*(?:""[^"]*)*"?')
"""A cell in quotes, or the part of one that is in its first line."""


def read_delimited(path: Path, source: str, feature_names: Sequence[str]) -> PayloadTable:
    """Read the first rows and count the others. An empty cell, NA, NaN, null or none is a missing value.

    Columns that have a name, and are none of the model's, may hold anything: they are left out.
    The first line is a header when it names the model's features, or when it holds text and no number.
    Raises PayloadMismatch.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            return delimited_table(stream, source, feature_names)
    except UnicodeDecodeError as error:
        raise PayloadMismatch(
            source, expected="CSV, JSON, JSON Lines, NPY or NPZ", got="bytes of no known format"
        ) from error


def delimited_table(
    stream: TextIO,
    source: str,
    feature_names: Sequence[str],
    *,
    most_rows: int = MAX_ROWS,
    most_columns: int = MAX_COLUMNS,
) -> PayloadTable:
    """Read the same from text that is open already, without translation of line ends, keeping ``most_rows`` rows.
    Raises PayloadMismatch, also for a row of more than ``most_columns`` cells."""
    records = records_of(stream, source, most_columns)
    first = next(records)
    names = None
    rows = []
    if _is_header(first, feature_names):
        names = tuple(name.strip() for name in first)
    else:
        rows.append(_numbers(first, source, 1, None, frozenset()))
    unused = left_out(names, feature_names)
    for record in islice(records, most_rows - len(rows)):
        check_width(source, len(record), most_columns)
        rows.append(_numbers(record, source, len(rows) + 1, names, unused))
    total_rows = len(rows) + sum(1 for _ in records)
    return PayloadTable(values=matrix(source, rows), names=names, total_rows=total_rows)


def records_of(stream: TextIO, source: str, most_columns: int | None = None) -> Iterator[list[str]]:
    """Yield the cells of each line of CSV that has some, at least one. Raises PayloadMismatch where there is none, for
    text that does not parse, and for more than ``most_columns`` in the first line."""
    first_line = stream.readline()
    while first_line and not first_line.strip():
        first_line = stream.readline()
    if "\0" in first_line:
        raise PayloadMismatch(source, expected="CSV, JSON, JSON Lines, NPY or NPZ", got="bytes of no known format")
    # Cells are separated by what the first line has most of, quoted cells aside.
    delimiter = max(",;\t", key=(_QUOTED.sub("", first_line) if '"' in first_line else first_line).count)
    if most_columns is not None:
        check_width(source, 1 + first_line.count(delimiter), most_columns)
    records = csv.reader(chain([first_line], stream), delimiter=delimiter, strict=True)
    filled = (record for record in records if record)
    try:
        if (first := next(filled, None)) is None:
            raise no_rows(source)
        yield first
        yield from filled
    except csv.Error as error:
        raise PayloadMismatch(source, expected="CSV", got=f"text that does not parse: {error}") from error


def is_missing_text(text: str) -> bool:
    """Return whether a cell of a column of numbers says that there is none."""
    return text.lower() in _MISSING


def _is_header(record: Sequence[str], feature_names: Sequence[str]) -> bool:
    cells = {cell.strip() for cell in record}
    if feature_names and cells.issuperset(feature_names):
        return True
    texts = [cell for cell in cells if cell.lower() not in _MISSING]
    return bool(texts) and not any(is_number(cell) for cell in texts)


def _numbers(
    record: Sequence[str], source: str, row: int, names: Sequence[str] | None, unused: frozenset[int]
) -> list[float]:
    numbers = []
    for column, cell in enumerate(record, start=1):
        text = cell.strip()
        if column - 1 in unused or is_missing_text(text):
            numbers.append(float("nan"))
            continue
        try:
            numbers.append(number(text))
        except ValueError as error:
            name = names[column - 1] if names is not None and column <= len(names) else None
            raise not_a_number(source, row, column, name, cell) from error
    return numbers


def is_number(text: str) -> bool:
    """Return whether it is a number: see ``exact.number``."""
    try:
        number(text)
    except ValueError:
        return False
    return True
