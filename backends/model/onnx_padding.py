"""Padding as it is said of an ONNX model: a word in the file names the mask, so that digests, caches and other hosts
tell a model that is padded from one that is not; and calls with rows of zeros show which outputs are to be cut.

How rows are padded is in ``padding``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from servefit.backends.model.onnx_io import OnnxInterface, predict, refusals
from servefit.backends.model.types import Padding
from servefit.errors import SpecError

if TYPE_CHECKING:
    import onnx
    import onnxruntime

PADDED_BY = "servefit.padded_by"
"""The key of the file's metadata under which the name of the mask is."""


_STRING = 8
"""``onnx.TensorProto.STRING``, without its import. What would stand for padding among texts is the model's own."""


def mark_padded(model: onnx.ModelProto, mask: str) -> None:
    """Say in ``model`` that rows are padded, and that its input ``mask`` tells where. Raises SpecError where it has no
    such input, or no size of that is each request's own."""
    weights = {each.name for each in model.graph.initializer}
    inputs = {each.name: each for each in model.graph.input if each.name not in weights}
    if mask not in inputs:
        raise SpecError.unknown("pad", mask, list(inputs))
    if any(each.type.tensor_type.elem_type == _STRING for each in inputs.values()):
        raise SpecError("pad", mask, "cannot be told of a model that takes texts", remedy="leave it out")
    _, *sizes = inputs[mask].type.tensor_type.shape.dim or [None]
    if all(size.HasField("dim_value") for size in sizes):
        raise SpecError("pad", mask, "has the same size in all requests: there is nothing to pad")
    for known in model.metadata_props:
        if known.key == PADDED_BY:
            known.value = mask
            return
    model.metadata_props.add(key=PADDED_BY, value=mask)


def padding_of(session: onnxruntime.InferenceSession, interface: OnnxInterface, mask: str) -> Padding:
    """Return how rows of the model are padded where its input ``mask`` says so. Raises SpecError where the model takes
    no other size than its usual one, or an output depends on how much is padded."""
    own = next((each for each in interface.inputs if each.name == mask), None)
    names = [] if own is None else [size for size in dict.fromkeys(own.shape) if isinstance(size, str)]
    if not names:
        raise SpecError("pad", mask, "is no input with a size that is each request's own")
    usual = {size.name: size.usual for size in interface.sizes}
    before = _output_sizes(session, interface, usual)
    outputs = dict.fromkeys(interface.output_sizes, "")
    others = []
    for name in names:
        other, after = _other_size(session, interface, usual, name, mask)
        others.append(other)
        for size in interface.output_sizes:
            if before[size] == after[size]:
                continue
            if (before[size], after[size]) != (usual[name], other) or outputs[size]:
                raise SpecError(
                    "pad", mask, f"does not do: {size} is {after[size]} where {name} is {other}, and cannot be cut back"
                )
            outputs[size] = name
    return Padding(mask=mask, sizes=tuple(names), others=tuple(others), outputs=tuple(outputs.values()))


def _other_size(
    session: onnxruntime.InferenceSession, interface: OnnxInterface, usual: dict[str, int], name: str, mask: str
) -> tuple[int, dict[str, int]]:
    """Return another size than the usual one that the model takes for ``name``, and the sizes that outputs have
    then."""
    size = usual[name]
    for other in (size // 2, size * 2, size - 1, size + 1):
        if other in (0, size):
            continue
        try:
            return other, _output_sizes(session, interface, {**usual, name: other})
        except refusals():
            continue
    raise SpecError("pad", mask, f"does not do: the model takes no {name} but {size}")


def _output_sizes(
    session: onnxruntime.InferenceSession, interface: OnnxInterface, sizes: dict[str, int]
) -> dict[str, int]:
    """Return the sizes of the outputs that depend on the request, by name, for a row of zeros of ``sizes``."""
    of_sizes = interface.of_sizes(sizes)
    row = np.zeros((1, of_sizes.features), dtype=np.float32)
    row[:, : len(sizes)] = list(sizes.values())
    told = predict(session, of_sizes, row).reshape(-1)[: len(interface.output_sizes)]
    return dict(zip(interface.output_sizes, map(int, told), strict=True))
