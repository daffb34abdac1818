"""The first levels of trees as heaps: node i has its children at 2i and 2i + 1, and holds a byte to compare a code with
and the column of the code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from servefit.backends.forest.choosing import MAX_LEVELS
from servefit.backends.forest.codes import NEVER

if TYPE_CHECKING:
    from servefit.backends.forest.choosing import HeapChoice
    from servefit.backends.forest.codes import Ranks
    from servefit.backends.forest.ensemble import Ensemble


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
    ensemble: Ensemble, ranks: Ranks, chosen: HeapChoice, trees: np.ndarray, place: np.ndarray, payload: np.ndarray
) -> Heaps:
    """Return the heaps of ``trees`` (tree numbers, in this order). Exits of complete trees hold the ``payload``
    (leaves,) of a leaf, the others the ``place`` (nodes,) of a node."""
    levels = chosen.levels[trees]
    begin = _begins(np.maximum(64, 2**levels), trees)
    exits_begin = _begins(np.maximum(32, 2**levels), trees)
    column = np.zeros(int(np.maximum(64, 2**levels).sum()) + 64, dtype=np.int64)
    bound = np.full(len(column), NEVER)
    exits = np.zeros(int(np.maximum(32, 2**levels).sum()) + 32, dtype=np.int64)
    position = _heap_positions(ensemble)
    level = chosen.levels[ensemble.tree]
    tests = np.flatnonzero(~ensemble.is_leaf & (ensemble.depth < level))
    at = begin[ensemble.tree[tests]] + position[tests]
    column[at], bound[at] = ranks.column[tests], ranks.bound[tests]
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
    """Return the begin of each tree's part when they lie in the order of ``trees``; by tree number."""
    begins = np.zeros(len(trees), dtype=np.int64)
    begins[trees] = np.cumsum(sizes) - sizes
    return begins


def _heap_positions(ensemble: Ensemble) -> np.ndarray:
    """Return the positions: 1 for roots, 2i and 2i + 1 for the children of i. Right down to MAX_LEVELS."""
    position = np.ones(len(ensemble.left), dtype=np.int64)
    reached = ensemble.roots
    for _ in range(MAX_LEVELS):
        inner = reached[ensemble.left[reached] >= 0]
        left, right = ensemble.left[inner], ensemble.right[inner]
        position[left], position[right] = 2 * position[inner], 2 * position[inner] + 1
        reached = np.concatenate([left, right])
    return position
