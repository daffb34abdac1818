"""From sums of leaves to predictions, as ONNX nodes, by the names of Treelite's post-processors.

onnxruntime's own Sigmoid and LOGISTIC approximate: at a score of 1e-5 they are off by up to 11 %, or give 0. The nodes
here keep small probabilities to the last float32 digits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.libraries.trees import header
from servefit.errors import CompileFailed

if TYPE_CHECKING:
    import onnx
    import treelite


class Nodes:
    """A chain of ONNX nodes in the making: each takes the output of the one before it, called ``last``."""

    def __init__(self, first: str) -> None:
        self.last = first
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(
        self, operator: str, *, constant: float | None = None, constant_first: bool = False, **attributes: Any
    ) -> None:
        import onnx

        inputs = [self.last]
        if constant is not None:
            name = f"constant{len(self.constants)}"
            self.constants.append(onnx.numpy_helper.from_array(np.array(constant, dtype=np.float32), name))
            inputs = [name, self.last] if constant_first else [self.last, name]
        self.last = f"{operator.lower()}{len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(operator, inputs, [self.last], **attributes))


def postprocess(trees: treelite.Model, margins: str) -> Nodes:
    """Return the nodes that turn ``margins``, (n, outputs), into predictions of that shape. Raises CompileFailed."""
    name, nodes = header(trees, "postprocessor"), Nodes(margins)
    if name in ("identity", "identity_multiclass"):
        return nodes
    if name in ("sigmoid", "multiclass_ova"):
        _sigmoid(nodes, float(header(trees, "sigmoid_alpha")))
    elif name == "softmax":
        nodes.add("Softmax", axis=1)
    elif name == "exponential":
        nodes.add("Exp")
    elif name == "logarithm_one_plus_exp":
        nodes.add("Softplus")
    elif name == "signed_square":
        _signed_square(nodes)
    elif name == "hinge":
        nodes.add("Greater", constant=0.0)
        nodes.add("Cast", to=1)
    elif name == "exponential_standard_ratio":
        nodes.add("Mul", constant=-np.log(2) / float(header(trees, "ratio_c")))
        nodes.add("Exp")
    else:
        raise CompileFailed("onnxruntime", f"no ONNX nodes for Treelite's post-processor {name!r}")
    return nodes


def _sigmoid(nodes: Nodes, alpha: float) -> None:
    """Return 1 / (1 + exp(-alpha * x)): the relative error is that of exp, however small the result."""
    if alpha == 1:
        nodes.add("Neg")
    else:
        nodes.add("Mul", constant=-alpha)
    nodes.add("Exp")
    nodes.add("Add", constant=1.0)
    nodes.add("Reciprocal")


def _signed_square(nodes: Nodes) -> None:
    import onnx

    margins = nodes.last
    nodes.add("Abs")
    nodes.nodes.append(onnx.helper.make_node("Mul", [margins, nodes.last], ["signed_square"]))
    nodes.last = "signed_square"
