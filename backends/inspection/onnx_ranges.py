"""The ranges of whole numbers that an ONNX model's integer inputs mean, read off its graph: a token is a row of an
embedding, a mask is 0 or 1, and a hashed number may be any. Whether the model takes them is for ``onnx_trying`` to find
out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import onnx

    from servefit.backends.model.types import Input

Range: TypeAlias = tuple[int, int]

_ZERO_OR_ONE = (0, 1)
_MAX_IN_FLOAT64, _MAX_IN_INT64 = 2**53, 2**63 - 1

_REARRANGES = frozenset(
    {"Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Slice", "Split", "Expand", "Tile"}
)
"""Operators whose outputs hold values of their first input, and no others."""

_COMPUTES = frozenset(
    {"Add", "Sub", "Mul", "Div", "Mod", "Neg", "Abs", "Max", "Min", "Sum", "CumSum", "ReduceMax", "ReduceMin"}
    | {"ReduceSum"}
)
"""Operators that make whole numbers of whole numbers."""

_SIZES = {
    "ConstantOfShape": {0},
    "Expand": {1},
    "Loop": {0},
    "OneHot": {1},
    "Pad": {1},
    "Range": {0, 1, 2},
    "Reshape": {1},
    "Resize": {2, 3},
    "Tile": {1},
    "Upsample": {1},
}
"""The inputs of an operator that say how large something becomes, or how often something is done. Large ones are not
for trying."""

_EMBEDDINGS = {"EmbedLayerNormalization": {0: 2, 1: 4}}
"""Inputs of a contributed operator that choose rows, each with the input whose rows they are."""

_KEYS = {"LabelEncoder": "keys_int64s", "OneHotEncoder": "cats_int64s", "CategoryMapper": "cats_int64s"}
_COMPARES = frozenset({"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"})

_PENALTY = 1000
"""The penalty on the score of what is not attended to is about so much, or more; 10,000 is the usual number."""

_MAX_STEPS = 100_000
"""A bound on the tensors that are followed in a graph. Chosen, not measured."""

_MAX_CONSTANT_DEPTH = 8
"""The number of operators that may lie between a constant, or an input, and where it is used."""


class _ValueKind(Enum):
    """The kinds of values that an input's become on the way through the graph."""

    SAME = auto()
    WHOLE = auto()  # others, but whole numbers still
    FLOAT = auto()
    INVERTED = auto()  # 1 - x, of either kind


def admitted_range(model: onnx.ModelProto, model_input: Input, row_datatype: str) -> Range:
    """Return the smallest and the largest whole number that ``model_input`` takes, by what the graph does with it.
    Where that says nothing it is all that its datatype holds and rows of ``row_datatype`` do too."""
    lowest, highest = _held(model_input.datatype, row_datatype)
    for found_lowest, found_highest in _Graph(model.graph).bounds(model_input.name):
        lowest, highest = max(lowest, found_lowest), min(highest, found_highest)
    # Two uses that contradict each other leave nothing.
    return (lowest, highest) if lowest <= highest else _ZERO_OR_ONE


def _held(datatype: str, row_datatype: str) -> Range:
    if datatype == "bool":
        return _ZERO_OR_ONE
    own = np.iinfo(datatype)
    if row_datatype == "float64":
        return max(int(own.min), -_MAX_IN_FLOAT64), min(int(own.max), _MAX_IN_FLOAT64)
    return int(own.min), min(int(own.max), _MAX_IN_INT64)


