"""Finds out how an ONNX model is called: its inputs and outputs as it describes them, and, where that does not say it,
as calls with rows of zeros show. What is called then is in ``onnx_io``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.model.onnx_io import OnnxInterface, feeds, predict, refusals
from servefit.backends.model.onnx_padding import PADDED_BY, padding_of
from servefit.backends.model.texts import TEXT, TEXT_SIZE
from servefit.backends.model.types import Input, Output
from servefit.backends.model.width import check_width
from servefit.errors import UnsupportedModel

if TYPE_CHECKING:
    import onnxruntime

_NUMBERS = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(bool)": "bool",
    **{f"tensor({kind}{bits})": f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
}
_DATATYPES = {**_NUMBERS, "tensor(string)": TEXT}
"""Of inputs: outputs are numbers."""
_FLOATS = ("tensor(float)", "tensor(double)", "tensor(float16)")
_LABELS = ("tensor(int64)", "tensor(string)")

_TRIED_SIZES = (16, 32, 64, 128, 224, 256, 512, 8, 48, 320, 640, 1)
"""Tried one after the other where a model leaves a size to the request: short texts first, then what images have and
windows of sound."""

_OF_AN_IMAGE = 3
"""Sizes: channels, height, width."""

_TRIED_CHANNELS = (3, 1, None)
"""Exporters leave the channels of images open too; None stands for as many as the other sizes."""

_TRIED_ROWS = (2, 3)
"""Numbers of rows to find out with what an output has of each: its first size grows with them, and no other does."""


def interface_of(session: onnxruntime.InferenceSession) -> tuple[OnnxInterface, int]:
    """Return how to call a model, and how many values it gives a row, found out by predicting rows of zeros.

    Raises UnsupportedModel, and whatever ONNX Runtime raises on the rows.
    """
    interface = describe(session)
    if any(size.name != TEXT_SIZE for size in interface.sizes):
        interface = _with_usual_sizes(session, interface)
    check_width(interface.features)
    if interface.classifier and not interface.output_is_maps:
        interface = _without_scalars(session, interface)
    if not interface.classifier:
        interface = _with_outputs(session, interface)
    predictions = predict(session, interface, _zeros(interface, 1))
    outputs = 1 if predictions.ndim == 1 else predictions.shape[1]
    if not outputs:
        raise UnsupportedModel("its output is empty")
    interface = replace(interface, output_datatype=predictions.dtype.name)
    if (mask := session.get_modelmeta().custom_metadata_map.get(PADDED_BY)) is not None:
        interface = replace(interface, padding=padding_of(session, interface, mask))
    if interface.classifier and outputs == 2:
        return replace(interface, second_class_only=True), 1
    return interface, outputs


def describe(session: onnxruntime.InferenceSession) -> OnnxInterface:
    """Return the interface of ``session``. Raises UnsupportedModel for inputs that are not numbers, or have no
    dimension for rows.

    ``second_class_only``, the outputs' datatype and tensors are left as they are, and all usual sizes are 1: only a
    prediction shows what a model takes and gives.
    """
    inputs: list[Input] = []
    batches: dict[str, int | str | None] = {}
    names: dict[str, int] = {}
    for node in session.get_inputs():
        if node.type not in _DATATYPES:
            raise UnsupportedModel(f"its input {node.name!r} takes {node.type}, and rows are numbers and texts")
        # Some exporters call every size that they do not know so.
        batch, *shape = (None if size == "?" else size for size in node.shape or [None])
        if not node.shape or (not shape and isinstance(batch, int)):
            raise UnsupportedModel(
                f"its input {node.name!r} has no dimension for rows", remedy=_constant(node.name, "NUMBER")
            )
        if any(isinstance(size, int) and size <= 0 for size in shape):
            raise UnsupportedModel(f"its input {node.name!r} takes no values: a size of it is 0")
        named = tuple(
            size if isinstance(size, int) else size or f"{node.name}.{axis}" for axis, size in enumerate(shape, start=1)
        )
        if isinstance(batch, str) and batch in named:
            raise UnsupportedModel(f"its input {node.name!r} has as many columns as there are rows in a call")
        batches[node.name] = batch if isinstance(batch, str) or (batch or 0) > 0 else None
        names.update({size: 1 for size in named if isinstance(size, str)})
        inputs.append(Input(name=node.name, datatype=_DATATYPES[node.type], shape=named, start=0, stop=0))
    fixed = {batch for batch in batches.values() if isinstance(batch, int)}
    if not inputs or len(fixed) > 1:
        raise UnsupportedModel("its inputs differ in the number of rows" if inputs else "it has no inputs")
    for one in inputs:
        # Rows of one input are columns of another: what a network remembers between calls mostly.
        if of_rows := [size for size in one.shape if isinstance(size, str) and size in batches.values()]:
            raise UnsupportedModel(
                f"its input {one.name!r} has its rows ({of_rows[0]}) not in the first dimension",
                remedy=_constant(one.name),
            )
    batch = fixed.pop() if fixed else None
    output = _output(session, has_sizes=bool(names))
    if any(one.is_text for one in inputs):
        names[TEXT_SIZE] = 0
    interface = OnnxInterface(inputs=tuple(inputs), batch=batch, **output)
    return interface.of_sizes(names)


def _constant(name: str, value: str = "zeros") -> str:
    return f"if it is the same in all requests, say so: --input {name}={value}"


def _with_usual_sizes(session: onnxruntime.InferenceSession, interface: OnnxInterface) -> OnnxInterface:
    """Return the interface with sizes that the model takes. Raises UnsupportedModel."""
    names = [size.name for size in interface.sizes if size.name != TEXT_SIZE]
    of_texts = {one.name: one.usual for one in interface.sizes if one.name == TEXT_SIZE}
    channels = {tensor.shape[0] for tensor in interface.inputs if len(tensor.shape) == _OF_AN_IMAGE} & set(names)
    reason = ""
    refused: tuple[type[Exception], ...] = (UnsupportedModel, *refusals())
    for size, of_channels in product(_TRIED_SIZES, _TRIED_CHANNELS if channels else (None,)):
        sizes = {name: of_channels if of_channels and name in channels else size for name in names}
        tried = interface.of_sizes({**sizes, **of_texts})
        try:
            check_width(tried.features)
            predict(session, tried, _zeros(tried, 1))
        except refused as error:
            reason = reason or str(error).splitlines()[0][:200]
            continue
        return tried
    tried_sizes = ", ".join(map(str, _TRIED_SIZES))
    raise UnsupportedModel(f"it takes none of {tried_sizes} for its sizes {', '.join(names)}: {reason}")


def _without_scalars(session: onnxruntime.InferenceSession, interface: OnnxInterface) -> OnnxInterface:
    """Return the interface of a classifier without outputs that are one number for all rows, such as a loss. One that
    has no others is none."""
    shapes = _shapes(session, interface, interface.batch or 1)
    kept = tuple(name for name in interface.outputs if shapes.get(name) != ())
    return replace(interface, outputs=kept or interface.outputs, classifier=bool(kept))


def _with_outputs(session: onnxruntime.InferenceSession, interface: OnnxInterface) -> OnnxInterface:
    """Return the interface with all outputs of numbers that have one or more values for each row. Calls of different
    numbers of rows show these. If the request has sizes, a size of an output that the model does not state as a number
    may vary with them."""
    fewest, most = (interface.batch or count for count in _TRIED_ROWS)
    try:
        shapes, others = _shapes(session, interface, fewest), _shapes(session, interface, most)
    except refusals():  # it takes one row alone, without a statement of that
        fewest = most = 1
        shapes = others = _shapes(session, interface, 1)
    try:
        of_ones = _shapes(session, interface, fewest, value=1)
    except refusals():  # 1 may lie outside a vocabulary
        of_ones = shapes
    tensors: list[Output] = []
    for node in session.get_outputs():
        shape, other = shapes.get(node.name, ()), others.get(node.name, ())
        if of_ones.get(node.name) != shape:  # its shape depends on values, such as the objects in an image
            continue
        axis = _rows_axis(shape, other, fewest, most)
        if axis is None:
            continue
        # A row may have several rows of output, such as one for each token.
        several = shape[0] // fewest if shape and axis == 0 else 1
        in_front = () if several == 1 else (several,)
        sizes = (*in_front, *shape[:axis], *shape[axis + 1 :])
        described = (*(None for _ in in_front), *node.shape[:axis], *node.shape[axis + 1 :])
        named = tuple(
            size
            if not interface.sizes or _is_told(described, nth)
            else f"{node.name}.{nth + (several == 1 and nth >= axis)}"
            for nth, size in enumerate(sizes)
        )
        tensors.append(
            Output(
                name=node.name,
                datatype=_NUMBERS[node.type],
                shape=named,
                start=0,
                stop=prod(sizes),
                rows_axis=axis,
                unbatched=most == 1 and several > 1 and len(shape) > 1,
            )
        )
    # Outputs whose rows are not on axis 0 are state for the next call or details of layers: dropped beside others.
    tensors = [tensor for tensor in tensors if not tensor.rows_axis] or tensors
    if not all(tensor.unbatched for tensor in tensors):
        tensors = [replace(tensor, unbatched=False) for tensor in tensors]
    if not tensors:
        first = session.get_outputs()[0]
        raise UnsupportedModel(
            f"its output {first.name!r} does not have a value for each row",
            remedy="export the model with an output of which one dimension counts the rows, as that of its input does",
        )
    start = sum(isinstance(size, str) for tensor in tensors for size in tensor.shape)
    placed = []
    for tensor in tensors:
        placed.append(replace(tensor, start=start, stop=start + tensor.stop))
        start += tensor.stop
    return replace(
        interface,
        outputs=tuple(tensor.name for tensor in placed),
        tensors=tuple(placed),
        output_sizes=tuple(size for tensor in placed for size in tensor.shape if isinstance(size, str)),
    )


def _rows_axis(shape: Sequence[int], other: Sequence[int], fewest: int, most: int) -> int | None:
    """Return the dimension that counts the rows of an output, of one ``shape`` with the ``fewest`` rows and of the
    ``other`` with the most. It may be the first one where that holds as many places for every row. None where no
    dimension does."""
    if len(shape) != len(other) or (not shape and most > 1):
        return None
    if most == 1:
        return 0
    if fewest == most:
        of_rows = [axis for axis, size in enumerate(shape) if size == most]
        if 0 in of_rows or (not of_rows and shape[0] >= most and shape[0] % most == 0):
            return 0
        return of_rows[0] if len(of_rows) == 1 else None
    growing = [axis for axis, sizes in enumerate(zip(shape, other, strict=True)) if len(set(sizes)) > 1]
    if len(growing) != 1:
        return None
    [axis] = growing
    several = shape[axis] // fewest if axis == 0 else 1
    return axis if several and (shape[axis], other[axis]) == (several * fewest, several * most) else None


def _is_told(described: Sequence[Any], axis: int) -> bool:
    """Return whether a model describes a size of an output by a number."""
    return axis < len(described) and isinstance(described[axis], int)


def _shapes(
    session: onnxruntime.InferenceSession, interface: OnnxInterface, rows: int, *, value: int = 0
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the outputs of numbers for rows of the usual sizes, filled with ``value``."""
    names = [node.name for node in session.get_outputs() if node.type in _NUMBERS]
    usual = {size.name: size.usual for size in interface.sizes}
    full = _zeros(interface, rows)
    full[:, len(interface.sizes) :] = value
    outputs = session.run(names, feeds(interface, full, usual))
    return {name: np.asarray(values).shape for name, values in zip(names, outputs, strict=True)}


