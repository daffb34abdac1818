"""Rows drawn from the model itself: hard ones to compare predictions on, plausible ones to measure with.

Both come from the values at which the model's predictions change, such as the thresholds of its trees, and from the
ranges of its integer inputs. Rows are C-contiguous (count, features), and never hold infinities: payloads that do are
refused, so no request carries one. Plausible rows are of the datatype that predictors take. Hard ones are as a user has
them, which for tables is float64: what is rounded, and where, is part of what is compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from servefit.backends.model.keeping import content_as_named
from servefit.backends.model.texts import TEXT_SIZE
from servefit.backends.model.types import Signs
from servefit.backends.payload.text_rows import drawn_texts, with_texts

if TYPE_CHECKING:
    from servefit.backends.model import Input, Model, Signature

_Recipe: TypeAlias = Callable[[int, np.ndarray], np.ndarray]

_EXTREMES = np.array([3e38, -3e38, 1e10, -1e10, 1e-40, -1e-40, 1e-45, -1e-45], dtype=np.float32)
_ZEROS = np.array([0.0, -0.0], dtype=np.float32)
_EMPTY = np.empty(0, dtype=np.float32)
_PLAUSIBLE_DIGITS = 8
"""Of float64 values that are drawn, about as many as a float32 has: traffic has decimals, not all the digits there are.
"""
_MAX_DECIMALS = 3
"""Of values that are rounded to decimals, as prices, ages and measurements are. float32 holds hardly any of these."""
_MANY = 2**31 - 1
"""An input that takes so many whole numbers does not choose among them."""
_MAX_AS_FLOAT = 2**63 - 1024
"""The largest int64 that is a float64 too."""


def synthetic_rows(model: Model, count: int, seed: int = 0) -> np.ndarray:
    """Return ``count`` plausible rows, the same for the same seed.

    A feature that trees split on gets values between neighbouring thresholds, any gap as likely as another, so that
    requests take many paths through the trees; a categorical one gets known categories, and an integer input of a
    network whole numbers from all of its range. Every other feature is standard normal. Rows that have sizes are of
    the usual ones, and every place of theirs counts for a mask that they are padded by.
    """
    signature = model.signature
    rows = _plausible_rows(model, count, seed, signature.row_datatype)
    if signature.row_datatype != "float64" or signature.inputs:
        return rows
    return _of_few_digits(rows)


def _plausible_rows(model: Model, count: int, seed: int, datatype: str) -> np.ndarray:
    """Return rows like those of :func:`synthetic_rows`, unrounded and of another datatype."""
    columns = _Columns(model, seed)
    signature = model.signature
    rows = np.empty((count, signature.features), dtype=datatype)
    rows[:, : len(signature.sizes)] = [size.usual for size in signature.sizes]
    for feature in range(len(signature.sizes), signature.features):
        rows[:, feature] = columns.plausible(feature, count)
    if signature.padding is not None and signature.padding.mask is not None:
        mask = next(model_input for model_input in signature.inputs if model_input.name == signature.padding.mask)
        rows[:, mask.start : mask.stop] = 1
    return _with_texts(signature, _signed(signature, rows), seed, hard=False)


def parity_rows(model: Model, seed: int = 0, count: int = 1024) -> np.ndarray:
    """Return ``count`` rows of ``Signature.user_datatype`` on which converted models are known to go wrong, the same
    for the same seed.

    In equal parts: values exactly on a split threshold; its neighbours, in float64 and in float32, and the float32 that
    is nearest; decimals; zeros of either sign; extremes and denormals; missing values, where the model accepts them;
    unknown, negative and fractional categories, where it splits on categories; and plausible rows. Models of which no
    threshold is known get plausible rows of several scales, decimals, and zeros. The first rows hold one value
    throughout: zero, negative zero, missing, an extreme; in integer inputs the least that they take, and the most.
    """
    columns = _Columns(model, seed)
    rows = _plausible_rows(model, count, seed + 1, model.signature.user_datatype)[:, : model.signature.features]
    recipes = columns.recipes()
    for chosen, recipe in zip(np.array_split(np.arange(count), len(recipes)), recipes, strict=True):
        for feature in range(len(model.signature.sizes), model.signature.features):
            rows[chosen, feature] = columns.harden(recipe, feature, rows[chosen, feature])
    uniform = _uniform_values(model.signature, has_trees=model.trees is not None)[:count]
    values = np.arange(len(model.signature.sizes), model.signature.features)
    ordinary = np.setdiff1d(values, [*model.signature.integer_features, *columns.closed])
    rows[: len(uniform), ordinary] = uniform[:, np.newaxis]
    for model_input in model.signature.inputs:
        if model_input.is_whole and not model_input.known:
            rows[:1, model_input.start : model_input.stop], rows[1:2, model_input.start : model_input.stop] = (
                model_input.whole_range
            )
    return _with_texts(model.signature, _signed(model.signature, rows), seed, hard=True)


def columns_of_any_number(signature: Signature) -> np.ndarray:
    """Return the columns that hold neither whole numbers nor categories."""
    categories = [column for one in signature.inputs if one.known for column in range(one.start, one.stop)]
    values = np.arange(len(signature.sizes), signature.features)
    return np.setdiff1d(values, [*signature.integer_features, *categories])


def _signed(signature: Signature, rows: np.ndarray) -> np.ndarray:
    """Give the numbers in ``rows`` the signs that the model takes, and return them; whole numbers and categories keep
    theirs."""
    if signature.signs is Signs.ANY:
        return rows
    free = columns_of_any_number(signature)
    numbers = np.abs(rows[:, free])
    rows[:, free] = np.where(numbers == 0, 1, numbers) if signature.signs is Signs.POSITIVE else numbers
    return rows


def _with_texts(signature: Signature, rows: np.ndarray, seed: int, *, hard: bool) -> np.ndarray:
    """Return ``rows`` of the usual sizes with the texts that go with them, where the model takes some."""
    if not any(one.is_text for one in signature.inputs):
        return rows
    return with_texts(signature, rows, drawn_texts(signature, len(rows), np.random.default_rng(seed), hard=hard))


def zero_rows(signature: Signature, count: int, sizes: Mapping[str, int] | None = None) -> np.ndarray:
    """Return ``count`` rows of zeros, or of ones where the model takes no zeros, and empty texts, of ``sizes`` or of
    the usual ones. An input that refuses unknown values has some of its known ones, and one of dates has dates."""
    sized = signature if sizes is None else signature.of_sizes(sizes)
    rows = _signed(sized, np.zeros((count, sized.features), dtype=sized.row_datatype))
    rows[:, : len(sized.sizes)] = [size.usual for size in sized.sizes]
    closed = [one for one in sized.inputs if (not one.takes_unknown and one.known) or one.is_date]
    for one in closed:
        if not one.is_text:
            rows[:, one.start : one.stop] = one.known[0]
    if not any(one.is_text for one in closed):
        return rows
    generator = np.random.default_rng(0)
    return with_texts(sized, rows, drawn_texts(sized, count, generator))


def nudged_rows(model: Model, rows: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return ``rows`` with every float off by one rounding of a float32, up or down; the same for the same seed. What
    is small in its column is off by a rounding of the column's mean: numbers beside it were rounded so. Columns of
    whole numbers stay: they may be codes, of which the next one has another meaning."""
    signature = model.signature
    fixed = np.zeros(rows.shape, dtype=bool)
    with np.errstate(invalid="ignore"):
        fixed |= ((rows == np.rint(rows)) | np.isnan(rows)).all(axis=0)
    if signature.sizes:
        for which, sizes in signature.packing.groups(rows):
            fixed[which, : len(signature.sizes)] = True
            fixed[which, signature.packing.width({**sizes, TEXT_SIZE: 0}) :] = True
            for place, model_input in zip(signature.packing.places(sizes), signature.inputs, strict=True):
                if model_input.is_whole:
                    fixed[which, place.start : place.stop] = True
    else:
        fixed[:, list(signature.integer_features)] = True
    values = np.abs(np.nan_to_num(rows.astype(np.float64)))
    off = np.random.default_rng(seed).choice([-1.0, 1.0], rows.shape) * np.finfo(np.float32).eps
    moved: np.ndarray = np.where(fixed, rows, rows + off * np.maximum(values, values.mean(axis=0))).astype(rows.dtype)
    return _signed(signature, moved)


