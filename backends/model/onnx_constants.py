"""Inputs of an ONNX model that are the same in all requests, such as a sampling rate, or the state of a stream at its
beginning: they become part of the model, so that everything else has to do with the other inputs alone.

A number fills an input of any shape. A size of it that has no number is that of the other input that calls its size so;
one without a name is the number of rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from servefit.errors import SpecError

if TYPE_CHECKING:
    import onnx

ZEROS = "zeros"


def checked_values(values: Mapping[str, Any]) -> dict[str, float]:
    """Return the value of each input as a number. Raises SpecError."""
    numbers: dict[str, float] = {}
    for name, value in values.items():
        try:
            numbers[name] = 0.0 if value == ZEROS else float(value)
        except (TypeError, ValueError) as error:
            problem = f"is no value of {name!r:.60}: it takes a number, or {ZEROS!r}"
            raise SpecError("input", str(value), problem) from error
        except OverflowError as error:
            raise _rounded(name, value) from error
        if _is_rounded(value, numbers[name]):
            raise _rounded(name, value)
    return numbers


def _is_rounded(value: Any, read: float) -> bool:
    """Return whether ``value`` is a whole number, or the text of one, and ``read`` another: a float holds all of them
    up to 2**53."""
    if isinstance(value, str):
        try:
            value = int(value)
        except ValueError:
            return False
    return isinstance(value, int) and value != read


def _rounded(name: str, value: Any) -> SpecError:
    problem = f"is no value of {name!r:.60}: whole numbers are held exactly up to 2**53"
    return SpecError("input", f"{value!s:.60}", problem, remedy="fix the input in the model itself")


def fix_inputs(model: onnx.ModelProto, values: Mapping[str, float]) -> None:
    """Replace the inputs of these names by constants of ``values``. Raises SpecError for a missing input, for a value
    that its input refuses, and if no input is left."""
    inputs = {node.name: node for node in model.graph.input}
    weights = {tensor.name for tensor in model.graph.initializer}
    taken = [name for name in inputs if name not in weights]
    for name in values:
        if name not in taken:
            raise SpecError.unknown("input", name, taken)
    free = [inputs[name] for name in taken if name not in values]
    if not free:
        raise SpecError("input", ", ".join(values), "leaves no input for requests")
    for name, value in values.items():
        _fix(model, inputs[name], value, free)
        model.graph.input.remove(inputs[name])


def _fix(model: onnx.ModelProto, fixed: onnx.ValueInfoProto, value: float, free: list[onnx.ValueInfoProto]) -> None:
    """Make ``fixed`` a constant where all of its sizes are numbers, and else what some nodes at the beginning make."""
    import numpy as np
    import onnx

    tensor = fixed.type.tensor_type
    datatype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    scalar = np.array([value]).astype(datatype)
    if (
        datatype.kind not in "biuf"
        or (datatype.kind != "f" and float(scalar[0]) != value)
        or not np.isfinite(scalar[0])
    ):
        raise SpecError("input", f"{fixed.name}={value:g}", f"is no value of {datatype}")
    sizes = [size.dim_value if size.HasField("dim_value") else size.dim_param for size in tensor.shape.dim]
    if all(isinstance(size, int) for size in sizes):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.full(sizes, scalar[0]), fixed.name))
        return
    prefix = f"servefit.{fixed.name}"
    nodes, parts = [], []
    for axis, size in enumerate(sizes):
        part = f"{prefix}.{axis}"
        parts.append(part)
        if isinstance(size, int):
            model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([size], np.int64), part))
            continue
        of, at = _place(size, free, fixed.name)
        index = onnx.numpy_helper.from_array(np.array([at], np.int64), f"{part}.at")
        model.graph.initializer.append(index)
        nodes.append(onnx.helper.make_node("Shape", [of], [f"{part}.of"]))
        nodes.append(onnx.helper.make_node("Gather", [f"{part}.of", index.name], [part]))
    nodes.append(onnx.helper.make_node("Concat", parts, [f"{prefix}.shape"], axis=0))
    filler = onnx.numpy_helper.from_array(scalar)
    nodes.append(onnx.helper.make_node("ConstantOfShape", [f"{prefix}.shape"], [fixed.name], value=filler))
    rest = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *rest])


def _place(size: str, free: list[onnx.ValueInfoProto], name: str) -> tuple[str, int]:
    """Return the input and the axis whose size is called ``size``; the rows of the first input if that is empty."""
    if not size:
        return free[0].name, 0
    for node in free:
        for axis, other in enumerate(node.type.tensor_type.shape.dim):
            if other.dim_param == size:
                return node.name, axis
    raise SpecError("input", name, f"has a size ({size}) that no other input has")
