"""The columns of a fitted scikit-learn estimator, and what is in them: told by the transformers that each goes through
first. Encoders know its categories, vectorizers its words, imputers the datatype. A column of which nothing is known
holds numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import isnan
from typing import Any

import numpy as np

from servefit.backends.model.texts import TEXT
from servefit.backends.model.types import Input

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


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimatorColumns:
    """The columns of an estimator, in its order. ``is_list`` says that it takes one of texts as a list, ``has_names``
    that it was fitted on columns with names."""

    columns: tuple[Column, ...]
    is_list: bool = False
    has_names: bool = False


def columns_of(estimator: Any) -> EstimatorColumns | None:
    """Return the columns of a fitted ``estimator`` where they are of different kinds, or are known by name alone; None
    for one that takes rows of numbers."""
    if _is_vectorizer(first := _first(estimator)):
        return EstimatorColumns(columns=(_vectorized(_ONLY_TEXT, first),), is_list=True)
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
    return EstimatorColumns(columns=told, has_names=bool(names))


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
