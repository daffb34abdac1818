"""Words and letters of texts, counted and weighed as scikit-learn's vectorizers do it. Only those that are known are
kept, as a ``Sparse``."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from servefit.backends.pipelines.values import BACKEND, MISSING, Sparse, Value, dense, parts_of, texts_of
from servefit.errors import RowsRefused

if TYPE_CHECKING:
    from servefit.backends.pipelines.categories import ColumnAt

_WHITE = re.compile(r"\s\s+")
"""Scikit-learn makes one space of these."""


_PATTERNS = (r"(?u)\b\w\w+\b", r"(?u)\b\w+\b")
_BETWEEN, _NEXT_TEXT = b"\0", -2


@dataclass(frozen=True)
class Terms:
    """The terms of a text: words that ``pattern`` finds, or letters, each alone and with those beside it, from
    ``shortest`` to ``longest``. ``kind`` is scikit-learn's "word", "char" or "char_wb"."""

    kind: str
    pattern: str
    shortest: int
    longest: int
    lowercase: bool
    accents: str | None
    stop_words: frozenset[str]

    @property
    def are_words(self) -> bool:
        """True if they are words alone, as scikit-learn finds them by default, or with those of one letter."""
        return self.kind == "word" and self.longest == 1 and self.pattern in _PATTERNS

    def finder(self) -> Callable[[str], Sequence[str]]:
        """Return the function that finds the terms of a text."""
        find = re.compile(self.pattern).findall if self.kind == "word" else self._letters
        if self.kind == "word" and not self.stop_words and self.longest == 1:
            words = find
        elif self.kind == "word":

            def words(text: str) -> list[str]:
                return self._of_words([word for word in find(text) if word not in self.stop_words])
        else:
            words = self._letters
        prepared = self.prepared()
        return words if prepared is None else lambda text: words(prepared(text))

    def prepared(self) -> Callable[[str], str] | None:
        """Return the function that prepares a text; None where nothing does."""
        strip = {None: None, "unicode": _without_accents, "ascii": _in_ascii}[self.accents]
        if strip is None:
            return str.lower if self.lowercase else None
        return (lambda text: strip(text.lower())) if self.lowercase else strip

    def _of_words(self, words: list[str]) -> list[str]:
        if self.longest == 1:
            return words
        terms = list(words) if self.shortest == 1 else []
        for length in range(max(self.shortest, 2), min(self.longest, len(words)) + 1):
            terms += [" ".join(words[begin : begin + length]) for begin in range(len(words) - length + 1)]
        return terms

    def _letters(self, text: str) -> list[str]:
        text = _WHITE.sub(" ", text)
        if self.kind == "char":
            return [
                text[begin : begin + length]
                for length in range(self.shortest, min(self.longest, len(text)) + 1)
                for begin in range(len(text) - length + 1)
            ]
        return [term for word in text.split() for term in self._within(f" {word} ")]

    def _within(self, word: str) -> Iterator[str]:
        for length in range(self.shortest, self.longest + 1):
            yield word[:length]
            if len(word) <= length:
                return  # a short word counts once
            for begin in range(1, len(word) - length + 1):
                yield word[begin : begin + length]


def _without_accents(text: str) -> str:
    if text.isascii():
        return text
    return "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))


def _in_ascii(text: str) -> str:
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")


@dataclass(frozen=True)
class Weights:
    """Weighs counts: gives their logarithm and 1, times the weight of the term, as a share of the text's norm. ``norm``
    is "l1", "l2" or "" for none."""

    logarithm: bool = False
    weights: np.ndarray | None = None
    norm: str = ""

    def __call__(self, value: Value) -> Value:
        parts = parts_of(value)  # type: ignore[arg-type]
        if len(parts) == 1 and isinstance(parts[0], Sparse):
            return self.weighed(parts[0])
        numbers = dense(value)
        rows, columns = np.nonzero(numbers)
        return self.weighed(Sparse(len(numbers), numbers.shape[1], rows, columns, numbers[rows, columns]))

    def weighed(self, counts: Sparse) -> Sparse:
        values = np.ones(len(counts.rows)) if counts.values is None else counts.values
        if self.logarithm:
            values = np.log(values) + 1.0
        if self.weights is not None:
            values = values * self.weights[counts.columns]
        if self.norm:
            sizes = np.bincount(counts.rows, np.abs(values) if self.norm == "l1" else values * values, counts.count)
            sizes = sizes if self.norm == "l1" else np.sqrt(sizes)
            values = values / sizes[counts.rows]
        return replace(counts, values=values)


@dataclass(frozen=True)
class Counted:
    """Counts the known terms of the texts at ``place``; ``vocabulary`` has their columns. ``once`` counts a term that
    occurs as 1."""

    place: ColumnAt
    terms: Terms
    vocabulary: dict[str, int]
    width: int
    once: bool
    weights: Weights | None = None
    _found: list[Callable[[str], Sequence[str]]] = field(default_factory=list, compare=False)

    def __call__(self, value: Value) -> Sparse:
        texts = texts_of(value)[self.place.nth]
        if MISSING in texts:
            raise RowsRefused(BACKEND, "a text is missing, of which the words are asked for")
        counted = self._together(texts) if len(texts) > 1 and self.terms.are_words else None
        counted = self._one_by_one(texts) if counted is None else counted
        if self.once:
            counted = replace(counted, values=None)
        return counted if self.weights is None else self.weights.weighed(counted)

    def _together(self, texts: list[bytes]) -> Sparse | None:
        """Count words in all texts at once, with a letter between them that is part of no word; None where a text has
        that letter."""
        joined = _BETWEEN.join(texts)
        if joined.count(_BETWEEN) != len(texts) - 1:
            return None
        prepare, find = self.terms.prepared(), re.compile(f"{self.terms.pattern}|\0").findall
        text = joined.decode()
        words = find(text if prepare is None else prepare(text))
        column_of = self.vocabulary.get
        columns = np.array([column_of(word, _NEXT_TEXT if word == "\0" else -1) for word in words], dtype=np.int64)
        keys, counts = np.unique(
            (np.cumsum(columns == _NEXT_TEXT) * self.width + columns)[columns >= 0], return_counts=True
        )
        return Sparse(len(texts), self.width, *np.divmod(keys, self.width), counts.astype(np.float64))

    def _one_by_one(self, texts: list[bytes]) -> Sparse:
        if not self._found:
            self._found.append(self.terms.finder())
        find, column_of = self._found[0], self.vocabulary.get
        rows: list[int] = []
        columns: list[int] = []
        values: list[int] = []
        for row, text in enumerate(texts):
            counts: dict[int, int] = {}
            for term in find(text.decode()):
                column = column_of(term)
                if column is not None:
                    counts[column] = counts.get(column, 0) + 1
            ordered = sorted(counts)  # scikit-learn adds them up in this order
            rows += [row] * len(ordered)
            columns += ordered
            values += map(counts.__getitem__, ordered)
        return Sparse(
            len(texts),
            self.width,
            np.array(rows, dtype=np.int64),
            np.array(columns, dtype=np.int64),
            np.array(values, dtype=np.float64),
        )

    def __reduce__(self) -> tuple[object, ...]:
        return Counted, (self.place, self.terms, self.vocabulary, self.width, self.once, self.weights)
