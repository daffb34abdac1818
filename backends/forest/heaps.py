"""The first levels of trees as heaps, for blocks of rows: node i has its children at 2i and 2i + 1, and holds a byte to
compare with and the column of codes to compare.

A heap's bounds are ranks: a value's rank is the number of different bounds of its feature that its key is above, over
all heaps. Ranks are compared as bytes, so a feature has one column of codes for every 255 different bounds, where codes
are what lies of a rank between the column's base and base + 255. Missing values have the lowest code or the highest:
features whose tests send them both ways have columns for both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from servefit.backends.forest.ensemble import Ensemble
    from servefit.backends.forest.walks import Keys

MAX_LEVELS = 8
MAX_COLUMNS = 1024
"""Codes of more columns would take the cache from the trees."""
MAX_SETS = 512
"""Every set takes part in encoding every row."""
MAX_DEPTH = 62
"""A node this deep is reached by one row in 2**62, if rows part evenly."""

RANK_FEATURE = np.dtype(
    [(name, "<u4") for name in ("feature", "bounds", "search_levels", "columns_begin", "columns_end")]
)
RANK_COLUMN = np.dtype([("base", "<u4"), ("missing_right", "<u4")])
SET_COLUMN = np.dtype([("key", "<u4"), ("bits", "<u4")])

_CODES = 255
_HIGHEST = np.iinfo(np.int32).max

# What the levels of a heap cost a block of 64 rows in ns, and a step of a walk each row (benchmarks/forest.py). Only
# their ratios matter, for how many levels of a deep tree are worth a heap.
_MASKED_LEVELS, _MASK_NS, _LEVEL_NS, _STEP_NS = 5, 1.0, 29.0, 64 * 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """How many levels of each tree become its heap, and the means of a row's steps below it, and from the root.
    All (trees,). A tree is complete if its heap has all of its levels."""

    levels: np.ndarray
    complete: np.ndarray
    steps_on: np.ndarray
    steps: np.ndarray


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


def choose_levels(ensemble: Ensemble) -> Levels:
    """As many levels as pay, and as columns of codes are there for."""
    with_sets = np.zeros(len(ensemble.roots), dtype=bool)
    if len(ensemble.sets) > MAX_SETS:
        with_sets[ensemble.tree[ensemble.category_set >= 0]] = True
    for most in range(MAX_LEVELS, -1, -1):
        chosen = _levels_up_to(most, ensemble, with_sets)
        if _columns_needed(ensemble, _in_heaps(ensemble, chosen.levels)) <= MAX_COLUMNS:
            return chosen
    raise AssertionError("heaps without levels need no columns")


def _levels_up_to(most: int, ensemble: Ensemble, without_heap: np.ndarray) -> Levels:
    leaves = np.flatnonzero(ensemble.is_leaf)
    tree, depth = ensemble.tree[leaves], ensemble.depth[leaves]
    weight = 0.5 ** np.minimum(depth, MAX_DEPTH)
    trees = len(ensemble.roots)
    deepest = np.zeros(trees, dtype=np.int64)
    np.maximum.at(deepest, tree, depth)
    on = np.stack([np.bincount(tree, weight * np.maximum(depth - n, 0), trees) for n in range(most + 1)])
    levels = np.arange(most + 1)
    heap_ns = (2.0 ** np.minimum(levels, _MASKED_LEVELS) - 1) * _MASK_NS + _LEVEL_NS * np.maximum(
        levels - _MASKED_LEVELS, 0
    )
    best = np.argmin(heap_ns[:, np.newaxis] + _STEP_NS * on, axis=0)
    chosen = np.where(without_heap, 0, np.where(deepest <= most, deepest, best))
    return Levels(levels=chosen, complete=chosen == deepest, steps_on=on[chosen, np.arange(trees)], steps=on[0])


def _in_heaps(ensemble: Ensemble, levels: np.ndarray) -> np.ndarray:
    result: np.ndarray = ~ensemble.is_leaf & (ensemble.depth < levels[ensemble.tree])
    return result


def _columns_needed(ensemble: Ensemble, tests: np.ndarray) -> int:
    codes = rank_codes(ensemble, tests)
    return len(codes.rank_columns) + len(np.unique(ensemble.category_set[tests & (ensemble.category_set >= 0)]))


def rank_codes(ensemble: Ensemble, tests: np.ndarray, keys: Keys | None = None) -> Codes:
    """The codes for ``tests``, (nodes,) booleans; with ``keys``, those of categorical ones as well."""
    numeric = np.flatnonzero(tests & (ensemble.category_set < 0))
    feature, missing = ensemble.feature[numeric].astype(np.int64), ensemble.missing_right[numeric].astype(np.int64)
    pairs, of_pair = np.unique((feature << 32) + (ensemble.bound[numeric] + 2**31), return_inverse=True)
    features, first, counts = np.unique(pairs >> 32, return_index=True, return_counts=True)
    of_feature = np.searchsorted(features, feature)
    rank = of_pair.reshape(-1) - first[of_feature]
    # By feature, part and direction, so that the columns of a feature are neighbours.
    part = rank // _CODES
    names, column_of = np.unique((feature << 32) + part * 2 + missing, return_inverse=True)
    rank_columns = np.zeros(len(names), dtype=RANK_COLUMN)
    rank_columns["base"] = (names & 0xFFFFFFFF) // 2 * _CODES
    rank_columns["missing_right"] = names & 1
    rank_features = np.zeros(len(features), dtype=RANK_FEATURE)
    rank_features["feature"] = features
    rank_features["columns_begin"] = np.searchsorted(names >> 32, features, side="left")
    rank_features["columns_end"] = np.searchsorted(names >> 32, features, side="right")
    searches = [
        _search_levels(pairs[begin : begin + count] & 0xFFFFFFFF) for begin, count in zip(first, counts, strict=True)
    ]
    sizes = np.array([len(bounds) for _, bounds in searches], dtype=np.int64)
    rank_features["bounds"] = np.cumsum(sizes) - sizes
    rank_features["search_levels"] = [levels for levels, _ in searches]
    column, bound = np.zeros(len(tests), dtype=np.int64), np.full(len(tests), _CODES)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Heaps:
    """The heaps of trees, one after the other: ``column`` and ``bound`` have 2**levels entries a tree, beginning at
    ``begin`` (trees,), the exits as many from ``exits_begin`` on. A heap's first entry means nothing."""

    column: np.ndarray
    bound: np.ndarray
    begin: np.ndarray
    exits: np.ndarray
    exits_begin: np.ndarray