class _Graph:
    """The nodes by what they read and what they make. Branches and bodies of loops are not looked into."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._readers: dict[str, list[tuple[onnx.NodeProto, int]]] = defaultdict(list)
        self._makers: dict[str, onnx.NodeProto] = {}
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}
        for node in graph.node:
            for position, name in enumerate(node.input):
                self._readers[name].append((node, position))
            self._makers.update((name, node) for name in node.output if name)

    def bounds(self, name: str) -> Iterator[Range]:
        """Yield the range of the input ``name`` that each node reading it admits, if the node states one."""
        waiting = [(name, _ValueKind.SAME)]
        seen = set(waiting)
        while waiting and len(seen) < _MAX_STEPS:
            tensor, kind = waiting.pop()
            for node, position in self._readers[tensor]:
                bound = self._bound(node, position, kind)
                if bound is not None:
                    yield bound
                following = self._following(node, position, kind)
                if following is not None:
                    new = {(output, following) for output in node.output if output} - seen
                    seen |= new
                    waiting.extend(new)

    def _bound(self, node: onnx.NodeProto, position: int, kind: _ValueKind) -> Range | None:
        """Return the range of the values that ``node`` reads there; None where it does not say."""
        if kind is _ValueKind.SAME and (rows := self._rows_to_choose_from(node, position)) is not None:
            return 0, rows - 1
        if kind is _ValueKind.SAME and node.op_type in _KEYS:
            keys = _attribute(node, _KEYS[node.op_type])
            return (int(min(keys)), int(max(keys))) if keys is not None and len(keys) else None
        if kind in (_ValueKind.SAME, _ValueKind.WHOLE) and position in _SIZES.get(node.op_type, ()):
            return _ZERO_OR_ONE
        return _ZERO_OR_ONE if self._takes_a_mask(node, position, kind) else None

    def _takes_a_mask(self, node: onnx.NodeProto, position: int, kind: _ValueKind) -> bool:
        """Return whether nothing but 0 and 1 makes sense: as truth, in a comparison with either, as a penalty on
        scores, or as the weight of activations."""
        import onnx

        if node.op_type == "Cast":
            return bool(_attribute(node, "to") == onnx.TensorProto.BOOL)
        if node.op_type not in _COMPARES | {"Mul", "Div", "MatMul"} or len(node.input) != 2:
            return False
        other = node.input[1 - position]
        value = self._scalar(other)
        if node.op_type in _COMPARES:
            return value is not None and 0 <= value <= 1
        if value is not None and node.op_type == "Div":
            value = 1 / value if value else None
        if value is not None:
            return value <= -_PENALTY or (kind is _ValueKind.INVERTED and abs(value) >= _PENALTY)
        is_weight = node.op_type != "Div" and self._is_computed(other)
        return is_weight and kind in (_ValueKind.FLOAT, _ValueKind.INVERTED)

    def _following(self, node: onnx.NodeProto, position: int, kind: _ValueKind) -> _ValueKind | None:
        """Return the kind of the values in the outputs of ``node``; None where they are not followed."""
        import onnx

        operator = node.op_type
        if operator == "Concat" or (position == 0 and operator in _REARRANGES):
            return kind
        if operator in ("Gather", "GatherElements", "GatherND") and position == 0:
            return kind
        if operator == "Cast":
            whole = _attribute(node, "to") not in (
                onnx.TensorProto.FLOAT,
                onnx.TensorProto.DOUBLE,
                onnx.TensorProto.FLOAT16,
                onnx.TensorProto.BFLOAT16,
                onnx.TensorProto.BOOL,
            )
            return kind if whole or kind is _ValueKind.INVERTED else _ValueKind.FLOAT
        if operator == "Sub" and self._scalar(node.input[1 - position]) == 1:
            return _ValueKind.INVERTED
        if kind in (_ValueKind.SAME, _ValueKind.WHOLE) and operator in _COMPUTES:
            return _ValueKind.WHOLE
        return None

    def _rows_to_choose_from(self, node: onnx.NodeProto, position: int) -> int | None:
        """Return the number of rows that ``node`` chooses from by its input at ``position``."""
        operator = node.op_type
        if position in _EMBEDDINGS.get(operator, ()):
            position_of_rows = _EMBEDDINGS[operator][position]
            shape = self._shape(node.input[position_of_rows]) if position_of_rows < len(node.input) else None
            return shape[0] if shape else None
        if operator == "OneHot" and position == 0:
            depth = self._scalar(node.input[1])
            return None if depth is None or depth < 1 else int(depth)
        if position != 1 or operator not in ("Gather", "GatherElements", "GatherND", "ArrayFeatureExtractor"):
            return None
        shape = self._shape(node.input[0])
        if not shape:
            return None
        if operator == "GatherND":  # each number of an index is of another dimension
            return min(shape)
        axis = -1 if operator == "ArrayFeatureExtractor" else _attribute(node, "axis") or 0
        return shape[axis] if -len(shape) <= axis < len(shape) and shape[axis] > 0 else None

    def _shape(self, name: str, depth: int = 0) -> tuple[int, ...] | None:
        """Return the shape of a constant, also of one that is kept in a smaller datatype; None for what is computed."""
        tensor = self._constant(name)
        if tensor is not None:
            return tuple(tensor.dims)
        node = self._makers.get(name)
        if node is None or depth > _MAX_CONSTANT_DEPTH:
            return None
        if node.op_type in ("Cast", "DequantizeLinear", "Identity"):
            return self._shape(node.input[0], depth + 1)
        return None

    def _is_computed(self, name: str) -> bool:
        """Return whether it is neither a constant nor an input as it came."""
        if self._shape(name) is not None:
            return False
        node = self._makers.get(name)
        for _ in range(_MAX_CONSTANT_DEPTH):
            if node is None or (node.op_type != "Cast" and node.op_type not in _REARRANGES):
                break
            node = self._makers.get(node.input[0])
        return node is not None

    def _scalar(self, name: str) -> float | None:
        """Return the number in a constant of a single one."""
        import onnx

        node = self._makers.get(name)
        if node is not None and node.op_type == "Constant":
            for kind in ("value_float", "value_int"):
                if (value := _attribute(node, kind)) is not None:
                    return float(value)
        tensor = self._constant(name)
        if tensor is None or int(np.prod(tensor.dims, dtype=object)) != 1:
            return None
        return float(onnx.numpy_helper.to_array(tensor).reshape(-1)[0])

    def _constant(self, name: str) -> onnx.TensorProto | None:
        """Return the initializer of that name, or the tensor that a Constant node of that name holds."""
        node = self._makers.get(name)
        if name in self._tensors or node is None or node.op_type != "Constant":
            return self._tensors.get(name)
        held: onnx.TensorProto | None = _attribute(node, "value")
        return held


def _attribute(node: onnx.NodeProto, name: str) -> Any:
    import onnx

    return next(
        (onnx.helper.get_attribute_value(attribute) for attribute in node.attribute if attribute.name == name), None
    )
