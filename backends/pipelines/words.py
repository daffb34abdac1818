"""The terms of texts, words and letters, as scikit-learn's vectorizers find and weigh them. ``counting`` counts those
that are known."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from servefit.backends.pipelines.values import Sparse, Value, dense, parts_of

_WHITE = re.compile(r"\s\s+")
"""Scikit-learn makes one space of these."""


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
            sizes[sizes == 0] = 1.0  # all are 0
            values = values / sizes[counts.rows]
        return replace(counts, values=values)
