"""The columns of a fitted scikit-learn estimator, and what is in them: told by the transformers that each goes through
first. Encoders know its categories, vectorizers its words, imputers the datatype. A column of which nothing is known
holds numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from importlib.util import find_spec
from math import isnan
from typing import Any

import numpy as np

from servefit.backends.model.booster_categories import Categories, categories_of, columns_of_texts, refuses_others
from servefit.backends.model.dates import takes_dates
from servefit.backends.model.sklearn_steps import (
    called,
    first_of,
    is_dropped,
    is_encoder,
    is_passed,
    is_sampler,
    is_vectorizer,
    joined_by,
    names_of,
    positions_of,
    selects_by_name,
    vectorizers_in,
)
from servefit.backends.model.texts import TEXT
from servefit.backends.model.types import Input
from servefit.errors import UnsupportedModel

MAX_KNOWN = 256
"""Of the categories or words of a column, evenly spaced, for rows that are drawn. Chosen, not measured."""

_MAX_WORD = 60
"""In characters: longer ones are left out of what is drawn, which is kept with the model."""

_ONLY_TEXT = "text"
"""The name of the only input of a model that takes a list of texts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """The facts of a column before it is tried.

    ``categories`` are all that an encoder was fitted on, in its order, NaN and None among them; ``closed`` says that it
    refuses others. ``words`` are those of a vectorizer. ``imputed`` is what an imputer puts in the place of a missing
    text, and ``imputes_none`` says that it takes None for a missing value, and not NaN. ``lowered`` says that all that
    it goes through make lower case of it first. ``is_category`` says that it is one of pandas' dtype category, and
    ``are_objects`` that it holds numbers or truths as objects, and ``is_date`` that it holds dates: texts, in a row.
    ``takes_digits`` says that a whole number in it is the text of its digits.
    """

    name: str
    position: int = 0
    is_text: bool = False
    categories: tuple[Any, ...] = ()
    closed: bool = False
    words: tuple[str, ...] = ()
    is_vectorized: bool = False
    imputed: str | None = None
    imputes_none: bool = False
    lowered: bool = False
    is_category: bool = False
    are_objects: bool = False
    is_date: bool = False
    takes_digits: bool = False

    @property
    def fits_float32(self) -> bool:
        """True if float32 holds all its categories exactly."""
        numbers = (
            category for category in self.categories if isinstance(category, int | float) and not isnan(category)
        )
        with np.errstate(over="ignore"):
            return all(float(np.float32(category)) == category for category in numbers)

    @property
    def is_whole(self) -> bool:
        """True if its categories are whole numbers: the column then counts as one of whole numbers."""
        return (
            bool(self.categories)
            and not self.are_objects
            and all(isinstance(category, int) for category in self.categories)
        )

    @property
    def datatype(self) -> str:
        if self.is_text:
            return TEXT
        if not self.is_whole or self.is_category:  # of which some may be missing
            return "float64"
        largest = max(map(abs, self.categories))
        return next((kind for kind in ("int16", "int32") if largest <= np.iinfo(kind).max), "int64")

    @property
    def missing(self) -> Any:
        """A missing value in a frame: None if the encoder was fitted on None or the imputer replaces None, else the NaN
        of pandas."""
        return None if self.imputes_none or any(category is None for category in self.categories) else float("nan")

    def as_input(self) -> Input:
        """Return the column as an input of one value a row."""
        values: Sequence[Any] = self.words if self.is_vectorized else self.categories
        if self.is_text:
            kept: list[Any] = [value for value in values if isinstance(value, str) and len(value) <= _MAX_WORD]
        else:
            numbers = [value for value in values if not is_missing(value)]
            kept = [float(value) for value in numbers] if self.datatype == "float64" else numbers
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
            is_date=self.is_date,
            takes_digits=self.takes_digits,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimatorColumns:
    """The columns of an estimator that its steps take, in its order, of the ``width`` that it has. ``is_list`` says
    that it takes one of texts as a list, ``has_names`` that it was fitted on columns with names."""

    columns: tuple[Column, ...]
    width: int = 1
    is_list: bool = False
    has_names: bool = False


