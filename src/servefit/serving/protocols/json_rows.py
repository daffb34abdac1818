"""Rows from JSON and JSON Lines, in all shapes that ``backends.payload.json_rows`` reads. The usual ones are decoded
straight into lists of numbers; whatever else is left to it, which also finds the words for what is wrong.

``null`` and the NaN that Python writes are missing values. Strings, booleans and anything nested are no numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

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


class _Document(msgspec.Struct):
    """The keys that the payload reader looks for, in its order; it does not mind any others."""

    instances: list[_Row | _Object] | None = None
    data: msgspec.Raw | None = None
    inputs: msgspec.Raw | None = None
    features: _Row | None = None


_LIST = msgspec.json.Decoder(list[Cell | _Row | _Object])
_DOCUMENT = msgspec.json.Decoder(_Document)
_OBJECT = msgspec.json.Decoder(_Object)
_LINE = msgspec.json.Decoder(_Row | _Object)
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
        return _rows_of_tensors(_documents(body), signature, limits)
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
    document = _DOCUMENT.decode(body)
    if document.instances is not None:
        return _cells(document.instances, names)
    if document.data is not None or document.inputs is not None:
        return None
    return _cells([_OBJECT.decode(body)], names) if document.features is None else [document.features]


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
        return [item["features"] for item in items]
    # The payload reader leaves out what the model does not ask for.
    return [[item[name] for name in names] for item in items] if len(first) == len(names) else None


def _documents(body: bytes) -> list[Any]:
    return named_documents(_text(body), _SOURCE)


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
        documents = _documents(body)
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
