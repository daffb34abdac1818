"""The way of rows into a pipeline: rows as predictors take them, as the columns that its first step takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from servefit.backends.model.texts import decoded
from servefit.backends.pipelines.native import kernel
from servefit.backends.pipelines.values import MISSING, MixedTable, Value

_END = b"\xff"
"""Of a text in a row: see ``model.texts``."""


@dataclass(frozen=True)
class RowSource:
    """Rows of which the columns [``start``, ``stop``) are numbers, and ``texts`` of which follow: their number, or None
    for a table of numbers. The column before ``start`` tells how many bytes the texts of a row take."""

    start: int
    stop: int
    texts: int | None = None

    def __call__(self, rows: np.ndarray) -> Value:
        numbers = rows[:, self.start : self.stop]
        if numbers.dtype != np.float64:
            numbers = numbers.astype(np.float64)
        return numbers if self.texts is None else MixedTable(numbers, self._columns(rows, self.texts))

    def _columns(self, rows: np.ndarray, count: int) -> list[list[bytes]]:
        native = kernel()
        if native is not None and rows.dtype == np.float64 and rows.flags.c_contiguous:
            columns: list[list[bytes]] | None = native.texts(rows, self.start - 1, self.stop, count)
            if columns is not None:
                return columns
        values = rows[:, self.stop :].astype(np.uint8)
        widths = rows[:, self.start - 1]
        if len(rows) == 1:
            parts = values[0, : int(widths[0])].tobytes().split(_END)
        else:
            parts = values[np.arange(values.shape[1]) < widths[:, np.newaxis]].tobytes().split(_END)
        parts.pop()
        if len(parts) != count * len(rows):
            parts = _filled(rows, self.start - 1, self.stop, count)
        return [parts[nth::count] for nth in range(count)]


def _filled(rows: np.ndarray, size: int, start: int, count: int) -> list[bytes]:
    """Return the texts of all rows, of which some have fewer: those that are not there are empty."""
    texts = [decoded(row[start : start + int(row[size])], count) for row in rows]
    return [MISSING if text is None else text.encode() for own in texts for text in own]
