"""Trees as they are folded up for a block of rows: pairs of leaves under one test first, then joins of what is below.

Every row has the number of a leaf in each slot. The leaves that stand alone under their test have the first slots,
pairs the next ones; a join puts into its left child's slot what is kept of both children's, until the root is left.
Tests on categories are made before all that, each of which leaves a column of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from servefit.backends.forest.codes import Categories, Ranks
    from servefit.backends.forest.ensemble import Ensemble

FOLD = np.dtype(
    [
        *((name, "<u4") for name in ("sets", "pairs", "joins", "exits")),
        *((name, "<u2") for name in ("sets_count", "singles", "pairs_count", "joins_count", "root", "spare")),
    ]
)
SET = np.dtype([("column", "<u4"), ("bytes", "<u4")])
PAIR = np.dtype([("column", "<u2"), ("bound", "u1"), ("spare", "u1")])
JOIN = np.dtype([("column", "<u2"), ("bound", "u1"), ("left", "u1"), ("right", "u1"), ("spare", "u1")])


@dataclass(frozen=True, slots=True, kw_only=True)
class Folds:
    """Records of FOLD, SET, PAIR and JOIN; ``exits`` are the leaves' payloads; ``number`` (trees,) is one more than the
    place of a tree's fold, and 0 where it has none."""

    folds: np.ndarray
    sets: np.ndarray
    pairs: np.ndarray
    joins: np.ndarray
    exits: np.ndarray
    number: np.ndarray


def folds_of(
    ensemble: Ensemble, ranks: Ranks, categories: Categories, folded: np.ndarray, payload: np.ndarray
) -> Folds:
    """Return the folds of the trees where ``folded`` (trees,), with the ``payload`` (leaves,) of their leaves."""
    trees = np.flatnonzero(folded)
    rank = np.cumsum(folded) - 1
    nodes = np.flatnonzero(folded[ensemble.tree])
    tests = nodes[~ensemble.is_leaf[nodes]]
    left, right = ensemble.left[tests], ensemble.right[tests]
    over_leaves = ensemble.is_leaf[left] & ensemble.is_leaf[right]
    height = _heights(ensemble, tests)
    pairs = tests[over_leaves]
    joins = tests[~over_leaves]
    joins = joins[np.lexsort((height[joins], ensemble.tree[joins]))]
    children = np.stack([ensemble.left[joins], ensemble.right[joins]], axis=1).ravel()
    roots = ensemble.roots[trees]
    singles = np.concatenate([children[ensemble.is_leaf[children]], roots[ensemble.is_leaf[roots]]])
    singles = singles[np.argsort(ensemble.tree[singles], kind="stable")]
    records = np.zeros(len(trees), dtype=FOLD)
    in_sets = tests[ensemble.category_set[tests] >= 0]
    counted = (("sets_count", in_sets), ("singles", singles), ("pairs_count", pairs), ("joins_count", joins))
    for name, members in counted:
        records[name] = np.bincount(rank[ensemble.tree[members]], minlength=len(trees))
    for name in ("sets", "pairs", "joins"):
        records[name] = _begins(records[f"{name}_count"])
    # What a set says of the rows is a column behind all others, with 1 where they go right.
    column, bound = ranks.column.copy(), ranks.bound.copy()
    of_set = np.arange(len(in_sets)) - records["sets"][rank[ensemble.tree[in_sets]]].astype(np.int64)
    column[in_sets], bound[in_sets] = len(ranks.columns) + len(categories.columns) + of_set, 0
    slot = np.full(len(ensemble.left), -1)
    slot[singles] = np.arange(len(singles)) - _begins(records["singles"])[rank[ensemble.tree[singles]]]
    of_pair = rank[ensemble.tree[pairs]]
    slot[pairs] = records["singles"][of_pair] + np.arange(len(pairs)) - records["pairs"][of_pair].astype(np.int64)
    for level in range(1, int(height[joins].max(initial=0)) + 1):
        here = joins[height[joins] == level]
        slot[here] = slot[ensemble.left[here]]
    records["root"] = slot[roots]
    exits, records["exits"] = _exits(ensemble, records, singles, pairs, payload)
    number = np.zeros(len(folded), dtype=np.int64)
    number[trees] = 1 + np.arange(len(trees))
    return Folds(
        folds=records,
        sets=_records(SET, column=categories.column[in_sets], bytes=categories.set_bytes[in_sets]),
        pairs=_records(PAIR, column=column[pairs], bound=bound[pairs]),
        joins=_records(
            JOIN,
            column=column[joins],
            bound=bound[joins],
            left=slot[ensemble.left[joins]],
            right=slot[ensemble.right[joins]],
        ),
        exits=exits,
        number=number,
    )


def _records(kind: np.dtype, **fields: np.ndarray) -> np.ndarray:
    records = np.zeros(len(fields["column"]), dtype=kind)
    for name, values in fields.items():
        records[name] = values
    return records


def _begins(counts: np.ndarray) -> np.ndarray:
    counts = counts.astype(np.int64)
    begins: np.ndarray = np.cumsum(counts) - counts
    return begins


def _heights(ensemble: Ensemble, tests: np.ndarray) -> np.ndarray:
    """Return the heights: 0 for a test over two leaves, otherwise one more than the higher child. Leaves have -1."""
    height = np.full(len(ensemble.left), -1)
    for depth in range(int(ensemble.depth[tests].max(initial=0)), -1, -1):
        here = tests[ensemble.depth[tests] == depth]
        height[here] = 1 + np.maximum(height[ensemble.left[here]], height[ensemble.right[here]])
    return height


def _exits(
    ensemble: Ensemble, records: np.ndarray, singles: np.ndarray, pairs: np.ndarray, payload: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the payloads of each fold's leaves, with room for whole registers behind, and where those of each fold
    begin."""
    alone, paired = records["singles"].astype(np.int64), records["pairs_count"].astype(np.int64)
    leaves = alone + 2 * paired
    begin = _begins(np.where(leaves <= 32, 32, np.where(leaves <= 64, 64, leaves)))
    exits = np.zeros(int(begin[-1] + 256) if len(begin) else 0, dtype=np.uint32)
    values = payload.view(np.uint32)
    fold = np.repeat(np.arange(len(records)), alone)
    exits[begin[fold] + np.arange(len(singles)) - _begins(alone)[fold]] = values[ensemble.leaf[singles]]
    fold = np.repeat(np.arange(len(records)), paired)
    at = begin[fold] + alone[fold] + 2 * (np.arange(len(pairs)) - _begins(paired)[fold])
    exits[at] = values[ensemble.leaf[ensemble.left[pairs]]]
    exits[at + 1] = values[ensemble.leaf[ensemble.right[pairs]]]
    return exits, begin
