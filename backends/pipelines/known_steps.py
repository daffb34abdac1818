"""The transformers that are computed here: what each has been fitted to, read from the attributes that scikit-learn
documents. What is read is tried before it is used, so an attribute that is not there, or means something else in
another version, leaves the step in scikit-learn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import isnan
from typing import Any

import numpy as np

from servefit.backends.pipelines.branches import Chain
from servefit.backends.pipelines.categories import NO_COLUMN, NUMBER, TEXT, Codes, ColumnAt, Encoded, Filled, OneHot
from servefit.backends.pipelines.counting import Counted
from servefit.backends.pipelines.native import kernel
from servefit.backends.pipelines.numbers import (
    Binned,
    BinsTold,
    Elementwise,
    Imputed,
    Indicated,
    Normalised,
    Powers,
    PowersOfPositive,
    Products,
    Projected,
    Quantiles,
    Selected,
    Splines,
    elementwise,
)
from servefit.backends.pipelines.values import MISSING, PipelineStep
from servefit.backends.pipelines.words import Terms, Weights

Places = tuple[ColumnAt, ...] | None
"""The places of the columns that a step is output; None for numbers alone."""


class Unread(Exception):
    """A step has an option that is not known here."""


def known_step(step: Any, places: Places) -> PipelineStep | None:
    """Return ``step`` as it is computed here, or None where it is not known."""
    kind = type(step)
    if hasattr(step, "get_support") and kind.__module__.startswith("sklearn.feature_selection."):
        support = step.get_support()
        return Selected(np.flatnonzero(support), len(support))
    if not kind.__module__.startswith("sklearn.") or kind.__name__ not in _READERS:
        return None
    has_texts = places is not None and any(place.kind == TEXT for place in places)
    if has_texts and kind.__name__ not in _OF_TEXTS:
        return None
    try:
        return _READERS[kind.__name__](step, places)
    except (Unread, AttributeError, KeyError, IndexError, TypeError, ValueError, OverflowError):
        return None  # scikit-learn computes it, and is named


def _standard(step: Any, _places: Places) -> PipelineStep:
    mean, scale = (step.mean_ if step.with_mean else None), (step.scale_ if step.with_std else None)
    return elementwise((np.subtract, mean), (np.divide, scale), refuses="infinite")


def _min_max(step: Any, _places: Places) -> PipelineStep:
    low, high = step.feature_range if step.clip else (None, None)
    return elementwise(
        (np.multiply, step.scale_),
        (np.add, step.min_),
        (np.maximum, low),
        (np.minimum, high),
        refuses="infinite",
    )


def _max_abs(step: Any, _places: Places) -> PipelineStep:
    if getattr(step, "clip", False):
        raise Unread
    return elementwise((np.divide, step.scale_), refuses="infinite")


def _robust(step: Any, _places: Places) -> PipelineStep:
    center, scale = (step.center_ if step.with_centering else None), (step.scale_ if step.with_scaling else None)
    return elementwise((np.subtract, center), (np.divide, scale), refuses="infinite")


def _binarizer(step: Any, _places: Places) -> PipelineStep:
    return elementwise((np.greater, float(step.threshold)), (np.multiply, 1.0), refuses="missing")


def _function(step: Any, _places: Places) -> PipelineStep:
    """Functions of NumPy that have a name and one argument, and none at all."""
    if step.kw_args or step.validate:
        raise Unread
    if step.func is None or _checks_only(step.func):
        return Elementwise(())
    if step.func not in _OF_NUMPY and not (isinstance(step.func, np.ufunc) and step.func.nin == step.func.nout == 1):
        raise Unread
    return Elementwise(((step.func, None), (np.multiply, 1.0)))


_OF_NUMPY = (np.nan_to_num, np.round, np.around, np.fix)
"""Functions of one value that are no ufuncs."""


def _checks_only(function: Any) -> bool:
    """Return whether it is what histogram gradient boosting does to its numbers."""
    inner = getattr(function, "func", None)
    return getattr(inner, "__name__", "") == "check_array" and getattr(inner, "__module__", "").startswith("sklearn.")


def _imputer(step: Any, places: Places) -> PipelineStep:
    if places is not None and any(place.kind == TEXT for place in places):
        return _imputer_of_texts(step, places)
    left = [nth for nth, place in enumerate(places or ()) if not _replaces_missing(step, place)]
    statistics = np.array(step.statistics_, dtype=np.float64)
    statistics[left] = 0  # the most frequent may be None
    kept = None
    if np.isnan(statistics).any():
        if step.keep_empty_features:
            statistics = np.nan_to_num(statistics)
        else:
            kept = np.flatnonzero(~np.isnan(statistics))
    indicated = step.indicator_.features_ if step.add_indicator else None
    statistics[left] = np.nan
    missing = float("nan") if step.missing_values is None else float(step.missing_values)
    return Imputed(missing, statistics, kept, indicated)


def _imputer_of_texts(step: Any, places: tuple[ColumnAt, ...]) -> PipelineStep:
    columns = tuple(place.nth for place in places)
    replaced = step.missing_values
    texts = [
        text if isinstance(replaced, str) or _replaces_missing(step, place) else None  # None, of which it knows nothing
        for text, place in zip(step.statistics_, places, strict=True)
    ]
    if step.add_indicator or not all(
        place.kind == TEXT and (text is None or isinstance(text, str))
        for text, place in zip(texts, places, strict=True)
    ):
        raise Unread
    instead = tuple(MISSING if text is None else text.encode() for text in texts)
    return Filled(columns, instead, replaced.encode() if isinstance(replaced, str) else MISSING)


def _replaces_missing(imputer: Any, place: ColumnAt) -> bool:
    """Return whether ``imputer`` takes the missing values of a column, NaN or None, for missing ones."""
    replaced = imputer.missing_values
    return place.missing is replaced or (_is_nan(place.missing) and _is_nan(replaced))


def _indicator(step: Any, _places: Places) -> PipelineStep:
    return Indicated(float(step.missing_values), step.features_)


def _bins(step: Any, _places: Places) -> PipelineStep:
    binned = Binned([edges[1:-1] for edges in step.bin_edges_])
    if step.encode == "ordinal":
        return binned
    counts = np.asarray(step.n_bins_)
    return BinsTold(binned, np.concatenate([[0], np.cumsum(counts)[:-1]]), int(counts.sum()))


def _polynomial(step: Any, _places: Places) -> PipelineStep:
    """scikit-learn makes the products of a degree of those of the degree below, times their first column."""
    powers = step.powers_
    width = powers.shape[1]
    numbers = {tuple(row.tolist()): nth for nth, row in enumerate(np.eye(width, dtype=int))}
    degrees: list[tuple[tuple[int, int, int], ...]] = []
    place_of = {(0,) * width: 0, **{power: 1 + nth for power, nth in numbers.items()}}
    below, start = numbers, 1 + width
    for _ in range(2, int(powers.sum(axis=1).max()) + 1):
        these: dict[tuple[int, ...], tuple[int, int]] = {}
        for column in range(width):
            for power, nth in below.items():
                first = next(entry for entry, exponent in enumerate(power) if exponent)
                if first < column or (step.interaction_only and power[column]):
                    continue
                raised = tuple(exponent + (entry == column) for entry, exponent in enumerate(power))
                these[raised] = nth, column
        degrees.append(_runs(these.values()))
        below = {power: nth for nth, power in enumerate(these)}
        place_of |= {power: start + nth for power, nth in below.items()}
        start += len(these)
    kept = np.array([place_of[tuple(row.tolist())] for row in powers])
    neighbours = np.array_equal(kept, np.arange(kept[0], kept[0] + len(kept)))
    return Products(tuple(degrees), slice(int(kept[0]), int(kept[-1]) + 1) if neighbours else kept)


def _runs(pairs: Iterable[tuple[int, int]]) -> tuple[tuple[int, int, int], ...]:
    """Return pairs of a number and a column as runs of neighbouring numbers, [begin, end), of one column."""
    runs: list[tuple[int, int, int]] = []
    for number, column in pairs:
        if runs and runs[-1][1:] == (number, column):
            runs[-1] = runs[-1][0], number + 1, column
        else:
            runs.append((number, number + 1, column))
    return tuple(runs)


def _components(step: Any, _places: Places) -> PipelineStep:
    weights = step.components_.T
    if getattr(step, "whiten", False):
        weights = weights / np.sqrt(step.explained_variance_)
    return Projected(getattr(step, "mean_", None), np.ascontiguousarray(weights))


def _normalizer(step: Any, _places: Places) -> PipelineStep:
    return Normalised(step.norm)


def _quantiles(step: Any, _places: Places) -> PipelineStep:
    if step.ignore_implicit_zeros:
        raise Unread
    from scipy.special import ndtri

    normal = ndtri if step.output_distribution == "normal" else None
    columns = [np.array(column) for column in step.quantiles_.T]
    return Quantiles(tuple((column, -column[::-1]) for column in columns), step.references_, normal)


def _powers(step: Any, _places: Places) -> PipelineStep:
    from scipy.special import boxcox

    exponents = np.asarray(step.lambdas_, dtype=np.float64)
    powers = Powers(exponents) if step.method == "yeo-johnson" else PowersOfPositive(exponents, boxcox)
    return Chain((powers, inner)) if step.standardize and (inner := _standard(step._scaler, None)) else powers


def _splines(step: Any, _places: Places) -> PipelineStep:
    if step.extrapolation != "constant":
        raise Unread
    degree = step.degree
    ends = tuple((float(spline.t[degree]), float(spline.t[-degree - 1])) for spline in step.bsplines_)
    entry = step.bsplines_[0].c.shape[1]
    columns = np.arange(entry * len(ends))
    kept = columns if step.include_bias else columns[columns % entry != entry - 1]
    return Splines(tuple(step.bsplines_), ends, kept)


def _encoder(step: Any, places: Places) -> PipelineStep:
    """Ask the encoder what each category becomes."""
    categories = [list(entry) for entry in step.categories_]
    places = places if places is not None else tuple(ColumnAt(NUMBER, nth) for nth in range(len(categories)))
    answers = [_told(step, categories, column, place) for column, place in enumerate(places)]
    codes = tuple(codes for codes, _ in answers)
    if hasattr(step, "drop_idx_"):
        widths = step._n_features_outs
        begins = np.concatenate([[0], np.cumsum(widths)[:-1]]).tolist()
        columns = tuple(
            _as_columns(own, output, begin, width)
            for (own, output), begin, width in zip(answers, begins, widths, strict=True)
        )
        return OneHot(places, columns, int(sum(widths)))
    entry = answers[0][1].shape[1] // len(categories)
    tables = tuple(
        np.ascontiguousarray(output[:, nth * entry : (nth + 1) * entry], dtype=np.float64)
        for nth, (_, output) in enumerate(answers)
    )
    return Encoded(places, codes, tables)


def _told(step: Any, categories: list[list[Any]], column: int, place: ColumnAt) -> tuple[Codes, Any]:
    """Return the row of each category of ``column`` in what the encoder makes of rows that differ there alone, and what
    that is."""
    own = categories[column]
    keys = [MISSING if entry is None or _is_nan(entry) else _key(entry, place) for entry in own]
    asked, codes = list(own), {key: nth for nth, key in enumerate(keys) if key is not None}
    output = _transformed(step, categories, column, asked)
    if output is None:
        raise Unread
    unknown = _transformed(step, categories, column, [_unknown(own, place)])
    if MISSING not in codes:
        absent = _transformed(step, categories, column, [place.missing])
        if absent is None and unknown is not None:
            raise Unread  # it takes what it does not know, but nothing missing
        if absent is not None:
            output, codes[MISSING] = _stacked(output, absent), output.shape[0]
    rest = None
    if unknown is not None:
        output, rest = _stacked(output, unknown), output.shape[0]
    name = str(getattr(step, "feature_names_in_", {column: f"x{column}"})[column])
    return Codes(codes, rest, name), output


def _as_columns(codes: Codes, output: Any, begin: int, width: int) -> Codes:
    """Return for each category the column that is 1, where ``codes`` are rows of ``given``."""
    block = output[:, begin : begin + width]
    rows, columns = block.nonzero()
    if len(rows) != len(set(rows.tolist())) or (block.data != 1).any():
        raise Unread
    column_of = dict(zip(rows.tolist(), (columns + begin).tolist(), strict=True))
    rest = None if codes.unknown is None else column_of.get(codes.unknown, NO_COLUMN)
    return Codes({key: column_of.get(row, NO_COLUMN) for key, row in codes.items()}, rest, codes.column)


def _transformed(step: Any, categories: list[list[Any]], column: int, asked: list[Any]) -> Any:
    """Return what the encoder makes of rows with ``asked`` in one column, and the first category in all others: sparse
    or an array; None where it refuses them."""
    columns = [asked if nth == column else [entry[0]] * len(asked) for nth, entry in enumerate(categories)]
    rows = np.empty((len(asked), len(columns)), dtype=object)
    for nth, values in enumerate(columns):
        rows[:, nth] = values
    try:
        output = step.transform(_named(step, rows))
    except (ValueError, TypeError):
        return None
    if hasattr(step, "drop_idx_"):
        from scipy.sparse import csr_matrix

        return csr_matrix(output)
    return np.asarray(output)


def _named(step: Any, rows: np.ndarray) -> Any:
    names = getattr(step, "feature_names_in_", None)
    if names is None:
        return rows
    import pandas as pd

    return pd.DataFrame({name: pd.Series(rows[:, nth].tolist(), dtype=object) for nth, name in enumerate(names)})


def _stacked(first: Any, second: Any) -> Any:
    if isinstance(first, np.ndarray):
        return np.concatenate([first, second])
    from scipy.sparse import vstack

    return vstack([first, second], format="csr")


def _key(category: Any, place: ColumnAt) -> Any:
    if place.kind == TEXT:
        return category.encode() if isinstance(category, str) else None  # a text is never a number
    if isinstance(category, str):
        return None
    if float(category) != category:
        raise Unread
    return float(category)


def _unknown(own: list[Any], place: ColumnAt) -> Any:
    """Return a category that is none of its ``own``."""
    if place.kind == TEXT:
        text = "\ufdd1"  # kept for a program's own use
        while text in own:
            text += text
        return text
    return (
        max(
            (float(entry) for entry in own if not isinstance(entry, str) and entry is not None and not _is_nan(entry)),
            default=0.0,
        )
        + 1.5
    )


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and isnan(value)


def _vectorizer(step: Any, places: Places) -> PipelineStep:
    place, terms = _terms(step, places)
    vocabulary = {str(term): int(column) for term, column in step.vocabulary_.items()}
    weights = _weights(step) if hasattr(step, "idf_") or hasattr(step, "sublinear_tf") else None
    return Counted(place, terms, vocabulary, max(vocabulary.values()) + 1, step.binary, weights)


def _hashing(step: Any, places: Places) -> PipelineStep:
    if kernel() is None:
        raise Unread
    place, terms = _terms(step, places)
    weights = Weights(norm=step.norm) if step.norm else None
    return Counted(place, terms, None, int(step.n_features), step.binary, weights, bool(step.alternate_sign))


def _terms(step: Any, places: Places) -> tuple[ColumnAt, Terms]:
    """Return the column of texts that a vectorizer takes, and the terms that it finds in them."""
    if places is None or len(places) != 1 or step.input != "content" or step.decode_error != "strict":
        raise Unread
    if (
        step.preprocessor is not None
        or step.tokenizer is not None
        or callable(step.strip_accents)
        or callable(step.analyzer)
    ):
        raise Unread
    shortest, longest = step.ngram_range
    return places[0], Terms(
        kind=step.analyzer,
        pattern=step.token_pattern or "",
        shortest=shortest,
        longest=longest,
        lowercase=step.lowercase,
        accents=step.strip_accents,
        stop_words=frozenset(step.get_stop_words() or ()),
    )


def _weights(step: Any, _places: Places = None) -> Weights:
    return Weights(step.sublinear_tf, step.idf_ if step.use_idf else None, step.norm or "")


_READERS: Mapping[str, Callable[[Any, Places], PipelineStep]] = {
    "StandardScaler": _standard,
    "MinMaxScaler": _min_max,
    "MaxAbsScaler": _max_abs,
    "RobustScaler": _robust,
    "Binarizer": _binarizer,
    "FunctionTransformer": _function,
    "SimpleImputer": _imputer,
    "MissingIndicator": _indicator,
    "KBinsDiscretizer": _bins,
    "PolynomialFeatures": _polynomial,
    "Normalizer": _normalizer,
    "PCA": _components,
    "TruncatedSVD": _components,
    "QuantileTransformer": _quantiles,
    "PowerTransformer": _powers,
    "SplineTransformer": _splines,
    "OneHotEncoder": _encoder,
    "OrdinalEncoder": _encoder,
    "TargetEncoder": _encoder,
    "CountVectorizer": _vectorizer,
    "TfidfVectorizer": _vectorizer,
    "HashingVectorizer": _hashing,
    "TfidfTransformer": _weights,
}
"""By the name of the class."""

_OF_TEXTS = frozenset(
    {
        "SimpleImputer",
        "OneHotEncoder",
        "OrdinalEncoder",
        "TargetEncoder",
        "CountVectorizer",
        "TfidfVectorizer",
        "HashingVectorizer",
    }
)
