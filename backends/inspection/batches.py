"""Finds out whether what a model predicts of a row depends on the rows beside it, told by its own library. Runs in the
inspection's child process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from servefit.backends.checking.batch_dependence import BATCH_DEPENDENT, depends_on_batch
from servefit.backends.model import Model
from servefit.backends.model.types import Signature, Task
from servefit.backends.payload.rows import synthetic_rows

if TYPE_CHECKING:
    from servefit.backends.model.inspection_record import Inspection

_ROWS = 8
"""Few, since every row goes through all of a network, which may take a second. Chosen, not measured."""


def with_batch_dependence(
    inspection: Inspection, path: Path, predict: Callable[[np.ndarray], np.ndarray]
) -> Inspection:
    """Return ``inspection`` of the model at ``path``, which says so where plausible rows are predicted differently
    together and one at a time. ``predict`` is that of the model's own library. Where trees split does not matter: they
    look at one row at a time, and what depends on others is around them."""
    model = Model(
        source=str(path),
        file=path,
        format=inspection.format,
        digest="",
        size_bytes=0,
        signature=inspection.signature,
    )
    signature = inspection.signature
    rows = _of_unlike_amplitudes(synthetic_rows(model, _ROWS), signature)
    if not depends_on_batch(rows, predict, row_sizes=len(signature.sizes), sizes=len(signature.output_sizes)):
        return inspection
    return replace(inspection, batch_dependent=True, warnings=(*inspection.warnings, BATCH_DEPENDENT))


_AMPLITUDES = np.array([1, 1, 1, 1, 1e-1, 1e-2, 1e-4, 1e-6])
"""Of the rows. A spectrum in decibels is cut off 80 below the loudest row of the call: 1e-4 of its amplitude. No row is
louder than another would be, so that all are compared on the same scale. Chosen."""


def _of_unlike_amplitudes(rows: np.ndarray, signature: Signature) -> np.ndarray:
    """Return rows of a network of which some are much quieter than others; those of tables as they are."""
    if signature.task is not Task.TENSOR or rows.dtype.kind != "f" or any(one.is_text for one in signature.inputs):
        return rows
    values = np.setdiff1d(np.arange(len(signature.sizes), signature.features), signature.integer_features)
    rows[:, values] *= _AMPLITUDES[:, np.newaxis].astype(rows.dtype)
    return rows
