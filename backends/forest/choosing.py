"""Chooses the layout of each tree's parts by what those ways cost a block of rows.

Rows alone go through a heap if that holds all of the tree, and otherwise walk. In blocks a tree with few nodes is
folded up; the others have a heap of as many levels as pay, and rows walk on below it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from servefit.backends.forest.codes import MAX_CATEGORIES, rank_codes

if TYPE_CHECKING:
    from servefit.backends.forest.ensemble import Ensemble

MAX_LEVELS = 8
"""Of a heap, which has 2**levels entries."""
MAX_COLUMNS = 1024
"""Codes of more columns would take the cache from the trees."""
MAX_FOLD_LEAVES = 256
"""A leaf's number in a fold is a byte."""

# What the parts cost a block of 64 rows, in ns on a Zen 4 core (benchmarks/claims/forest_costs.py). Only their ratios
# matter.
_MASKED_LEVELS, _MASK_NS, _LEVEL_NS = 5, 1.1, 38.0
_LEAVE_NS, _STEP_NS = 64 * 3.3, 64 * 1.0
_PAIR_NS, _JOIN_NS, _SET_NS = 1.8, 2.2, 2.1


@dataclass(frozen=True, slots=True, kw_only=True)
class HeapChoice:
    """For each tree: how many levels its heap has, whether these are all, whether it is folded up for blocks, and the
    means of a row's steps below the heap and from the root. All (trees,)."""

    levels: np.ndarray
    complete: np.ndarray
    folded: np.ndarray
    steps_on: np.ndarray
    steps: np.ndarray


def choose(ensemble: Ensemble) -> HeapChoice:
    """Return the cheapest ways that there are columns of codes for."""
    foldable = _foldable(ensemble)
    for most in range(MAX_LEVELS, -1, -1):
        for can_fold in (foldable, np.zeros_like(foldable)):
            chosen = _choose(ensemble, most, can_fold)
            if len(rank_codes(ensemble, coded_tests(ensemble, chosen)).columns) <= MAX_COLUMNS:
                return chosen
    raise AssertionError("trees without heaps and folds need no columns")


def _foldable(ensemble: Ensemble) -> np.ndarray:
    """Return whether a fold could hold each tree, by its leaves and the categories of its features. (trees,)"""
    foldable = np.bincount(ensemble.tree[ensemble.is_leaf]) <= MAX_FOLD_LEAVES
    crowded = [feature for feature, categories in ensemble.categories().items() if len(categories) > MAX_CATEGORIES]
    foldable[ensemble.tree[(ensemble.category_set >= 0) & np.isin(ensemble.feature, crowded)]] = False
    return foldable


def coded_tests(ensemble: Ensemble, chosen: HeapChoice) -> np.ndarray:
    """Return the tests that need codes, (nodes,) booleans."""
    in_heap = ensemble.depth < chosen.levels[ensemble.tree]
    tests: np.ndarray = ~ensemble.is_leaf & (in_heap | chosen.folded[ensemble.tree])
    return tests


def _choose(ensemble: Ensemble, most: int, foldable: np.ndarray) -> HeapChoice:
    leaves = np.flatnonzero(ensemble.is_leaf)
    tree, depth = ensemble.tree[leaves], ensemble.depth[leaves]
    trees = len(ensemble.roots)
    deepest = np.zeros(trees, dtype=np.int64)
    np.maximum.at(deepest, tree, depth)
    on = np.stack([np.bincount(tree, ensemble.leaf_share * np.maximum(depth - n, 0), trees) for n in range(most + 1)])
    levels = np.arange(most + 1)
    beyond_masks = np.maximum(levels - _MASKED_LEVELS, 0)
    heap_ns = (2.0 ** np.minimum(levels, _MASKED_LEVELS) - 1) * _MASK_NS + _LEVEL_NS * beyond_masks
    way_ns = heap_ns[:, np.newaxis] + _LEAVE_NS * (on > 0) + _STEP_NS * on
    best = np.where(deepest <= most, deepest, np.argmin(way_ns, axis=0))
    best[ensemble.tree[ensemble.category_set >= 0]] = 0  # heaps have no tests on categories
    folded = foldable & (_fold_ns(ensemble) < way_ns[best, np.arange(trees)])
    # Below a fold nobody walks on, so only a heap that has all levels is of use beside it.
    chosen = np.where(folded & (best < deepest), 0, best)
    return HeapChoice(
        levels=chosen,
        complete=chosen == deepest,
        folded=folded,
        steps_on=on[chosen, np.arange(trees)],
        steps=on[0],
    )


def _fold_ns(ensemble: Ensemble) -> np.ndarray:
    """Return the cost of folding up each tree. (trees,)"""
    tests = np.flatnonzero(~ensemble.is_leaf)
    over_leaves = ensemble.is_leaf[ensemble.left[tests]] & ensemble.is_leaf[ensemble.right[tests]]
    ns = np.where(over_leaves, _PAIR_NS, _JOIN_NS)
    ns += _SET_NS * (ensemble.category_set[tests] >= 0)
    return np.bincount(ensemble.tree[tests], ns, len(ensemble.roots))