def whole_numbers(generator: np.random.Generator, model_input: Input, shape: tuple[int, ...]) -> np.ndarray:
    """Draw whole numbers that the input takes, int64 of ``shape``: any as likely as another where it chooses among
    them, and where it takes more than any vocabulary has, any number of digits, of either sign."""
    lowest, highest = model_input.whole_range
    if highest - lowest < _MANY:
        return generator.integers(lowest, highest, shape, endpoint=True)
    bits = generator.integers(0, highest.bit_length(), shape, endpoint=True)
    sizes: np.ndarray = generator.integers(0, np.minimum(np.iinfo(np.int64).max >> (63 - bits), highest), endpoint=True)
    if lowest < 0:
        sizes = np.where(generator.random(shape) < 0.5, sizes, np.maximum(-sizes, lowest))
    return sizes


def _of_few_digits(rows: np.ndarray) -> np.ndarray:
    """Return float64 ``rows`` rounded to as many digits as values of traffic may have."""
    with np.errstate(divide="ignore", invalid="ignore"):
        exponent = np.floor(np.log10(np.abs(rows)))
        scale = 10.0 ** (_PLAUSIBLE_DIGITS - 1 - np.clip(exponent, -250, 250))
        rounded = np.rint(rows * scale) / scale
    kept: np.ndarray = np.where(np.isfinite(rounded), rounded, rows)
    return kept


