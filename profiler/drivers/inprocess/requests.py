"""The payload, cut into requests."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_VIEWS = 65_536
"""Batches of a row each then take megabytes: what comes first has left the caches by the time that it comes again."""


class RotatingRequests:
    """The payload cut into requests, which rotate through it.

    Request ``k`` holds ``rows_per_request`` rows from row ``k * rows_per_request``, modulo the payload. The rows are
    kept once, followed by as many of the first ones again as make every batch of consecutive requests contiguous.
    """

    def __init__(self, rows: np.ndarray, *, rows_per_request: int, max_batch: int) -> None:
        self._rows = len(rows)
        self._rows_per_request = rows_per_request
        longest = rows_per_request * max_batch
        self._cyclic = np.take(rows, np.arange(self._rows + longest - 1) % self._rows, axis=0)
        self._joined = np.zeros((longest, rows.shape[1]), dtype=rows.dtype)

    def batch(self, first: int, count: int) -> np.ndarray:
        """Return the rows of ``count`` requests from number ``first``: one is not copied, several are joined by a copy,
        as a server that batches has to."""
        begin = first * self._rows_per_request % self._rows
        rows = count * self._rows_per_request
        if count == 1:
            return self._cyclic[begin : begin + rows]
        joined = self._joined[:rows]
        joined[:] = self._cyclic[begin : begin + rows]
        return joined

    @cached_property
    def singles(self) -> Sequence[np.ndarray]:
        """Single requests one after the other; the one after the last is the first again."""
        return self.batches(1)

    def batches(self, count: int) -> list[np.ndarray]:
        """Return batches of ``count`` requests one after the other, as views: nothing is copied. The one after the last
        is the first again, unless there are more than any cache holds."""
        rows = count * self._rows_per_request
        period = self._rows // int(np.gcd(self._rows, rows))
        begins = (np.arange(min(period, MAX_VIEWS)) * rows % self._rows).tolist()
        return [self._cyclic[begin : begin + rows] for begin in begins]
