"""ONNX models with an input for each column of a table, made ones with an input for all numbers and one for all texts:
each input of a call costs time, which is much where a row takes some microseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from servefit.backends.model.texts import TEXT
from servefit.backends.model.types import Input

if TYPE_CHECKING:
    import onnx

NUMBERS, TEXTS = "numbers", "texts"

_OPSET = 13
"""The first in which the sizes of a Split are an input of it."""


@dataclass(frozen=True, slots=True)
class ColumnPlace:
    """The input that holds a column, and where in it."""

    input: str
    position: int


def gathered(model: onnx.ModelProto, inputs: Sequence[Input]) -> tuple[tuple[Input, ...], dict[str, ColumnPlace]]:
    """Change ``model``, whose inputs are columns (rows, 1), to take all numbers in one input, and all texts in another;
    give its inputs, and where each column is in them. Numbers of several datatypes stay as they are."""
    if len(inputs) < 2 or len({one.datatype for one in inputs if not one.is_text}) > 1:
        return tuple(inputs), {one.name: ColumnPlace(one.name, 0) for one in inputs}
    numbers, texts = [one for one in inputs if not one.is_text], [one for one in inputs if one.is_text]
    made: list[Input] = []
    places: dict[str, ColumnPlace] = {}
    for name, columns in ((NUMBERS, numbers), (TEXTS, texts)):
        if not columns:
            continue
        _split(model, name, columns)
        made.append(
            Input(
                name=name,
                datatype=columns[0].datatype,
                shape=(len(columns),),
                start=columns[0].start,
                stop=columns[-1].stop,
            )
        )
        places |= {one.name: ColumnPlace(name, position) for position, one in enumerate(columns)}
    return tuple(made), places


def _split(model: onnx.ModelProto, name: str, columns: Sequence[Input]) -> None:
    """Replace the inputs ``columns`` by one input called ``name``, which the graph splits into them."""
    import numpy as np
    from onnx.helper import make_node, make_tensor_value_info, np_dtype_to_tensor_dtype
    from onnx.numpy_helper import from_array

    graph = model.graph
    taken = {one.name for one in columns}
    for value in [value for value in graph.input if value.name in taken]:
        graph.input.remove(value)
    kind = np.dtype(object if columns[0].datatype == TEXT else columns[0].datatype)
    graph.input.append(make_tensor_value_info(name, np_dtype_to_tensor_dtype(kind), ["rows", len(columns)]))
    sizes, outputs = [1] * len(columns), [one.name for one in columns]
    if max((opset.version for opset in model.opset_import if opset.domain == ""), default=0) < _OPSET:
        graph.node.insert(0, make_node("Split", [name], outputs, axis=1, split=sizes))
        return
    split = from_array(np.array(sizes, dtype=np.int64), f"{name}_sizes")
    graph.initializer.append(split)
    graph.node.insert(0, make_node("Split", [name, split.name], outputs, axis=1))
