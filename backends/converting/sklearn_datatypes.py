"""The datatype of the numbers of a scikit-learn estimator as an ONNX model: float64 where skl2onnx and ONNX Runtime
can, and float32 where that predicts the same."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.checking.parity import compare
from servefit.backends.converting.sklearn_onnx import DATATYPES, write_onnx
from servefit.backends.libraries.onnx_native import FINITE
from servefit.backends.libraries.trees import unpickled
from servefit.backends.model.sklearn_io import prediction_method
from servefit.backends.model.sklearn_steps import last_of
from servefit.backends.model.types import Task
from servefit.backends.payload.rows import parity_rows
from servefit.backends.types import Settings, Target
from servefit.errors import CompileFailed, OutputMismatch, RowsRefused

if TYPE_CHECKING:
    from pathlib import Path

    from servefit.backends.model import Model

_ROWS, _ROWS_ROUNDED = 256, 1024
"""On which a converted estimator is compared before verification does: more where numbers are rounded for trees.
Chosen, not measured."""

_OF_THRESHOLDS = ("sklearn.ensemble.", "sklearn.tree.")
"""Modules of estimators whose predictions jump."""

_NEIGHBOURS = b"sklearn.neighbors"
"""In the pickle of an estimator that is, or has in it, one of neighbours: pickles name the modules of classes."""


def convert(model: Model, workdir: Path, backend: str) -> Mapping[str, Any]:
    """Write the estimator into ``workdir`` as model.onnx; give the facts that ``onnx_native`` needs. Raises
    CompileFailed with skl2onnx's own reason.

    Steps before trees compute in float64: one rounding may be another leaf, which few rows show."""
    if model.signature.task is Task.LABELS:
        raise CompileFailed(backend, "skl2onnx writes the probabilities of several targets in a form of its own")
    if _NEIGHBOURS in model.file.read_bytes():
        raise CompileFailed(backend, "ONNX Runtime may choose other neighbours than scikit-learn at equal distances")
    estimator, signature = unpickled(model), model.signature
    method = prediction_method(estimator, signature.task)
    file = workdir / "model.onnx"
    facts: Mapping[str, Any] | None = None
    refused: CompileFailed | OutputMismatch | None = None
    jumps = _decides_by_thresholds(estimator)
    for floats in DATATYPES[:1] if jumps and last_of(estimator) is not estimator else DATATYPES:
        try:
            interface = write_onnx(estimator, signature, file, backend, method=method, floats=floats)
            interface = replace(
                interface,
                classifier=signature.task in (Task.BINARY, Task.MULTICLASS),
                second_class_only=method == "predict_proba" and signature.task is Task.BINARY,
            )
            facts = {**interface.to_facts(), FINITE: True}
            if _answers(model, file, facts, backend, rows=_ROWS_ROUNDED if jumps and floats == "float32" else _ROWS):
                return facts
        except (CompileFailed, OutputMismatch) as error:
            refused = error
    if refused is not None:
        raise refused
    if facts is None:
        raise CompileFailed(backend, "skl2onnx writes nothing")
    return facts  # verification tells what is refused


def _decides_by_thresholds(estimator: Any) -> bool:
    """Return whether it is of trees, or ends in them, so that a rounding of what it is given may change a prediction by
    a leaf."""
    return type(last_of(estimator)).__module__.startswith(_OF_THRESHOLDS)


def _answers(model: Model, file: Path, facts: Mapping[str, Any], backend: str, *, rows: int) -> bool:
    """Return whether the ONNX model in ``file`` takes hard rows. Where the estimator does not take these, that is for
    verification to tell. Raises OutputMismatch where it predicts them otherwise than the estimator."""
    from servefit.backends.checking.reference import reference
    from servefit.backends.libraries.onnx_native import NativePredictor
    from servefit.backends.libraries.onnx_session import open_session

    drawn = parity_rows(model, count=rows)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # rows without the names of their columns
            expected = reference(model)(drawn)
    except RowsRefused:
        return True
    predictor = NativePredictor(open_session(file, Target.CPU, Settings(threads=1)), facts)
    try:
        got = predictor.predict(model.signature.as_rows(drawn))
    except RowsRefused:
        return False
    compare(model, backend, expected, got, np.full(len(drawn), "drawn rows"))
    return True