def _uniform_values(signature: Signature, *, has_trees: bool) -> np.ndarray:
    values = [0.0, -0.0]
    if signature.accepts_missing:
        values.append(np.nan)
    if has_trees:
        values += [3e38, -3e38]
    return np.array(values, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class _Splits:
    """The thresholds and the categories of one feature, ascending, in the datatype that the feature is tested in."""

    thresholds: np.ndarray
    categories: np.ndarray


_NO_SPLITS = _Splits(thresholds=_EMPTY, categories=_EMPTY)


def _splits_of(model: Model) -> dict[int, _Splits]:
    """Return the splits of every feature that has some."""
    if model.splits is None:
        return {}
    datatype = np.float64 if model.signature.user_datatype == "float64" else np.float32
    largest = np.finfo(np.float32 if model.signature.row_datatype == "float32" else np.float64).max
    with np.load(BytesIO(content_as_named(model.splits)), allow_pickle=False) as stored:
        finite = np.abs(stored["split_thresholds"]) <= largest
        thresholds = stored["split_thresholds"][finite].astype(datatype)
        threshold_features = stored["split_features"][finite]
        categories, category_features = stored["categories"].astype(np.float32), stored["category_features"]
    return {
        int(feature): _Splits(
            thresholds=np.unique(thresholds[slice(*np.searchsorted(threshold_features, [feature, feature + 1]))]),
            categories=np.unique(categories[slice(*np.searchsorted(category_features, [feature, feature + 1]))]),
        )
        for feature in np.union1d(threshold_features, category_features)
    }


class _Columns:
    """Draws the values of one column at a time. Every recipe takes a feature and plausible values for it."""

    def __init__(self, model: Model, seed: int) -> None:
        self._generator = np.random.default_rng(seed)
        self._splits = _splits_of(model)
        self._integer_features = frozenset(model.signature.integer_features)
        self._all_take_missing = model.signature.accepts_missing
        self._largest = np.finfo(np.float32 if model.signature.row_datatype == "float32" else np.float64).max
        self._datatype = np.dtype(np.float64 if model.signature.user_datatype == "float64" else np.float32)
        self._has_trees = model.trees is not None
        self._inputs = {
            column: model_input
            for model_input in model.signature.inputs
            for column in range(model_input.start, model_input.stop)
        }

    @property
    def closed(self) -> list[int]:
        """The columns that take known values alone."""
        return [column for column, one in self._inputs.items() if not one.takes_unknown]

    def recipes(self) -> list[_Recipe]:
        recipes: list[_Recipe]
        if not self._splits:
            recipes = [self._unchanged, self._scaled, self._decimal, self._some_zeros]
        else:
            recipes = [self._on_threshold, self._near_threshold, self._decimal, self._some_zeros, self._unchanged]
        if self._has_trees:
            recipes.append(self._extreme)
        if self._all_take_missing or any(one.takes_missing and not one.is_text for one in self._inputs.values()):
            recipes.append(self._some_missing)
        if any(splits.categories.size for splits in self._splits.values()):
            recipes.append(self._unknown_category)
        return recipes

    def plausible(self, feature: int, count: int) -> np.ndarray:
        splits = self._splits.get(feature, _NO_SPLITS)
        if self._inputs and self._inputs[feature].known:
            return self._generator.choice(np.array(self._inputs[feature].known), count)
        if feature in self._integer_features and not splits.thresholds.size:
            if not self._inputs:
                return self._generator.integers(0, 2, count)
            return whole_numbers(self._generator, self._inputs[feature], (count,))
        if splits.categories.size:
            return self._generator.choice(splits.categories, count)
        if splits.thresholds.size:
            return self._as_input(feature, self._between(splits.thresholds, count))
        return self._as_input(feature, self._generator.standard_normal(count).astype(self._datatype))

    def harden(self, recipe: _Recipe, feature: int, plausible: np.ndarray) -> np.ndarray:
        """Return hard values, which ``recipe`` makes of plausible ones where the feature has something to make it
        of."""
        if self._inputs and not self._inputs[feature].takes_unknown:
            return recipe(feature, plausible) if recipe == self._some_missing else plausible
        if feature in self._integer_features and feature not in self._splits:
            return self._some_unknown(feature, plausible)
        return self._as_input(feature, recipe(feature, plausible))

    def _as_input(self, feature: int, values: np.ndarray) -> np.ndarray:
        """Return ``values`` as the feature takes them: whole numbers in its range where it takes only those."""
        if not self._inputs or feature not in self._integer_features:
            return values
        lowest, highest = self._inputs[feature].whole_range
        return np.clip(np.rint(values.astype(np.float64)), lowest, min(highest, _MAX_AS_FLOAT)).astype(np.int64)

    def _between(self, thresholds: np.ndarray, count: int) -> np.ndarray:
        """Draw values in the gaps between thresholds; the two open ends are as wide as the mean gap."""
        datatype, thresholds = thresholds.dtype, thresholds.astype(np.float64)
        spread = (thresholds[-1] - thresholds[0]) / max(len(thresholds) - 1, 1) or max(abs(thresholds[0]), 1.0)
        edges = np.concatenate([[thresholds[0] - spread], thresholds, [thresholds[-1] + spread]])
        gap = self._generator.integers(0, len(edges) - 1, count)
        values = edges[gap] + self._generator.random(count) * (edges[gap + 1] - edges[gap])
        clipped: np.ndarray = np.clip(values, -self._largest, self._largest).astype(datatype)
        return clipped

    def _some_unknown(self, feature: int, plausible: np.ndarray) -> np.ndarray:
        """Return ``plausible`` whole numbers; if the input has known values, replace some by neighbours of these."""
        values = self._inputs[feature].known if self._inputs else ()
        if not values:
            return plausible
        others = np.array(values + tuple(int(value) + 1 for value in values) + (-1, 0))
        return self._replace_some(plausible, others, share=0.25)

    def _unchanged(self, _feature: int, plausible: np.ndarray) -> np.ndarray:
        return plausible

    def _scaled(self, _feature: int, plausible: np.ndarray) -> np.ndarray:
        scales = 10 ** self._generator.uniform(-3, 3, plausible.size)
        return (plausible * scales).astype(plausible.dtype)

    def _on_threshold(self, feature: int, plausible: np.ndarray) -> np.ndarray:
        thresholds = self._splits.get(feature, _NO_SPLITS).thresholds
        return self._generator.choice(thresholds, plausible.size) if thresholds.size else plausible

    def _near_threshold(self, feature: int, plausible: np.ndarray) -> np.ndarray:
        """Return the neighbours of thresholds in their datatype and in float32, and the float32 nearest to them."""
        exact = self._on_threshold(feature, plausible)
        side = self._generator.choice(np.array([-np.inf, np.inf], dtype=np.float32), plausible.size)
        with np.errstate(over="ignore"):
            rounded = exact.astype(np.float32)
            near = [np.nextafter(exact, side.astype(exact.dtype)), rounded, np.nextafter(rounded, side)]
        chosen = np.choose(self._generator.integers(0, 3, plausible.size), near)
        clipped: np.ndarray = np.clip(chosen, -self._largest, self._largest)
        return clipped

    def _decimal(self, feature: int, plausible: np.ndarray) -> np.ndarray:
        """Return plausible values and thresholds, rounded to decimals."""
        values = np.where(
            self._generator.random(plausible.size) < 0.5, plausible, self._on_threshold(feature, plausible)
        )
        decimals = 10.0 ** self._generator.integers(0, _MAX_DECIMALS + 1, plausible.size)
        with np.errstate(over="ignore", invalid="ignore"):
            rounded: np.ndarray = np.rint(values * decimals) / decimals
        return np.where(np.isfinite(rounded), rounded, plausible)

    def _some_zeros(self, _feature: int, plausible: np.ndarray) -> np.ndarray:
        return self._replace_some(plausible, _ZEROS, share=0.5)

    def _extreme(self, _feature: int, plausible: np.ndarray) -> np.ndarray:
        return self._replace_some(plausible, _EXTREMES, share=0.5)

    def _some_missing(self, feature: int, plausible: np.ndarray) -> np.ndarray:
        if not plausible.size or (self._inputs and self._inputs[feature].is_whole):
            return plausible  # whole numbers have no NaN, whatever the others take
        if not (self._all_take_missing or self._inputs[feature].takes_missing):
            return plausible
        replaced = self._replace_some(plausible, np.array([np.nan], dtype=np.float32), share=0.3)
        replaced[feature % replaced.size] = np.nan  # of few rows, chance may leave none out
        return replaced

    def _unknown_category(self, feature: int, plausible: np.ndarray) -> np.ndarray:
        categories = self._splits.get(feature, _NO_SPLITS).categories
        if not categories.size:
            return plausible
        last = categories[-1]
        odd = np.array([last + 1, last + 100, -1, -0.5, 0.5, last + 0.5, 1e9], dtype=np.float32)
        return self._replace_some(plausible, odd, share=0.5)

    def _replace_some(self, plausible: np.ndarray, values: np.ndarray, *, share: float) -> np.ndarray:
        replaced = self._generator.random(plausible.size) < share
        return np.where(replaced, self._generator.choice(values, plausible.size), plausible)
