"""The way of rows into an ONNX model, and of predictions out of it.

``predict`` feeds rows to whatever the model takes (images, several inputs, whole numbers, sizes that each request has
for itself, a fixed batch size), and turns what it gives into an array of one value or several a row. How a model is
called is found out by ``onnx_interface``. The inspection and the backends that serve networks use it, so that they
agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from math import prod
from typing import Any, Protocol

import numpy as np

from servefit.backends.model.packing import Packing, join
from servefit.backends.model.padding import Batch, cut, padded_batches
from servefit.backends.model.types import Input, Output, Padding, Size
from servefit.errors import RowsRefused

_NARROW = ("bool", "float16", "int8", "uint8", "int16", "uint16")
"""Datatypes that do not hold every size of an output; float32 holds those, and every value of these."""


class Session(Protocol):
    """A network that a runtime has opened, such as ONNX Runtime's InferenceSession."""

    def run(self, names: list[str], feeds: dict[str, np.ndarray], /) -> Sequence[Any]:
        """Return the outputs called ``names``, for inputs by their names."""
        ...


@dataclass(frozen=True, kw_only=True)
class OnnxInterface:
    """All that is to know to call a model. ``batch`` is the number of rows that it insists on, or None.

    ``outputs`` are the outputs to use, side by side: nearly always one. ``output_is_maps`` says that it holds one
    mapping of label to probability a row (the ZipMap operator). ``second_class_only`` says that of the two
    probabilities the second is the prediction. ``output_datatype`` is NumPy's name of the predictions' datatype.
    ``sizes``, ``tensors``, ``output_sizes`` and ``padding`` are those of ``Signature``, where ``tensors`` are its
    output tensors.

    ``missing_texts`` are what stands for a missing text in each of the values of an input, None where nothing does.
    ``lowered`` says of each of them whether it is made lower case, as Python does it, before it is given to the model.
    ``closed`` are columns that take these values alone, where the model itself would not say so: their names, and the
    inputs and the positions there that hold them.
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
    padding: Padding | None = None
    missing_texts: tuple[tuple[str, tuple[str | None, ...]], ...] = ()
    lowered: tuple[tuple[str, tuple[bool, ...]], ...] = ()
    closed: tuple[tuple[str, str, int, tuple[str | float, ...]], ...] = ()

    @property
    def features(self) -> int:
        """The width of a row of the usual sizes."""
        return (
            self.packing.width({size.name: size.usual for size in self.sizes}) if self.sizes else self.inputs[-1].stop
        )

    @cached_property
    def packing(self) -> Packing:
        return Packing(self.inputs, [size.name for size in self.sizes])

    @cached_property
    def closed_columns(self) -> tuple[tuple[str, str, int, frozenset[str | float]], ...]:
        """``closed``, whose values are looked up in every call."""
        return tuple((column, name, position, frozenset(values)) for column, name, position, values in self.closed)

    @property
    def output_packing(self) -> Packing:
        return Packing(self.tensors, self.output_sizes)

    def of_sizes(self, sizes: Mapping[str, int]) -> OnnxInterface:
        """Return the interface with other usual sizes."""
        sized = replace(self, sizes=tuple(Size(name=name, usual=usual) for name, usual in sizes.items()))
        places = sized.packing.places(sizes)
        inputs = zip(self.inputs, places, strict=True)
        return replace(sized, inputs=tuple(replace(one, start=at.start, stop=at.stop) for one, at in inputs))

    def to_facts(self) -> dict[str, Any]:
        """Return it as JSON values, for an artifact's facts."""
        facts = {
            **asdict(self),
            "inputs": [
                {**asdict(model_input), "shape": list(model_input.shape), "known": list(model_input.known)}
                for model_input in self.inputs
            ],
            "outputs": list(self.outputs),
            "sizes": [{"name": size.name, "usual": size.usual} for size in self.sizes],
            "tensors": [{**asdict(tensor), "shape": list(tensor.shape)} for tensor in self.tensors],
            "output_sizes": list(self.output_sizes),
            "missing_texts": [[name, list(texts)] for name, texts in self.missing_texts],
            "lowered": [[name, list(which)] for name, which in self.lowered],
            "closed": [[*place, list(values)] for *place, values in self.closed],
        }
        if self.padding is None:
            del facts["padding"]
        return facts

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> OnnxInterface:
        """Read the JSON values of ``to_facts``, also those of versions without sizes, tensors and padding."""
        read = {
            "inputs": tuple(
                Input(**{**fields, "shape": tuple(fields["shape"]), "known": tuple(fields.get("known", ()))})
                for fields in facts["inputs"]
            ),
            "outputs": tuple(facts["outputs"]),
            "sizes": tuple(Size(**fields) for fields in facts.get("sizes", ())),
            "tensors": tuple(
                Output(**{**fields, "shape": tuple(fields["shape"])}) for fields in facts.get("tensors", ())
            ),
            "output_sizes": tuple(facts.get("output_sizes", ())),
            "padding": _padding(facts.get("padding")),
            "missing_texts": tuple((name, tuple(texts)) for name, texts in facts.get("missing_texts", ())),
            "lowered": tuple((name, tuple(which)) for name, which in facts.get("lowered", ())),
            "closed": tuple((*place, tuple(values)) for *place, values in facts.get("closed", ())),
        }
        return cls(**{**facts, **read})


