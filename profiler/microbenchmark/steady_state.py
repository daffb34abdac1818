"""Whether a series of times has settled, or still warms up, slows down or jumps."""

from __future__ import annotations

import numpy as np

LEAST_VALUES = 20
_MSER_BATCH = 5
_LARGEST_QUARTILE_CHANGE = 0.05
_GROUPS = 200


def why_unsteady(series: np.ndarray) -> str | None:
    """Why ``series`` cannot be taken for a steady state, in the order of its recording; None if it can.

    It is steady if the rule MSER-5 would cut less than half of it off as its beginning, and if its two halves agree.
    Single calls that were interrupted must not decide that, so long series are first cut into 200 groups of
    consecutive values, of which the medians are looked at.
    """
    if len(series) < LEAST_VALUES:
        return f"{len(series)} times are too few to see a steady state in"
    settled = _group_medians(series)
    cut = mser_5_cut(settled)
    if 2 * cut >= len(settled):
        return f"it was still changing after {100 * cut // len(settled)} % of the time"
    if change := _largest_change(settled):
        return f"its second half {change} its first"
    return None


def mser_5_cut(series: np.ndarray) -> int:
    """How many values at the beginning of ``series`` do not belong to its steady state, by the rule MSER-5.

    The series is cut where the standard error of the mean of what is left is smallest, in batches of five [White 1997].
    The last five batches are always left, since the spread of fewer is a matter of luck [Hoad, Robinson, Davies 2010].
    """
    batches = series[: len(series) // _MSER_BATCH * _MSER_BATCH].reshape(-1, _MSER_BATCH).mean(axis=1)
    count = len(batches)
    if count <= _MSER_BATCH:
        return 0
    from_here = np.arange(count, 0, -1)
    # Sums of what is left after each cut. Centred, so that squares do not drown what they are to show.
    centred = batches - batches.mean()
    sums = np.cumsum(centred[::-1])[::-1]
    squares = np.cumsum(centred[::-1] ** 2)[::-1]
    errors = (squares - sums**2 / from_here) / from_here**2
    return int(np.argmin(errors[: count - _MSER_BATCH + 1])) * _MSER_BATCH


def _largest_change(series: np.ndarray) -> str | None:
    """How the halves differ by more than 5 % in a quartile, as in "is 7 % slower than"; None if they agree.

    pyperf's rule for warm-ups, without its limits on the means and on the first value, which single interruptions
    decide [pyperf, WorkerProcessTask.test_calibrate_warmups].
    """
    half = len(series) // 2
    first, second = (np.percentile(part, (25, 50, 75)) for part in (series[:half], series[half:]))
    changes = (second - first) / np.maximum(first, 1e-9)
    largest = float(changes[np.argmax(np.abs(changes))])
    if abs(largest) <= _LARGEST_QUARTILE_CHANGE:
        return None
    return f"is {100 * abs(largest):.0f} % {'slower' if largest > 0 else 'faster'} than"


def _group_medians(series: np.ndarray) -> np.ndarray:
    if len(series) < 2 * _GROUPS:
        return series
    size = len(series) // _GROUPS
    medians: np.ndarray = np.median(series[-size * _GROUPS :].reshape(_GROUPS, size), axis=1)
    return medians
