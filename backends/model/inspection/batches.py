"""Whether what a model predicts of a row depends on the rows beside it, told by its own library.

So it does where a network is quantised as it runs (the scale is that of the whole call), or normalises over the rows.
Runs in the inspection's child process.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from servefit.backends.model.types import Model
from servefit.backends.parity import TENSOR_TOLERANCE
from servefit.backends.rows import synthetic_rows

if TYPE_CHECKING:
    from servefit.backends.model.inspection.types import Inspection

_WARNING = (
    "its predictions depend on what else is in the call, as those of dynamically quantised networks do: requests are "
    "not joined into batches unless --allow-batch-dependence says so"
)
_ROWS = 8
_LONGEST_S, _LEAST_ALONE = 10.0, 2
"""A large network takes a second a row. Two that differ are enough."""


def with_batch_dependence(
    inspection: Inspection, path: Path, predict: Callable[[np.ndarray], np.ndarray]
) -> Inspection:
    """``inspection`` of the model at ``path``, which says so where plausible rows are predicted differently together
    and one at a time. ``predict`` is that of the model's own library. Where trees split does not matter: they look at
    one row at a time, and what depends on others is around them."""
    model = Model(
        source=str(path),
        file=path,
        format=inspection.format,
        digest="",
        size_bytes=0,
        signature=inspection.signature,
    )
    if not _differs(synthetic_rows(model, _ROWS), predict):
        return inspection
    return replace(inspection, batch_dependent=True, warnings=(*inspection.warnings, _WARNING))


def _differs(rows: np.ndarray, predict: Callable[[np.ndarray], np.ndarray]) -> bool:
    """Whether predictions differ by more than two runtimes may, on the scale of the largest one: libraries add up in
    another order for one row, which is much of a prediction that happens to be near zero."""
    together = predict(rows).reshape(len(rows), -1)
    alone: list[np.ndarray] = []
    end_s = time.monotonic() + _LONGEST_S
    while len(alone) < len(rows) and (len(alone) < _LEAST_ALONE or time.monotonic() < end_s):
        alone.append(predict(rows[len(alone) : len(alone) + 1]).reshape(1, -1))
    beside, by_itself = together[: len(alone)].astype(np.float64), np.concatenate(alone).astype(np.float64)
    known = np.isfinite(beside)
    if (known != np.isfinite(by_itself)).any():
        return True
    scale = np.abs(beside[known]).max(initial=0)
    return bool((np.abs(beside[known] - by_itself[known]) > TENSOR_TOLERANCE * scale).any())
