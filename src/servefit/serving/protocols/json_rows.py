"""Rows from JSON and JSON Lines, in all shapes that ``backends.payload.json_rows`` reads. The usual ones are decoded
straight into lists of numbers; whatever else is left to it, which also finds the words for what is wrong.

``null`` and the NaN that Python writes are missing values. Strings, booleans and anything nested are no numbers.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from servefit.backends.payload.json_forms import FORMS
from servefit.backends.payload.json_rows import json_table, named_documents
from servefit.backends.payload.tensors import holds_tensors, rows_of_documents
from servefit.serving.messages import Refused, TakesLong
from servefit.serving.rows import (
    MAX_ORDINARY_BYTES,
    SPARE_COLUMNS,
    Cell,
    check_row_count,
    checked_rows,
    packed_rows,
    raise_for_extreme_numbers,
    raise_for_long_body,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    from servefit.backends.model.types import Signature
    from servefit.serving.config import Limits

_Row: TypeAlias = list[Cell]
_Object: TypeAlias = dict[str, Cell | _Row]

_SOURCE = "body"

_FEW_LISTS = 64
"""Each list or object of a request that has sizes of its own takes some 10 us to look at, and each shape 100."""


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    """An object with rows under one key. What else it may have is read by the payload reader."""

    instances: list[_Row | _Object] | None = None
    features: _Row | None = None
    signature_name: str | None = None
    parameters: msgspec.Raw | None = None


_LIST = msgspec.json.Decoder(list[Cell | _Row | _Object])
_DOCUMENT = msgspec.json.Decoder(_Document)
_OBJECT = msgspec.json.Decoder(_Object)
_LINE = msgspec.json.Decoder(_Row | _Object)
_USUAL = b'{"instances"'
_IN_FORM = re.compile(rb'\s*\{\s*"(?:instances|features|signature_name|parameters)"')
_KEYS = frozenset(_Document.__struct_fields__)
_ODD = (msgspec.DecodeError, RecursionError, UnicodeDecodeError, KeyError, AttributeError, TypeError)


def rows_of_json(body: bytes, signature: Signature, limits: Limits, *, at_once: bool = False) -> np.ndarray:
    """Return the rows of a JSON document, or of one a line. Raises Refused, PayloadMismatch, and TakesLong."""
    return _rows(_cells_of_document, body, signature, limits, at_once)


def rows_of_json_lines(body: bytes, signature: Signature, limits: Limits, *, at_once: bool = False) -> np.ndarray:
    """Return the rows of documents, one a line; of one that fills the body too. Raises as ``rows_of_json``."""
    return _rows(_cells_of_lines, body, signature, limits, at_once)


def _rows(
    cells_of: Callable[[bytes, Sequence[str]], list[Any] | None],
    body: bytes,
    signature: Signature,
    limits: Limits,
    at_once: bool,
) -> np.ndarray:
    if signature.sizes:
        raise_for_long_body(body, at_once=at_once)
        if at_once and body.count(b"{") + body.count(b"[") > _FEW_LISTS:
            raise TakesLong
        return _rows_of_tensors(_documents(body, signature.column_names), signature, limits)
    try:
        if len(body) > MAX_ORDINARY_BYTES:
            raise_for_extreme_numbers(body)
        # The names of a network's inputs are looked at by whoever minds one that is there twice.
        cells = cells_of(body, () if signature.output_tensors else signature.feature_names)
    except _ODD:
        cells = None
    if cells is not None:
        check_row_count(len(cells), limits)
        rows = packed_rows(cells, signature)
        if rows is not None:
            return rows
    raise_for_long_body(body, at_once=at_once)
    return _any_rows(body, signature, limits)


def _cells_of_document(body: bytes, names: Sequence[str]) -> list[Any] | None:
    if body[:1] != b"{":
        items = _LIST.decode(body)
        return _cells(items, names) if items and type(items[0]) in (list, dict) else [items]
    if not body.startswith(_USUAL) and _IN_FORM.match(body) is None:
        row = _OBJECT.decode(body)
        return None if not FORMS.keys().isdisjoint(row) else _cells([row], names)
    document = _DOCUMENT.decode(body)
    instances, features = document.instances, document.features
    if (instances is None) == (features is None) or (0 < len(names) <= len(_KEYS) and _KEYS.issuperset(names)):
        return None
    return [features] if instances is None else _cells(instances, names)


def _cells_of_lines(body: bytes, names: Sequence[str]) -> list[Any] | None:
    # Not decode_lines, which minds neither two documents in one line nor one in two.
    return _cells([_LINE.decode(line) for line in body.split(b"\n") if line.strip()], names)


def _cells(items: list[Any], names: Sequence[str]) -> list[Any] | None:
    """Return the cells of rows that are all lists, or all objects: SageMaker's ``{"features": row}``, or one cell a
    name."""
    first = items[0] if items else None
    if type(first) is not dict:
        return items
    if any(item.keys() != first.keys() for item in items):
        return None
    if type(first.get("features")) is list:
        return [item["features"] for item in items] if len(first) == 1 else None
    # The payload reader leaves out what the model does not ask for.
    return [[item[name] for name in names] for item in items] if len(first) == len(names) else None


def _documents(body: bytes, names: Sequence[str]) -> list[Any]:
    return named_documents(_text(body), _SOURCE, names)


def _rows_of_tensors(documents: list[Any], signature: Signature, limits: Limits) -> np.ndarray:
    rows, total = rows_of_documents(documents, signature, _SOURCE, most_rows=limits.rows, booleans=False)
    check_row_count(total, limits)
    return rows


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refused(400, f"{_SOURCE}: expected JSON, got bytes that are not UTF-8 text") from error


def _any_rows(body: bytes, signature: Signature, limits: Limits) -> np.ndarray:
    if signature.output_tensors:
        documents = _documents(body, signature.column_names)
        if documents and holds_tensors(documents[0], signature):
            return _rows_of_tensors(documents, signature, limits)
    most_columns = signature.features + SPARE_COLUMNS
    table = json_table(
        _text(body),
        _SOURCE,
        signature.feature_names,
        most_rows=limits.rows,
        most_columns=most_columns,
        booleans=False,
    )
    return checked_rows(table, signature, limits, _SOURCE)
