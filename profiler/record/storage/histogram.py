"""Counts of times in HdrHistogram's buckets, their sum over several histograms, and its V2 compressed encoding.

Written from the format of HdrHistogram 2.2 [Tene, github.com/HdrHistogram/HdrHistogram] and checked against its Python
port in the tests. That port is no dependency: it asks for setuptools and pbr at run time, has wheels for Linux on x86
alone, and takes 0.8 us to record one value, where all values of a run are counted at once here.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import log

import numpy as np

SIGNIFICANT_DIGITS = 3
"""Values up to 2047 have buckets of their own, and above the buckets are at most 0.1 % of their values wide."""

SUB_BUCKETS = 2048
"""The power of two from 2 x 10^3 on, which three digits take [HdrHistogram]."""

_HALF = SUB_BUCKETS // 2
_HALF_BITS = _HALF.bit_length() - 1
_BUCKET_BEGINS = np.int64(SUB_BUCKETS) << np.arange(52, dtype=np.int64)
"""Where the values are wider apart, by a factor of two each time."""

_MIN_RANGE = 3_600_000_000_000
"""Histograms of different runs, up to an hour in nanoseconds, have the same range, so that any tool can add them."""

_COOKIE, _COMPRESSED_COOKIE = 0x1C849303 | 0x10, 0x1C849304 | 0x10
"""Of version 2 of its encoding; 0x10 stands for counts as ZigZag LEB128 [HdrHistogram]."""

_HEADER = struct.Struct(">iiiiqqd")
_OUTER_HEADER = struct.Struct(">ii")

_MAX_BUCKETS = (len(_BUCKET_BEGINS) + 2) * _HALF
"""Those of all int64 values that are not below zero."""

_LAST_SHIFT = 56
"""Of the ninth and last byte of a count."""

_MAX_BYTES = 2**20
"""Of counts, uncompressed. A histogram of int64 has 55,296 buckets, each of which takes nine bytes at most."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Histogram:
    """``counts[i]`` values fell into bucket ``i``; the last bucket that is there is not empty."""

    counts: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> Histogram:
        """Return the histogram of int64 ``values``, none below zero."""
        if len(values) and values.min() < 0:
            raise ValueError("a histogram takes no values below zero")
        buckets = np.searchsorted(_BUCKET_BEGINS, values, side="right")
        return cls(counts=np.bincount(buckets * _HALF + (values >> buckets)))

    @classmethod
    def merged(cls, histograms: Iterable[Histogram]) -> Histogram:
        """Return the histogram of all values of ``histograms``, the same as that of counting all values at once."""
        all_counts = [histogram.counts for histogram in histograms]
        counts = np.zeros(max(map(len, all_counts), default=0), dtype=np.int64)
        for more in all_counts:
            counts[: len(more)] += more
        return cls(counts=counts)

    @classmethod
    def decoded(cls, text: str) -> Histogram:
        """Return the histogram that :meth:`encoded` made ``text`` of, here or elsewhere. Raises ValueError for any
        other text, and for histograms of another precision."""
        try:
            packed = base64.b64decode(text, validate=True)
            cookie, length = _OUTER_HEADER.unpack_from(packed)
            if cookie != _COMPRESSED_COOKIE or length != len(packed) - _OUTER_HEADER.size:
                raise ValueError("this is no compressed histogram of version 2")
            inflating = zlib.decompressobj()
            content = inflating.decompress(packed[_OUTER_HEADER.size :], _MAX_BYTES)
            inner, counts_bytes, offset, digits, _, _, ratio = _HEADER.unpack_from(content)
        except (struct.error, zlib.error) as error:
            raise ValueError(f"this is no histogram: {error}") from error
        counts = content[_HEADER.size :]
        if not inflating.eof or inner != _COOKIE or counts_bytes != len(counts):
            raise ValueError("this is no whole histogram of version 2")
        if (offset, digits, ratio) != (0, SIGNIFICANT_DIGITS, 1.0):
            raise ValueError(f"this histogram is not one of whole values with {SIGNIFICANT_DIGITS} digits")
        return cls(counts=_counts_of(counts))

    @property
    def total(self) -> int:
        return int(self.counts.sum())

    @property
    def maximum(self) -> int:
        """The highest value of the highest bucket in use; 0 if there are no values."""
        return self.highest(len(self.counts) - 1) if len(self.counts) else 0

    @property
    def buckets(self) -> int:
        """One more than the times that the width of a bucket may double within the range."""
        return 1 + int(np.searchsorted(_BUCKET_BEGINS, self._range, side="right"))

    @property
    def _range(self) -> int:
        return max(_MIN_RANGE, _lowest(len(self.counts) - 1)) if len(self.counts) else _MIN_RANGE

    def nth_value(self, nth: int) -> int:
        """Return the highest value of the bucket that holds the ``nth`` smallest value, from 1 to ``total``: the value
        itself, or at most 0.1 % more."""
        if not 1 <= nth <= self.total:
            raise ValueError(f"there is no value number {nth} of {self.total}")
        return self.highest(int(np.searchsorted(np.cumsum(self.counts), nth)))

    def highest(self, index: int) -> int:
        """Return the highest value that falls into bucket ``index``."""
        width = _width(index)
        return _lowest(index) + width - 1

    def mean_and_deviation(self) -> tuple[float, float]:
        """Return mean and standard deviation, with every value in the middle of its bucket; zeros without values."""
        used = np.flatnonzero(self.counts)
        if not len(used):
            return 0.0, 0.0
        middles = np.array([_lowest(index) + _width(index) // 2 for index in used.tolist()], dtype=np.float64)
        mean = float(np.average(middles, weights=self.counts[used]))
        return mean, float(np.average((middles - mean) ** 2, weights=self.counts[used]) ** 0.5)

    def percentiles(self, ticks_per_half_distance: int = 5) -> Iterator[tuple[float, int, int]]:
        """Yield steps of a percentile distribution: the share of values to reach, 0 to 1, the highest value of the
        bucket that reaches it, and how many values are not above that.

        Steps halve as the distance to 1 does, as in HdrHistogram's PercentileIterator; the last one is 1.
        """
        used = np.flatnonzero(self.counts)
        reached = np.cumsum(self.counts[used])
        percent = 0.0
        while self.total:
            nth = int(np.searchsorted(100.0 * reached / self.total, percent))
            yield percent / 100, self.highest(int(used[nth])), int(reached[nth])
            if reached[nth] == self.total:
                yield 1.0, self.maximum, self.total
                return
            halvings = int(log(100 / (100 - percent)) / log(2))
            percent += 100 / (ticks_per_half_distance * 2 ** (halvings + 1))

    def encoded(self) -> str:
        """Return the V2 compressed encoding, in base64."""
        counts = b"".join(map(_zigzag_leb128, self._runs()))
        header = _HEADER.pack(_COOKIE, len(counts), 0, SIGNIFICANT_DIGITS, 1, self._range, 1.0)
        compressed = zlib.compress(header + counts)
        return base64.b64encode(_OUTER_HEADER.pack(_COMPRESSED_COOKIE, len(compressed)) + compressed).decode()

    def _runs(self) -> Iterator[int]:
        """Yield the counts, with several zeros in a row as their number below zero."""
        before = -1
        for index in np.flatnonzero(self.counts).tolist():
            if zeros := index - before - 1:
                yield 0 if zeros == 1 else -zeros
            yield int(self.counts[index])
            before = index


def _width(index: int) -> int:
    """Return how many values fall into bucket ``index``."""
    return 1 << max(0, (index >> _HALF_BITS) - 1)


def _lowest(index: int) -> int:
    """Return the lowest value that falls into bucket ``index``."""
    doublings = max(0, (index >> _HALF_BITS) - 1)
    return (index - doublings * _HALF) << doublings


def _zigzag_leb128(number: int) -> bytes:
    """Encode seven bits a byte, lowest first, after the sign has been moved to the lowest bit. Exact below 2**55."""
    left = number << 1 if number >= 0 else (-number << 1) - 1
    encoded = bytearray()
    while left >= 0x80:
        encoded.append(left & 0x7F | 0x80)
        left >>= 7
    encoded.append(left)
    return bytes(encoded)


def _counts_of(content: bytes) -> np.ndarray:
    """Return the counts that were encoded one after the other, with zeros where there is a number below zero. Raises
    ValueError for more buckets than there are."""
    counts: list[int] = []
    number = shift = 0
    for byte in content:
        # The ninth byte has eight bits of the number.
        number |= (byte if shift == _LAST_SHIFT else byte & 0x7F) << shift
        if byte & 0x80 and shift < _LAST_SHIFT:
            shift += 7
            continue
        signed = (number >> 1) ^ -(number & 1)
        number = shift = 0
        if len(counts) + max(1, -signed) > _MAX_BUCKETS:
            raise ValueError(f"this histogram has more than {_MAX_BUCKETS} buckets")
        counts += [signed] if signed >= 0 else [0] * -signed
    if shift:
        raise ValueError("this histogram ends within a count")
    return np.trim_zeros(np.array(counts, dtype=np.int64), "b")
