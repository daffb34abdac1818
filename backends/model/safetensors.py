"""The headers of safetensors files: whether a file is all there.

A file begins with the length of its header in eight bytes. The header is JSON, and tells where the values of each
tensor begin and end behind it. Format: https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

from servefit.errors import CorruptModel

_LENGTH_BYTES = 8
_MAX_HEADER_BYTES = 100_000_000
"""The format's own limit."""


def header_length(head: bytes) -> int:
    """Return the length of the header of a file that begins with ``head``, of eight bytes or more."""
    return int(struct.unpack_from("<Q", head)[0])


def check_header(path: Path, head: bytes) -> None:
    """Raise CorruptModel where the header of the file that begins with ``head`` is longer than the file. Raises
    OSError."""
    length, size = header_length(head), path.stat().st_size
    if length > min(_MAX_HEADER_BYTES, size - _LENGTH_BYTES):
        reason = f"it is a damaged safetensors file: its header is to have {length:,} bytes, and the file has {size:,}"
        raise CorruptModel(path, reason, remedy="copy the whole file")


def check_whole(path: Path) -> None:
    """Raise CorruptModel if a safetensors file ends before the tensors that its header lists. Raises OSError."""
    with path.open("rb") as stream:
        head = stream.read(_LENGTH_BYTES)
        if len(head) < _LENGTH_BYTES:
            raise CorruptModel(
                path, "it is a safetensors file that ends before its header", remedy="copy the whole file"
            )
        check_header(path, head)
        content = stream.read(header_length(head))
    try:
        header = json.loads(content)
        ends = [int(tensor["data_offsets"][1]) for name, tensor in header.items() if name != "__metadata__"]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise CorruptModel(path, "it is a safetensors file with a damaged header") from error
    needed = _LENGTH_BYTES + len(content) + max(ends, default=0)
    if path.stat().st_size < needed:
        reason = f"it is a safetensors file that ends before its tensors do: they take {needed:,} bytes"
        raise CorruptModel(path, reason, remedy="copy the whole file")
