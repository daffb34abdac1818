"""Encoders of categories. What an encoder makes of each category is asked of the encoder itself, once, and looked up
from then on: so its options (categories that are rare, dropped or unknown, missing values) need not be known here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from servefit.backends.pipelines.native import kernel
from servefit.backends.pipelines.values import BACKEND, MISSING, MixedTable, Sparse, Value, dense, texts_of
from servefit.errors import RowsRefused

NUMBER, TEXT = "number", "text"

NO_COLUMN = -1
"""The column of a category for which none is 1."""


@dataclass(frozen=True)
class ColumnAt:
    """The place of a column in a table: its kind, and its number among those of that kind. ``is_whole`` says that it
    holds whole numbers where all values of a call are, as in a frame of pandas; ``is_date`` that its texts are dates.
    ``missing`` stands for a missing value."""

    kind: str
    nth: int
    is_whole: bool = False
    missing: Any = float("nan")
    is_date: bool = False


class Codes(dict[Any, Any]):
    """The code of each category, text as UTF-8 or number, and that of all others; None refuses these. Of many rows they
    are looked up together."""

    def __init__(self, codes: Mapping[Any, Any], unknown: Any, column: str) -> None:
        super().__init__(codes)
        self.unknown, self.column = unknown, column
        self._of_texts: tuple[Any, np.ndarray] | None = None
        self._of_numbers: tuple[np.ndarray, np.ndarray] | None = None

    def __missing__(self, category: Any) -> Any:
        if self.unknown is None:
            raise RowsRefused(BACKEND, f"{_told(category)} is none of the categories of {self.column!r:.60}")
        return self.unknown

    def of_texts(self, texts: list[bytes]) -> np.ndarray:
        """Return the codes of ``texts``, (rows,) int64. Raises RowsRefused."""
        if self._of_texts is None:
            self._of_texts = self._texts_and_codes()
        categories, codes = self._of_texts
        if categories is None:
            return np.array(list(map(self.__getitem__, texts)), dtype=np.int64)
        places = np.frombuffer(categories.look_up(texts), dtype=np.int64)
        if self.unknown is None and (places < 0).any():
            self[texts[int(np.argmax(places < 0))]]
        return codes[places]

    def of_numbers(self, numbers: np.ndarray) -> np.ndarray:
        """Return the codes of ``numbers``, (rows,) int64. Raises RowsRefused."""
        if self._of_numbers is None:
            self._of_numbers = self._numbers_and_codes()
        categories, codes = self._of_numbers
        places = np.searchsorted(categories, numbers)  # the last of them is not a number, and equal to none
        places[categories.take(places, mode="clip") != numbers] = -1
        if MISSING in self:
            places[np.isnan(numbers)] = -2
        if self.unknown is None and (places == -1).any():
            number = float(numbers[int(np.argmax(places == -1))])
            self[number if number == number else MISSING]
        return codes[places]

    def _texts_and_codes(self) -> tuple[Any, np.ndarray]:
        """Return the table of the kernel, and codes by the places in it; the last is that of all other texts."""
        texts = [category for category in self if isinstance(category, bytes)]
        codes = np.array([*(self[text] for text in texts), self.unknown or 0], dtype=np.int64)
        return None if kernel() is None else kernel().CategoryTable(texts), codes

    def _numbers_and_codes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers, in ascending order and with NaN behind them, and their codes; those of missing numbers
        and of all others are the last two."""
        numbers = sorted(category for category in self if not isinstance(category, bytes))
        codes = [*(self[number] for number in numbers), self.get(MISSING, 0), self.unknown or 0]
        return np.array([*numbers, np.nan], dtype=np.float64), np.array(codes, dtype=np.int64)

    def __reduce__(self) -> tuple[Any, ...]:
        return Codes, (dict(self), self.unknown, self.column)


def _told(category: Any) -> str:
    if category == MISSING:
        return "a missing value"
    return repr(category.decode(errors="replace"))[:60] if isinstance(category, bytes) else f"{category:g}"


def codes_of(value: Value, places: Sequence[ColumnAt], codes: Sequence[Codes]) -> list[np.ndarray]:
    """Return the codes of the columns at ``places``, (rows,) each. Raises RowsRefused."""
    numbers = dense(value)
    if len(numbers) == 1:
        return [
            np.array([own[_only(value, numbers, place)]], dtype=np.int64)
            for own, place in zip(codes, places, strict=True)
        ]
    return [
        own.of_texts(texts_of(value)[place.nth]) if place.kind == TEXT else own.of_numbers(numbers[:, place.nth])
        for own, place in zip(codes, places, strict=True)
    ]


def _only(value: Value, numbers: np.ndarray, place: ColumnAt) -> Any:
    """Return what the only row has at ``place``; a missing number is ``MISSING``."""
    if place.kind == TEXT:
        return texts_of(value)[place.nth][0]
    number = float(numbers[0, place.nth])
    return number if number == number else MISSING  # one that is missing is not equal to itself


@dataclass(frozen=True)
class OneHot:
    """One column of ``width`` for each category, which is 1 in its rows: ``codes`` are the columns."""

    places: tuple[ColumnAt, ...]
    codes: tuple[Codes, ...]
    width: int

    def __call__(self, value: Value) -> Sparse:
        numbers = dense(value)
        if len(numbers) == 1:
            of_row = [own[_only(value, numbers, place)] for own, place in zip(self.codes, self.places, strict=True)]
            columns = np.array([column for column in of_row if column != NO_COLUMN], dtype=np.int64)
            return Sparse(1, self.width, np.zeros(len(columns), dtype=np.int64), columns)
        columns = np.stack(codes_of(value, self.places, self.codes))
        which, rows = np.nonzero(columns != NO_COLUMN)
        return Sparse(len(numbers), self.width, rows, columns[which, rows])


@dataclass(frozen=True)
class Encoded:
    """The numbers of each category, of ``tables`` (codes, numbers), for each column."""

    places: tuple[ColumnAt, ...]
    codes: tuple[Codes, ...]
    tables: tuple[np.ndarray, ...]

    def __call__(self, value: Value) -> np.ndarray:
        return np.concatenate(
            [table[own] for own, table in zip(codes_of(value, self.places, self.codes), self.tables, strict=True)],
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
