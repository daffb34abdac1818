"""Rows from JSON and JSON Lines, in the shapes that model servers take.

One document may be a list of rows, one row, a list of objects keyed by feature name, ``{"instances": rows}``
(TensorFlow Serving, SageMaker), ``{"data": rows}`` with or without ``"columns"``, the same in
``{"dataframe_split": ...}``, ``{"dataframe_records": objects}`` (MLflow), ``{"features": row}`` (SageMaker), or
``{"inputs": [{"shape": ..., "data": ...}]}`` (Open Inference Protocol). JSON Lines is one such document a line.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from servefit.backends.payload.exact import MAX_WHOLE
from servefit.backends.payload.json_forms import form_of, is_row, names_of_columns, without_frame
from servefit.backends.payload.parts import TensorPart
from servefit.backends.payload.table import (
    MAX_COLUMNS,
    MAX_DIMENSIONS,
    MAX_ROWS,
    PayloadTable,
    check_width,
    left_out,
    matrix,
    no_rows,
    not_a_number,
)
from servefit.errors import PayloadMismatch


class _Doubled(Exception):
    """A name that an object has twice."""


def _with_each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        raise _Doubled(next(name for nth, (name, _) in enumerate(pairs) if name in dict(pairs[:nth])))
    return document


_DECODER = json.JSONDecoder()
_STRICT_DECODER = json.JSONDecoder(object_pairs_hook=_with_each_name_once)
_SPACE = re.compile(r"[ \t\n\r]*")
_MAX_JSON_BYTES = 2**30
"""All of it is read, and Python's objects take several times as much memory. Chosen, not measured."""

_MAX_OBJECTS_BYTES = 2**28
"""The same of objects that are kept, of which there are few. Chosen, not measured."""

_MAX_SIZE = 2**63
"""Beyond int64, which NumPy's sizes are."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows as JSON has them: lists of cells, all under the same ``names``, or from tensors side by side."""

    cells: Sequence[Sequence[Any]]
    names: tuple[str, ...] | None = None
    tensors: tuple[TensorPart, ...] = ()


def read_json(path: Path, source: str, feature_names: Sequence[str]) -> PayloadTable:
    """Read a JSON document, or one a line. ``null`` is a missing value. Columns that have a name, and are none of the
    model's, may hold anything: they are left out. Raises PayloadMismatch."""
    return json_table(_read_text(path, source), source, feature_names)


def read_documents(path: Path, source: str, feature_names: Sequence[str]) -> list[Any]:
    """Return the one JSON document in a file, or those in its lines. Raises PayloadMismatch, also for an object that
    has a name twice."""
    return named_documents(_read_text(path, source), source, feature_names)


def _read_text(path: Path, source: str) -> str:
    if path.stat().st_size > _MAX_JSON_BYTES:
        raise PayloadMismatch(source, expected=f"at most {_MAX_JSON_BYTES} bytes of JSON", got=str(path.stat().st_size))
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise PayloadMismatch(source, expected="JSON", got="bytes that are not UTF-8 text") from error


def json_table(
    text: str,
    source: str,
    feature_names: Sequence[str] = (),
    *,
    most_rows: int = MAX_ROWS,
    most_columns: int = MAX_COLUMNS,
    booleans: bool = True,
) -> PayloadTable:
    """Read the same from ``text``, keeping ``most_rows`` rows. ``true`` and ``false`` are 1 and 0, or no numbers where
    ``booleans`` is False. Raises PayloadMismatch, also for a row of more than ``most_columns`` values."""
    try:
        return _read(text, source, feature_names, most_rows, most_columns, booleans)
    except RecursionError as error:
        raise too_deep(source, "a table of numbers") from error


def _read(
    text: str, source: str, feature_names: Sequence[str], most_rows: int, most_columns: int, booleans: bool
) -> PayloadTable:
    parts: list[_Rows] = []
    by_name: list[dict[str, Any]] = []  # one a line, whose names may come in any order
    for document in _each_document(text, source):
        if isinstance(document, dict) and form_of(document, feature_names, source) is None:
            by_name.append(document)
        else:
            parts.append(_rows(document, source, feature_names, most_columns))
    if by_name and parts:
        raise PayloadMismatch(source, expected="lines that are all objects with names, or none", got="a mixture")
    if by_name:
        parts = [_rows_of_objects(by_name, source, feature_names)]
    if any((part.names, part.tensors) != (parts[0].names, parts[0].tensors) for part in parts):
        raise PayloadMismatch(source, expected="the same names in every line", got="different ones")
    cells = [row for part in parts for row in part.cells]
    names = parts[0].names if parts else None
    check_width(source, max(map(len, cells[:most_rows]), default=0), most_columns)
    unused = left_out(names, feature_names)
    rows = [
        _numbers(row, source, number, names, unused, booleans=booleans)
        for number, row in enumerate(cells[:most_rows], start=1)
    ]
    tensors = parts[0].tensors if parts else ()
    return PayloadTable(values=matrix(source, rows), names=names, total_rows=len(cells), parts=tensors)


