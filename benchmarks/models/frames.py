"""Networks of sequences of frames that have no mask, as ONNX models with weights drawn at random: what they say of a
frame does not depend on later ones.

What a call takes does not depend on the weights, so these stand for trained networks of the same layers and widths.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

FEATURES, CLASSES = 40, 32
"""Of a frame, as of speech in mel bands, and of what is said of it."""

_CONVOLUTIONS, _KERNEL = 4, 3

_Node: TypeAlias = tuple[str, list[str], str, dict[str, Any]]
"""An operator, its inputs, its output and its attributes."""


def perceptron(path: Path, *, width: int) -> Path:
    """Two layers that see one frame at a time."""
    nodes: list[_Node] = [
        ("MatMul", ["x", "w0"], "product", {}),
        ("Relu", ["product"], "hidden", {}),
        ("MatMul", ["hidden", "w1"], "y", {}),
    ]
    return _save(
        path, nodes, {"w0": _drawn(FEATURES, width, summed=FEATURES), "w1": _drawn(width, CLASSES, summed=width)}
    )


def convolutions(path: Path, *, width: int) -> Path:
    """Causal convolutions over three frames, of which each layer looks twice as far back as the one before."""
    nodes: list[_Node] = [("Transpose", ["x"], "hidden0", {"perm": [0, 2, 1]})]
    weights: dict[str, np.ndarray] = {}
    for nth in range(_CONVOLUTIONS):
        before = 2**nth * (_KERNEL - 1)
        channels = width if nth else FEATURES
        weights[f"w{nth}"] = _drawn(width, channels, _KERNEL, summed=channels * _KERNEL)
        attributes = {"pads": [before, 0], "dilations": [2**nth]}
        nodes += [
            ("Conv", [f"hidden{nth}", f"w{nth}"], f"sum{nth}", attributes),
            ("Relu", [f"sum{nth}"], f"hidden{nth + 1}", {}),
        ]
    nodes += [
        ("Transpose", [f"hidden{_CONVOLUTIONS}"], "frames", {"perm": [0, 2, 1]}),
        ("MatMul", ["frames", "last"], "y", {}),
    ]
    return _save(path, nodes, {**weights, "last": _drawn(width, CLASSES, summed=width)})


def recurrent(path: Path, *, width: int) -> Path:
    """A gated recurrent unit that reads forwards."""
    nodes: list[_Node] = [
        ("Transpose", ["x"], "steps", {"perm": [1, 0, 2]}),
        ("GRU", ["steps", "w", "r"], "of_directions", {"hidden_size": width}),
        ("Squeeze", ["of_directions", "direction"], "of_steps", {}),
        ("Transpose", ["of_steps"], "frames", {"perm": [1, 0, 2]}),
        ("MatMul", ["frames", "last"], "y", {}),
    ]
    weights = {
        "w": _drawn(1, 3 * width, FEATURES, summed=FEATURES),
        "r": _drawn(1, 3 * width, width, summed=width),
        "direction": np.array([1]),
        "last": _drawn(width, CLASSES, summed=width),
    }
    return _save(path, nodes, weights)


NETWORKS: Mapping[str, Callable[[Path], Path]] = {
    "2 layers of 256, frame by frame": lambda path: perceptron(path, width=256),
    "4 causal convolutions of 128": lambda path: convolutions(path, width=128),
    "GRU of 64": lambda path: recurrent(path, width=64),
    "GRU of 256": lambda path: recurrent(path, width=256),
}


def _drawn(*shape: int, summed: int) -> np.ndarray:
    """Return weights of this shape, of which ``summed`` make a value."""
    weights: np.ndarray = np.random.default_rng(sum(shape)).normal(0, summed**-0.5, shape).astype(np.float32)
    return weights


def _save(path: Path, nodes: list[_Node], weights: Mapping[str, np.ndarray]) -> Path:
    """Write a network from ``x``, (sequences, frames, FEATURES), to ``y``, (sequences, frames, CLASSES)."""
    import onnx

    made = onnx.helper.make_graph(
        [onnx.helper.make_node(kind, inputs, [output], **more) for kind, inputs, output, more in nodes],
        "frames",
        [onnx.helper.make_tensor_value_info("x", 1, ["sequences", "frames", FEATURES])],
        [onnx.helper.make_tensor_value_info("y", 1, ["sequences", "frames", CLASSES])],
        [onnx.numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    model = onnx.helper.make_model(made, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path
