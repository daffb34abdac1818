"""Padding as it is said of an ONNX model: a word in the file names the mask, or says that there is none, so that
digests, caches and other hosts tell a model that is padded from one that is not; and calls with rows of zeros show
which outputs are to be cut.

How rows are padded is in ``padding``, and whether that changes predictions is for ``checking`` to see.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from servefit.backends.model.onnx_io import OnnxInterface, predict, refusals
from servefit.backends.model.types import ZEROS, Padding
from servefit.errors import SpecError

if TYPE_CHECKING:
    import onnx
    import onnxruntime

PADDED_BY = "servefit.padded_by"
"""The key of the file's metadata under which the name of the mask is, or ZEROS where the model has no input of that
name."""


_STRING = 8
"""``onnx.TensorProto.STRING``, without its import. What would stand for padding among texts is the model's own."""

_SHORT = (1, 2, 3, 4)
"""Sizes at which a change by padding shows most: little is padded much."""


def mark_padded(model: onnx.ModelProto, pad: str) -> None:
    """Write into ``model`` that rows are padded, and that its input ``pad`` is the mask; ZEROS stands for no mask.
    Raises SpecError if it has no such input, or if none of the input's sizes varies by request."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = {node.name: node for node in model.graph.input if node.name not in weights}
    if pad not in inputs and pad != ZEROS:
        raise SpecError.unknown("pad", pad, [*inputs, ZEROS])
    if any(node.type.tensor_type.elem_type == _STRING for node in inputs.values()):
        raise SpecError("pad", pad, "cannot be told of a model that takes texts", remedy="leave it out")
    padded = [inputs[pad]] if pad in inputs else list(inputs.values())
    if not any(_has_own_size(node) for node in padded):
        whose = "has" if pad in inputs else "says nothing of inputs that have"
        raise SpecError("pad", pad, f"{whose} the same size in all requests: there is nothing to pad")
    for entry in model.metadata_props:
        if entry.key == PADDED_BY:
            entry.value = pad
            return
    model.metadata_props.add(key=PADDED_BY, value=pad)


def _has_own_size(of_input: onnx.ValueInfoProto) -> bool:
    _, *sizes = of_input.type.tensor_type.shape.dim or [None]
    return any(not size.HasField("dim_value") for size in sizes)


def padding_of(session: onnxruntime.InferenceSession, interface: OnnxInterface, pad: str) -> Padding:
    """Return how rows of the model are padded, with its input ``pad`` as the mask, or ZEROS for no mask. Raises
    SpecError if the model takes its usual size alone, or if an output depends on the amount of padding."""
    mask = next((model_input for model_input in interface.inputs if model_input.name == pad), None)
    if mask is None and pad == ZEROS:
        names = [size.name for size in interface.sizes]
    else:
        names = [] if mask is None else [size for size in dict.fromkeys(mask.shape) if isinstance(size, str)]
    if not names:
        raise SpecError("pad", pad, "is no input with a size that is each request's own")
    usual = {size.name: size.usual for size in interface.sizes}
    before = _output_sizes(session, interface, usual)
    outputs = dict.fromkeys(interface.output_sizes, "")
    sizes: list[str] = []
    others: list[int] = []
    shortest: list[int] = []
    for name in names:
        tried = _other_size(session, interface, usual, name)
        if tried is None and mask is None:
            continue  # a size without a number, yet the same in all requests
        if tried is None:
            raise SpecError("pad", pad, f"does not do: the model takes no {name} but {usual[name]}")
        other, after = tried
        sizes.append(name)
        others.append(other)
        shortest.append(_shortest(session, interface, usual, name, other))
        for size in interface.output_sizes:
            if before[size] == after[size]:
                continue
            if (before[size], after[size]) != (usual[name], other) or outputs[size]:
                raise SpecError(
                    "pad", pad, f"does not do: {size} is {after[size]} where {name} is {other}, and cannot be cut back"
                )
            outputs[size] = name
    if not sizes:
        refused = ", ".join(f"no {name} but {usual[name]}" for name in names)
        raise SpecError("pad", pad, f"does not do: the model takes {refused}")
    return Padding(
        mask=None if mask is None else mask.name,
        sizes=tuple(sizes),
        others=tuple(others),
        outputs=tuple(outputs.values()),
        shortest=tuple(shortest),
    )


def _other_size(
    session: onnxruntime.InferenceSession, interface: OnnxInterface, usual: dict[str, int], name: str
) -> tuple[int, dict[str, int]] | None:
    """Return another size than the usual one that the model takes for ``name``, and the sizes that outputs have then;
    None where it takes none."""
    size = usual[name]
    for other in (size // 2, size * 2, size - 1, size + 1):
        if other in (0, size):
            continue
        try:
            return other, _output_sizes(session, interface, {**usual, name: other})
        except refusals():
            continue
    return None


def _shortest(
    session: onnxruntime.InferenceSession, interface: OnnxInterface, usual: dict[str, int], name: str, other: int
) -> int:
    """Return the smallest size that the model took for ``name`` in a test."""
    shortest = min(usual[name], other)
    for size in _SHORT:
        if size >= shortest:
            break
        try:
            _output_sizes(session, interface, {**usual, name: size})
        except refusals():
            continue
        return size
    return shortest


def _output_sizes(
    session: onnxruntime.InferenceSession, interface: OnnxInterface, sizes: dict[str, int]
) -> dict[str, int]:
    """Return the sizes of the outputs that depend on the request, by name, for a row of zeros of ``sizes``."""
    of_sizes = interface.of_sizes(sizes)
    row = np.zeros((1, of_sizes.features), dtype=np.float32)
    row[:, : len(sizes)] = list(sizes.values())
    values = predict(session, of_sizes, row).reshape(-1)[: len(interface.output_sizes)]
    return dict(zip(interface.output_sizes, map(int, values), strict=True))