def named_documents(text: str, source: str, feature_names: Sequence[str]) -> list[Any]:
    """Return the one document that ``text`` is, or those in its lines; of MLflow's data frames what is in them. Raises
    PayloadMismatch, also for an object that has a name twice: else the last one counts."""
    try:
        documents = list(_each_document(text, source, _STRICT_DECODER))
    except _Doubled as error:
        raise PayloadMismatch(
            source, expected="each name once in an object", got=f"{error.args[0]!r:.60} twice"
        ) from error
    except RecursionError as error:
        raise too_deep(source) from error
    return [without_frame(document, feature_names, source) for document in documents]


def too_deep(source: str, expected: str = "JSON") -> PayloadMismatch:
    """Return the error for JSON that Python cannot read, or look through, for its depth."""
    return PayloadMismatch(source, expected=expected, got="JSON that is nested too deeply")


def _each_document(text: str, source: str, decoder: json.JSONDecoder = _DECODER) -> Iterator[Any]:
    """Yield the same, one after the other: a caller can refuse the first before the others are parsed."""
    try:
        document, end = decoder.raw_decode(text, _after_space(text, 0))
    except json.JSONDecodeError as error:
        raise _broken(source, error, error.lineno) from error
    except ValueError as error:
        raise _too_long(source, error) from error
    end = _after_space(text, end)
    if end == len(text):
        yield document
        return
    first = True
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                document = decoder.decode(line)
            except json.JSONDecodeError as error:
                # A document of several lines fails in its first line: its error is the document that follows.
                shown = json.JSONDecodeError("Extra data", text, end) if first else error
                raise _broken(source, shown, shown.lineno if first else number) from error
            except ValueError as error:
                raise _too_long(source, error) from error
            first = False
            yield document


def _after_space(text: str, begin: int) -> int:
    match = _SPACE.match(text, begin)
    return begin if match is None else match.end()


def _broken(source: str, error: json.JSONDecodeError, line: int) -> PayloadMismatch:
    return PayloadMismatch(source, expected="JSON", got=f"text that breaks off in line {line}: {error.msg}")


def _too_long(source: str, error: ValueError) -> PayloadMismatch:
    """Return the error for an integer with more digits than Python converts."""
    return PayloadMismatch(source, expected="JSON", got=str(error))


def _rows(document: Any, source: str, feature_names: Sequence[str], most_columns: int) -> _Rows:
    """Return the rows of one document, whichever shape it has."""
    document = without_frame(document, feature_names, source)
    if isinstance(document, list):
        return _rows_of_list(document, source, feature_names)
    if not isinstance(document, dict):
        raise PayloadMismatch(source, expected="a list or an object", got=f"{document!r:.60}")
    form = form_of(document, feature_names, source)
    if form is None:
        return _rows_of_objects([document], source, feature_names)
    content = document[form]
    if form == "inputs" and content and all(isinstance(item, dict) and "data" in item for item in content):
        check_width(source, len(content), most_columns)
        return _rows_of_tensors(content, source)
    rows = _rows_of_list(content, source, feature_names)
    if form == "data" and rows.names is None:
        return _Rows(rows.cells, names_of_columns(document, source))
    return rows


def _rows_of_list(items: list[Any], source: str, feature_names: Sequence[str]) -> _Rows:
    if not items:
        raise no_rows(source)
    if all(isinstance(item, list) for item in items):
        return _Rows(items)
    if all(isinstance(item, dict) for item in items):
        if all(isinstance(item.get("features"), list) and not is_row(item, feature_names) for item in items):
            return _Rows([item["features"] for item in items])
        return _rows_of_objects(items, source, feature_names)
    if any(isinstance(item, list | dict) for item in items):
        raise PayloadMismatch(source, expected="rows that are all lists or all objects", got="a mixture")
    return _Rows([items])


