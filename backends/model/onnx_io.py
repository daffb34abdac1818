"""The way of rows into an ONNX model, and of predictions out of it.

``interface_of`` looks at a session's inputs and outputs once; ``predict`` then feeds rows to whatever the model takes
(images, several inputs, whole numbers, a fixed batch size), and turns what it gives into an array of one value or
several a row. The inspection and the backend of ONNX Runtime both use it, so that they agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.model.types import Input
from servefit.backends.model.width import check_width
from servefit.errors import UnsupportedModel

if TYPE_CHECKING:
    import onnxruntime

_DATATYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(bool)": "bool",
    **{f"tensor({kind}{bits})": f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
}
_FLOATS = ("tensor(float)", "tensor(double)", "tensor(float16)")
_LABELS = ("tensor(int64)", "tensor(string)")


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxInterface:
    """All that is to know to call a model. ``batch`` is the number of rows that it insists on, or None.

    ``outputs`` are the outputs to use, side by side: nearly always one. ``output_is_maps`` says that it holds one
    mapping of label to probability a row (the ZipMap operator). ``second_class_only`` says that of the two
    probabilities the second is the prediction. ``output_datatype`` is NumPy's name of the predictions' datatype.
    """

    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    output_is_maps: bool
    classifier: bool
    second_class_only: bool = False
    batch: int | None = None
    output_datatype: str = "float32"

    @property
    def features(self) -> int:
        return self.inputs[-1].stop

    def to_facts(self) -> dict[str, Any]:
        """Return it as JSON values, for an artifact's facts."""
        return {
            **asdict(self),
            "inputs": [{**asdict(each), "shape": list(each.shape)} for each in self.inputs],
            "outputs": list(self.outputs),
        }

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> OnnxInterface:
        inputs = tuple(Input(**{**each, "shape": tuple(each["shape"])}) for each in facts["inputs"])
        return cls(**{**facts, "inputs": inputs, "outputs": tuple(facts["outputs"])})


def interface_of(session: onnxruntime.InferenceSession) -> tuple[OnnxInterface, int]:
    """Return how to call a model, and how many values it gives a row, found out by predicting one row of zeros.

    Raises UnsupportedModel, and whatever ONNX Runtime raises on the row.
    """
    interface = describe(session)
    check_width(interface.features)
    predictions = predict(session, interface, np.zeros((1, interface.features), dtype=np.float32))
    outputs = 1 if predictions.ndim == 1 else predictions.shape[1]
    if not outputs:
        raise UnsupportedModel("its output is empty")
    interface = replace(interface, output_datatype=predictions.dtype.name)
    if interface.classifier and outputs == 2:
        return replace(interface, second_class_only=True), 1
    return interface, outputs


def describe(session: onnxruntime.InferenceSession) -> OnnxInterface:
    """Return the interface of ``session``. Raises UnsupportedModel for inputs that are not numbers, or of unknown size.

    ``second_class_only`` and ``output_datatype`` are left as they are: only a prediction shows what a model gives.
    """
    inputs: list[Input] = []
    batches = set()
    for node in session.get_inputs():
        if node.type not in _DATATYPES:
            raise UnsupportedModel(f"its input {node.name!r} takes {node.type}, and rows are numbers")
        batch, *shape = node.shape or [None]
        if not node.shape or (not shape and isinstance(batch, int)):
            raise UnsupportedModel(f"its input {node.name!r} has no dimension for rows")
        if not all(isinstance(size, int) and size > 0 for size in shape):
            sizes = ", ".join("?" if size is None else str(size) for size in node.shape)
            raise UnsupportedModel(
                f"its input {node.name!r} has the shape ({sizes})",
                remedy="export it with every size but the first fixed",
            )
        batches.add(batch if isinstance(batch, int) and batch > 0 else None)
        start = inputs[-1].stop if inputs else 0
        inputs.append(
            Input(
                name=node.name,
                datatype=_DATATYPES[node.type],
                shape=tuple(shape),
                start=start,
                stop=start + prod(shape),
            )
        )
    fixed = batches - {None}
    if not inputs or len(fixed) > 1:
        raise UnsupportedModel("its inputs differ in the number of rows" if inputs else "it has no inputs")
    return OnnxInterface(inputs=tuple(inputs), batch=fixed.pop() if fixed else None, **_output(session))


def _output(session: onnxruntime.InferenceSession) -> dict[str, Any]:
    """Return the outputs to use: probabilities as maps, else the scores beside a label, else the first.

    Beside a label the last output counts (decision values come before probabilities), unless each class has its own.
    """
    outputs = session.get_outputs()
    for node in outputs:
        if node.type.startswith("seq(map("):
            return {"outputs": (node.name,), "output_is_maps": True, "classifier": True}
    floats = [node for node in outputs if node.type in _FLOATS]
    if floats and outputs[0].type in _LABELS:
        one_per_class = all(len(node.shape) == 1 or node.shape[1:] == [1] for node in floats)
        chosen = floats if one_per_class else floats[-1:]
        return {"outputs": tuple(node.name for node in chosen), "output_is_maps": False, "classifier": True}
    first = outputs[0]
    if first.type not in _DATATYPES:
        raise UnsupportedModel(f"its output {first.name!r} is {first.type}, and predictions are numbers")
    return {"outputs": (first.name,), "output_is_maps": False, "classifier": False}


def feeds(interface: OnnxInterface, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return the input arrays for ``rows`` (n, features). Views of ``rows`` where that is possible."""
    return {
        each.name: np.ascontiguousarray(rows[:, each.start : each.stop], dtype=each.datatype).reshape(-1, *each.shape)
        for each in interface.inputs
    }


def predict(session: onnxruntime.InferenceSession, interface: OnnxInterface, rows: np.ndarray) -> np.ndarray:
    """Predict ``rows`` (n, features), of the datatype that ``Signature.row_datatype`` says: (n,) or (n, outputs).

    Where the model insists on a batch size, the last rows are repeated to fill the last batch.
    """
    names = list(interface.outputs)
    if interface.batch is None:
        return _shaped(interface, session.run(names, feeds(interface, rows)), len(rows))
    parts = []
    for begin in range(0, len(rows), interface.batch):
        part = rows[begin : begin + interface.batch]
        whole = np.pad(part, ((0, interface.batch - len(part)), (0, 0)), mode="edge")
        parts.append(_shaped(interface, session.run(names, feeds(interface, whole)), interface.batch)[: len(part)])
    return np.concatenate(parts)


def _shaped(interface: OnnxInterface, predictions: Sequence[Any], rows: int) -> np.ndarray:
    if interface.output_is_maps:
        values = np.array([list(row.values()) for row in predictions[0]], dtype=np.float32)
    else:
        values = np.concatenate([np.asarray(output).reshape(rows, -1) for output in predictions], axis=1)
        if values.dtype == np.bool_:
            values = values.astype(np.float32)
    if interface.second_class_only:
        return values[:, 1]
    return values[:, 0] if values.shape[1] == 1 else values
