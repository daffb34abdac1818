"""The way from rows to predictions through a network that a runtime has opened, for every runtime that serves ONNX
models: without a copy where rows can be fed as they are. How rows become inputs otherwise is told in
``model.onnx_io``, and what the runtime refuses by those that open it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.model import onnx_io
from servefit.backends.model.onnx_io import OnnxInterface
from servefit.backends.model.types import ROW_DATATYPES

if TYPE_CHECKING:
    from servefit.backends.model.onnx_io import Session


class TensorPredictor:
    """Calls ``session`` as the interface in ``facts`` says. ``truths`` says that an output of it is boolean. What is
    refused is for a subclass to say, in ``predict``."""

    def __init__(self, session: Session, facts: Mapping[str, Any], *, truths: bool) -> None:
        self._session = session
        self._interface = OnnxInterface.from_facts(facts)
        self._outputs = list(self._interface.outputs)
        plain = len(self._interface.inputs) == 1 and not self._interface.sizes and not self._interface.closed
        plain = plain and not any(tensor.rows_axis for tensor in self._interface.tensors)
        only = self._interface.inputs[0] if plain else None
        self._fed_directly = only if only is not None and only.datatype in ROW_DATATYPES and not truths else None

    def _predict_rows(self, rows: np.ndarray) -> np.ndarray:
        """Predict as ``Predictor.predict``. Raises RowsRefused, and what the session raises."""
        interface, direct, count = self._interface, self._fed_directly, len(rows)
        if direct is None or len(self._outputs) > 1 or interface.output_is_maps or interface.batch not in (None, count):
            return onnx_io.predict(self._session, interface, rows)
        # Estimators of scikit-learn of which some operator computes in float32 alone.
        values = onnx_io.as_datatype(rows, direct.datatype) if rows.dtype == np.float64 else rows
        feed = {direct.name: values.reshape(count, *direct.shape)}
        predictions: np.ndarray = self._session.run(self._outputs, feed)[0].reshape(count, -1)
        if interface.second_class_only:
            return predictions[:, 1]
        return predictions[:, 0] if predictions.shape[1] == 1 else predictions

    def close(self) -> None:
        vars(self).clear()
