"""Codes: bytes that the tests of heaps and folds look at, instead of keys.

A bound becomes a rank among all different bounds of its feature, and a value's rank is the number of bounds that its
key is above. Ranks are compared as bytes, so a feature has one column of codes for every 255 different bounds, where
codes are what lies of a rank between the column's base and base + 255. Missing values have the lowest code or the
highest: features whose tests send them both ways have columns for both, unless they send them where zeros go.
A category's code is its key, where there are few enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from servefit.backends.forest.ensemble import Ensemble
    from servefit.backends.forest.walks import Keys

NEVER = 255
"""A bound that no code is above."""

RANK_FEATURE = np.dtype(
    [(name, "<u4") for name in ("feature", "bounds", "search_levels", "columns_begin", "columns_end", "missing_zero")]
)
RANK_COLUMN = np.dtype([("base", "<u4"), ("missing_right", "<u4")])
CATEGORY_COLUMN = np.dtype([("key", "<u4")])

MAX_CATEGORIES = 254
"""A code of a category is its key: the known ones, and one for unknown ones, and one for missing values."""

_CODES = 255
"""Bounds in a column: codes are bytes, and NEVER is no bound's."""

_HIGHEST = np.iinfo(np.int32).max


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """The columns of numerical codes and what they are made from: records of RANK_FEATURE and RANK_COLUMN, and the
    bounds in levels of 16-ary search. ``column`` and ``bound`` (nodes,) are right at the tests that they are for."""

    features: np.ndarray
    bounds: np.ndarray
    columns: np.ndarray
    column: np.ndarray
    bound: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class Categories:
    """The columns of categorical codes, records of CATEGORY_COLUMN. ``column`` (nodes,) is right at the tests that they
    are for, and counts from behind the numerical columns; ``set_bytes`` (nodes,) is where the test's set begins."""

    columns: np.ndarray
    column: np.ndarray
    set_bytes: np.ndarray


def rank_codes(ensemble: Ensemble, tests: np.ndarray) -> Ranks:
    """Return the codes for the numerical ones of ``tests``, (nodes,) booleans."""
    numeric = np.flatnonzero(tests & (ensemble.category_set < 0))
    feature = ensemble.feature[numeric].astype(np.int64)
    missing_right = ensemble.missing_right[numeric] & ~ensemble.missing_zero[numeric]
    pairs, of_pair = np.unique((feature << 32) + (ensemble.bound[numeric] + 2**31), return_inverse=True)
    used, first, counts = np.unique(pairs >> 32, return_index=True, return_counts=True)
    rank = of_pair.reshape(-1) - first[np.searchsorted(used, feature)]
    # By feature, part and direction, so that the columns of a feature are neighbours.
    names, column_of = np.unique((feature << 32) + rank // _CODES * 2 + missing_right, return_inverse=True)
    columns = np.zeros(len(names), dtype=RANK_COLUMN)
    columns["base"] = (names & 0xFFFFFFFF) // 2 * _CODES
    columns["missing_right"] = names & 1
    features = np.zeros(len(used), dtype=RANK_FEATURE)
    features["feature"] = used
    features["missing_zero"] = np.isin(used, feature[ensemble.missing_zero[numeric]])
    features["columns_begin"] = np.searchsorted(names >> 32, used, side="left")
    features["columns_end"] = np.searchsorted(names >> 32, used, side="right")
    searches = [
        _search_levels(pairs[begin : begin + count] & 0xFFFFFFFF) for begin, count in zip(first, counts, strict=True)
    ]
    sizes = np.array([len(bounds) for _, bounds in searches], dtype=np.int64)
    features["bounds"] = np.cumsum(sizes) - sizes
    features["search_levels"] = [levels for levels, _ in searches]
    column, bound = np.zeros(len(tests), dtype=np.int64), np.full(len(tests), NEVER)
    column[numeric], bound[numeric] = column_of.reshape(-1), rank % _CODES
    return Ranks(
        features=features,
        bounds=np.concatenate([np.zeros(0, dtype="<i4"), *(bounds for _, bounds in searches)]),
        columns=columns,
        column=column,
        bound=bound,
    )


def category_codes(ensemble: Ensemble, tests: np.ndarray, keys: Keys, *, first_column: int) -> Categories:
    """Return the codes for the categorical ones of ``tests``, (nodes,) booleans, in columns from ``first_column``
    on."""
    categorical = np.flatnonzero(tests & (ensemble.category_set >= 0))
    used, column_of = np.unique(keys.column[categorical], return_inverse=True)
    columns = np.zeros(len(used), dtype=CATEGORY_COLUMN)
    columns["key"] = used
    column, set_bytes = np.zeros(len(tests), dtype=np.int64), np.zeros(len(tests), dtype=np.int64)
    column[categorical] = first_column + column_of.reshape(-1)
    set_bytes[categorical] = keys.set_bits[ensemble.category_set[categorical]] // 8
    return Categories(columns=columns, column=column, set_bytes=set_bytes)


def _search_levels(sorted_bounds: np.ndarray) -> tuple[int, np.ndarray]:
    """Return ascending bounds, 2**31 added, as levels of 16-ary search: an entry is the highest of 16 of the next
    level."""
    bounds = sorted_bounds.astype(np.int64) - 2**31
    levels = 1
    while 16**levels < len(bounds):
        levels += 1
    whole = np.full(16**levels, _HIGHEST, dtype=np.int64)
    whole[: len(bounds)] = bounds
    parts = []
    for level in range(levels):
        highest = whole.reshape(16 ** (level + 1), -1)[:, -1].copy()
        if level < levels - 1:
            highest[15::16] = _HIGHEST  # or the search would leave its level
        parts.append(highest)
    return levels, np.concatenate(parts).astype("<i4")
