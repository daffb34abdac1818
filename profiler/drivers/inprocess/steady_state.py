"""The steady state of a series of times: has it settled, or does it still warm up, slow down or jump?"""

from __future__ import annotations

import numpy as np

from servefit.quantities import percent_text

MIN_VALUES = 20
"""Ten in either half, of which quartiles are compared."""

_MSER_BATCH = 5
"""The 5 of MSER-5 [White, Cobb and Spratt 2000]."""

_MIN_BATCHES_LEFT = 8
"""See ``mser_5_cut``."""

_MAX_CHANGE = 0.05
"""pyperf's limit; see ``_change``."""

_STANDARD_ERRORS = 3.5
"""Of three quartiles that are compared, chance takes one beyond that less than once in 700 times."""

_FAR_OUT = 3.0
"""Interquartile ranges [Tukey 1977]."""

_GROUPS = 1000
"""Enough for a trend to be seen in, and so large, in a long series, that their medians do not see single calls."""


def why_unsteady(series: np.ndarray) -> str | None:
    """Return why ``series`` cannot be taken for a steady state, in the order of its recording; None if it can.

    It is steady if the rule MSER-5 would cut less than half of it off as its beginning, and if its two halves agree.
    Single calls that were interrupted must not decide that: values far out (beyond three interquartile ranges [Tukey
    1977]) count as the fence that they lie beyond, and long series are looked at through the medians of 1000 groups.
    """
    if len(series) < MIN_VALUES:
        return f"{len(series)} times are too few to see a steady state in"
    looked_at = _group_medians(_fenced(series))
    cut = mser_5_cut(looked_at)
    if 2 * cut >= len(looked_at):
        return f"it was still changing after {100 * cut // len(looked_at)} % of the time"
    if change := _change(looked_at):
        return f"its second half {change} its first"
    return None


def mser_5_cut(series: np.ndarray) -> int:
    """Return how many values at the beginning of ``series`` do not belong to its steady state, by the rule MSER-5.

    In batches of five, the series is cut where the standard error of the mean of what is left is smallest [White 1997,
    White, Cobb and Spratt 2000]. Eight batches are always left, since the spread of fewer is a matter of luck.
    """
    batches = series[: len(series) // _MSER_BATCH * _MSER_BATCH].reshape(-1, _MSER_BATCH).mean(axis=1)
    count = len(batches)
    if count <= _MIN_BATCHES_LEFT:
        return 0
    left = np.arange(count, 0, -1)
    # Sums of what is left after each cut; of differences from the mean, since squares of the values would drown them.
    centred = batches - batches.mean()
    sums = np.cumsum(centred[::-1])[::-1]
    squares = np.cumsum(centred[::-1] ** 2)[::-1]
    errors = (squares - sums**2 / left) / left**2
    return int(np.argmin(errors[: count - _MIN_BATCHES_LEFT + 1])) * _MSER_BATCH


def _change(series: np.ndarray) -> str | None:
    """Return how a quartile of the second half differs from the first's: "is 7 % slower than"; None if they agree.

    They agree within 5 %, pyperf's limit for quartiles [pyperf, WorkerProcessTask.test_calibrate_warmups], or within
    what chance does to a quartile of so few values.
    """
    half = len(series) // 2
    first, second = (np.percentile(part, (25, 50, 75)) for part in (series[:half], series[half:]))
    # Differences between neighbours show the spread of normal values whatever the trend. The standard error of their
    # quartiles is 1.36 times that of their mean, and two are subtracted.
    spread = np.median(np.abs(np.diff(series))) / (0.6745 * np.sqrt(2))
    by_chance = _STANDARD_ERRORS * 1.36 * spread * np.sqrt(2 / half)
    changes = second - first
    largest = float(changes[np.argmax(np.abs(changes))])
    if abs(largest) <= max(_MAX_CHANGE * first[1], by_chance):
        return None
    return f"is {percent_text(abs(largest) / first[1])} {'slower' if largest > 0 else 'faster'} than"


def _fenced(series: np.ndarray) -> np.ndarray:
    low, high = np.percentile(series, (25, 75))
    fenced: np.ndarray = np.clip(series, low - _FAR_OUT * (high - low), high + _FAR_OUT * (high - low))
    return fenced


def _group_medians(series: np.ndarray) -> np.ndarray:
    if len(series) < 2 * _GROUPS:
        return series
    size = len(series) // _GROUPS
    medians: np.ndarray = np.median(series[-size * _GROUPS :].reshape(_GROUPS, size), axis=1)
    return medians
