"""The file of a compiled forest: a header, then arrays at multiples of 64 bytes. kernel/forest.h says what they hold.

It is written whole, and opened by mapping it into memory: processes that serve the same model share it. What was
damaged is refused, by a checksum here and by the kernel's own check of every number that it uses as a place.
"""

from __future__ import annotations

import mmap
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.forest.choosing import choose, coded_tests
from servefit.backends.forest.codes import rank_codes
from servefit.backends.forest.folds import folds_of
from servefit.backends.forest.heaps import heaps_of
from servefit.backends.forest.walks import WIDE, key_columns, linked_nodes
from servefit.errors import BackendError

if TYPE_CHECKING:
    from servefit.backends.forest.ensemble import Ensemble

MAGIC, VERSION = b"SFforest", 1
_ALIGNMENT = 64
_CHECKED_FROM = 16  # the magic, the version and the checksum itself come before

_SECTIONS = (
    *("key_columns", "categories", "bits", "nodes", "trees", "rank_features", "bounds", "rank_columns", "set_columns"),
    *("heap_low", "heap_high", "heap_bounds", "exits", "folds", "fold_pairs", "fold_joins", "leaves", "scale", "base"),
)
_HEADER = np.dtype(
    [
        *(("magic", "S8"), ("version", "<u4"), ("checksum", "<u4"), ("size", "<u8")),
        *((name, "<u4") for name in ("features", "outputs", "vector_leaves", "wide_nodes", "truncated_categories")),
        *((name, "<u4") for name in ("postprocessor", "group", "negated", "complete_count", "spare")),
        *((name, "<f8") for name in ("alpha", "ratio", "offset")),
        ("sections", [("begin", "<u8"), ("count", "<u8")], (len(_SECTIONS),)),
    ]
)
_TREE = np.dtype(
    [
        *((name, "<u4") for name in ("root", "output", "heap", "exits")),
        *(("levels", "<u2"), ("complete", "<u2"), ("steps", "<f4"), ("steps_on", "<f4"), ("fold", "<u4")),
    ]
)
POSTPROCESSORS = (
    *("identity", "sigmoid", "softmax", "exponential", "logarithm_one_plus_exp", "signed_square", "hinge"),
    "exponential_standard_ratio",
)
"""By the kernel's numbers. Two more of Treelite's names are among these: identity_multiclass, multiclass_ova."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """How sums of leaves become predictions: ``base`` (outputs,) is added, then comes the post-processor, over
    ``group`` outputs at a time. With an ``outlier_offset`` the prediction is minus the result, minus that."""

    postprocessor: str
    group: int
    base: np.ndarray
    alpha: float
    ratio: float
    outlier_offset: float | None


def write_forest(file: Path, ensemble: Ensemble, finish: Finish, *, truncated_categories: bool) -> Mapping[str, Any]:
    """Lay ``ensemble`` out and write it to ``file``; gives facts about the layout, JSON values."""
    chosen = choose(ensemble)
    keys = key_columns(ensemble)
    # Trees of equal levels go through their heaps together, walks of like depth end together.
    order = np.lexsort((chosen.steps, chosen.levels, ~chosen.complete))
    walked = order[~chosen.complete[order]]
    vector_leaves = ensemble.leaf_values.shape[1] > 1
    payload = (
        np.arange(len(ensemble.leaf_values), dtype=np.int32)
        if vector_leaves
        else ensemble.leaf_values[:, 0].view(np.int32)
    )
    nodes, place = linked_nodes(ensemble, keys, walked, payload)
    codes = rank_codes(ensemble, coded_tests(ensemble, chosen), keys)
    folds = folds_of(ensemble, codes, chosen.folded, payload)
    heaps = heaps_of(ensemble, codes, chosen, order, place, payload)
    wide_columns = len(codes.rank_columns) + len(codes.set_columns) > 256
    trees = np.zeros(len(order), dtype=_TREE)
    trees["root"] = np.maximum(place[ensemble.roots[order]], 0)
    trees["output"] = ensemble.output[order]
    trees["heap"], trees["exits"] = heaps.begin[order], heaps.exits_begin[order]
    trees["fold"] = folds.number[order]
    for name in ("levels", "complete", "steps", "steps_on"):
        trees[name] = getattr(chosen, name)[order]
    folds.folds["exits"] += len(heaps.exits)
    sections = {
        "key_columns": keys.columns,
        "categories": keys.categories,
        "bits": keys.bits,
        "nodes": nodes,
        "trees": trees,
        "rank_features": codes.rank_features,
        "bounds": codes.bounds,
        "rank_columns": codes.rank_columns,
        "set_columns": codes.set_columns,
        "heap_low": (heaps.column & 0xFF).astype(np.uint8),
        "heap_high": (heaps.column >> 8).astype(np.uint8) if wide_columns else np.zeros(0, dtype=np.uint8),
        "heap_bounds": heaps.bound.astype(np.uint8),
        "exits": np.concatenate([heaps.exits.astype("<u4"), folds.exits]),
        "folds": folds.folds,
        "fold_pairs": folds.pairs,
        "fold_joins": folds.joins,
        "leaves": ensemble.leaf_values if vector_leaves else np.zeros((0, 1), dtype=np.float32),
        "scale": ensemble.scale.astype("<f8"),
        "base": finish.base.astype("<f8"),
    }
    header = np.zeros((), dtype=_HEADER)
    header["features"], header["outputs"] = ensemble.features, ensemble.outputs
    header["vector_leaves"], header["wide_nodes"] = vector_leaves, nodes.dtype == WIDE
    header["truncated_categories"] = truncated_categories
    header["postprocessor"], header["group"] = POSTPROCESSORS.index(finish.postprocessor), finish.group
    header["negated"], header["offset"] = finish.outlier_offset is not None, finish.outlier_offset or 0.0
    header["alpha"], header["ratio"] = finish.alpha, finish.ratio
    header["complete_count"] = int(chosen.complete.sum())
    _write(file, header, sections)
    return {
        "trees": len(order),
        "complete_heaps": int(chosen.complete.sum()),
        "folds": len(folds.folds),
        "code_columns": len(codes.rank_columns) + len(codes.set_columns),
        "linked_nodes": len(nodes),
    }


def _write(file: Path, header: np.ndarray, sections: Mapping[str, np.ndarray]) -> None:
    end = _HEADER.itemsize
    parts: list[bytes] = []
    for number, name in enumerate(_SECTIONS):
        begin = -(-end // _ALIGNMENT) * _ALIGNMENT
        content = np.ascontiguousarray(sections[name]).tobytes()
        header["sections"][number] = (begin, len(sections[name]))
        parts += [b"\0" * (begin - end), content]
        end = begin + len(content)
    header["magic"], header["version"], header["size"] = MAGIC, VERSION, end
    whole = bytearray(header.tobytes() + b"".join(parts))
    header["checksum"] = zlib.crc32(memoryview(whole)[_CHECKED_FROM:])
    whole[: _HEADER.itemsize] = header.tobytes()
    file.write_bytes(whole)


def map_forest(file: Path) -> mmap.mmap:
    """The content of ``file``, mapped. Raises BackendError where it is not what was written."""
    try:
        with file.open("rb") as opened:
            content = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise BackendError("forest", f"its artifact {file} cannot be read: {error}") from error
    with memoryview(content) as view:
        damaged = len(view) < _HEADER.itemsize or bytes(view[:8]) != MAGIC
        damaged = damaged or zlib.crc32(view[_CHECKED_FROM:]) != int.from_bytes(view[12:16], "little")
    if damaged:
        content.close()
        raise BackendError("forest", f"its artifact {file} is damaged")
    return content
