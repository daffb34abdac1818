"""Autocorrelation of a series, as the number of values that tell as much as one independent value: requests that wait
in one queue are alike."""

from __future__ import annotations

from math import inf

import numpy as np

BATCHES = 40
"""So many means give their variance within 23 % (sqrt(2 / 39)). With more, batches of a short run would be shorter
than its queue remembers."""

MIN_SAMPLES = 2 * BATCHES
"""Batches of one value are as uneven as single values whatever these are: two a batch at least."""


def autocorrelation_time(series: np.ndarray, *, batches: int = BATCHES) -> float:
    """Return how many values of ``series`` tell as much of its mean as one independent value, by so many batch means.

    m x variance of the means of batches of m values / variance of the values [Conway 1963; Schmeiser 1982] tends to the
    autocorrelation time t for batches much longer than t, and to m for much shorter ones, about m t / (m + t) between.
    That is solved for t, so the answer is infinite where means of batches are as uneven as single values. A series that
    never changes gives 1. Values left over come first and are not used. Raises ValueError on fewer than 80 values.
    """
    if len(series) < MIN_SAMPLES:
        raise ValueError(f"{len(series)} values are too few, {MIN_SAMPLES} are needed")
    length = len(series) // batches
    parts = series[len(series) - length * batches :].astype(np.float64).reshape(batches, length)
    # From the first value, so that the variance of a series that never changes is exactly zero.
    parts -= parts[0, 0]
    means = parts.sum(axis=1) / length
    mean = float(means.sum()) / batches
    # Without a temporary array, and not by BLAS, which would start threads beside the worker.
    variance = float(np.einsum("ij,ij->", parts, parts)) / parts.size - mean**2
    if variance <= 0:
        return 1.0
    unevenness = float(np.square(means - mean).sum()) / (batches - 1) / variance
    return max(1.0, time_of_unevenness(unevenness, length))


def time_of_unevenness(unevenness: float, length: int) -> float:
    """Return the autocorrelation time t of a series by how uneven means of batches of ``length`` values are, in parts
    of the variance of single values, which is t / (length + t); infinite where they are as uneven."""
    return length * unevenness / (1 - unevenness) if unevenness < 1 else inf