def _rows_of_objects(items: Sequence[Mapping[str, Any]], source: str, feature_names: Sequence[str]) -> _Rows:
    """Return the cells of objects that all have the same names; only some may have one that is left out."""
    names = tuple(items[0])
    if any(item.keys() != items[0].keys() for item in items):
        names = tuple(dict.fromkeys(name for item in items for name in item))
        unused = left_out(names, feature_names)
        wanted = {name for nth, name in enumerate(names) if nth not in unused}
        for number, item in enumerate(items, start=1):
            if odd := wanted & (item.keys() ^ items[0].keys()):
                raise PayloadMismatch(
                    source, expected=f"the names of row 1 in row {number}", got=f"a difference in {min(odd)!r:.60}"
                )
    return _Rows([[item.get(name) for name in names] for item in items], names)


def _rows_of_tensors(tensors: Sequence[Mapping[str, Any]], source: str) -> _Rows:
    """Open Inference Protocol: tensors side by side, flat or nested, the first dimension being the rows."""
    blocks, parts = [], []
    for tensor in tensors:
        shape = tensor.get("shape")
        if isinstance(shape, list) and len(shape) > MAX_DIMENSIONS:
            raise PayloadMismatch(source, expected=f"a shape of at most {MAX_DIMENSIONS} sizes", got=str(len(shape)))
        if not isinstance(shape, list) or not all(isinstance(size, int) and 0 <= size < _MAX_SIZE for size in shape):
            raise PayloadMismatch(source, expected="a shape of whole numbers for every input", got=f"{shape!r:.60}")
        flat: list[Any] = []
        put_values([tensor["data"]], flat)
        if not shape or math.prod(shape) != len(flat):
            raise PayloadMismatch(source, expected=f"the values that shape {shape!s:.100} holds", got=str(len(flat)))
        if not flat:
            raise no_rows(source)
        width = len(flat) // shape[0]
        blocks.append([flat[row * width : (row + 1) * width] for row in range(shape[0])])
        name = tensor.get("name")
        parts.append(TensorPart(name if isinstance(name, str) else None, tuple(shape[1:])))
    if len({len(block) for block in blocks}) != 1:
        raise PayloadMismatch(source, expected="the same number of rows in every input", got="different ones")
    cells = [[cell for block in row for cell in block] for row in zip(*blocks, strict=True)]
    return _Rows(cells, tensors=tuple(parts))


def put_values(content: list[Any], flat: list[Any]) -> None:
    """Put the values in ``content`` into ``flat``: each one once, however deep it is nested."""
    for item in content:
        if isinstance(item, list):
            put_values(item, flat)
        else:
            flat.append(item)


def _numbers(
    row: Sequence[Any],
    source: str,
    number: int,
    names: Sequence[str] | None,
    unused: frozenset[int],
    *,
    booleans: bool,
) -> list[float]:
    """Return the cells of a row as numbers, whole ones as ints: as floats, large ones would be rounded."""
    numbers: list[float] = []
    for column, cell in enumerate(row, start=1):
        name = names[column - 1] if names is not None and column <= len(names) else None
        if cell is None or column - 1 in unused:
            numbers.append(float("nan"))
        elif isinstance(cell, int | float) and (booleans or not isinstance(cell, bool)):
            if type(cell) is int and not -MAX_WHOLE < cell < MAX_WHOLE:
                raise not_a_number(source, number, column, name, cell)
            numbers.append(cell)
        else:
            raise not_a_number(source, number, column, name, cell)
    return numbers


def objects_of(source: Any) -> tuple[Any, ...]:
    """Return the JSON objects that ``source`` holds, MAX_ROWS at most, for servers that take neither rows nor any known
    form of them: a file with one, a list of them, or one a line, or the same as Python has it. Empty for all that is
    read as rows, or not at all. Raises PayloadMismatch for broken JSON."""
    documents = _documents_of(Path(source)) if isinstance(source, str | Path) else [source]
    if len(documents) == 1 and isinstance(documents[0], list):
        documents = documents[0]
    return tuple(documents[:MAX_ROWS]) if all(isinstance(document, dict) for document in documents) else ()


def _documents_of(path: Path) -> list[Any]:
    """Return the JSON documents in a file. What cannot be read as such is left to those who read rows, and say why
    not."""
    try:
        if not path.is_file() or path.stat().st_size > _MAX_OBJECTS_BYTES:
            return []
        text = path.read_text(encoding="utf-8-sig")
        return list(_each_document(text, path.name)) if text.lstrip()[:1] in ("{", "[") else []
    except (OSError, UnicodeDecodeError, RecursionError):
        return []
