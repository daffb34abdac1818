"""Whether the shapes of a network's inputs alone decide all shapes in it, as OpenVINO works them out. Where values do
(the number of things found in an image), a call may fail though one of the same shapes did not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from servefit.backends.model.onnx_io import OnnxInterface

_WITH_GRAPHS_OF_THEIR_OWN = ("If", "Loop", "TensorIterator")

_ROWS = 2
"""A number of rows to try, where the network does not insist on one."""


def shapes_follow_inputs(graph: Any, interface: OnnxInterface) -> bool:
    """Return whether they do in ``graph``, an openvino.Model, whose inputs are then of fixed shapes."""
    if any(node.get_type_name() in _WITH_GRAPHS_OF_THEIR_OWN for node in graph.get_ordered_ops()):
        return False
    rows = interface.batch or _ROWS
    places = interface.packing.places({size.name: size.usual for size in interface.sizes})
    try:
        graph.reshape({place.tensor.name: [rows, *place.shape] for place in places})
    except RuntimeError:
        return False
    outputs = (output for node in graph.get_ordered_ops() for output in node.outputs())
    return not any(output.get_partial_shape().is_dynamic for output in outputs)
