"""Reads as much of a protobuf message as tells one kind from another: which fields its top level has.

Values are skipped and never interpreted. Encoding: https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

MAX_FIELDS = 100_000
"""Exported networks have as many as they have functions and entries of metadata: some thousands."""

VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5
"""Wire types."""

_WIRE_TYPES = (VARINT, FIXED64, LENGTH_DELIMITED, FIXED32)
_FIXED_BYTES = {FIXED64: 8, FIXED32: 4}
_MAX_VARINT_BYTES = 10
"""Seven bits each, and 64 in all."""

_BUFFER_BYTES = 2**16
"""Fields are mostly near each other, so few reads are made. Chosen, not measured."""


def top_level_fields(path: Path) -> dict[int, int]:
    """Return the fields in the file's top level by number, with the wire type of each; none where it is no protobuf
    message or has very many.

    A field that runs past the end of the file counts: that is a message cut off, and not another file.
    """
    size = path.stat().st_size
    seen = dict[int, int]()
    with path.open("rb", buffering=_BUFFER_BYTES) as stream:
        position = 0
        for _ in range(MAX_FIELDS):
            tag, length = _varint(stream)
            field, kind = tag >> 3, tag & 7
            if not field or kind not in _WIRE_TYPES or seen.setdefault(field, kind) != kind:
                return {}
            position += length
            if kind in _FIXED_BYTES:
                position += _FIXED_BYTES[kind]
            else:
                value, length = _varint(stream)
                position += length + (value if kind == LENGTH_DELIMITED else 0)
            if position >= size:
                return seen
            stream.seek(position)
    return {}


def _varint(stream: BinaryIO) -> tuple[int, int]:
    """Return the next variable-length integer, or what is there of it where the file ends, and how many bytes it takes.
    One that has no end stands for 0, a field that no message has."""
    value = 0
    for count in range(_MAX_VARINT_BYTES):
        byte = stream.read(1)
        if not byte:
            return value, count
        value |= (byte[0] & 127) << (7 * count)
        if byte[0] < 128:
            return value, count + 1
    return 0, _MAX_VARINT_BYTES
