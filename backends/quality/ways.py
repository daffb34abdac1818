"""Predictions of the rows that an artifact is judged on, by the reference and by the artifact in several ways of
calling, each in a child process.

What an artifact says of a row may depend on the rows beside it, as it does where the scale of a quantisation is that of
the whole call. So rows are called several together, several together in another order, and one at a time.
"""

from __future__ import annotations

import io
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit import state
from servefit.backends.checking.verification import in_child
from servefit.backends.finding.capabilities import backend as find_backend
from servefit.errors import CompileFailed, TimedOut

if TYPE_CHECKING:
    from servefit.backends.model import Model
    from servefit.backends.quality.findings import Way
    from servefit.backends.types import Artifact

_SCHEMA = 1
"""Raise it when predictions that are kept are not to be used any more."""


def reference_predictions(model: Model, rows: np.ndarray, *, backend: str) -> np.ndarray:
    """Return what the model's own library predicts of ``rows``: one at a time where that depends on the batch. They
    come from the state folder where it was asked before. Raises CompileFailed on behalf of ``backend``: of so many rows
    it may have no time to answer, and yet be what exact backends are compared with."""
    version = find_backend(model.reference).probe().version
    identity = f"{_SCHEMA} judged {model.digest} {model.reference} {version} {rows.shape} {rows.dtype}".encode()
    file = state.state_folder("references") / sha256(identity + rows.tobytes()).hexdigest()[:40]
    content = state.read_sealed(file, about=file.name)
    if content is not None:
        kept: np.ndarray = np.load(io.BytesIO(content), allow_pickle=False)
        return kept
    predictions: np.ndarray = _of_rows(rows, backend, "predict_reference_in_batches", model)
    written = io.BytesIO()
    np.save(written, predictions, allow_pickle=False)
    state.write_sealed(file, written.getvalue(), about=file.name)
    return predictions


def candidate_predictions(artifact: Artifact, rows: np.ndarray) -> dict[Way, np.ndarray]:
    """Return the predictions of ``artifact`` for ``rows`` in each way of calling; one at a time, those of the first
    rows, as time permits. Raises CompileFailed."""
    by_way: dict[Way, np.ndarray] = _of_rows(rows, artifact.backend, "predict_in_ways", artifact)
    return by_way


def _of_rows(rows: np.ndarray, backend: str, step: str, subject: Model | Artifact) -> Any:
    """Carry out ``step`` with ``rows`` in a child process. Raises CompileFailed, with what helps where it was a matter
    of time: an exact backend is compared on fewer."""
    try:
        return in_child(backend, step, subject, rows)
    except CompileFailed as error:
        if not isinstance(error.__cause__, TimedOut):
            raise
        remedy = "give it more time, or a payload of fewer rows"
        raise CompileFailed(backend, f"{error.reason} ({len(rows):,} rows)", remedy=remedy) from error
