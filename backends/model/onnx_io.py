"""The way of rows into an ONNX model, and of predictions out of it.

``interface_of`` looks at a session's inputs and outputs once; ``predict`` then feeds rows to whatever the model takes
(images, several inputs, whole numbers, sizes that each request has for itself, a fixed batch size), and turns what it
gives into an array of one value or several a row. The inspection and the backend of ONNX Runtime both use it, so that
they agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.model.packing import Packing, join, shape_in
from servefit.backends.model.types import Input, Output, Size
from servefit.backends.model.width import check_width
from servefit.errors import UnsupportedModel

if TYPE_CHECKING:
    import onnxruntime

_DATATYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(bool)": "bool",
    **{f"tensor({kind}{bits})": f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
}
_FLOATS = ("tensor(float)", "tensor(double)", "tensor(float16)")
_LABELS = ("tensor(int64)", "tensor(string)")

_TRIED_SIZES = (16, 32, 64, 128, 224, 256, 512, 8, 48, 320, 640, 1)
"""Tried one after the other where a model leaves a size to the request: short texts first, then what images have and
windows of sound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxInterface:
    """All that is to know to call a model. ``batch`` is the number of rows that it insists on, or None.

    ``outputs`` are the outputs to use, side by side: nearly always one. ``output_is_maps`` says that it holds one
    mapping of label to probability a row (the ZipMap operator). ``second_class_only`` says that of the two
    probabilities the second is the prediction. ``output_datatype`` is NumPy's name of the predictions' datatype.
    ``sizes``, ``tensors`` and ``output_sizes`` are those of ``Signature``, where ``tensors`` are its output tensors.
    """

    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    output_is_maps: bool
    classifier: bool
    second_class_only: bool = False
    batch: int | None = None
    output_datatype: str = "float32"
    sizes: tuple[Size, ...] = ()
    tensors: tuple[Output, ...] = ()
    output_sizes: tuple[str, ...] = ()

    @property
    def features(self) -> int:
        """The width of a row of the usual sizes."""
        return self.inputs[-1].stop

    @property
    def packing(self) -> Packing:
        return Packing(self.inputs, [size.name for size in self.sizes])

    def of_sizes(self, sizes: Mapping[str, int]) -> OnnxInterface:
        """Return the interface with other usual sizes."""
        told = replace(self, sizes=tuple(Size(name=name, usual=usual) for name, usual in sizes.items()))
        places = told.packing.places(sizes)
        inputs = zip(self.inputs, places, strict=True)
        return replace(told, inputs=tuple(replace(one, start=at.start, stop=at.stop) for one, at in inputs))

    def to_facts(self) -> dict[str, Any]:
        """Return it as JSON values, for an artifact's facts."""
        return {
            **asdict(self),
            "inputs": [{**asdict(each), "shape": list(each.shape)} for each in self.inputs],
            "outputs": list(self.outputs),
            "sizes": [{"name": each.name, "usual": each.usual} for each in self.sizes],
            "tensors": [{**asdict(each), "shape": list(each.shape)} for each in self.tensors],
            "output_sizes": list(self.output_sizes),
        }

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> OnnxInterface:
        """Read what ``to_facts`` gave, by this version or one that did not know of sizes and tensors."""
        read = {
            "inputs": tuple(Input(**{**each, "shape": tuple(each["shape"])}) for each in facts["inputs"]),
            "outputs": tuple(facts["outputs"]),
            "sizes": tuple(Size(**each) for each in facts.get("sizes", ())),
            "tensors": tuple(Output(**{**each, "shape": tuple(each["shape"])}) for each in facts.get("tensors", ())),
            "output_sizes": tuple(facts.get("output_sizes", ())),
        }
        return cls(**{**facts, **read})


_TRIED_ROWS = 3
"""Rows to find out with what an output has of each: networks have pairs of many things, and few have three."""


