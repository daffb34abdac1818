"""Arrays of int64 written small: as differences, their bytes sorted by place, so that a compressor finds the zeros.

Times of neighbouring requests are close, and so are the times of one request. Of a difference between them the upper
bytes are all alike: put together, plane by plane, they compress to nothing, which no compressor sees while they lie
between the noisy lower ones (byte shuffling, as in HDF5 and Blosc). Measured in
``benchmarks/claims/sample_storage.py``.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

LEVEL = 1
"""Of zlib. Level 6 takes twice as long and saves 3 %: what is left is noise."""

_BYTES_PER_VALUE = 8  # int64
_TRIED = 10_000
"""Values at the beginning of an array that ways to store it are tried on: they compress in a millisecond or so."""


def pack(arrays: Sequence[bytes]) -> tuple[list[dict[str, Any]], bytes]:
    """Join ``arrays`` of int64 into one content, still to be compressed, with a description of each, JSON values only.

    An array of ``length`` n is n lowest bytes, n second lowest, and so on to the eighth. What they make is, as ``less``
    says, the value less "nothing", less the "element" before it (zero for the first), or less the same element of the
    "array" before.
    """
    descriptions: list[dict[str, Any]] = []
    contents: list[bytes] = []
    before: np.ndarray | None = None
    for array in arrays:
        values = np.frombuffer(array, dtype=np.int64)
        less, numbers = _smallest(values, before)
        descriptions.append({"length": len(values), "less": less})
        contents.append(_planes(numbers))
        before = values
    return descriptions, b"".join(contents)


def unpack(descriptions: Iterable[Any], content: bytes) -> tuple[bytes, ...]:
    """Return what :func:`pack` made its result of. Raises ValueError where the two do not fit together."""
    arrays: list[np.ndarray] = []
    for less, numbers in _numbers(descriptions, content):
        if less == "nothing":
            arrays.append(numbers)
        elif less == "element":
            arrays.append(np.cumsum(numbers))
        elif less == "array" and arrays and len(arrays[-1]) == len(numbers):
            arrays.append(arrays[-1] + numbers)
        else:
            raise ValueError(f"array {len(arrays)} cannot be less {less!r:.80}")
    return tuple(array.tobytes() for array in arrays)


def _smallest(values: np.ndarray, before: np.ndarray | None) -> tuple[str, np.ndarray]:
    """Return what is taken from ``values``, and what is left: what compresses best, judged by the first thousands.

    Overflow wraps, there and back.
    """
    ways = {"nothing": values, "element": np.diff(values, prepend=np.int64(0))}
    if before is not None and len(before) == len(values):
        ways["array"] = values - before
    return min(ways.items(), key=lambda way: len(zlib.compress(_planes(way[1][:_TRIED]), LEVEL)))


def _numbers(descriptions: Iterable[Any], content: bytes) -> Iterator[tuple[Any, np.ndarray]]:
    begin = 0
    for description in descriptions:
        if not isinstance(description, dict) or description.keys() != {"length", "less"}:
            raise ValueError(f"an array is described as {description!r:.80}")
        length = description["length"]
        if type(length) is not int or length < 0:
            raise ValueError(f"an array has a length of {length!r:.80}")
        end = begin + length * _BYTES_PER_VALUE
        if end > len(content):
            raise ValueError("arrays are missing")
        planes = np.frombuffer(content[begin:end], dtype=np.uint8).reshape(_BYTES_PER_VALUE, length)
        yield description["less"], np.ascontiguousarray(planes.T).reshape(-1).view("<i8")
        begin = end
    if begin != len(content):
        raise ValueError("more follows after the last array")


def _planes(values: np.ndarray) -> bytes:
    by_value = values.astype("<i8").view(np.uint8).reshape(len(values), _BYTES_PER_VALUE)
    return by_value.T.tobytes()
