"""Watches the indices by which a network that OpenVINO runs looks things up: the words of a vocabulary, positions.

ONNX Runtime refuses an index that a table does not have. OpenVINO answers with zeros, and says nothing. So the network
is given one more output: the smallest and the largest index of each table, call by call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from servefit.backends.libraries.openvino_library import imported_silently

OUTPUT = "servefit.indices"
"""The name of the output: int64 numbers, the smallest and the largest index of one table after the other."""


def watch_indices(graph: Any) -> list[int]:
    """Add an output to ``graph``, an openvino.Model, with the smallest and largest index into each table, and return
    the number of rows of each table. A table counts if its number of rows is fixed and its indices come from the
    request; without one, nothing is added."""
    ops = imported_silently("openvino.opset13")
    bounds, rows = [], []
    for node in graph.get_ordered_ops():
        if node.get_type_name() not in ("Gather", "GatherElements"):
            continue
        table, indices = node.input_value(0), node.input_value(1)
        size = _rows(node, table)
        if size is None or indices.get_node().get_type_name() == "Constant":
            continue
        flat = ops.reshape(ops.convert(indices, "i64"), np.array([-1]), special_zero=False)
        bounds += [
            ops.reduce_min(flat, np.array([0]), keep_dims=True),
            ops.reduce_max(flat, np.array([0]), keep_dims=True),
        ]
        rows.append(size)
    if bounds:
        output = ops.concat(bounds, 0)
        output.output(0).set_names({OUTPUT})
        graph.add_results([ops.result(output)])
    return rows


def _rows(node: Any, table: Any) -> int | None:
    """Return how many rows the table has, along the axis of the lookup; None where that is not known."""
    shape = table.get_partial_shape()
    if node.get_type_name() == "GatherElements":
        axis = node.get_attributes()["axis"]
    else:
        constant = node.input_value(2).get_node()
        if constant.get_type_name() != "Constant":
            return None
        axis = int(constant.data.reshape(-1)[0])
    if shape.rank.is_dynamic or shape[axis].is_dynamic:
        return None
    return int(shape[axis].get_length())


def unknown_index(bounds: np.ndarray, rows: Sequence[int]) -> tuple[int, int] | None:
    """Return the first index outside its table's ``rows``, and their number; None if there is none. ``bounds`` is the
    output that ``watch_indices`` added; the tables are in its order. A negative index counts from the end."""
    for (least, most), size in zip(bounds.reshape(-1, 2).tolist(), rows, strict=True):
        if least <= most and (most >= size or least < -size):
            return (most if most >= size else least), size
    return None
