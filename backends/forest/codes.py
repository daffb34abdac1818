"""Codes: bytes that the tests of heaps and folds look at, instead of keys.

A bound becomes a rank among the different bounds of its feature, and a value's rank is the number of bounds that its
key is above. Of float64 rows, ranks among all bounds are also the keys that linked nodes compare. Ranks are compared as
bytes, so a feature has one column of codes for every 255 different bounds, where codes are what lies of a rank between
the column's base and base + 255. Missing values have the lowest code or the highest: features whose tests send them
both ways have columns for both, unless they send them where zeros go. A category's code is its key, where there are few
enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """The columns of numerical codes and what they are made from: records of RANK_FEATURE and RANK_COLUMN, and the
    bounds in levels of 16-ary search. ``column`` and ``bound`` (nodes,) are right at the tests that they are for;
    ``rank`` (nodes,) is that of each ranked test's bound among those of its feature."""

    features: np.ndarray
    bounds: np.ndarray
    columns: np.ndarray
    column: np.ndarray
    bound: np.ndarray
    rank: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class Categories:
    """The columns of categorical codes, records of CATEGORY_COLUMN. ``column`` (nodes,) is right at the tests that they
    are for, and counts from behind the numerical columns; ``set_bytes`` (nodes,) is where the test's set begins."""

    columns: np.ndarray
    column: np.ndarray
    set_bytes: np.ndarray


def rank_codes(ensemble: Ensemble, tests: np.ndarray) -> Ranks:
    """Return the codes for the numerical ones of ``tests``, (nodes,) booleans, and the ranks of their bounds; of all
    bounds where rows are float64."""
    ranked = (~ensemble.is_leaf if ensemble.wide_values else tests) & (ensemble.category_set < 0)
    numeric = np.flatnonzero(ranked)
    feature = ensemble.feature[numeric].astype(np.int64)
    different, place = np.unique(ensemble.bound[numeric], return_inverse=True)
    pairs, of_pair = np.unique((feature << 32) + place.reshape(-1), return_inverse=True)
    used, first, counts = np.unique(pairs >> 32, return_index=True, return_counts=True)
    rank = of_pair.reshape(-1) - first[np.searchsorted(used, feature)]
    coded = tests[numeric]
    missing_right = (ensemble.missing_right[numeric] & ~ensemble.missing_zero[numeric])[coded]
    # By feature, part and direction, so that the columns of a feature are neighbours.
    part = rank[coded] // _CODES
    names, column_of = np.unique((feature[coded] << 32) + part * 2 + missing_right, return_inverse=True)
    columns = np.zeros(len(names), dtype=RANK_COLUMN)
    columns["base"] = (names & 0xFFFFFFFF) // 2 * _CODES
    columns["missing_right"] = names & 1
    features = np.zeros(len(used), dtype=RANK_FEATURE)
    features["feature"] = used
    features["missing_zero"] = np.isin(used, feature[ensemble.missing_zero[numeric]])
    features["columns_begin"] = np.searchsorted(names >> 32, used, side="left")
    features["columns_end"] = np.searchsorted(names >> 32, used, side="right")
    kind = np.dtype("<i8" if ensemble.wide_values else "<i4")
    searches = [
        _search_levels(different[pairs[begin : begin + count] & 0xFFFFFFFF], kind)
        for begin, count in zip(first, counts, strict=True)
    ]
    sizes = np.array([len(bounds) for _, bounds in searches], dtype=np.int64)
    features["bounds"] = np.cumsum(sizes) - sizes
    features["search_levels"] = [levels for levels, _ in searches]
    column, bound = np.zeros(len(tests), dtype=np.int64), np.full(len(tests), NEVER)
    column[numeric[coded]], bound[numeric[coded]] = column_of.reshape(-1), rank[coded] % _CODES
    ranks = np.zeros(len(tests), dtype=np.int64)
    ranks[numeric] = rank
    return Ranks(
        features=features,
        bounds=np.concatenate([np.zeros(0, dtype=kind), *(bounds for _, bounds in searches)]),
        columns=columns,
        column=column,
        bound=bound,
        rank=ranks,
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


def _search_levels(bounds: np.ndarray, kind: np.dtype[Any]) -> tuple[int, np.ndarray]:
    """Return ascending ``bounds`` as levels of 16-ary search, of the datatype ``kind``: an entry is the highest of 16
    of the next level."""
    levels = 1
    while 16**levels < len(bounds):
        levels += 1
    above_all = np.iinfo(kind).max
    whole = np.full(16**levels, above_all, dtype=np.int64)
    whole[: len(bounds)] = bounds
    parts = []
    for level in range(levels):
        highest = whole.reshape(16 ** (level + 1), -1)[:, -1].copy()
        if level < levels - 1:
            highest[15::16] = above_all  # or the search would leave its level
        parts.append(highest)
    return levels, np.concatenate(parts).astype(kind)
