"""Encoders of categories. What an encoder makes of each category is asked of the encoder itself, once, and looked up
from then on: so its options (categories that are rare, dropped or unknown, missing values) need not be known here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from servefit.backends.pipelines.values import BACKEND, MISSING, MixedTable, Sparse, Value, dense, texts_of
from servefit.errors import RowsRefused

NUMBER, TEXT = "number", "text"

NO_COLUMN = -1
"""The column of a category for which none is 1."""


@dataclass(frozen=True)
class ColumnAt:
    """The place of a column in a table: its kind, and its number among those of that kind. ``is_whole`` says that it
    holds whole numbers where all values of a call are, as in a frame of pandas. ``missing`` stands for a missing
    text."""

    kind: str
    nth: int
    is_whole: bool = False
    missing: Any = float("nan")


class Codes(dict[Any, Any]):
    """The code of each category, text as UTF-8 or number, and that of all others; None refuses these."""

    def __init__(self, codes: Mapping[Any, Any], unknown: Any, column: str) -> None:
        super().__init__(codes)
        self.unknown, self.column = unknown, column

    def __missing__(self, category: Any) -> Any:
        if self.unknown is None:
            raise RowsRefused(BACKEND, f"{_told(category)} is none of the categories of {self.column!r:.60}")
        return self.unknown

    def __reduce__(self) -> tuple[Any, ...]:
        return Codes, (dict(self), self.unknown, self.column)


def _told(category: Any) -> str:
    if category == MISSING:
        return "a missing value"
    return repr(category.decode(errors="replace"))[:60] if isinstance(category, bytes) else f"{category:g}"


def columns_of(value: Value, places: Sequence[ColumnAt]) -> Iterator[list[Any]]:
    """Yield the columns at ``places``, as bytes or as floats; a missing number is ``MISSING``."""
    numbers = dense(value)
    for place in places:
        if place.kind == TEXT:
            yield texts_of(value)[place.nth]
        else:
            column = numbers[:, place.nth].tolist()
            # A number that is missing is not equal to itself.
            yield (
                column
                if all(entry == entry for entry in column)
                else [entry if entry == entry else MISSING for entry in column]
            )


@dataclass(frozen=True)
class OneHot:
    """One column of ``width`` for each category, which is 1 in its rows: ``codes`` are the columns."""

    places: tuple[ColumnAt, ...]
    codes: tuple[Codes, ...]
    width: int

    def __call__(self, value: Value) -> Sparse:
        count = len(dense(value))
        if count == 1:
            result = [
                codes[column[0]] for codes, column in zip(self.codes, columns_of(value, self.places), strict=True)
            ]
            columns = np.array([entry for entry in result if entry != NO_COLUMN], dtype=np.int64)
            return Sparse(1, self.width, np.zeros(len(columns), dtype=np.int64), columns)
        blocks = [
            list(map(codes.__getitem__, column))
            for codes, column in zip(self.codes, columns_of(value, self.places), strict=True)
        ]
        columns = np.array(blocks, dtype=np.int64)
        which, rows = np.nonzero(columns != NO_COLUMN)
        return Sparse(count, self.width, rows, columns[which, rows])


@dataclass(frozen=True)
class Encoded:
    """``each`` numbers for each category of each column."""

    places: tuple[ColumnAt, ...]
    codes: tuple[Codes, ...]
    tables: tuple[np.ndarray, ...]

    def __call__(self, value: Value) -> np.ndarray:
        return np.concatenate(
            [
                table[list(map(codes.__getitem__, column))]
                for codes, column, table in zip(self.codes, columns_of(value, self.places), self.tables, strict=True)
            ],
            axis=1,
        )


@dataclass(frozen=True)
class Filled:
    """Puts ``instead`` in the place of the texts that are ``old``, column by column."""

    columns: tuple[int, ...]
    instead: tuple[bytes, ...]
    old: bytes

    def __call__(self, value: Value) -> MixedTable:
        filled = []
        for nth, instead in zip(self.columns, self.instead, strict=True):
            texts = texts_of(value)[nth]
            filled.append([instead if text == self.old else text for text in texts] if self.old in texts else texts)
        return MixedTable(dense(value)[:, :0], filled)
