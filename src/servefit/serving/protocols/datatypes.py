"""The datatypes of the Open Inference Protocol, and NumPy's, which have other names; and texts, as its binary extension
has them."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.model.texts import TEXT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DTYPES: Mapping[str, np.dtype[Any]] = {
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    **{f"INT{bits}": np.dtype(f"<i{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": np.dtype(f"<u{bits // 8}") for bits in (8, 16, 32, 64)},
    "BOOL": np.dtype(np.bool_),
}
"""The form of values in binary data, by the protocol's name for their datatype."""

BYTES = "BYTES"
"""The protocol's name for texts, which have no form of one length."""

_LENGTH = struct.Struct("<I")
"""Of a text in binary data, before it."""

_NAMES = {TEXT: BYTES} | {dtype.name: name for name, dtype in DTYPES.items()}


def datatype_of(name: str) -> str:
    """Return the protocol's name for a datatype that NumPy calls ``name``, such as "float32"; texts are "str"."""
    return _NAMES[name]


def numpy_name(datatype: str) -> str:
    """Return what NumPy calls a datatype of the protocol, as ``datatype_of`` reads it."""
    return TEXT if datatype == BYTES else DTYPES[datatype].name


def texts_to_bytes(texts: Iterable[str]) -> bytes:
    """Return texts as binary data."""
    contents = (text.encode() for text in texts)
    return b"".join(_LENGTH.pack(len(content)) + content for content in contents)


def texts_of_bytes(content: bytes | memoryview) -> list[str]:
    """Return the texts in binary data. Raises ValueError for lengths that do not fit, and for bytes that are not
    UTF-8."""
    texts: list[str] = []
    begin = 0
    while begin < len(content):
        if begin + _LENGTH.size > len(content):
            raise ValueError(f"{len(content) - begin} bytes where a length has {_LENGTH.size}")
        (length,) = _LENGTH.unpack_from(content, begin)
        begin += _LENGTH.size
        if begin + length > len(content):
            raise ValueError(f"a text of {length} bytes, of which {len(content) - begin} are there")
        texts.append(str(content[begin : begin + length], "utf-8"))
        begin += length
    return texts