def columns_of(estimator: Any) -> EstimatorColumns | None:
    """Return the columns of a fitted ``estimator`` if they differ in kind, or are selected by name; None for an
    estimator of rows of numbers."""
    if inner := joined_by(estimator):
        return _columns_of_all(estimator, list(map(columns_of, inner)))
    first = first_of(estimator)
    if getattr(first, "_preprocessor", None) is not None:
        first = first._preprocessor  # of histogram gradient boosting, for its categories
    if (categories := categories_of(first)) is not None:
        return _columns_of_booster(first, categories)
    if texts := columns_of_texts(first):
        return _columns_of_catboost(first, texts)
    if vectorizers := vectorizers_in(first):
        return EstimatorColumns(columns=(_vectorized(_ONLY_TEXT, vectorizers),), is_list=True)
    names, count = names_of(estimator), getattr(first, "n_features_in_", 0)
    if hasattr(first, "transformers_"):
        columns = _columns_of_transformers(estimator, first, names, count)
    else:
        columns = {nth: _column(estimator, nth, called(names, nth)) for nth in range(count)}
    in_order = tuple(replace(columns[nth], position=nth) for nth in sorted(columns))
    if not selects_by_name(first) and all(not column.is_text and column.fits_float32 for column in in_order):
        return None
    return EstimatorColumns(columns=in_order, width=count, has_names=bool(names))


def _columns_of_transformers(estimator: Any, first: Any, names: Sequence[str], count: int) -> dict[int, Column]:
    """Return the columns of an ``estimator`` whose ``first`` step is a ``ColumnTransformer``, by their positions."""
    columns: dict[int, Column] = {}
    for _, transformer, chosen in first.transformers_:
        if is_dropped(transformer):
            continue
        positions = positions_of(chosen, names, count)
        here = [_column(transformer, position, called(names, nth)) for position, nth in enumerate(positions)]
        for nth, column in zip(positions, _as_dates(transformer, chosen, here, names), strict=True):
            columns[nth] = column if nth not in columns else _merged(columns[nth], column)
    for nth, behind in _passed_on(estimator, first, names, count):
        columns[nth] = _merged(replace(behind, name=columns[nth].name), columns[nth])
    return columns


def _columns_of_catboost(estimator: Any, texts: frozenset[int]) -> EstimatorColumns:
    """Return the columns of an estimator of CatBoost, of which those at ``texts`` hold categories. CatBoost keeps
    hashes of these alone, and takes a whole number for its digits."""
    names = [str(name) for name in estimator.feature_names_]
    columns = tuple(
        Column(name=name, position=nth, is_text=nth in texts, takes_digits=nth in texts)
        for nth, name in enumerate(names)
    )
    return EstimatorColumns(columns=columns, width=len(columns), has_names=True)


def _passed_on(estimator: Any, first: Any, names: Sequence[str], count: int) -> Iterator[tuple[int, Column]]:
    """Yield the positions of the columns that the ``ColumnTransformer`` that is ``first`` passes on as they are to the
    last step, and what this one tells of them: as data frames, which have its categories."""
    steps = [step for _, step in getattr(estimator, "steps", ()) if not is_passed(step) and not is_sampler(step)]
    if len(steps) != 2 or steps[0] is not first or (behind := columns_of(steps[1])) is None:
        return
    by_position = {column.position: column for column in behind.columns}
    for name, transformer, chosen in first.transformers_:
        if is_passed(transformer):
            begin = first.output_indices_[name].start
            for nth, position in enumerate(positions_of(chosen, names, count)):
                yield position, by_position.get(begin + nth, Column(name=""))


def _as_dates(transformer: Any, chosen: Any, columns: list[Column], names: Sequence[str]) -> list[Column]:
    """Return ``columns`` as those of dates, where nothing is known of them and ``transformer`` is one of dates."""
    nothing_known = all(column == Column(name=column.name) for column in columns)
    if not names or not columns or not nothing_known or isinstance(transformer, str) or find_spec("pandas") is None:
        return columns
    if not takes_dates(transformer, [column.name for column in columns], as_series=isinstance(chosen, str)):
        return columns
    return [replace(column, is_text=True, is_date=True) for column in columns]


def _columns_of_booster(estimator: Any, categories: Categories) -> EstimatorColumns:
    """Return the columns of an estimator of XGBoost or LightGBM that takes these ``categories`` as pandas has them."""
    names, closed = names_of(estimator), refuses_others(estimator)
    columns = []
    for nth, values in enumerate(categories):
        column = Column(name=called(names, nth), position=nth)
        if values is not None:
            own = _categories(np.array(values, dtype=object), column.name)
            is_text = isinstance(own[0], str)
            column = replace(column, is_text=is_text, categories=own, closed=closed, is_category=True)
        columns.append(column)
    return EstimatorColumns(columns=tuple(columns), width=len(columns), has_names=True)


def _columns_of_all(estimator: Any, inner: list[EstimatorColumns | None]) -> EstimatorColumns | None:
    """Return the columns of an estimator that asks others, whose columns are ``inner``."""
    of_columns = [columns for columns in inner if columns is not None]
    if not of_columns:
        return None
    merged: dict[int, Column] = {}
    for column in (column for columns in of_columns for column in columns.columns):
        nth = column.position
        merged[nth] = column if nth not in merged else _merged(merged[nth], column)
    width = of_columns[0].width
    if len(of_columns) < len(inner):  # some take all columns, as numbers
        names = names_of(estimator)
        merged = {nth: Column(name=called(names, nth), position=nth) for nth in range(width)} | merged
    return replace(of_columns[0], columns=tuple(merged[nth] for nth in sorted(merged)))


