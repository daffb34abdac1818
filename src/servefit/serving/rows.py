"""From the cells of a request to rows that the model takes: the quick ways, for requests that are as they should be and
models that take any float32 or float64.

Everything here gives None for what is not so plain: then the payload reader of ``backends.payload`` is asked, which
takes more shapes, keeps whole numbers as they are for models that take such, and says in one sentence what is wrong
with all others. It defines what a row is; the quick ways give the same rows or none.
"""

from __future__ import annotations

import math
import re
import struct
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
import numpy as np

from servefit.backends.model.texts import TEXT_SIZE
from servefit.backends.model.width import MAX_FEATURES
from servefit.backends.payload.table import PayloadTable, rows_for
from servefit.serving.messages import Refused, TakesLong

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servefit.backends.model.types import Signature
    from servefit.errors import PayloadMismatch
    from servefit.serving.config import Limits

Cell: TypeAlias = float | None
FLOATS: dict[str, tuple[np.dtype[Any], str]] = {
    "float32": (np.dtype("<f4"), "f"),
    "float64": (np.dtype("<f8"), "d"),
}
"""The datatypes of rows that the quick ways make, for NumPy and for ``struct``."""

JSON_MARKS = b",[{"
"""The bytes that separate values in JSON, or begin lists of them: see ``refuse_crowded``."""

SHORT_BYTES = 2**15
"""Text up to so long is read on the event loop where a quick way reads it: in 10 ms at most, mostly in 1."""

_QUICK_BYTES = 2**20
"""The longest text that a quick way reads on the event loop (ADR 8)."""

_QUICK_MARKS = 2**15
_SEPARATORS = b",\n"
"""Longer text too, with no more separators, as a thousand rows of thirty values have: in 20 ms at most, mostly in 3.
Having it read elsewhere takes 1 ms more of CPU time."""

THOROUGH_BYTES = 2**13
"""Text up to so long is read on the event loop where it takes the payload reader: in 3 ms at most."""

SPARE_COLUMNS = 1000
"""So many columns may come along that the model does not ask for."""

_FEW_VALUES = 256
"""Up to so many, a loop in Python is quicker than a call of NumPy."""

_LONG_BYTES = 2**20
"""Shorter text is read whatever it is: at 0.3 us a byte at worst (ADR 8) it takes a third of a second, in the codec."""

_SPARE_MARKS = 8
"""Columns that the model does not ask for, and brackets, in a row."""

_LISTS_A_ROW = 10
"""A row is a list or an object, in others where it is shaped. Chosen, not measured."""

_LINES_A_ROW = 4
"""A row has a line, which may end in two characters, and one without anything may follow."""

_SPARE_LINES = 1000
"""Empty ones, and those of a document that is indented. Chosen, not measured."""

_SPARE_LISTS = 100_000
"""For requests of few rows. Chosen, not measured."""

_MIN_ROW_SIZE = 4096
"""As long as the texts of usual encoders for long documents. Smaller sizes that a model was tried with say little of
what it is sent: a network is inspected with a few places. An encoder of six layers takes some seconds and 1 GB for
it."""

_TIMES_TRIED = 4
"""By the square, sixteen times the time and the memory of what was tried."""

_FEW_EXPONENTS = 300
"""So many extreme numbers take 2.4 ms to read, at 8 us each."""

_EXTREME = ((b"e", re.compile(rb"e[-+]?[0-9]{3}")), (b"E", re.compile(rb"E[-+]?[0-9]{3}")))
MAX_ORDINARY_BYTES = len("1e-310,") * _FEW_EXPONENTS
"""Text of no more bytes has too few numbers that take long."""


def packed_rows(cells: Sequence[Any], signature: Signature) -> np.ndarray | None:
    """Return ``cells``, lists of finite floats and None (missing), as C-contiguous rows of float32 or float64, (rows,
    features); None where they are something else, beyond float32 where rows are, more or fewer in a row than the model
    has features, or not what it takes, and for a model that does not take any float.

    A typed decoder has to see to it that no float is infinite and none a boolean: those would get through.
    """
    if (signature.inputs or signature.integer_features) and not signature.takes_any_float:
        return None
    datatype, letter = FLOATS[signature.row_datatype]
    # Packing checks the number and the range of the cells at half the price of np.array.
    layout = f"<{signature.features}{letter}"
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
    return np.ndarray((len(cells), signature.features), datatype, content) if cells else None


def raise_for_extreme_numbers(text: bytes) -> None:
    """Raise what msgspec raises for what it does not read, for a ``text`` that may have many numbers beyond 1e-100 or
    1e+100: it takes 8 us for one. Need not be called for MAX_ORDINARY_BYTES."""
    if any(
        mark in text and _count(text, mark[0]) > _FEW_EXPONENTS and pattern.search(text) is not None
        for mark, pattern in _EXTREME
    ):
        raise msgspec.DecodeError("numbers near the ends of float64")


