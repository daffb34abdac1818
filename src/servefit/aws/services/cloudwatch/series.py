"""The samples of a metric, and what makes some of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class SampleSeries:
    """Samples by the time at which they were taken, ascending: ``at_s`` in seconds since 1970, float64, and
    ``values``, numbers, an entry each."""

    at_s: np.ndarray
    values: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence[SampleSeries]) -> SampleSeries:
        """Return the samples of all parts."""
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return cls(np.array([]), np.array([]))
        at_s = np.concatenate([part.at_s for part in parts])
        order = np.argsort(at_s, kind="stable")
        return cls(at_s[order], np.concatenate([part.values for part in parts])[order])

    def between(self, begin_s: float, end_s: float) -> SampleSeries:
        """Return the samples from ``begin_s`` on and before ``end_s``."""
        first, last = np.searchsorted(self.at_s, [begin_s, end_s])
        return SampleSeries(self.at_s[first:last], self.values[first:last])