def _column(transformer: Any, position: int, name: str) -> Column:
    """Return the column at ``position`` among those of ``transformer``."""
    return _looked_through(transformer, position, Column(name=name))[0]


def _looked_through(step: Any, position: int, column: Column) -> tuple[Column, bool]:
    """Return ``column``, which is at ``position`` among those of ``step``, with what this tells of it, and whether the
    step after it has it at the same position: encoders end that, and imputers do not."""
    if hasattr(step, "steps"):
        for _, inner in step.steps:
            column, goes_on = _looked_through(inner, position, column)
            if not goes_on:
                return column, False
        return column, True
    sides = _sides_of(step, position)
    if sides is not None:
        ways = [_looked_through(side, at, column)[0] for side, at in sides]
        return (reduce(_merged, ways) if ways else column), False
    if is_vectorizer(step):
        return _vectorized(column.name, [step]), False
    if hasattr(step, "statistics_") and len(step.statistics_) > position:
        return replace(column, **_imputing(step, step.statistics_[position])), True
    if is_encoder(step):
        categories = _categories(step.categories_[position], column.name)
        is_text = column.is_text or any(isinstance(category, str) for category in categories)
        closed = getattr(step, "handle_unknown", None) == "error"
        are_objects = column.are_objects or step.categories_[position].dtype == object
        column = replace(column, is_text=is_text, are_objects=are_objects and not is_text)
        return replace(column, categories=categories, closed=closed), False
    return column, step is None or isinstance(step, str)


def _sides_of(step: Any, position: int) -> list[tuple[Any, int]] | None:
    """Return the transformers side by side in ``step`` that the column at ``position`` goes through, with its position
    in each; None for a step that is no union of others."""
    if hasattr(step, "transformer_list"):
        return [(side, position) for _, side in step.transformer_list if not is_dropped(side)]
    if not hasattr(step, "transformers_"):
        return None
    names, count = names_of(step), step.n_features_in_
    taken = [
        (side, positions_of(chosen, names, count)) for _, side, chosen in step.transformers_ if not is_dropped(side)
    ]
    return [(side, positions.index(position)) for side, positions in taken if position in positions]


def _imputing(imputer: Any, value: Any) -> dict[str, Any]:
    """Return what is known of a column in which ``imputer`` replaces missing values by ``value``."""
    is_text = isinstance(value, str)
    if not is_text and imputer.statistics_.dtype != object:
        return {}
    kind = {"is_text": is_text, "are_objects": not is_text}
    if not is_missing(imputer.missing_values):
        return kind  # it replaces a text, such as "?"
    return {**kind, "imputed": value if is_text else None, "imputes_none": imputer.missing_values is None}


def _categories(values: np.ndarray, name: str) -> tuple[Any, ...]:
    categories = tuple(values.tolist())
    odd = next(
        (category for category in categories if category is not None and not isinstance(category, str | int | float)),
        None,
    )
    if None in categories and any(category != category for category in categories):
        raise UnsupportedModel(
            f"the categories of the column {name!r:.60} are missing in two ways, None and NaN, and rows have one",
            remedy="replace one by the other before the pipeline is fitted",
        )
    if odd is None and values.dtype.kind not in "mM":
        return categories
    kind = "dates or times" if odd is None else type(odd).__name__
    raise UnsupportedModel(
        f"the categories of the column {name!r:.60} are neither texts nor numbers, but {kind}",
        remedy="make texts of them before the pipeline is fitted, and in each request",
    )


def _vectorized(name: str, vectorizers: Sequence[Any]) -> Column:
    words = tuple(sorted({str(word) for vectorizer in vectorizers for word in getattr(vectorizer, "vocabulary_", ())}))
    lowered = all(vectorizer.lowercase and vectorizer.preprocessor is None for vectorizer in vectorizers)
    return Column(name=name, is_text=True, words=words, is_vectorized=True, lowered=lowered)


def _merged(first: Column, second: Column) -> Column:
    """Return what is known of a column that goes two ways."""
    lowered = first.lowered and second.lowered
    if first.is_vectorized and second.is_vectorized:
        return replace(first, words=tuple(sorted({*first.words, *second.words})), lowered=lowered)
    if not second.is_text and not second.categories:
        return replace(first, lowered=lowered)
    if not first.is_text and not first.categories:
        return replace(second, lowered=lowered)
    return replace(first, closed=first.closed or second.closed, lowered=lowered)


def is_missing(category: Any) -> bool:
    """Return whether a category is that of missing values."""
    return category is None or (isinstance(category, float) and isnan(category))