def interface_of(session: onnxruntime.InferenceSession) -> tuple[OnnxInterface, int]:
    """Return how to call a model, and how many values it gives a row, found out by predicting rows of zeros.

    Raises UnsupportedModel, and whatever ONNX Runtime raises on the rows.
    """
    interface = describe(session)
    if interface.sizes:
        interface = _with_usual_sizes(session, interface)
    check_width(interface.features)
    if not interface.classifier:
        interface = _with_outputs(session, interface)
    predictions = predict(session, interface, _zeros(interface, 1))
    outputs = 1 if predictions.ndim == 1 else predictions.shape[1]
    if not outputs:
        raise UnsupportedModel("its output is empty")
    interface = replace(interface, output_datatype=predictions.dtype.name)
    if interface.classifier and outputs == 2:
        return replace(interface, second_class_only=True), 1
    return interface, outputs


def describe(session: onnxruntime.InferenceSession) -> OnnxInterface:
    """Return the interface of ``session``. Raises UnsupportedModel for inputs that are not numbers, or have no
    dimension for rows.

    ``second_class_only``, the outputs' datatype and tensors are left as they are, and all usual sizes are 1: only a
    prediction shows what a model takes and gives.
    """
    inputs: list[Input] = []
    batches: dict[str, int | str | None] = {}
    names: dict[str, int] = {}
    for node in session.get_inputs():
        if node.type not in _DATATYPES:
            raise UnsupportedModel(f"its input {node.name!r} takes {node.type}, and rows are numbers")
        # Some exporters call every size that they do not know so.
        batch, *shape = (None if size == "?" else size for size in node.shape or [None])
        if not node.shape or (not shape and isinstance(batch, int)):
            raise UnsupportedModel(
                f"its input {node.name!r} has no dimension for rows", remedy=_constant(node.name, "NUMBER")
            )
        if any(isinstance(size, int) and size <= 0 for size in shape):
            raise UnsupportedModel(f"its input {node.name!r} takes no values: a size of it is 0")
        named = tuple(
            size if isinstance(size, int) else size or f"{node.name}.{axis}" for axis, size in enumerate(shape, start=1)
        )
        if isinstance(batch, str) and batch in named:
            raise UnsupportedModel(f"its input {node.name!r} has as many columns as there are rows in a call")
        batches[node.name] = batch if isinstance(batch, str) or (batch or 0) > 0 else None
        names.update({size: 1 for size in named if isinstance(size, str)})
        inputs.append(Input(name=node.name, datatype=_DATATYPES[node.type], shape=named, start=0, stop=0))
    fixed = {batch for batch in batches.values() if isinstance(batch, int)}
    if not inputs or len(fixed) > 1:
        raise UnsupportedModel("its inputs differ in the number of rows" if inputs else "it has no inputs")
    for one in inputs:
        # Rows of one input are columns of another: what a network remembers between calls mostly.
        if of_rows := [size for size in one.shape if isinstance(size, str) and size in batches.values()]:
            raise UnsupportedModel(
                f"its input {one.name!r} has its rows ({of_rows[0]}) not in the first dimension",
                remedy=_constant(one.name),
            )
    interface = OnnxInterface(inputs=tuple(inputs), batch=fixed.pop() if fixed else None, **_output(session))
    return interface.of_sizes(names)


def _constant(name: str, value: str = "zeros") -> str:
    return f"if it is the same in all requests, say so: --input {name}={value}"


def _with_usual_sizes(session: onnxruntime.InferenceSession, interface: OnnxInterface) -> OnnxInterface:
    """Return the interface with sizes that the model takes. Raises UnsupportedModel."""
    names = [size.name for size in interface.sizes]
    reason = ""
    for size in _TRIED_SIZES:
        tried = interface.of_sizes(dict.fromkeys(names, size))
        check_width(tried.features)
        try:
            predict(session, tried, _zeros(tried, 1))
        except refusals() as error:
            reason = reason or str(error).splitlines()[0][:200]
            continue
        return tried
    tried_sizes = ", ".join(map(str, _TRIED_SIZES))
    raise UnsupportedModel(f"it takes none of {tried_sizes} for its sizes {', '.join(names)}: {reason}")


