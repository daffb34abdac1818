"""Finds out whether what a model predicts of a row depends on the rows beside it, told by its own library. Runs in the
inspection's child process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from servefit.backends.batch_dependence import BATCH_DEPENDENT, depends_on_batch
from servefit.backends.model import Model
from servefit.backends.rows import synthetic_rows

if TYPE_CHECKING:
    import numpy as np

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
    rows = synthetic_rows(model, _ROWS)
    signature = inspection.signature
    if not depends_on_batch(rows, predict, told=len(signature.sizes), sizes=len(signature.output_sizes)):
        return inspection
    return replace(inspection, batch_dependent=True, warnings=(*inspection.warnings, BATCH_DEPENDENT))
