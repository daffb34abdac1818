"""Finds out whether what a model predicts of a row depends on the rows beside it.

So it does where a network is quantised as it runs (the scale is that of the whole call), or normalises over the rows.
The model's own library is asked: of plausible rows when the model is inspected (``inspection``), and of the rows of a
payload, which may show what those did not (``verification``).

Libraries add up in another order for one row than for several, and some networks make much of that. So where a row
alone is predicted otherwise, it is also predicted among copies of itself: as many rows, and other ones beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf

import numpy as np

from servefit.backends.checking.parity import TENSOR_TOLERANCE
from servefit.backends.model.packing import join

BATCH_DEPENDENT = (
    "its predictions depend on what else is in the call, as those of dynamically quantised networks do: requests are "
    "not joined into batches unless --allow-batch-dependence says so"
)
"""The warning about a model that does."""

SINGLE_ROWS = 16
"""Rows that are predicted one by one as well."""

_MAX_ALONE_S, _MIN_ALONE = 10.0, 2
"""A large network takes a second a row. Two that differ are enough."""


_MAX_ROUNDING_SHARE = 0.01
"""Of the largest prediction: a network in which the order of additions does more says little, and predictions that
depend on how many rows there are would not be seen. As in ``parity``. Chosen."""


def depends_on_batch(
    rows: np.ndarray, predict: Callable[[np.ndarray], np.ndarray], *, row_sizes: int = 0, sizes: int = 0
) -> bool:
    """Return whether the prediction of one of the first SINGLE_ROWS of ``rows`` changes with the rows in the same call.
    A change counts if it is larger than the difference allowed between two runtimes, on the scale of the largest
    prediction.

    Args:
        rows: Rows, (n, features). Each begins with ``row_sizes`` sizes.
        predict: Predicts rows. The same call must give the same predictions.
        row_sizes: The number of sizes at the start of a row.
        sizes: The number of sizes at the start of a prediction.
    """
    together = predict(rows).reshape(len(rows), -1)
    alone: list[np.ndarray] = []
    end_s = time.monotonic() + _MAX_ALONE_S
    while len(alone) < min(SINGLE_ROWS, len(rows)) and (len(alone) < _MIN_ALONE or time.monotonic() < end_s):
        alone.append(predict(rows[len(alone) : len(alone) + 1]).reshape(-1))
    scale = _scale(together[:, sizes:])
    changes = [_change(together[nth], alone[nth], sizes) for nth in range(len(alone))]
    if max(changes) > _MAX_ROUNDING_SHARE * scale:
        return True
    suspects = [nth for nth in np.argsort(changes)[::-1].tolist() if changes[nth] > TENSOR_TOLERANCE * scale]
    end_s = time.monotonic() + _MAX_ALONE_S
    for count, nth in enumerate(suspects):
        if count >= _MIN_ALONE and time.monotonic() >= end_s:
            break
        # All rows of one call have the same sizes.
        beside = (rows[:, :row_sizes] == rows[nth, :row_sizes]).all(axis=1)
        copies = predict(np.repeat(rows[nth : nth + 1], beside.sum(), axis=0)).reshape(beside.sum(), -1)
        if _change(together[nth], copies[beside[:nth].sum()], sizes) > TENSOR_TOLERANCE * scale:
            return True
    return False


def _scale(predictions: np.ndarray) -> float:
    """Return the largest of ``predictions`` that is a number."""
    finite = predictions[np.isfinite(predictions)]
    return float(np.abs(finite.astype(np.float64)).max(initial=0))


def _change(one: np.ndarray, other: np.ndarray, sizes: int) -> float:
    """Return the largest difference between two predictions of a row. It is infinite if their sizes (the first
    ``sizes`` values) differ, or if a value is finite in one of them alone."""
    pair = join([one.reshape(1, -1), other.reshape(1, -1)]).astype(np.float64)
    values = pair[:, sizes:]
    finite = np.isfinite(values)
    if (pair[0, :sizes] != pair[1, :sizes]).any() or (finite[0] != finite[1]).any():
        return inf
    return float(np.abs(values[0, finite[0]] - values[1, finite[0]]).max(initial=0))
