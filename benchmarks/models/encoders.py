"""Encoders of texts as ONNX models, with weights drawn at random: layers of attention under a mask and of two matrices.

What a call takes does not depend on the weights, so these stand for trained encoders of the same layers and widths.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

VOCABULARY, HEADS = 1000, 4
_MASKED = -1e4
"""Added to the scores of places that do not count, as encoders of Hugging Face do."""


def encoder(path: Path, *, layers: int, width: int) -> Path:
    """Write an encoder with the inputs ``input_ids`` and ``attention_mask``, (texts, tokens), and the output
    ``last_hidden_state``, (texts, tokens, width)."""
    import onnx

    graph = _Graph(width)
    shape = ["texts", "tokens"]
    inputs = [onnx.helper.make_tensor_value_info(name, 7, shape) for name in ("input_ids", "attention_mask")]
    words = graph.weights(VOCABULARY, width)
    hidden = graph("Gather", words, "input_ids")
    mask = graph("Unsqueeze", graph("Cast", "attention_mask", to=1), graph.value(np.array([1, 2])))
    penalty = graph("Mul", graph("Sub", graph.value(np.float32(1)), mask), graph.value(np.float32(_MASKED)))
    for _ in range(layers):
        hidden = graph.norm(graph("Add", hidden, graph.attention(hidden, penalty)))
        inner = graph("Relu", graph("MatMul", hidden, graph.weights(width, 4 * width)))
        hidden = graph.norm(graph("Add", hidden, graph("MatMul", inner, graph.weights(4 * width, width))))
    graph("Identity", hidden, output="last_hidden_state")
    output = onnx.helper.make_tensor_value_info("last_hidden_state", 1, [*shape, width])
    made = onnx.helper.make_graph(graph.nodes, "encoder", inputs, [output], graph.constants)
    model = onnx.helper.make_model(made, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


class _Graph:
    """Nodes and constants, each under a name of its own."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._generator = np.random.default_rng(0)
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def __call__(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        import onnx

        name = output or f"node{len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(operator, inputs, [name], **attributes))
        return name

    def value(self, array: Any) -> str:
        import onnx

        name = f"constant{len(self.constants)}"
        self.constants.append(onnx.numpy_helper.from_array(np.asarray(array), name))
        return name

    def weights(self, rows: int, columns: int) -> str:
        return self.value(self._generator.normal(0, columns**-0.5, (rows, columns)).astype(np.float32))

    def norm(self, hidden: str) -> str:
        ones, zeros = np.ones(self._width, np.float32), np.zeros(self._width, np.float32)
        return self("LayerNormalization", hidden, self.value(ones), self.value(zeros), axis=-1)

    def attention(self, hidden: str, penalty: str) -> str:
        split = self.value(np.array([0, 0, HEADS, self._width // HEADS]))
        query, key, value = (
            self("Transpose", self("Reshape", self("MatMul", hidden, self._square()), split), perm=perm)
            for perm in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3])
        )
        scale = self.value(np.float32((self._width / HEADS) ** -0.5))
        scores = self("Add", self("Mul", self("MatMul", query, key), scale), penalty)
        mixed = self("Transpose", self("MatMul", self("Softmax", scores, axis=-1), value), perm=[0, 2, 1, 3])
        joined = self("Reshape", mixed, self.value(np.array([0, 0, self._width])))
        return self("MatMul", joined, self._square())

    def _square(self) -> str:
        return self.weights(self._width, self._width)