def _with_outputs(session: onnxruntime.InferenceSession, interface: OnnxInterface) -> OnnxInterface:
    """Return the interface with all outputs of numbers that have a value or several for each row, as a few rows show,
    and with those sizes of theirs that are others where the request's are."""
    rows = interface.batch or _TRIED_ROWS
    try:
        shapes = [_shapes(session, interface, rows)]
    except refusals():  # it takes one row, though it does not say so
        rows = 1
        shapes = [_shapes(session, interface, rows)]
    if interface.sizes:
        doubled = interface.of_sizes({size.name: 2 * size.usual for size in interface.sizes})
        try:
            shapes.append(_shapes(session, doubled, rows))
        except refusals():  # it takes few sizes, and any of its outputs' may vary
            shapes.append({})
    tensors: list[Output] = []
    for node in session.get_outputs():
        shape = shapes[0].get(node.name, ())
        if not shape or not shape[0] or shape[0] % rows:
            continue
        vary = [_varies(node.shape, axis, node.name, shapes) for axis in range(1, len(shape))]
        named = tuple(f"{node.name}.{axis}" if vary[axis - 1] else shape[axis] for axis in range(1, len(shape)))
        if shape[0] > rows:
            # A row has several rows of the output, one for each of its tokens, say.
            several = shape[0] // rows
            named = (f"{node.name}.0" if _varies(node.shape, 0, node.name, shapes) else several, *named)
        tensors.append(Output(name=node.name, datatype=_DATATYPES[node.type], shape=named, start=0, stop=0))
    if not tensors:
        first = session.get_outputs()[0]
        raise UnsupportedModel(f"its output {first.name!r} does not have a value for each row")
    sizes = tuple(size for each in tensors for size in each.shape if isinstance(size, str))
    usual = {
        f"{name}.{axis}": size if axis else size // rows
        for name, shape in shapes[0].items()
        for axis, size in enumerate(shape)
    }
    start = len(sizes)
    placed = []
    for each in tensors:
        stop = start + prod(shape_in(each.shape, usual))
        placed.append(replace(each, start=start, stop=stop))
        start = stop
    names = tuple(each.name for each in placed)
    return replace(interface, outputs=names, tensors=tuple(placed), output_sizes=sizes)


def _varies(described: Sequence[Any], axis: int, name: str, shapes: Sequence[Mapping[str, tuple[int, ...]]]) -> bool:
    """Return whether an output's size is another for other requests."""
    if len(shapes) < 2:
        return False
    first, second = shapes[0][name], shapes[1].get(name)
    if second is not None:
        return first[axis] != second[axis]
    return not (axis < len(described) and isinstance(described[axis], int))