def heaps_of(
    ensemble: Ensemble, codes: Codes, chosen: Levels, trees: np.ndarray, place: np.ndarray, payload: np.ndarray
) -> Heaps:
    """Heaps of ``trees`` (tree numbers, in this order). Exits of complete trees hold the ``payload`` (leaves,) of a
    leaf, the others the ``place`` (nodes,) of a node."""
    levels = chosen.levels[trees]
    begin = _begins(np.maximum(64, 2**levels), trees)
    exits_begin = _begins(np.maximum(32, 2**levels), trees)
    column = np.zeros(int(np.maximum(64, 2**levels).sum()) + 64, dtype=np.int64)
    bound = np.full(len(column), _CODES)
    exits = np.zeros(int(np.maximum(32, 2**levels).sum()) + 32, dtype=np.int64)
    position = _heap_positions(ensemble)
    level = chosen.levels[ensemble.tree]
    tests = np.flatnonzero(~ensemble.is_leaf & (ensemble.depth < level))
    at = begin[ensemble.tree[tests]] + position[tests]
    column[at], bound[at] = codes.column[tests], codes.bound[tests]
    # A leaf above the last level is the exit of everything below it.
    ends = np.flatnonzero((ensemble.is_leaf & (ensemble.depth <= level)) | (ensemble.depth == level))
    value = np.where(
        chosen.complete[ensemble.tree[ends]], payload[np.maximum(ensemble.leaf[ends], 0)].view(np.uint32), place[ends]
    )
    below = level[ends] - ensemble.depth[ends]
    width = 2**below
    first = exits_begin[ensemble.tree[ends]] + (position[ends] << below) - 2 ** level[ends]
    within = np.arange(int(width.sum())) - np.repeat(np.cumsum(width) - width, width)
    exits[np.repeat(first, width) + within] = np.repeat(value, width)
    return Heaps(column=column, bound=bound, begin=begin, exits=exits, exits_begin=exits_begin)


def _begins(sizes: np.ndarray, trees: np.ndarray) -> np.ndarray:
    """Where the part of each tree begins when they lie in the order of ``trees``; by tree number."""
    begins = np.zeros(len(trees), dtype=np.int64)
    begins[trees] = np.cumsum(sizes) - sizes
    return begins


def _heap_positions(ensemble: Ensemble) -> np.ndarray:
    """1 for roots, 2i and 2i + 1 for the children of i. Right down to MAX_LEVELS."""
    position = np.ones(len(ensemble.left), dtype=np.int64)
    reached = ensemble.roots
    for _ in range(MAX_LEVELS):
        inner = reached[ensemble.left[reached] >= 0]
        left, right = ensemble.left[inner], ensemble.right[inner]
        position[left], position[right] = 2 * position[inner], 2 * position[inner] + 1
        reached = np.concatenate([left, right])
    return position