def _padding(facts: Mapping[str, Any] | None) -> Padding | None:
    if facts is None:
        return None
    lists = {name: tuple(facts.get(name, ())) for name in ("sizes", "others", "outputs", "shortest")}
    return Padding(mask=facts["mask"], **lists)


def feeds(interface: OnnxInterface, rows: np.ndarray, sizes: Mapping[str, int] | None = None) -> dict[str, np.ndarray]:
    """Return the input arrays for ``rows`` (n, features), all of the same ``sizes``. Views of ``rows`` where that is
    possible. Raises RowsRefused for a missing text that nothing stands for, and for a value that an input does not
    take."""
    blocks = interface.packing.unpack(rows, sizes or {})
    fed = {
        one.name: block if one.is_text else as_datatype(block, one.datatype)
        for one, block in zip(interface.inputs, blocks, strict=True)
    }
    if interface.packing.has_texts:
        _replace_missing(fed, interface)
        _make_lower_case(fed, interface)
    for column, name, position, values in interface.closed_columns:
        _refuse_others(fed[name].reshape(len(rows), -1)[:, position], values, column)
    return fed


def as_datatype(values: np.ndarray, datatype: str) -> np.ndarray:
    """Return numbers as an input takes them, C-contiguous. Raises RowsRefused for one that is too large for it."""
    try:
        with np.errstate(over="raise"):
            return np.ascontiguousarray(values, dtype=datatype)
    except FloatingPointError as error:
        raise RowsRefused("onnxruntime", f"a number is beyond {datatype}, in which the model is computed") from error


def _replace_missing(fed: Mapping[str, np.ndarray], interface: OnnxInterface) -> None:
    standing = dict(interface.missing_texts)
    for one in interface.inputs:
        # Looking through a list takes a fifth of the time of comparing an array of objects.
        if not one.is_text or None not in fed[one.name].reshape(-1).tolist():
            continue
        values = fed[one.name].reshape(len(fed[one.name]), -1)
        for nth, column in enumerate(values.T):
            absent = [text is None for text in column]
            instead = standing[one.name][nth] if one.name in standing else None
            if any(absent) and instead is None:
                raise RowsRefused("onnxruntime", f"a text of {one.name!r:.60} is missing")
            values[absent, nth] = instead


def _make_lower_case(fed: Mapping[str, np.ndarray], interface: OnnxInterface) -> None:
    """Runtimes do so letter by letter, and Python does not: an I with a dot becomes two, and a sigma at the end of a
    word is another one. Of ASCII they make the same."""
    for name, which in interface.lowered:
        values = fed[name].reshape(len(fed[name]), -1)
        for nth in (nth for nth, is_lowered in enumerate(which) if is_lowered):
            column = values[:, nth]
            if not all(text.isascii() for text in column):
                column[:] = [text.lower() for text in column]


def _refuse_others(column: np.ndarray, values: Set[str | float], name: str) -> None:
    for value in column.tolist():
        if value not in values:
            shown = f"{value:g}" if isinstance(value, float) else f"{value!r:.60}"
            raise RowsRefused("onnxruntime", f"{shown} is none of the categories of {name!r:.60}")


def predict(session: Session, interface: OnnxInterface, rows: np.ndarray) -> np.ndarray:
    """Predict ``rows`` (n, features), of the datatype that ``Signature.row_datatype`` says: (n,) or (n, outputs).

    Rows of the same sizes go into one call, and with ``interface.padding`` those of any. Where the model insists on a
    batch size, the last rows are repeated to fill the last batch. Raises RowsRefused where an output has another shape
    than the model has for it.
    """
    if interface.packing.is_table:
        return _column(interface, join(list(_called(session, interface, rows, {}))))
    order: list[np.ndarray] = []
    parts: list[np.ndarray] = []
    if interface.padding is None:
        for which, sizes in interface.packing.groups(rows):
            order.append(which)
            own = rows if len(which) == len(rows) else rows[which, : interface.packing.width(sizes)]
            parts += _called(session, interface, own, sizes)
    else:
        for batch in padded_batches(interface.packing, interface.padding, rows):
            order += [which for which, _ in batch.groups]
            predicted = join(list(_called(session, interface, batch.rows, batch.longest)))
            parts.append(_cut(interface, interface.padding, batch, predicted))
    joined = join(parts)
    if len(order) == 1:
        return _column(interface, joined)
    predictions = np.empty_like(joined)
    predictions[np.concatenate(order)] = joined
    return _column(interface, predictions)


