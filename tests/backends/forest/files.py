"""Takes the file of a forest apart, and replaces parts of it."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.forest.codes import CATEGORY_COLUMN, RANK_COLUMN, RANK_FEATURE
from servefit.backends.forest.file_format import CHECKED_FROM, HEADER, SECTIONS, TREE
from servefit.backends.forest.folds import FOLD, JOIN, PAIR, SET
from servefit.backends.forest.walks import KEY_COLUMN, NARROW, WIDE

if TYPE_CHECKING:
    from pathlib import Path

_KINDS: dict[str, Any] = {
    "key_columns": KEY_COLUMN,
    "categories": "<u4",
    "bits": "<u4",
    "trees": TREE,
    "rank_features": RANK_FEATURE,
    "bounds": "<i4",
    "rank_columns": RANK_COLUMN,
    "category_columns": CATEGORY_COLUMN,
    "heap_low": "u1",
    "heap_high": "u1",
    "heap_bounds": "u1",
    "exits": "<u4",
    "folds": FOLD,
    "fold_sets": SET,
    "fold_pairs": PAIR,
    "fold_joins": JOIN,
    "scale": "<f8",
    "base": "<f8",
}


class ForestFile:
    """``header`` and arrays are what the content holds, and can be changed; ``sealed`` makes the checksum right."""

    def __init__(self, content: bytes | bytearray) -> None:
        self._content = bytearray(content)

    @classmethod
    def read(cls, file: Path) -> ForestFile:
        return cls(file.read_bytes())

    @property
    def header(self) -> Any:
        return np.frombuffer(self._content, dtype=HEADER, count=1)[0]

    def section(self, name: str) -> Any:
        """Where the array ``name`` begins, and how many entries it has."""
        return self.header["sections"][SECTIONS.index(name)]

    def array(self, name: str) -> np.ndarray:
        header, section = self.header, self.section(name)
        kind = np.dtype(_KINDS.get(name, "<f4"))
        shape = [int(section["count"])]
        if name == "bounds" and header["wide_values"]:
            kind = np.dtype("<i8")
        if name == "nodes":
            kind = WIDE if header["wide_nodes"] else NARROW
        elif name == "leaves":
            shape.append(int(header["outputs"]))
        count = int(np.prod(shape))
        return np.frombuffer(self._content, dtype=kind, count=count, offset=int(section["begin"])).reshape(shape)

    def replace(self, name: str, array: np.ndarray) -> None:
        """Put ``array`` at the end, in the place of the one that was there."""
        begin = -(-len(self._content) // 64) * 64
        # A new one: views of the content keep it from growing.
        self._content = self._content.ljust(begin, b"\0") + array.tobytes()
        section = self.section(name)
        section["begin"], section["count"] = begin, len(array)
        self.header["size"] = len(self._content)

    def sealed(self) -> bytes:
        self.header["checksum"] = zlib.crc32(self._content[CHECKED_FROM:])
        return bytes(self._content)
