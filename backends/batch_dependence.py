"""Whether what a model predicts of a row depends on the rows beside it.

So it does where a network is quantised as it runs (the scale is that of the whole call), or normalises over the rows.
The model's own library is asked: of plausible rows when the model is inspected, and of the rows of a payload, which may
show what those did not.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from servefit.backends.model.types import Library
from servefit.backends.parity import TENSOR_TOLERANCE
from servefit.errors import CompileFailed

if TYPE_CHECKING:
    from servefit.backends.model import Model
    from servefit.backends.payload import Payload

_log = logging.getLogger(__name__)

BATCH_DEPENDENT = (
    "its predictions depend on what else is in the call, as those of dynamically quantised networks do: requests are "
    "not joined into batches unless --allow-batch-dependence says so"
)
"""What is said of a model that does."""

SINGLE_ROWS = 16
"""How many rows are predicted one by one as well."""

_TREES_ALONE = (Library.XGBOOST, Library.LIGHTGBM)
_TIMEOUT_S = 30.0
_LONGEST_S, _LEAST_ALONE = 10.0, 2
"""A large network takes a second a row. Two that differ are enough."""


def asked_of_payload(model: Model, payload: Payload) -> Model:
    """``model``, which says so where its own library predicts rows of ``payload`` differently together and one at a
    time. Where the library does not answer, that is for whoever compares predictions with it to say."""
    from servefit.backends.verification import in_child, payload_rows

    if model.batch_dependent or payload.synthetic or model.library in _TREES_ALONE:
        return model
    rows = payload_rows(model, payload).rows
    try:
        if not in_child(model.reference, "reference_depends_on_batch", model, rows, timeout_s=_TIMEOUT_S):
            return model
    except CompileFailed as error:
        _log.info("whether predictions of the payload depend on the batch is not known: %s", error)
        return model
    return replace(model, batch_dependent=True, warnings=(*model.warnings, BATCH_DEPENDENT))


def depends_on_batch(rows: np.ndarray, predict: Callable[[np.ndarray], np.ndarray]) -> bool:
    """Whether ``predict`` says something else of ``rows`` together than of the first SINGLE_ROWS one at a time, by more
    than two runtimes may differ, on the scale of the largest prediction: libraries add up in another order for one row,
    which is much of a prediction that happens to be near zero."""
    together = predict(rows).reshape(len(rows), -1)
    alone: list[np.ndarray] = []
    end_s = time.monotonic() + _LONGEST_S
    while len(alone) < min(SINGLE_ROWS, len(rows)) and (len(alone) < _LEAST_ALONE or time.monotonic() < end_s):
        alone.append(predict(rows[len(alone) : len(alone) + 1]).reshape(1, -1))
    beside, by_itself = together[: len(alone)].astype(np.float64), np.concatenate(alone).astype(np.float64)
    known = np.isfinite(beside)
    if (known != np.isfinite(by_itself)).any():
        return True
    scale = np.abs(beside[known]).max(initial=0)
    return bool((np.abs(beside[known] - by_itself[known]) > TENSOR_TOLERANCE * scale).any())
