"""Trees as linked nodes, for walks from node to node. The two children of a node lie side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from servefit.backends.forest.ensemble import Ensemble

NARROW = np.dtype([("bound", "<i4"), ("column", "<u2"), ("step", "<u2")])
WIDE = np.dtype([("bound", "<i4"), ("column", "<u4"), ("step", "<u4")])
KEY_COLUMN = np.dtype([(name, "<u4") for name in ("feature", "kind", "begin", "count")])

MISSING_LEFT, MISSING_RIGHT, MISSING_ZERO, CATEGORY = 0, 1, 2, 3
_REGISTER_BYTES = 64
"""The widest, of AVX-512."""

_NARROW_CATEGORY, _WIDE_CATEGORY = 0x8000, 0x80000000


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The columns of keys that tests are on, and where each node's test finds its key.

    ``columns`` are those of KEY_COLUMN; the first is below every bound. ``categories`` are the known ones of all
    categorical columns, ``bits`` (words of 32) the sets: one bit for each known category, for unknown ones, for missing
    ones. ``column`` (nodes,) is 0 at leaves; ``set_bits`` (sets,) is where the bits of a set begin, at a whole byte.
    """

    columns: np.ndarray
    categories: np.ndarray
    bits: np.ndarray
    column: np.ndarray
    set_bits: np.ndarray


def key_columns(ensemble: Ensemble, ranked: np.ndarray) -> Keys:
    """Return the columns of keys that the tests of ``ensemble`` need. ``ranked`` are the features with ranks,
    ascending: if rows are float64, each column holds the place of its feature among them."""
    tests = np.flatnonzero(~ensemble.is_leaf)
    kind = np.where(ensemble.missing_zero[tests], MISSING_ZERO, ensemble.missing_right[tests].astype(np.int64))
    kind[ensemble.category_set[tests] >= 0] = CATEGORY
    # Categorical columns come last.
    names = ((kind == CATEGORY).astype(np.int64) << 40) + (ensemble.feature[tests].astype(np.int64) << 2) + kind
    names, place = np.unique(names, return_inverse=True)
    columns = np.zeros(len(names) + 1, dtype=KEY_COLUMN)
    columns["feature"][1:], columns["kind"][1:] = names >> 2 & 0xFFFFFFFF, names & 3
    if ensemble.wide_values:
        numerical = columns["kind"] != CATEGORY
        columns["begin"][numerical] = np.searchsorted(ranked, columns["feature"][numerical])
    column = np.zeros(len(ensemble.left), dtype=np.int64)
    column[tests] = 1 + place.reshape(-1)
    categories: list[int] = []
    categories_of = ensemble.categories()
    for number in np.flatnonzero(columns["kind"] == CATEGORY):
        of_feature = categories_of[int(columns["feature"][number])]
        columns["begin"][number], columns["count"][number] = len(categories), len(of_feature)
        categories += of_feature
    bits = [
        np.append(
            np.isin(categories_of[category_set.feature], category_set.categories) == category_set.listed_right,
            [not category_set.listed_right, category_set.missing_right],
        )
        for category_set in ensemble.sets
    ]
    sets = [np.packbits(flags, bitorder="little") for flags in bits]
    sizes = np.array([len(packed) for packed in sets], dtype=np.int64)
    # Sets are loaded in whole registers.
    behind = np.zeros(_REGISTER_BYTES + -int(sizes.sum()) % 4 if sets else 0, dtype=np.uint8)
    return Keys(
        columns=columns,
        categories=np.array(categories, dtype=np.uint32),
        bits=np.concatenate([*sets, behind]).view("<u4"),
        column=column,
        set_bits=8 * (np.cumsum(sizes) - sizes),
    )


def linked_nodes(
    ensemble: Ensemble, keys: Keys, bounds: np.ndarray, trees: np.ndarray, payload: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the nodes of ``trees`` (tree numbers, in this order) as NARROW or WIDE records, and every node's place in
    them.

    ``bounds`` (nodes,) are those of numerical tests, ``payload`` (leaves,) int32 is what a leaf's bound holds. The
    place of a node of another tree is -1.
    """
    rank = np.full(len(ensemble.roots), -1)
    rank[trees] = np.arange(len(trees))
    nodes = np.flatnonzero(rank[ensemble.tree] >= 0)
    order = nodes[np.lexsort((_breadth_first(ensemble)[nodes], ensemble.depth[nodes], rank[ensemble.tree[nodes]]))]
    place = np.full(len(ensemble.left), -1)
    place[order] = np.arange(len(order))
    leaf, in_set = ensemble.is_leaf[order], ensemble.category_set[order] >= 0
    step = np.where(leaf, 0, place[np.where(leaf, order, ensemble.left[order])] - place[order])
    column = keys.column[order]
    wide = bool((step > np.iinfo(np.uint16).max).any() or len(keys.columns) > _NARROW_CATEGORY)
    records = np.zeros(len(order), dtype=WIDE if wide else NARROW)
    records["step"] = step
    records["column"] = np.where(in_set, column | (_WIDE_CATEGORY if wide else _NARROW_CATEGORY), column)
    bits = keys.set_bits[ensemble.category_set[order]] if len(keys.set_bits) else np.zeros(len(order))
    bound = np.where(in_set, bits, bounds[order])
    bound[leaf] = payload[ensemble.leaf[order[leaf]]]
    records["bound"] = bound
    return records, place


def _breadth_first(ensemble: Ensemble) -> np.ndarray:
    """Return a number for every node that grows along each level of a tree, with the children of a node side by
    side."""
    number = np.zeros(len(ensemble.left), dtype=np.int64)
    reached = ensemble.roots
    while len(reached):
        number[reached] = np.arange(len(reached))
        inner = reached[ensemble.left[reached] >= 0]
        reached = np.stack([ensemble.left[inner], ensemble.right[inner]], axis=1).ravel()
    return number