def _zeros(interface: OnnxInterface, rows: int) -> np.ndarray:
    """Return rows of zeros, of the usual sizes."""
    zeros = np.zeros((rows, interface.features), dtype=np.float32)
    zeros[:, : len(interface.sizes)] = [size.usual for size in interface.sizes]
    return zeros


def _output(session: onnxruntime.InferenceSession, *, has_sizes: bool) -> dict[str, Any]:
    """Return the outputs to use: probabilities as maps, else the scores beside a label of each row, else the first.

    Beside a label the last output counts (decision values come before probabilities), unless each class has its own.
    """
    outputs = session.get_outputs()
    for node in outputs:
        if node.type.startswith("seq(map("):
            return {"outputs": (node.name,), "output_is_maps": True, "classifier": True}
    floats = [node for node in outputs if node.type in _FLOATS]
    one_label = len(outputs[0].shape) < 2 or outputs[0].shape[1:] == [1]
    if floats and outputs[0].type in _LABELS and one_label and not has_sizes:
        one_per_class = all(len(node.shape) == 1 or node.shape[1:] == [1] for node in floats)
        chosen = floats if one_per_class else floats[-1:]
        return {"outputs": tuple(node.name for node in chosen), "output_is_maps": False, "classifier": True}
    first = outputs[0]
    if first.type not in _NUMBERS:
        raise UnsupportedModel(f"its output {first.name!r} is {first.type}, and predictions are numbers")
    return {"outputs": (first.name,), "output_is_maps": False, "classifier": False}