def refusals() -> tuple[type[Exception], ...]:
    """Return the exceptions by which ONNX Runtime refuses to answer: it has one for each of its statuses, and no base
    of their own; and those of arrays that do not fit, and of outputs that are not of their shape."""
    from onnxruntime.capi import onnxruntime_pybind11_state as library

    own = [kind for kind in vars(library).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    return (*own, RowsRefused, ValueError, MemoryError, RuntimeError)


def _cut(interface: OnnxInterface, padding: Padding, batch: Batch, predictions: np.ndarray) -> np.ndarray:
    try:
        return cut(interface.output_packing, padding, batch, predictions)
    except ValueError as error:
        raise RowsRefused("onnxruntime", f"its outputs are not of the sizes of its inputs: {error}") from error


def calls(interface: OnnxInterface, rows: np.ndarray, most: int) -> Iterator[dict[str, np.ndarray]]:
    """Yield the input arrays of the calls that take all ``rows``, packed as they are, no more than ``most`` of them at
    a time where the model does not insist on a number."""
    for which, sizes in interface.packing.groups(rows):
        own = rows[which, : interface.packing.width(sizes)]
        batch = interface.batch or most
        for begin in range(0, len(own), batch):
            yield feeds(interface, _filled(interface, own[begin : begin + batch]), sizes)


def _called(
    session: Session, interface: OnnxInterface, rows: np.ndarray, sizes: Mapping[str, int]
) -> Iterator[np.ndarray]:
    """Yield the predictions of rows of the same ``sizes``, call by call, (rows, values)."""
    names = list(interface.outputs)
    batch = interface.batch or len(rows)
    for begin in range(0, len(rows), batch):
        part = rows[begin : begin + batch]
        outputs = session.run(names, feeds(interface, _filled(interface, part), sizes))
        yield _values(interface, outputs, batch)[: len(part)]


def _filled(interface: OnnxInterface, rows: np.ndarray) -> np.ndarray:
    """Return ``rows``, the last one repeated up to the number that the model insists on."""
    lacking = 0 if interface.batch is None else interface.batch - len(rows)
    return np.pad(rows, ((0, lacking), (0, 0)), mode="edge") if lacking else rows


def _values(interface: OnnxInterface, predictions: Sequence[Any], rows: int) -> np.ndarray:
    """Return what a call gave as (rows, values)."""
    if interface.output_is_maps:
        return np.array([list(row.values()) for row in predictions[0]], dtype=np.float32)
    arrays = [np.asarray(output) for output in predictions]
    for nth, tensor in enumerate(interface.tensors):  # classifiers and tables have none
        if 0 < tensor.rows_axis < arrays[nth].ndim:
            arrays[nth] = np.moveaxis(arrays[nth], tensor.rows_axis, 0)
    varying = _varying_sizes(interface, arrays, rows)
    side_by_side = [array.reshape(rows, -1) for array in arrays]
    values = side_by_side[0] if len(arrays) == 1 else np.concatenate(side_by_side, axis=1)
    if values.dtype == np.bool_ or (varying and values.dtype.name in _NARROW):
        values = values.astype(np.float32)
    if not varying:
        return values
    return np.concatenate([np.tile(np.array(varying, dtype=values.dtype), (rows, 1)), values], axis=1)


def _varying_sizes(interface: OnnxInterface, arrays: Sequence[np.ndarray], rows: int) -> list[int]:
    """Return the sizes of outputs that vary by call. Raises RowsRefused if a fixed size differs."""
    varying: list[int] = []
    for tensor, array in zip(interface.tensors, arrays, strict=False):
        shape = array.shape[1:]
        if 0 < array.ndim != len(tensor.shape) + 1:
            shape = (len(array) // rows, *shape)
        fits = len(shape) == len(tensor.shape) and array.size == rows * prod(shape)
        if not fits or any(
            isinstance(size, int) and size != got for size, got in zip(tensor.shape, shape, strict=True)
        ):
            got_shape = ", ".join(map(str, array.shape))
            raise RowsRefused(
                "onnxruntime", f"its output {tensor.name!r} has the shape ({got_shape}) for {rows} of them"
            )
        varying += [got for size, got in zip(tensor.shape, shape, strict=True) if isinstance(size, str)]
    return varying


def _column(interface: OnnxInterface, values: np.ndarray) -> np.ndarray:
    """Return (rows, values) as predictions are: a column where a row gives one."""
    if interface.second_class_only:
        return values[:, 1]
    return values[:, 0] if values.shape[1] == 1 else values
