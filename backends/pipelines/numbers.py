"""Steps of numbers: scaling, imputing, functions of one value, bins, products, and selections of columns. Each does
what scikit-learn does, in its order, so that the last digit is the same: trees compare it with thresholds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from servefit.backends.pipelines.values import BACKEND, Sparse, Value, dense, is_finite, parts_of
from servefit.errors import RowsRefused


def check_finite(value: Value) -> None:
    """Raise RowsRefused as scikit-learn does for what is not a number, or infinite, in front of a step that takes
    neither."""
    if not is_finite(value):
        raise RowsRefused(BACKEND, "a step that takes neither is given a missing or an infinite value")


@dataclass(frozen=True)
class Elementwise:
    """Functions of NumPy, one after the other: of one argument, or of the value and one operand a column.

    ``refuses`` says what scikit-learn refuses before: "missing" values and infinite ones, "infinite" ones, or "".
    """

    functions: tuple[tuple[Callable[..., np.ndarray], np.ndarray | float | None], ...]
    refuses: str = ""

    def __call__(self, value: Value) -> np.ndarray:
        numbers = dense(value)
        if self.refuses == "missing":
            check_finite(numbers)
        elif self.refuses:
            check_not_infinite(numbers)
        for function, operand in self.functions:
            numbers = function(numbers) if operand is None else function(numbers, operand)
        return numbers


def check_not_infinite(numbers: np.ndarray) -> None:
    if not np.isfinite(numbers.sum()) and np.isinf(numbers).any():
        raise RowsRefused(BACKEND, "a step that takes none is given an infinite value")


@dataclass(frozen=True)
class Imputed:
    """Puts ``instead`` (columns,) in the place of missing numbers, in the ``kept`` columns: all where that is None. The
    ``indicated`` columns have one more each at the end, which says where a number was missing."""

    missing: float
    instead: np.ndarray
    kept: np.ndarray | None
    indicated: np.ndarray | None

    def __call__(self, value: Value) -> np.ndarray:
        numbers = dense(value)
        if self.missing == self.missing:
            check_finite(numbers)
            missing = numbers == self.missing
        else:
            missing = np.isnan(numbers)
            check_not_infinite(numbers)
        imputed = np.where(missing, self.instead, numbers)
        if self.kept is not None:
            imputed = imputed[:, self.kept]
        if self.indicated is None:
            return imputed
        both: np.ndarray = np.concatenate([imputed, missing[:, self.indicated]], axis=1)
        return both


@dataclass(frozen=True)
class Indicated:
    """Says where a number of ``columns`` is missing."""

    missing: float
    columns: np.ndarray

    def __call__(self, value: Value) -> np.ndarray:
        numbers = dense(value)[:, self.columns]
        missing = np.isnan(numbers) if self.missing != self.missing else numbers == self.missing
        return np.asarray(missing, dtype=np.float64)


@dataclass(frozen=True)
class Selected:
    """Keeps ``columns``, in ascending order, of ``width``."""

    columns: np.ndarray
    width: int

    def __call__(self, value: Value) -> Value:
        if isinstance(value, np.ndarray) or not any(isinstance(part, Sparse) for part in parts_of(value)):  # type: ignore[arg-type]
            return dense(value).take(self.columns, axis=1)
        begin, kept = 0, []
        for part in parts_of(value):  # type: ignore[arg-type]
            width = part.width if isinstance(part, Sparse) else part.shape[1]
            first, last = np.searchsorted(self.columns, (begin, begin + width))
            own = self.columns[first:last] - begin
            kept.append(_kept(part, own) if isinstance(part, Sparse) else part[:, own])
            begin += width
        return kept


def _kept(part: Sparse, columns: np.ndarray) -> Sparse:
    place = np.searchsorted(columns, part.columns)
    result = (place < len(columns)) & (columns.take(place, mode="clip") == part.columns if len(columns) else False)
    values = None if part.values is None else part.values[result]
    return Sparse(part.count, len(columns), part.rows[result], place[result], values)


@dataclass(frozen=True)
class Binned:
    """The number of the bin of each value, between the inner ``edges`` of each column."""

    edges: Sequence[np.ndarray]

    def __call__(self, value: Value) -> np.ndarray:
        numbers = dense(value)
        check_finite(numbers)
        binned = np.empty(numbers.shape)
        for column, edges in enumerate(self.edges):
            binned[:, column] = np.searchsorted(edges, numbers[:, column], side="right")
        return binned


@dataclass(frozen=True)
class BinsTold:
    """One column for each bin, which is 1 in its rows. ``first`` is the column of the first bin of each column."""

    binned: Binned
    first: np.ndarray
    width: int

    def __call__(self, value: Value) -> Sparse:
        bins = self.binned(value)
        count = len(bins)
        columns = (bins.astype(np.int64) + self.first).reshape(-1)
        return Sparse(count, self.width, np.repeat(np.arange(count), len(self.first)), columns)


@dataclass(frozen=True)
class Products:
    """Products of columns, by degree: those of ``degrees[nth]`` are some neighbours [begin, end) of the degree below,
    each times one of the numbers. ``kept`` are those that are asked for, of all, and of the 1 that comes first."""

    degrees: tuple[tuple[tuple[int, int, int], ...], ...]
    kept: np.ndarray | slice

    def __call__(self, value: Value) -> np.ndarray:
        numbers = dense(value)
        check_finite(numbers)
        count, width = numbers.shape
        sizes = [sum(end - begin for begin, end, _ in runs) for runs in self.degrees]
        # Column by column, so that each run multiplies long stretches of memory: three times as fast at 1,024 rows
        products = np.empty((1 + width + sum(sizes), count))
        products[0] = 1.0
        products[1 : 1 + width] = numbers.T
        below, start = 1, 1 + width
        for runs, size in zip(self.degrees, sizes, strict=True):
            place = start
            for begin, end, column in runs:
                own = products[place : place + end - begin]
                np.multiply(products[below + begin : below + end], products[1 + column], out=own)
                place += end - begin
            below, start = start, start + size
        return products[self.kept].T


@dataclass(frozen=True)
class Projected:
    """Subtracts ``mean`` and multiplies with ``weights`` (columns, components)."""

    mean: np.ndarray | None
    weights: np.ndarray

    def __call__(self, value: Value) -> np.ndarray:
        numbers = dense(value)
        check_finite(numbers)
        product: np.ndarray = (numbers if self.mean is None else numbers - self.mean) @ self.weights
        return product


@dataclass(frozen=True)
class Normalised:
    """Numbers as shares of the norm of their row: "l1", "l2" or "max". Rows stay whose norm is 0 or less than
    ``least``."""

    norm: str
    least: float = 0.0

    def __call__(self, value: Value) -> np.ndarray:
        numbers = dense(value)
        check_finite(numbers)
        if self.norm == "l2":
            sizes = np.sqrt(np.einsum("ij,ij->i", numbers, numbers))
        else:
            sizes = np.abs(numbers).sum(axis=1) if self.norm == "l1" else np.abs(numbers).max(axis=1)
        sizes[(sizes == 0) | (sizes < self.least)] = 1.0
        result: np.ndarray = numbers / sizes[:, np.newaxis]
        return result


@dataclass(frozen=True)
class Quantiles:
    """The share of the training's values below each value, as scikit-learn interpolates it: from both ends, and their
    mean. ``quantiles`` are those of each column, as they rise, and with other signs as they fall; ``references`` are
    their shares. ``normal`` is SciPy's function of a share that gives the value of a normal distribution, or None."""

    quantiles: tuple[tuple[np.ndarray, np.ndarray], ...]
    references: np.ndarray
    normal: np.ufunc | None

    def __call__(self, value: Value) -> np.ndarray:
        numbers = dense(value)
        check_not_infinite(numbers)
        falling = -self.references[::-1]
        share, opposite = np.empty(numbers.shape), -numbers
        for column, (rising, down) in enumerate(self.quantiles):
            share[:, column] = np.interp(numbers[:, column], rising, self.references)
            share[:, column] -= np.interp(opposite[:, column], down, falling)
        share *= 0.5
        least = np.array([rising[0] for rising, _ in self.quantiles])
        largest = np.array([rising[-1] for rising, _ in self.quantiles])
        share[np.isnan(numbers)] = np.nan
        if self.normal is None:
            share[numbers == largest] = 1.0
            share[numbers == least] = 0.0
            return share
        share[numbers + NEAR_BOUND > largest] = 1.0
        share[numbers - NEAR_BOUND < least] = 0.0
        edge = NEAR_BOUND - np.spacing(1)
        return np.asarray(np.clip(self.normal(share), self.normal(edge), self.normal(1 - edge)))


