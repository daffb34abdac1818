"""The layers of an ONNX network, by how much int8 changes what each gives: those that are to stay in float32 first,
where a quantised network predicts less exactly than is allowed.

The measure is the noise in what one layer gives, as a share of it, where its own input and weights are rounded and
nothing else in the network is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np

from servefit.backends.libraries.onnx_session import open_session
from servefit.backends.types import Settings, Target

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

OPERATORS = ("MatMul", "Gemm", "Conv")
"""Layers: products with constant weights, and convolutions."""


def layers_by_error(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray], workdir: Path) -> list[str]:
    """Return the first output of each layer of ``model`` that has one in float32, that which int8 changes most first.

    Args:
        model: The network, in float32. It stays as it is.
        feeds: The inputs of one call.
        workdir: A folder for files of ONNX Runtime.
    """
    import onnx

    kept = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = [node for node in model.graph.node if node.op_type == "Constant" and node.attribute[0].name == "value"]
    kept |= {node.output[0]: node.attribute[0].t for node in nodes}
    constants = {name: onnx.numpy_helper.to_array(tensor) for name, tensor in kept.items()}
    layers = [
        node
        for node in model.graph.node
        if node.op_type in OPERATORS
        and node.input[0] not in constants
        and all(name in constants and constants[name].dtype == np.float32 for name in node.input[1:] if name)
    ]
    inputs = _values(model, {node.input[0] for node in layers}, feeds, workdir)
    errors = {
        node.output[0]: _error(node, inputs[node.input[0]], constants, model.opset_import, workdir)
        for node in layers
        if inputs[node.input[0]].dtype == np.float32 and inputs[node.input[0]].size
    }
    return sorted(errors, key=lambda name: -errors[name])


def _values(
    model: onnx.ModelProto, names: Collection[str], feeds: Mapping[str, np.ndarray], workdir: Path
) -> dict[str, np.ndarray]:
    """Return what the tensors called ``names`` are in a call with ``feeds``."""
    import onnx

    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in sorted(names - feeds.keys()))
    computed = _run(watched, feeds, workdir)
    return {name: feeds[name] if name in feeds else computed[name] for name in names}


def _error(
    node: onnx.NodeProto,
    values: np.ndarray,
    constants: Mapping[str, np.ndarray],
    opsets: Collection[onnx.OperatorSetIdProto],
    workdir: Path,
) -> float:
    """Return the noise of int8 in what ``node`` gives for ``values``, as a share of it."""
    import onnx

    [output] = node.output
    weights = {name: constants[name] for name in node.input[1:] if name}
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    axis = 0 if node.op_type == "Conv" or transposed else weights[node.input[1]].ndim - 1
    rounded = {**weights, node.input[1]: _as_int8(weights[node.input[1]], axis)}

    def computed(values: np.ndarray, weights: Mapping[str, np.ndarray]) -> np.ndarray:
        graph = onnx.helper.make_graph(
            [node],
            "layer",
            [onnx.helper.make_tensor_value_info(node.input[0], onnx.TensorProto.FLOAT, values.shape)],
            [onnx.helper.make_empty_tensor_value_info(output)],
            [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
        )
        layer = onnx.helper.make_model(graph, opset_imports=list(opsets), ir_version=8)
        return _run(layer, {node.input[0]: values}, workdir)[output].astype(np.float64)

    exact = computed(values, weights)
    noise = computed(_as_uint8(values), rounded) - exact
    return float(np.linalg.norm(noise) / max(np.linalg.norm(exact), np.finfo(np.float32).tiny))


def _as_int8(weights: np.ndarray, axis: int) -> np.ndarray:
    """Return ``weights`` rounded to 8 bits, with a scale for each channel."""
    others = tuple(nth for nth in range(weights.ndim) if nth != axis)
    scale = np.abs(weights).max(axis=others, keepdims=True) / 127
    scale = np.where(scale == 0, 1, scale)
    return (np.rint(weights / scale) * scale).astype(weights.dtype)


def _as_uint8(values: np.ndarray) -> np.ndarray:
    """Return ``values`` rounded to 8 bits between their least, or 0, and their largest."""
    least, largest = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    scale = (largest - least) / 255 or 1.0
    return (np.clip(np.rint((values - least) / scale), 0, 255) * scale + least).astype(values.dtype)


def _run(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray], workdir: Path) -> dict[str, np.ndarray]:
    """Return all outputs of ``model``, by name."""
    file = workdir / "layers.onnx"
    file.write_bytes(model.SerializeToString())
    session = open_session(file, Target.CPU, Settings(threads=1))
    file.unlink()
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))
