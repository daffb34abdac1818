"""From the cells of a request to rows that the model takes: the quick ways, for requests that are as they should be and
models that take any float32.

Everything here gives None for what is not so plain: then the payload reader of ``backends.payload`` is asked, which
takes more shapes, keeps whole numbers as they are for models that take such, and says in one sentence what is wrong
with all others. It defines what a row is; the quick ways give the same rows or none.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from servefit.backends.payload.table import Table, rows_for
from servefit.errors import PayloadMismatch
from servefit.serving.messages import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servefit.backends.model.types import Signature
    from servefit.serving.config import Limits

Cell: TypeAlias = float | None
FLOAT32 = np.dtype("<f4")

JSON_MARKS = b",[{"
"""What separates values in JSON, or begins lists of them: see ``refuse_crowded``."""

_FEW_VALUES = 256
"""Up to so many, a loop in Python is quicker than a call of NumPy."""

_LONG_BYTES = 2**20
_SPARE_MARKS = 8
"""Columns that the model does not ask for, and brackets, in a row."""


def packed(cells: Sequence[Any], signature: Signature) -> np.ndarray | None:
    """``cells``, lists of finite floats and None (missing), as C-contiguous float32 (rows, features); None where they
    are something else, beyond float32, more or fewer in a row than the model has features, or not what it takes, and
    for a model that does not take any float32.

    A typed decoder has to see to it that no float is infinite and none a boolean: those would get through.
    """
    if (signature.inputs or signature.integer_features) and not signature.takes_any_float32:
        return None
    # Packing checks the number and the range of the cells at half the price of np.array.
    layout = f"<{signature.features}f"
    try:
        try:
            content = bytearray().join([struct.pack(layout, *row) for row in cells])
        except struct.error:
            if not signature.accepts_missing:
                return None
            complete = ([math.nan if cell is None else cell for cell in row] for row in cells)
            content = bytearray().join([struct.pack(layout, *row) for row in complete])
    except (struct.error, OverflowError, TypeError):
        return None
    return np.ndarray((len(cells), signature.features), FLOAT32, content) if cells else None


def finite(content: bytes, count: int, features: int) -> np.ndarray | None:
    """The rows in the bytes of ``count`` * ``features`` float32, or None where one is infinite or missing. The model
    has to take any float32."""
    rows = np.ndarray((count, features), FLOAT32, bytearray(content))
    if rows.size <= _FEW_VALUES:
        return rows if math.isfinite(sum(struct.unpack(f"<{rows.size}f", content))) else None
    return rows if np.isfinite(rows).all() else None


def checked(table: Table, signature: Signature, limits: Limits, source: str) -> np.ndarray:
    """The rows of ``table`` as the model takes them. Raises Refused, naming ``source``."""
    within(table.total_rows, limits)
    try:
        return rows_for(table, signature, source)
    except PayloadMismatch as error:
        raise mismatch(error) from error


def within(rows: int, limits: Limits) -> None:
    """Raise Refused where a request has more ``rows`` than one may have."""
    if rows > limits.rows:
        raise Refused(413, f"rows: a request may have {limits.rows}, this one has {rows}")


def refuse_crowded(text: bytes, marks: bytes, signature: Signature, limits: Limits) -> None:
    """Raise Refused for a long text with more ``marks`` (what separates values, and begins lists) than the most rows
    have, and some to spare: it would take seconds, and many times its size in memory, to find that out by reading."""
    if len(text) > _LONG_BYTES and sum(map(text.count, marks)) > limits.rows * (signature.features + _SPARE_MARKS):
        raise Refused(
            413, f"body: more values than {limits.rows} rows of {signature.features} features, the most, have"
        )


def mismatch(error: PayloadMismatch) -> Refused:
    """What a client is told about a payload that does not fit."""
    return refused(400, f"{error.source}: expected {error.expected}, got {error.got}")


def refused(status: int, reason: str) -> Refused:
    """A refusal that quotes the request: one line, and text that can be sent, whatever the request held."""
    return Refused(status, " ".join(reason.split()).encode(errors="backslashreplace").decode())