def finite_rows(
    content: bytes | memoryview, datatype: np.dtype[Any], count: int, signature: Signature
) -> np.ndarray | None:
    """Return the rows in the bytes of ``count`` rows of the ``datatype`` float32 or float64; None where one is
    infinite, or missing where the model takes no missing values, where the rows of the model hold less than the
    datatype, and for a model that does not take any float."""
    if (signature.inputs or signature.integer_features) and not signature.takes_any_float:
        return None
    wanted, _ = FLOATS[signature.row_datatype]
    if datatype not in (wanted, FLOATS["float32"][0]):
        return None
    rows = np.ndarray((count, signature.features), datatype, bytearray(content))
    few = rows.size <= _FEW_VALUES
    if not few or not math.isfinite(sum(struct.unpack(f"<{rows.size}{datatype.char}", content))):
        wrong = np.isinf(rows).any() if signature.accepts_missing else not np.isfinite(rows).all()
        if wrong:
            return None
    with np.errstate(invalid="ignore"):  # a signalling NaN is a missing value too
        return rows.astype(wanted, copy=False)


def raise_for_long_text(text: bytes) -> None:
    """Raise TakesLong for text of more than SHORT_BYTES that the quick ways have no time for either."""
    if len(text) > _QUICK_BYTES or sum(_count(text, mark) for mark in _SEPARATORS) > _QUICK_MARKS:
        raise TakesLong


def raise_for_long_body(body: bytes, *, at_once: bool) -> None:
    """Raise TakesLong for a body that the payload reader has no time for, if it is to be read ``at_once``."""
    if at_once and len(body) > THOROUGH_BYTES:
        raise TakesLong


def checked_rows(table: PayloadTable, signature: Signature, limits: Limits, source: str) -> np.ndarray:
    """Return the rows of ``table`` as the model takes them. Raises Refused, and PayloadMismatch, naming ``source``."""
    check_row_count(table.total_rows, limits)
    return rows_for(table, signature, source)


def check_row_count(rows: int, limits: Limits) -> None:
    """Raise Refused where a request has more ``rows`` than one may have."""
    if rows > limits.rows:
        raise Refused(413, f"rows: a request may have {limits.rows}, this one has {rows}")


def refuse_crowded(text: bytes, marks: bytes, ends: bytes, signature: Signature, limits: Limits) -> None:
    """Raise Refused for a long text with more ``marks`` (what separates values, and begins lists), lists, or line
    ``ends`` than the most rows have, and some to spare: it would take seconds, and many times its size in memory, to
    find that out by reading."""
    if len(text) <= _LONG_BYTES:
        return
    counts = {mark: _count(text, mark) for mark in marks + ends}
    most = f"{limits.rows} rows of {signature.features} features, the most, have"
    features = MAX_FEATURES if signature.sizes else signature.features
    if sum(counts[mark] for mark in marks) > limits.rows * (features + _SPARE_MARKS):
        raise Refused(413, f"body: more values than {most}")
    if sum(counts[mark] for mark in ends) > limits.rows * _LINES_A_ROW + _SPARE_LINES:
        raise Refused(413, f"body: more lines than {most}")
    if sum(counts.get(mark, 0) for mark in b"[{") > limits.rows * _LISTS_A_ROW + _SPARE_LISTS:
        raise Refused(413, f"body: more lists and objects than {most}")


def _count(text: bytes, mark: int) -> int:
    """Count the byte ``mark`` in ``text``, in a tenth of the time that bytes.count takes."""
    return int(np.count_nonzero(np.frombuffer(text, np.uint8) == mark))


def mismatch(error: PayloadMismatch) -> Refused:
    """Return the refusal of a payload that does not fit."""
    return refused(400, f"{error.source}: expected {error.expected}, got {error.got}")


def refused(status: int, reason: str) -> Refused:
    """Return a refusal that quotes the request: one line, and text that can be sent, whatever the request held."""
    return Refused(status, " ".join(reason.split()).encode(errors="backslashreplace").decode())


class RowSizeLimit:
    """The most that the product of the sizes that a row has for itself may be, of a model of that ``signature``.

    Time and memory of a network grow with the square of a text's length where it attends, so the length of a body
    bounds neither. Unless ``limits`` say otherwise a row may be four times as large as the largest that the model was
    tried with: the payload of a job, sizes that the user named, or one that the model was seen to take.
    """

    def __init__(self, signature: Signature, limits: Limits) -> None:
        names = [] if signature.opaque else [size.name for size in signature.sizes if size.name != TEXT_SIZE]
        self._names = names
        tried = max((math.prod(sizes[name] for name in names) for sizes in signature.size_classes), default=1)
        self._most = limits.row_size or max(_MIN_ROW_SIZE, _TIMES_TRIED * tried)

    def check(self, rows: np.ndarray) -> None:
        """Raise Refused for ``rows`` of which one is too large."""
        if not self._names:
            return
        sizes = rows[:, : len(self._names)].astype(np.float64)
        products = sizes.prod(axis=1)
        if products.max() > self._most:
            at = int(products.argmax())
            named = " x ".join(map(repr, self._names))
            got = " x ".join(f"{size:.0f}" for size in sizes[at])
            raise Refused(
                413,
                f"row {at + 1}: expected at most {self._most} for {named:.200}, got {got}: send shorter rows, or serve "
                f"with --max-size {products[at]:.0f}",
            )
