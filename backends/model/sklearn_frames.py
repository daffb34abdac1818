"""scikit-learn estimators whose columns are of different kinds: which columns they take, what is in them, and how rows
become the data frame, the array or the list of texts that they are called with.

What is in a column is told by the fitted transformers that it goes through first: encoders know its categories,
vectorizers its words, imputers the datatype. A column of which nothing is known holds numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import isnan
from typing import Any

import numpy as np

from servefit.backends.model.packing import Packing
from servefit.backends.model.texts import TEXT, TEXT_SIZE
from servefit.backends.model.types import Input, Size

MAX_KNOWN = 256
"""Of the categories or words of a column, evenly spaced, for rows that are drawn. Chosen, not measured."""

_MAX_WORD = 60
"""In characters: longer ones are left out of what is drawn, which is kept with the model."""

_ONLY_TEXT = "text"
"""The name of the only input of a model that takes a list of texts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """What is known of a column before it is tried.

    ``categories`` are all that an encoder was fitted on, in its order, NaN and None among them; ``closed`` says that it
    refuses others. ``words`` are those of a vectorizer. ``imputed`` is what an imputer puts in the place of a missing
    text.
    """

    name: str
    is_text: bool = False
    categories: tuple[Any, ...] = ()
    closed: bool = False
    words: tuple[str, ...] = ()
    is_vectorized: bool = False
    imputed: str | None = None

    @property
    def is_whole(self) -> bool:
        """True if its categories are whole numbers: then it is taken to hold no others."""
        return bool(self.categories) and all(isinstance(each, int) for each in self.categories)

    @property
    def datatype(self) -> str:
        if self.is_text:
            return TEXT
        if not self.is_whole:
            return "float32"
        return next(
            (kind for kind in ("int16", "int32") if all(abs(each) <= np.iinfo(kind).max for each in self.categories)),
            "int64",
        )

    @property
    def missing(self) -> Any:
        """What a missing text is in a frame: None where the encoder was fitted on None, else NaN, as pandas has it."""
        return None if any(each is None for each in self.categories) else float("nan")

    def as_input(self) -> Input:
        """Return the column as an input of one value a row."""
        known: Sequence[Any] = self.words if self.is_vectorized else self.categories
        if self.is_text:
            kept: list[Any] = [each for each in known if isinstance(each, str) and len(each) <= _MAX_WORD]
        else:
            kept = [each if self.is_whole else float(each) for each in known if not isnan(each)]
        if len(kept) > MAX_KNOWN:
            kept = [kept[nth * len(kept) // MAX_KNOWN] for nth in range(MAX_KNOWN)]
        return Input(
            name=self.name,
            datatype=self.datatype,
            shape=(),
            start=0,
            stop=0,
            known=tuple(kept),
            joined=self.is_vectorized,
            takes_unknown=not self.closed,
        )


@dataclass(frozen=True)
class Frame:
    """The way of rows into an estimator of columns of different kinds. ``form`` is what it is called with: a "frame" of
    pandas, a "matrix" of Python objects, or a list of "texts"."""

    columns: tuple[Column, ...]
    form: str

    @cached_property
    def has_texts(self) -> bool:
        return any(column.is_text for column in self.columns)

    @cached_property
    def is_table(self) -> bool:
        """True if rows are a table of numbers, as those of other estimators are."""
        numbers = len(self.columns) == 1 or not any(column.categories for column in self.columns)
        return numbers and not self.has_texts

    @cached_property
    def signature_parts(self) -> dict[str, Any]:
        """What a signature says of the columns: features, inputs and sizes."""
        if self.is_table:
            return {"features": len(self.columns)}
        inputs = tuple(column.as_input() for column in self.columns)
        if not self.has_texts:
            placed = tuple(replace(one, start=nth, stop=nth + 1) for nth, one in enumerate(inputs))
            return {"features": len(placed), "inputs": placed, "integer_features": _whole(placed)}
        sizes = (Size(name=TEXT_SIZE, usual=0),)
        places = Packing(inputs, [TEXT_SIZE]).places({TEXT_SIZE: 0})
        placed = tuple(replace(one, start=at.start, stop=at.stop) for one, at in zip(inputs, places, strict=True))
        return {
            "features": places[-1].stop,
            "inputs": placed,
            "sizes": sizes,
            "integer_features": _whole(placed),
        }

    @cached_property
    def _packing(self) -> Packing:
        return Packing([column.as_input() for column in self.columns], [TEXT_SIZE] if self.has_texts else [])

    def __call__(self, rows: np.ndarray) -> Any:
        """Return what the estimator is called with for ``rows``, packed where some columns hold texts."""
        if not self.has_texts:
            return self._of_values([_numbers(rows[:, nth], column) for nth, column in enumerate(self.columns)])
        values = self._packing.unpack(rows, {TEXT_SIZE: 0})
        return self._of_values(
            [
                _with_missing(block, column) if column.is_text else _numbers(block, column)
                for column, block in zip(self.columns, values, strict=True)
            ]
        )

    def _of_values(self, values: Sequence[np.ndarray]) -> Any:
        if self.form == "texts":
            return values[0].tolist()
        if self.form == "matrix":
            return np.column_stack([block.astype(object) for block in values])
        import pandas as pd

        named = zip(self.columns, values, strict=True)
        return pd.DataFrame({column.name: pd.Series(block, dtype=block.dtype) for column, block in named})


def _whole(inputs: Sequence[Input]) -> tuple[int, ...]:
    return tuple(column for one in inputs if one.is_whole for column in range(one.start, one.stop))


def _numbers(values: np.ndarray, column: Column) -> np.ndarray:
    return values.astype(np.int64 if column.is_whole else np.float64)


def _with_missing(texts: np.ndarray, column: Column) -> np.ndarray:
    missing = column.missing
    if missing is not None:
        texts[[text is None for text in texts]] = missing
    return texts


def frame_of(estimator: Any) -> Frame | None:
    """Return how a fitted ``estimator`` is called whose columns are of different kinds, or are known by name alone;
    None for one that takes rows of numbers."""
    if _is_vectorizer(first := _first(estimator)):
        return Frame((_vectorized(_ONLY_TEXT, first),), "texts")
    transformers = getattr(first, "transformers_", None)
    names = [str(name) for name in getattr(estimator, "feature_names_in_", getattr(first, "feature_names_in_", ()))]
    count = getattr(first, "n_features_in_", 0)
    columns: dict[int, Column] = {}
    by_name = False
    if transformers is None:
        columns = {nth: _column(first, nth, _called(names, nth)) for nth in range(count if _is_encoder(first) else 0)}
    else:
        for _, transformer, chosen in transformers:
            by_name = by_name or _is_named(chosen)
            if isinstance(transformer, str) and transformer == "drop":
                continue
            for position, nth in enumerate(_positions(chosen, names, count)):
                found = _column(transformer, position, _called(names, nth))
                columns[nth] = found if nth not in columns else _merged(columns[nth], found)
    told = tuple(columns[nth] for nth in sorted(columns))
    if not any(column.is_text for column in told) and not by_name:
        return None
    return Frame(told, "frame" if names else "matrix")


def _first(estimator: Any) -> Any:
    """Return the first step that does something."""
    for _, step in getattr(estimator, "steps", ()):
        if step is not None and step != "passthrough":
            return _first(step)
    return estimator


def steps_of(transformer: Any) -> Iterator[Any]:
    """Yield the transformers that a column goes through, one after the other, or side by side."""
    for _, step in getattr(transformer, "steps", ()):
        yield from steps_of(step)
    for _, step in getattr(transformer, "transformer_list", ()):
        yield from steps_of(step)
    if not hasattr(transformer, "steps") and not hasattr(transformer, "transformer_list"):
        yield transformer


def _column(transformer: Any, position: int, name: str) -> Column:
    """Return what is known of the column that is the one at ``position`` of those that ``transformer`` takes. Encoders
    and imputers keep the number of columns, so it is at that position in each step up to the first of another kind."""
    column = Column(name=name)
    for step in steps_of(transformer):
        if _is_vectorizer(step):
            return _vectorized(name, step)
        if hasattr(step, "statistics_") and len(step.statistics_) > position:
            value = step.statistics_[position]
            if isinstance(value, str):
                column = replace(column, is_text=True, imputed=value)
        elif _is_encoder(step):
            categories = tuple(step.categories_[position].tolist())
            is_text = column.is_text or any(isinstance(each, str) for each in categories)
            closed = getattr(step, "handle_unknown", None) == "error"
            return replace(column, is_text=is_text, categories=categories, closed=closed)
        elif not isinstance(step, str):
            break
    return column


def _vectorized(name: str, vectorizer: Any) -> Column:
    words = tuple(sorted(map(str, getattr(vectorizer, "vocabulary_", ()))))
    return Column(name=name, is_text=True, words=words, is_vectorized=True)


def _merged(first: Column, second: Column) -> Column:
    """Return what is known of a column that goes two ways."""
    if not second.is_text and not second.categories:
        return first
    if not first.is_text and not first.categories:
        return second
    return replace(first, closed=first.closed or second.closed)


def _is_vectorizer(step: Any) -> bool:
    return callable(getattr(step, "build_analyzer", None)) and hasattr(step, "decode")


def _is_encoder(step: Any) -> bool:
    return hasattr(step, "categories_") and isinstance(step.categories_, list)


def _is_named(chosen: Any) -> bool:
    if isinstance(chosen, slice):
        return isinstance(chosen.start, str) or isinstance(chosen.stop, str)
    if isinstance(chosen, str):
        return True
    return any(isinstance(each, str) for each in np.asarray(chosen, dtype=object).reshape(-1).tolist())


def _positions(chosen: Any, names: Sequence[str], count: int) -> list[int]:
    """Return the numbers of the columns that a transformer takes, as scikit-learn writes them down."""
    if isinstance(chosen, slice):
        if not _is_named(chosen):
            return list(range(count))[chosen]
        first = 0 if chosen.start is None else names.index(chosen.start)
        last = count if chosen.stop is None else names.index(chosen.stop) + 1
        return list(range(first, last))
    listed = [chosen] if isinstance(chosen, str | int) else np.asarray(chosen, dtype=object).reshape(-1).tolist()
    if listed and all(isinstance(each, bool | np.bool_) for each in listed):
        return [nth for nth, is_taken in enumerate(listed) if is_taken]
    return [names.index(each) if isinstance(each, str) else int(each) % count for each in listed]


def _called(names: Sequence[str], nth: int) -> str:
    return names[nth] if names else f"x{nth}"


def is_missing(category: Any) -> bool:
    """Return whether a category is that of missing values."""
    return category is None or (isinstance(category, float) and isnan(category))
