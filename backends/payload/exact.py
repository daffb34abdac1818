"""Numbers as they were written: nothing is rounded on the way from a payload or a request to the rows of a model that
does not take float32.

float64 holds every whole number up to 2**53. Where larger ones are among others, arrays hold int64, uint64 or Python's
own numbers instead, until ``converted`` makes rows of them or says which it cannot.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any

import numpy as np

EXACT = 2**53
"""float64 holds every whole number up to this one."""

MAX_WHOLE = 2**1023
"""No whole number beyond it becomes a float."""

_WHOLE = re.compile(r"[+-]?[0-9]{1,400}")
"""No finite float64 has more than 309 digits before its point."""


_TRUTHS = {"true": 1.0, "false": 0.0}
"""pandas and R write columns of booleans so."""


def number(text: str) -> int | float:
    """Return the number that ``text`` is, as Python reads it, but for "1_000", which only Python's own source would
    write; "True" is 1 and "False" 0, in any case. A large one is an int where it is written as one: with a point or an
    exponent it is the nearest float. Raises ValueError."""
    try:
        value = float(text)
    except ValueError:
        if (truth := _TRUTHS.get(text.lower())) is None:
            raise
        return truth
    if "_" in text:
        raise ValueError(text)
    if abs(value) < EXACT or not isfinite(value) or not _WHOLE.fullmatch(text):
        return value
    return int(text)


def array_of(numbers: Sequence[Any], shape: tuple[int, ...]) -> np.ndarray:
    """Return ``numbers``, nested or not, None being NaN, as float64, or as an array of objects where some are larger
    than it holds exactly. Raises OverflowError for a whole number that is larger than any float64."""
    values = np.array(numbers, dtype=np.float64).reshape(shape)
    if not (np.abs(values) >= EXACT).any():
        return values
    return np.where(np.isnan(values), values, np.array(numbers, dtype=object).reshape(shape))


def of_objects(array: np.ndarray) -> np.ndarray:
    """Return the numbers in an array of Python's own, None being NaN, as float64, or as objects where that would round
    some. Raises ValueError and TypeError for what is no number."""
    values = array.astype(np.float64)
    if not (np.abs(values) >= EXACT).any():
        return values
    return _each(_as_it_is, np.where(np.isnan(values), values, array))


def objects(values: Sequence[Any], shape: Sequence[int] = (-1,)) -> np.ndarray:
    """Return an array of Python's own values as they are, of this shape."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array.reshape(shape)


def plain(array: np.ndarray) -> np.ndarray:
    """Return an array of booleans, integers or floats as tables have numbers: int64, uint64 where it is of that, or
    float64."""
    if array.dtype.kind != "f":
        return array.astype(np.uint64 if array.dtype.kind == "u" and array.dtype.itemsize == 8 else np.int64)
    with np.errstate(over="ignore", invalid="ignore"):  # extended precision, signalling NaNs
        return array.astype(np.float64)


def joined(arrays: Sequence[np.ndarray], axis: int) -> np.ndarray:
    """Return ``arrays`` of numbers as one, with every number as it is. NumPy would make float64 of int64 and floats."""
    kinds = {array.dtype.kind for array in arrays}
    if len(kinds) == 1 or all(_within(array) for array in arrays):
        return np.concatenate(arrays, axis=axis)
    objects = [array if array.dtype == object else _each(_as_it_is, array) for array in arrays]
    return np.concatenate(objects, axis=axis)


def _within(array: np.ndarray) -> bool:
    """Return whether float64 holds all numbers of the array exactly."""
    if array.dtype.kind == "f":
        return True
    return array.dtype.kind in "iu" and not ((array > EXACT) | (array < -EXACT)).any()


def _as_it_is(value: Any) -> int | float:
    """Return a number of Python: an int if it is large and whole, since a float of that size counts as rounded."""
    if isinstance(value, int | np.integer):
        return int(value)
    as_float = float(value)
    return int(as_float) if abs(as_float) >= EXACT and as_float.is_integer() else as_float


def _each(function: Callable[[Any], Any], array: np.ndarray) -> np.ndarray:
    return np.array([function(value) for value in array.ravel()], dtype=object).reshape(array.shape)


def narrowest(values: np.ndarray, approximate: np.ndarray) -> str:
    """Return the datatype of rows for a model of which nothing is known: float32, but int64 or float64 where that would
    round numbers. ``approximate`` are the ``values`` as float64."""
    size = np.abs(approximate)
    with np.errstate(over="ignore", invalid="ignore"):
        whole = (approximate == np.trunc(approximate)) & (size < 2.0**63)
        rounded = ~np.isnan(approximate) & (approximate.astype(np.float32) != approximate)
    if values.dtype == object or values.dtype.kind in "iu":
        rounded |= whole & (size > EXACT)
    if not rounded.any():
        return "float32"
    return "int64" if whole.all() else "float64"


def converted(values: np.ndarray, datatype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return ``values``, none of them infinite, as int64 or float64 ``datatype``, and which of them that does not hold:
    their places have the nearest float64, or any int64. NaN is held by float64 alone."""
    if values.dtype == object:
        return _converted_one_by_one(values, datatype)
    if datatype == "int64":
        if values.dtype.kind == "f":
            with np.errstate(invalid="ignore"):
                held = _in_int64(values) & (values == np.trunc(values))
            return np.where(held, values, 0).astype(np.int64), ~held
        return values.astype(np.int64), values > np.iinfo(np.int64).max
    rows = values.astype(np.float64)
    if values.dtype.kind == "f":
        return rows, np.zeros(rows.shape, dtype=bool)
    # Above 2**53 only multiples of powers of two are held, and the largest are rounded up beyond the datatype.
    back = np.where(_in_int64(rows), rows, 0).astype(np.int64)
    small = values <= np.iinfo(np.int64).max
    return rows, ~(small & (back == values.astype(np.int64)))


def _in_int64(values: np.ndarray) -> np.ndarray:
    """Return a mask of the floats within the limits of int64."""
    return (values >= -(2.0**63)) & (values < 2.0**63)


def _converted_one_by_one(values: np.ndarray, datatype: str) -> tuple[np.ndarray, np.ndarray]:
    kind = np.dtype(datatype)
    rows, wrong = np.zeros(values.shape, dtype=kind), np.zeros(values.shape, dtype=bool)
    low, high = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    for place, value in np.ndenumerate(values):
        if datatype == "float64":
            rows[place] = held = float(value)
            wrong[place] = value == value and held != value  # Python compares them exactly, NumPy does not
        elif value == value and int(value) == value and low <= value <= high:
            rows[place] = int(value)
        else:
            wrong[place] = True
    return rows, wrong


def written_as_floats(values: np.ndarray) -> np.ndarray:
    """Return a mask of those of ``values`` that were written as floats and are too large for that to tell which whole
    number was meant."""
    if values.dtype != object:
        return np.zeros(values.shape, dtype=bool)
    return _each(lambda value: isinstance(value, float) and abs(value) >= EXACT, values).astype(bool)
