"""Finds out whether what a model predicts of a row depends on the rows beside it.

So it does where a network is quantised as it runs (the scale is that of the whole call), or normalises over the rows.
The model's own library is asked: of plausible rows when the model is inspected (``inspection``), and of the rows of a
payload, which may show what those did not (``verification``).
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from servefit.backends.model.packing import join
from servefit.backends.parity import TENSOR_TOLERANCE

BATCH_DEPENDENT = (
    "its predictions depend on what else is in the call, as those of dynamically quantised networks do: requests are "
    "not joined into batches unless --allow-batch-dependence says so"
)
"""The warning about a model that does."""

SINGLE_ROWS = 16
"""Rows that are predicted one by one as well."""

_MAX_ALONE_S, _MIN_ALONE = 10.0, 2
"""A large network takes a second a row. Two that differ are enough."""


def depends_on_batch(rows: np.ndarray, predict: Callable[[np.ndarray], np.ndarray], *, sizes: int = 0) -> bool:
    """Return whether ``predict`` says something else of ``rows`` together than of the first SINGLE_ROWS one at a time,
    by more than two runtimes may differ, on the scale of the largest prediction: libraries add up in another order for
    one row, which is much of a prediction that happens to be near zero. Predictions that are packed begin with so many
    ``sizes``."""
    together = predict(rows).reshape(len(rows), -1)
    alone: list[np.ndarray] = []
    end_s = time.monotonic() + _MAX_ALONE_S
    while len(alone) < min(SINGLE_ROWS, len(rows)) and (len(alone) < _MIN_ALONE or time.monotonic() < end_s):
        alone.append(predict(rows[len(alone) : len(alone) + 1]).reshape(1, -1))
    compared = join([together[: len(alone)], *alone]).astype(np.float64)
    if (compared[: len(alone), :sizes] != compared[len(alone) :, :sizes]).any():
        return True
    beside, by_itself = compared[: len(alone), sizes:], compared[len(alone) :, sizes:]
    known = np.isfinite(beside)
    if (known != np.isfinite(by_itself)).any():
        return True
    scale = np.abs(beside[known]).max(initial=0)
    return bool((np.abs(beside[known] - by_itself[known]) > TENSOR_TOLERANCE * scale).any())
