"""Counts the terms of texts that a vocabulary has, or all of them by their hash: by the kernel ``_kernel``, and where
that one cannot, in Python.

The kernel knows no letter by itself. It learns what Python makes of each when it first meets it (lower case, accents,
and whether it is part of a word), so that both agree on every alphabet.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from servefit.backends.pipelines.native import kernel
from servefit.backends.pipelines.values import BACKEND, MISSING, Sparse, Value, texts_of
from servefit.errors import RowsRefused

if TYPE_CHECKING:
    from servefit.backends.pipelines._kernel import TermCounter
    from servefit.backends.pipelines.categories import ColumnAt
    from servefit.backends.pipelines.words import Terms, Weights

_RUNS_OF_LETTERS = re.compile(r"(?:\(\?u\))?\\b((?:\\w)*)\\w\+\\b")
"""The patterns of words that the kernel finds: scikit-learn's own has two letters at least."""
_BY_CONTEXT = "\u03a3"
"""A capital sigma: in lower case it is another letter at the end of a word."""
_MAX_LEARNED = 20_000
"""Letters: more than a language has; Unicode has ten times as many. Chosen."""


@dataclass(frozen=True)
class Counted:
    """Counts the terms of the texts at ``place``: ``vocabulary`` has their columns; without it they are hashed into
    ``width`` columns, ``alternating`` up and down. ``once`` counts a term that occurs as 1."""

    place: ColumnAt
    terms: Terms
    vocabulary: dict[str, int] | None
    width: int
    once: bool
    weights: Weights | None = None
    alternating: bool = False
    _counter: list[_Counter] = field(default_factory=list, compare=False)

    def __call__(self, value: Value) -> Sparse:
        texts = texts_of(value)[self.place.nth]
        if MISSING in texts:
            raise RowsRefused(BACKEND, "a text is missing, of which the words are asked for")
        if not self._counter:
            self._counter.append(_Counter(self))
        counted = self._counter[0].count(texts)
        if self.once:
            counted = replace(counted, values=None)
        return counted if self.weights is None else self.weights.weighed(counted)

    def __reduce__(self) -> tuple[object, ...]:
        own = self.place, self.terms, self.vocabulary, self.width, self.once, self.weights, self.alternating
        return Counted, own


class _Counter:
    """Counts the terms that ``counted`` says; not kept in artifacts."""

    def __init__(self, counted: Counted) -> None:
        self._width = counted.width
        self._terms = counted.terms
        self._find = counted.terms.finder()
        self._column_of = _column_of(counted)
        self._learned: set[str] = set()
        self._native = _native_counter(counted)
        if self._native is not None:
            self._learn(self._native, map(chr, range(128)))

    def count(self, texts: list[bytes]) -> Sparse:
        if self._native is None:
            return self._in_python(range(len(texts)), texts)
        *entries, unread = self._native.count(texts)
        counted = [self._sparse(len(texts), *entries)]
        if unread and self._learn(self._native, set("".join(texts[row].decode() for row in unread)) - self._learned):
            *entries, still = self._native.count([texts[row] for row in unread])
            own = self._sparse(len(texts), *entries)
            counted.append(replace(own, rows=np.array(unread)[own.rows]))
            unread = [unread[nth] for nth in still]
        if unread:
            counted.append(self._in_python(unread, texts))
        return counted[0] if len(counted) == 1 else _joined(counted)

    def _sparse(self, count: int, rows: bytes, columns: bytes, values: bytes) -> Sparse:
        whole = np.int64
        return Sparse(
            count, self._width, np.frombuffer(rows, whole), np.frombuffer(columns, whole), np.frombuffer(values)
        )

    def _learn(self, counter: TermCounter, letters: Iterable[str]) -> bool:
        """Teach the kernel ``letters``; return whether it learned any."""
        prepared, before = self._terms.prepared(), len(self._learned)
        for letter in letters:
            if len(self._learned) >= _MAX_LEARNED:
                break
            becomes = letter if prepared is None else prepared(letter)
            content = becomes.encode()
            if len(becomes) > kernel().MAX_LETTERS or len(content) > kernel().MAX_BYTES:
                continue
            if letter == _BY_CONTEXT and self._terms.lowercase:
                continue
            self._learned.add(letter)
            counter.learn(ord(letter), content, bytes(map(_kind, becomes)))
        return len(self._learned) > before

    def _in_python(self, which: Sequence[int], texts: list[bytes]) -> Sparse:
        rows: list[int] = []
        columns: list[int] = []
        values: list[int] = []
        for row in which:
            counts: dict[int, int] = {}
            for term in self._find(texts[row].decode()):
                column, step = self._column_of(term)
                if step:
                    counts[column] = counts.get(column, 0) + step
            ordered = sorted(counts)  # scikit-learn adds them up in this order
            rows += [row] * len(ordered)
            columns += ordered
            values += map(counts.__getitem__, ordered)
        return Sparse(
            len(texts),
            self._width,
            np.array(rows, dtype=np.int64),
            np.array(columns, dtype=np.int64),
            np.array(values, dtype=np.float64),
        )


def _native_counter(counted: Counted) -> TermCounter | None:
    """Return the kernel for ``counted``; None where it was not built, or does not find such words."""
    terms = counted.terms
    runs = _RUNS_OF_LETTERS.fullmatch(terms.pattern) if terms.kind == "word" else None
    if kernel() is None or (terms.kind == "word" and runs is None):
        return None
    counter: TermCounter = kernel().TermCounter(
        unit=terms.kind,
        least_letters=0 if runs is None else len(runs[1]) // 2 + 1,
        shortest=terms.shortest,
        longest=terms.longest,
        width=counted.width,
        vocabulary=counted.vocabulary,
        alternating=counted.alternating,
        left_out=tuple(terms.stop_words),
    )
    return counter


def _column_of(counted: Counted) -> Callable[[str], tuple[int, int]]:
    """Return the function that gives the column of a term and what it counts, which is 0 for one that is not known."""
    if counted.vocabulary is not None:
        vocabulary = counted.vocabulary
        return lambda term: (vocabulary[term], 1) if term in vocabulary else (0, 0)
    murmur = kernel().murmur
    width, alternating = counted.width, counted.alternating

    def column_of(term: str) -> tuple[int, int]:
        number = murmur(term.encode())
        # Of the smallest number of 32 bits there is no absolute one: scikit-learn's rule.
        size = 2**31 - 1 - (width - 1) if number == -(2**31) else abs(number)
        return size % width, -1 if alternating and number < 0 else 1

    return column_of


def _kind(letter: str) -> int:
    """Return the kind of a letter as Python's regular expressions see it."""
    if letter.isspace():
        kind: int = kernel().WHITE
    else:
        kind = kernel().PART_OF_WORD if letter.isalnum() or letter == "_" else kernel().OTHER
    return kind


def _joined(parts: list[Sparse]) -> Sparse:
    rows, columns = (np.concatenate([getattr(part, name) for part in parts]) for name in ("rows", "columns"))
    values = np.concatenate([np.ones(0) if part.values is None else part.values for part in parts])
    return replace(parts[0], rows=rows, columns=columns, values=values)