@dataclass(frozen=True)
class Powers:
    """Yeo and Johnson's ``powers`` (columns,), computed as SciPy does."""

    powers: np.ndarray

    def __call__(self, value: Value) -> np.ndarray:
        numbers = dense(value)
        check_not_infinite(numbers)
        above, below = np.log1p(np.maximum(numbers, 0)), np.log1p(-np.minimum(numbers, 0))
        up = _power(above, self.powers, np.abs(self.powers) < _TINY)
        down = _power(below, 2 - self.powers, np.abs(self.powers - 2) <= _TINY)
        return np.where(numbers >= 0, up, -down)


@dataclass(frozen=True)
class PowersOfPositive:
    """Box and Cox's ``powers`` (columns,), by SciPy's own ``function``, as scikit-learn does."""

    powers: np.ndarray
    function: np.ufunc

    def __call__(self, value: Value) -> np.ndarray:
        numbers = dense(value)
        check_not_infinite(numbers)
        if (numbers <= 0).any():
            raise RowsRefused(BACKEND, "a power of Box and Cox is given a number that is not positive")
        return np.asarray(self.function(numbers, self.powers))


def _power(logarithms: np.ndarray, powers: np.ndarray, are_zero: np.ndarray) -> np.ndarray:
    """Return the powers of numbers, less 1 and as shares of the power; of the power 0 that is the logarithm."""
    if not are_zero.any():
        result: np.ndarray = np.expm1(powers * logarithms) / powers
        return result
    others = np.where(are_zero, 1.0, powers)
    return np.where(are_zero, logarithms, np.expm1(others * logarithms) / others)


_TINY = float(np.spacing(1.0))


@dataclass(frozen=True)
class Splines:
    """Splines of SciPy for each column, which go on as they end. ``kept`` are the columns that are asked for."""

    splines: Sequence[Callable[[np.ndarray], np.ndarray]]
    ends: Sequence[tuple[float, float]]
    kept: np.ndarray

    def __call__(self, value: Value) -> np.ndarray:
        numbers = dense(value)
        check_finite(numbers)
        blocks = [
            spline(np.clip(numbers[:, nth], *ends))
            for nth, (spline, ends) in enumerate(zip(self.splines, self.ends, strict=True))
        ]
        return np.concatenate(blocks, axis=1)[:, self.kept]


NEAR_BOUND = 1e-7
"""scikit-learn's BOUNDS_THRESHOLD: within that, a value counts as the least or the largest."""


def elementwise(*functions: tuple[Callable[..., np.ndarray], Any], refuses: str = "") -> Elementwise:
    """Return the step of those ``functions`` that have an operand: scikit-learn leaves out what it was told to."""
    kept = [(function, operand) for function, operand in functions if operand is not None]
    return Elementwise(tuple(kept), refuses)
