"""Lays an ensemble out as the arrays of a forest's file, each tree as ``choosing`` says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.forest import file_format
from servefit.backends.forest.choosing import choose, coded_tests
from servefit.backends.forest.codes import category_codes, rank_codes
from servefit.backends.forest.folds import folds_of
from servefit.backends.forest.heaps import heaps_of
from servefit.backends.forest.walks import WIDE, key_columns, linked_nodes

if TYPE_CHECKING:
    from servefit.backends.forest.choosing import HeapChoice
    from servefit.backends.forest.ensemble import Ensemble
    from servefit.backends.forest.finish import Finish

_NARROW_COLUMNS = 256
"""The number of a column is one byte up to so many, and a second one in ``heap_high`` beyond."""


def write_forest(file: Path, ensemble: Ensemble, finish: Finish, *, truncated_categories: bool) -> Mapping[str, Any]:
    """Lay ``ensemble`` out and write it to ``file``; gives facts about the layout, JSON values."""
    chosen = choose(ensemble)
    sections = _sections(ensemble, chosen) | {"scale": ensemble.scale, "base": finish.base}
    fields = {
        "features": ensemble.features,
        "wide_values": ensemble.wide_values,
        "outputs": ensemble.outputs,
        "vector_leaves": _has_vectors(ensemble),
        "wide_nodes": sections["nodes"].dtype == WIDE,
        "truncated_categories": truncated_categories,
        "postprocessor": finish.postprocessor,
        "group": finish.group,
        "negated": finish.outlier_offset is not None,
        "complete_count": int(chosen.complete.sum()),
        "alpha": finish.alpha,
        "ratio": finish.ratio,
        "offset": finish.outlier_offset or 0.0,
    }
    file_format.write(file, fields, sections)
    return {
        "trees": len(ensemble.roots),
        "complete_heaps": int(chosen.complete.sum()),
        "folds": int(chosen.folded.sum()),
        "code_columns": len(sections["rank_columns"]) + len(sections["category_columns"]),
        "linked_nodes": len(sections["nodes"]),
    }


def _has_vectors(ensemble: Ensemble) -> bool:
    return bool(ensemble.leaf_values.shape[1] > 1)


def _sections(ensemble: Ensemble, chosen: HeapChoice) -> dict[str, np.ndarray]:
    """Return the arrays of the trees, by their names in the file."""
    vectors = _has_vectors(ensemble)
    # A leaf is its value, or the number of its vector.
    values = ensemble.leaf_values
    payload = np.arange(len(values), dtype=np.int32) if vectors else values[:, 0].view(np.int32)
    # Trees of equal levels go through their heaps together, walks of like depth end together.
    order = np.lexsort((chosen.steps, chosen.levels, ~chosen.complete))
    tests = coded_tests(ensemble, chosen)
    ranks = rank_codes(ensemble, tests)
    keys = key_columns(ensemble, ranks.features["feature"])
    bounds = ranks.rank if ensemble.wide_values else ensemble.bound
    nodes, place = linked_nodes(ensemble, keys, bounds, order[~chosen.complete[order]], payload)
    categories = category_codes(ensemble, tests, keys, first_column=len(ranks.columns))
    heaps = heaps_of(ensemble, ranks, chosen, order, place, payload)
    folds = folds_of(ensemble, ranks, categories, chosen.folded, payload)
    trees = np.zeros(len(order), dtype=file_format.TREE)
    trees["root"] = np.maximum(place[ensemble.roots[order]], 0)
    trees["output"] = ensemble.output[order]
    trees["heap"], trees["exits"] = heaps.begin[order], heaps.exits_begin[order]
    trees["fold"] = folds.number[order]
    for name in ("levels", "complete", "steps", "steps_on"):
        trees[name] = getattr(chosen, name)[order]
    folds.folds["exits"] += len(heaps.exits)
    high = heaps.column if len(ranks.columns) > _NARROW_COLUMNS else heaps.column[:0]
    return {
        "key_columns": keys.columns,
        "categories": keys.categories,
        "bits": keys.bits,
        "nodes": nodes,
        "trees": trees,
        "rank_features": ranks.features,
        "bounds": ranks.bounds,
        "rank_columns": ranks.columns,
        "category_columns": categories.columns,
        "heap_low": (heaps.column & 0xFF).astype(np.uint8),
        "heap_high": (high >> 8).astype(np.uint8),
        "heap_bounds": heaps.bound.astype(np.uint8),
        "exits": np.concatenate([heaps.exits.astype("<u4"), folds.exits]),
        "folds": folds.folds,
        "fold_sets": folds.sets,
        "fold_pairs": folds.pairs,
        "fold_joins": folds.joins,
        "leaves": values if vectors else values[:0],
    }