def _shapes(session: onnxruntime.InferenceSession, interface: OnnxInterface, rows: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the outputs of numbers for rows of zeros, of the usual sizes."""
    names = [node.name for node in session.get_outputs() if node.type in _DATATYPES]
    usual = {size.name: size.usual for size in interface.sizes}
    found = session.run(names, feeds(interface, _zeros(interface, rows), usual))
    return {name: np.asarray(values).shape for name, values in zip(names, found, strict=True)}


def refusals() -> tuple[type[Exception], ...]:
    """Return the exceptions by which ONNX Runtime refuses to answer: it has one for each of its statuses, and no base
    of their own; and those of arrays that do not fit."""
    from onnxruntime.capi import onnxruntime_pybind11_state as library

    own = [kind for kind in vars(library).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    return (*own, ValueError, MemoryError, RuntimeError)


def _zeros(interface: OnnxInterface, rows: int) -> np.ndarray:
    """Return rows of zeros, of the usual sizes."""
    zeros = np.zeros((rows, interface.features), dtype=np.float32)
    zeros[:, : len(interface.sizes)] = [size.usual for size in interface.sizes]
    return zeros


def _output(session: onnxruntime.InferenceSession) -> dict[str, Any]:
    """Return the outputs to use: probabilities as maps, else the scores beside a label, else the first.

    Beside a label the last output counts (decision values come before probabilities), unless each class has its own.
    """
    outputs = session.get_outputs()
    for node in outputs:
        if node.type.startswith("seq(map("):
            return {"outputs": (node.name,), "output_is_maps": True, "classifier": True}
    floats = [node for node in outputs if node.type in _FLOATS]
    if floats and outputs[0].type in _LABELS:
        one_per_class = all(len(node.shape) == 1 or node.shape[1:] == [1] for node in floats)
        chosen = floats if one_per_class else floats[-1:]
        return {"outputs": tuple(node.name for node in chosen), "output_is_maps": False, "classifier": True}
    first = outputs[0]
    if first.type not in _DATATYPES:
        raise UnsupportedModel(f"its output {first.name!r} is {first.type}, and predictions are numbers")
    return {"outputs": (first.name,), "output_is_maps": False, "classifier": False}


def feeds(interface: OnnxInterface, rows: np.ndarray, sizes: Mapping[str, int] | None = None) -> dict[str, np.ndarray]:
    """Return the input arrays for ``rows`` (n, features), all of the same ``sizes``. Views of ``rows`` where that is
    possible."""
    return {
        at.tensor.name: np.ascontiguousarray(rows[:, at.start : at.stop], dtype=at.tensor.datatype).reshape(
            -1, *at.shape
        )
        for at in interface.packing.places(sizes or {})
    }


def predict(session: onnxruntime.InferenceSession, interface: OnnxInterface, rows: np.ndarray) -> np.ndarray:
    """Predict ``rows`` (n, features), of the datatype that ``Signature.row_datatype`` says: (n,) or (n, outputs).

    Rows of the same sizes go into one call. Where the model insists on a batch size, the last rows are repeated to fill
    the last batch.
    """
    if not interface.sizes:
        return _column(interface, join(list(_called(session, interface, rows, {}))))
    order: list[np.ndarray] = []
    parts: list[np.ndarray] = []
    for which, sizes in interface.packing.groups(rows):
        order.append(which)
        parts += _called(session, interface, rows[which], sizes)
    joined = join(parts)
    predictions = np.empty_like(joined)
    predictions[np.concatenate(order)] = joined
    return _column(interface, predictions)


def _called(
    session: onnxruntime.InferenceSession, interface: OnnxInterface, rows: np.ndarray, sizes: Mapping[str, int]
) -> Iterator[np.ndarray]:
    """Yield the predictions of rows that all have these sizes, call by call, (rows, values)."""
    names = list(interface.outputs)
    batch = interface.batch or len(rows)
    for begin in range(0, len(rows), batch):
        part = rows[begin : begin + batch]
        whole = part if len(part) == batch else np.pad(part, ((0, batch - len(part)), (0, 0)), mode="edge")
        yield _values(interface, session.run(names, feeds(interface, whole, sizes)), batch)[: len(part)]


def _values(interface: OnnxInterface, predictions: Sequence[Any], rows: int) -> np.ndarray:
    """Return what a call gave as (rows, values)."""
    if interface.output_is_maps:
        return np.array([list(row.values()) for row in predictions[0]], dtype=np.float32)
    arrays = [np.asarray(output) for output in predictions]
    blocks = [array.reshape(rows, -1) for array in arrays]
    if interface.output_sizes:
        varying = [
            size
            for tensor, array in zip(interface.tensors, arrays, strict=True)
            for name, size in zip(tensor.shape, _of_a_row(array, rows, len(tensor.shape)), strict=True)
            if isinstance(name, str)
        ]
        blocks.insert(0, np.tile(np.array(varying, dtype=blocks[0].dtype), (rows, 1)))
    values = np.concatenate(blocks, axis=1)
    return values.astype(np.float32) if values.dtype == np.bool_ else values


def _of_a_row(array: np.ndarray, rows: int, dimensions: int) -> tuple[int, ...]:
    """Return the shape of a row of what a call gave, which has so many dimensions."""
    return array.shape[1:] if array.ndim == dimensions + 1 else (array.shape[0] // rows, *array.shape[1:])


def _column(interface: OnnxInterface, values: np.ndarray) -> np.ndarray:
    """Return (rows, values) as predictions are: a column where a row gives one."""
    if interface.second_class_only:
        return values[:, 1]
    return values[:, 0] if values.shape[1] == 1 else values
