"""Rows from CSV, as ``backends.payload.delimited`` reads it: any delimiter, quoted or not, with a header or without.

Lines of bare numbers, which are most, need only brackets to be JSON, and are decoded as such; whatever else is left
to the payload reader, which also finds the words for what is wrong.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import msgspec

from servefit.backends.payload.columns import columns_of_csv
from servefit.backends.payload.delimited import delimited_table, is_number
from servefit.backends.payload.tensors import rows_of_arrays
from servefit.serving.messages import Refused
from servefit.serving.rows import (
    MAX_ORDINARY_BYTES,
    SPARE_COLUMNS,
    Cell,
    check_row_count,
    checked_rows,
    packed_rows,
    raise_for_extreme_numbers,
    raise_for_long_body,
    refused,
)

if TYPE_CHECKING:
    import numpy as np

    from servefit.backends.model.types import Signature
    from servefit.serving.config import Limits

_SOURCE = "body"
_ROWS = msgspec.json.Decoder(list[list[Cell]])


def rows_of_csv(body: bytes, signature: Signature, limits: Limits, *, at_once: bool = False) -> np.ndarray:
    """Return the rows of CSV text in UTF-8. An empty cell, NA, NaN, null or none is a missing value. Raises Refused,
    PayloadMismatch, and TakesLong."""
    if signature.has_columns:
        raise_for_long_body(body, at_once=at_once)
        return _rows_of_columns(body, signature, limits)
    if signature.sizes:
        named = ", ".join(size.name for size in signature.sizes)
        raise refused(
            415, f"content-type: a request has sizes of its own ({named:.400}), which CSV does not tell: send JSON"
        )
    cells = _bare_numbers(body, signature)
    if cells is not None:
        check_row_count(len(cells), limits)
        rows = packed_rows(cells, signature)
        if rows is not None:
            return rows
    raise_for_long_body(body, at_once=at_once)
    return _any_rows(body, signature, limits)


def _bare_numbers(body: bytes, signature: Signature) -> list[list[Cell]] | None:
    names = signature.feature_names
    lines = body.replace(b"\r\n", b"\n") if b"\r" in body else body
    # What is no CSV, ends lines in another way, or may have numbers in its header.
    if b"]" in lines or b"\r" in lines or (names and _may_be_a_number(names[0])):
        return None
    document = b"[[" + lines.rstrip(b"\n").replace(b"\n", b"],[") + b"]]"
    try:
        if len(document) > MAX_ORDINARY_BYTES:
            raise_for_extreme_numbers(document)
        return _ROWS.decode(document)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    filled = document.replace(b",,", b",null,").replace(b",,", b",null,")
    filled = filled.replace(b"[,", b"[null,").replace(b",]", b",null]")
    try:
        if len(filled) > MAX_ORDINARY_BYTES:
            raise_for_extreme_numbers(filled)
        return None if filled == document else _ROWS.decode(filled)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _may_be_a_number(name: str) -> bool:
    return not name.isidentifier() and is_number(name)


def _rows_of_columns(body: bytes, signature: Signature, limits: Limits) -> np.ndarray:
    """Return the rows of a table whose columns are of different kinds."""
    columns = columns_of_csv(_opened(body), signature, _SOURCE, most_rows=limits.rows)
    check_row_count(columns.total_rows, limits)
    return rows_of_arrays(columns.arrays, signature, _SOURCE)


def _opened(body: bytes) -> io.StringIO:
    try:
        return io.StringIO(body.decode("utf-8-sig"), newline="")
    except UnicodeDecodeError as error:
        raise Refused(400, f"{_SOURCE}: expected CSV, got bytes that are not UTF-8 text") from error


def _any_rows(body: bytes, signature: Signature, limits: Limits) -> np.ndarray:
    most_columns = signature.features + SPARE_COLUMNS
    table = delimited_table(
        _opened(body), _SOURCE, signature.feature_names, most_rows=limits.rows, most_columns=most_columns
    )
    return checked_rows(table, signature, limits, _SOURCE)
