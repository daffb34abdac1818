"""Codes: bytes that tests of heaps and folds compare, instead of keys.

A bound becomes a rank among all different bounds of its feature, and a value's rank is the number of bounds that its
key is above. Ranks are compared as bytes, so a feature has one column of codes for every 255 different bounds, where
codes are what lies of a rank between the column's base and base + 255. Missing values have the lowest code or the
highest: features whose tests send them both ways have columns for both, unless they send them where zeros go. A set of
categories has a column of its own, of 0 and 1.
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
SET_COLUMN = np.dtype([("key", "<u4"), ("bits", "<u4")])

_CODES = 255
_HIGHEST = np.iinfo(np.int32).max


@dataclass(frozen=True, slots=True, kw_only=True)
class Codes:
    """The columns of codes and what they are made from: records of RANK_FEATURE, RANK_COLUMN and SET_COLUMN, and the
    bounds in levels of 16-ary search. ``column`` and ``bound`` have one entry a node, right at those in heaps."""

    rank_features: np.ndarray
    bounds: np.ndarray
    rank_columns: np.ndarray
    set_columns: np.ndarray
    column: np.ndarray
    bound: np.ndarray


def rank_codes(ensemble: Ensemble, tests: np.ndarray, keys: Keys | None = None) -> Codes:
    """The codes for ``tests``, (nodes,) booleans; with ``keys``, those of categorical ones as well."""
    numeric = np.flatnonzero(tests & (ensemble.category_set < 0))
    feature = ensemble.feature[numeric].astype(np.int64)
    missing_right = ensemble.missing_right[numeric] & ~ensemble.missing_zero[numeric]
    pairs, of_pair = np.unique((feature << 32) + (ensemble.bound[numeric] + 2**31), return_inverse=True)
    features, first, counts = np.unique(pairs >> 32, return_index=True, return_counts=True)
    of_feature = np.searchsorted(features, feature)
    rank = of_pair.reshape(-1) - first[of_feature]
    # By feature, part and direction, so that the columns of a feature are neighbours.
    part = rank // _CODES
    names, column_of = np.unique((feature << 32) + part * 2 + missing_right, return_inverse=True)
    rank_columns = np.zeros(len(names), dtype=RANK_COLUMN)
    rank_columns["base"] = (names & 0xFFFFFFFF) // 2 * _CODES
    rank_columns["missing_right"] = names & 1
    rank_features = np.zeros(len(features), dtype=RANK_FEATURE)
    rank_features["feature"] = features
    rank_features["missing_zero"] = np.isin(features, feature[ensemble.missing_zero[numeric]])
    rank_features["columns_begin"] = np.searchsorted(names >> 32, features, side="left")
    rank_features["columns_end"] = np.searchsorted(names >> 32, features, side="right")
    searches = [
        _search_levels(pairs[begin : begin + count] & 0xFFFFFFFF) for begin, count in zip(first, counts, strict=True)
    ]
    sizes = np.array([len(bounds) for _, bounds in searches], dtype=np.int64)
    rank_features["bounds"] = np.cumsum(sizes) - sizes
    rank_features["search_levels"] = [levels for levels, _ in searches]
    column, bound = np.zeros(len(tests), dtype=np.int64), np.full(len(tests), NEVER)
    column[numeric], bound[numeric] = column_of.reshape(-1), rank % _CODES
    set_columns = np.zeros(0, dtype=SET_COLUMN)
    if keys is not None:
        categorical = np.flatnonzero(tests & (ensemble.category_set >= 0))
        used, which, place = np.unique(ensemble.category_set[categorical], return_index=True, return_inverse=True)
        set_columns = np.zeros(len(used), dtype=SET_COLUMN)
        set_columns["key"], set_columns["bits"] = keys.column[categorical[which]], keys.set_bits[used]
        column[categorical], bound[categorical] = len(rank_columns) + place.reshape(-1), 0
    return Codes(
        rank_features=rank_features,
        bounds=np.concatenate([np.zeros(0, dtype="<i4"), *(bounds for _, bounds in searches)]),
        rank_columns=rank_columns,
        set_columns=set_columns,
        column=column,
        bound=bound,
    )


def _search_levels(sorted_bounds: np.ndarray) -> tuple[int, np.ndarray]:
    """Ascending bounds, 2**31 added, as levels of 16-ary search: an entry is the highest of 16 of the next level."""
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
