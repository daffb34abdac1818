"""The file of a compiled forest: a header, then arrays at multiples of 64 bytes. kernel/forest.h says what they hold.

It is written whole, and opened by mapping it into memory: processes that serve the same model share it. What was
damaged is refused, by a checksum here and by the kernel's own check of every number that it uses as a place.
"""

from __future__ import annotations

import mmap
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from servefit.errors import BackendError

MAGIC, VERSION, FLOAT32_VERSION = b"SFforest", 2, 1

SECTIONS = (
    *("key_columns", "categories", "bits", "nodes", "trees", "rank_features", "bounds", "rank_columns"),
    *("category_columns", "heap_low", "heap_high", "heap_bounds", "exits"),
    *("folds", "fold_sets", "fold_pairs", "fold_joins", "leaves", "scale", "base"),
)
"""The names of the arrays, in their order."""

HEADER = np.dtype(
    [
        *(("magic", "S8"), ("version", "<u4"), ("checksum", "<u4"), ("size", "<u8")),
        *((name, "<u4") for name in ("features", "outputs", "vector_leaves", "wide_nodes", "truncated_categories")),
        *((name, "<u4") for name in ("postprocessor", "group", "negated", "complete_count", "wide_values")),
        *((name, "<f8") for name in ("alpha", "ratio", "offset")),
        ("sections", [("begin", "<u8"), ("count", "<u8")], (len(SECTIONS),)),
    ]
)
TREE = np.dtype(
    [
        *((name, "<u4") for name in ("root", "output", "heap", "exits")),
        *(("levels", "<u2"), ("complete", "<u2"), ("steps", "<f4"), ("steps_on", "<f4"), ("fold", "<u4")),
    ]
)
CHECKED_FROM = 16
"""The checksum, a CRC-32, is over everything behind itself."""

_ALIGNMENT = 64
"""A cache line, and the widest register, of AVX-512."""


def write(file: Path, fields: Mapping[str, float], sections: Mapping[str, np.ndarray]) -> None:
    """Write ``file`` with the header's ``fields`` and all ``sections``."""
    header = np.zeros((), dtype=HEADER)
    for name, value in fields.items():
        header[name] = value
    end = HEADER.itemsize
    parts: list[bytes] = []
    for number, name in enumerate(SECTIONS):
        begin = -(-end // _ALIGNMENT) * _ALIGNMENT
        content = np.ascontiguousarray(sections[name]).tobytes()
        header["sections"][number] = (begin, len(sections[name]))
        parts += [b"\0" * (begin - end), content]
        end = begin + len(content)
    header["magic"], header["size"] = MAGIC, end
    # Forests of float32 rows are as they were before there were others.
    header["version"] = VERSION if fields["wide_values"] else FLOAT32_VERSION
    whole = bytearray(header.tobytes() + b"".join(parts))
    header["checksum"] = zlib.crc32(memoryview(whole)[CHECKED_FROM:])
    whole[: HEADER.itemsize] = header.tobytes()
    file.write_bytes(whole)


def map_forest(file: Path) -> mmap.mmap:
    """Return the content of ``file``, mapped. Raises BackendError where it is not what was written."""
    try:
        with file.open("rb") as opened:
            content = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise BackendError("forest", f"its artifact {file} cannot be read: {error}") from error
    with memoryview(content) as view:
        damaged = len(view) < HEADER.itemsize or bytes(view[:8]) != MAGIC
        damaged = damaged or zlib.crc32(view[CHECKED_FROM:]) != int.from_bytes(view[12:16], "little")
    if damaged:
        content.close()
        raise BackendError("forest", f"its artifact {file} is damaged")
    return content
