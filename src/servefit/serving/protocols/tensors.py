"""From the input tensors of the Open Inference Protocol to rows: as JSON, or in the binary extension's form.

A model of several inputs takes one tensor for each, of its name and shape. A model of one takes one tensor of any name,
(rows, features) or as its input is shaped, or (features,) for one row; or one column for each of its features, by name.
Numbers of any datatype are converted to that of the model's rows: rounded where these are float32 or float64 and the
model takes any, and else refused where they are not numbers of the input's datatype.
"""

from __future__ import annotations

import math
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

import msgspec
import numpy as np

from servefit.backends.payload.exact import MAX_WHOLE, array_of, joined, objects, plain
from servefit.backends.payload.json_rows import put_values
from servefit.backends.payload.parts import TensorPart
from servefit.backends.payload.table import MAX_DIMENSIONS, PayloadTable, no_rows, not_a_number, place
from servefit.backends.payload.tensors import rows_of_arrays
from servefit.serving.messages import Refused, TakesLong
from servefit.serving.protocols.datatypes import BYTES, DTYPES, texts_of_bytes
from servefit.serving.protocols.metadata import inputs_of
from servefit.serving.rows import (
    SPARE_COLUMNS,
    check_row_count,
    checked_rows,
    finite_rows,
    packed_rows,
    refused,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from servefit.backends.model.types import Signature
    from servefit.serving.config import Limits

_MAX_SIZE = 2**63 - 1
"""The largest int64, which NumPy's sizes are."""

_Size = Annotated[int, msgspec.Meta(ge=0, le=_MAX_SIZE)]
_Shape = Annotated[list[_Size], msgspec.Meta(max_length=MAX_DIMENSIONS)]
_Content = TypeVar("_Content")


_FLOATS = ("FP32", "FP64", "FP16")


class TensorParameters(msgspec.Struct):
    """The parameters that are understood; any others are not minded."""

    binary_data_size: _Size | None = None


class InputTensor(msgspec.Struct, Generic[_Content]):
    """``data`` flat or nested; or ``binary_data_size`` bytes after the JSON."""

    name: str
    shape: _Shape
    datatype: str
    data: _Content | None = None
    parameters: TensorParameters | None = None

    @property
    def size_bytes(self) -> int | None:
        return None if self.parameters is None else self.parameters.binary_data_size


def rows_of_tensors(
    inputs: Sequence[InputTensor[Any]],
    binary: bytes | memoryview,
    signature: Signature,
    limits: Limits,
    *,
    plain: bool,
    plain_only: bool = False,
) -> np.ndarray:
    """Return the rows in ``inputs``, whose binary data follow one another in ``binary``. ``plain`` says that all
    ``data`` are known to be lists, or lists of lists, of finite floats and None. Raises Refused, PayloadMismatch, and
    TakesLong for what is understood and not so simple, where nothing else is to be read (``plain_only``)."""
    if plain and len(inputs) == 1 and len(inputs[0].shape) == 2:
        check_row_count(inputs[0].shape[0], limits)
        rows = _plain_rows(inputs[0], binary, signature)
        if rows is not None:
            return rows
    if plain_only:
        raise TakesLong
    return _any_rows(inputs, binary, signature, limits)


def rows_of_raw(body: bytes, signature: Signature, limits: Limits, *, plain_only: bool = False) -> np.ndarray:
    """Return the rows in a body that is nothing but the values of the one input, in its datatype. Raises as
    ``rows_of_tensors``."""
    inputs = inputs_of(signature)
    if signature.sizes:
        names = ", ".join(size.name for size in signature.sizes)
        raise refused(400, f"body: expected a request that tells its sizes ({names:.400}), got values alone")
    if len(inputs) > 1:
        names = ", ".join(repr(name) for name, _, _ in inputs)
        raise refused(400, f"body: expected a request with the inputs {names:.800}, got values alone")
    [(name, datatype, _)] = inputs
    value_bytes = DTYPES[datatype].itemsize
    size = value_bytes * signature.features
    if not body or len(body) % size:
        raise Refused(
            400, f"body: expected {signature.features} values of {value_bytes} bytes a row, got {len(body)} bytes"
        )
    shape = [len(body) // size, signature.features]
    tensor: InputTensor[Any] = InputTensor(name, shape, datatype, parameters=TensorParameters(len(body)))
    return rows_of_tensors([tensor], body, signature, limits, plain=True, plain_only=plain_only)


def _plain_rows(tensor: InputTensor[Any], binary: bytes | memoryview, signature: Signature) -> np.ndarray | None:
    """Return the rows of what nearly all clients send, or None."""
    count, width = tensor.shape
    data, size = tensor.data, tensor.size_bytes
    if width != signature.features or not count or signature.inputs[1:]:
        return None
    if size is None and data and not binary and tensor.datatype in _FLOATS:
        if type(data[0]) is not list:
            data = [data] if count == 1 else [data[begin : begin + width] for begin in range(0, len(data), width)]
        return packed_rows(data, signature) if len(data) == count else None
    dtype = DTYPES.get(tensor.datatype)
    if dtype is not None and data is None and size == len(binary) == dtype.itemsize * count * width:
        return finite_rows(binary, dtype, count, signature)
    return None


def _any_rows(
    inputs: Sequence[InputTensor[Any]], binary: bytes | memoryview, signature: Signature, limits: Limits
) -> np.ndarray:
    if signature.sizes:
        return _rows_with_sizes(inputs, binary, signature, limits)
    most = signature.features + SPARE_COLUMNS
    if not 1 <= len(inputs) <= most:
        raise Refused(400, f"inputs: expected at least 1 tensor and at most {most}, got {len(inputs)}")
    blocks, parts = [], []
    for name, row_shape, block in _blocks(inputs, binary, signature, limits, alone=len(inputs) == 1):
        blocks.append(block)
        parts.append(TensorPart(name, row_shape))
    return checked_rows(_side_by_side(blocks, parts), signature, limits, "inputs")


def _blocks(
    inputs: Sequence[InputTensor[Any]],
    binary: bytes | memoryview,
    signature: Signature,
    limits: Limits,
    *,
    alone: bool,
) -> Iterator[tuple[str, tuple[int, ...], np.ndarray]]:
    """Yield the name of each tensor, the shape of a row of it, and its values, (rows, values of a row); (features,) is
    one row where a tensor comes ``alone``. Raises Refused, and PayloadMismatch."""
    begin = 0
    for index, tensor in enumerate(inputs):
        where = f"inputs[{index}]"
        rows, row_shape = _size(tensor, where, signature, alone=alone)
        check_row_count(rows, limits)
        content = binary[begin : begin + (tensor.size_bytes or 0)]
        begin += tensor.size_bytes or 0
        width = math.prod(row_shape)
        yield tensor.name, row_shape, _values(tensor, content, where, width).reshape(rows, width)
    if begin != len(binary):
        raise Refused(400, f"body: {len(binary)} bytes follow the JSON, and the inputs name {begin}")


def _rows_with_sizes(
    inputs: Sequence[InputTensor[Any]], binary: bytes | memoryview, signature: Signature, limits: Limits
) -> np.ndarray:
    """Return the rows of a request that has sizes of its own."""
    arrays: dict[str, np.ndarray] = {}
    for name, row_shape, block in _blocks(inputs, binary, signature, limits, alone=False):
        if name in arrays:
            raise refused(400, f"inputs[{len(arrays)}].name: {name!r:.60} is there twice")
        if 0 in row_shape:
            raise refused(400, f"inputs: expected at least one value in {name!r:.60}, got none")
        arrays[name] = block.reshape(len(block), *row_shape)
    if not arrays:
        raise Refused(400, "inputs: expected at least 1 tensor")
    if len(arrays) == len(signature.inputs) == 1:
        arrays = {signature.inputs[0].name: next(iter(arrays.values()))}
    return rows_of_arrays(arrays, signature, "inputs")


def _side_by_side(blocks: Sequence[np.ndarray], parts: Sequence[TensorPart]) -> PayloadTable:
    rows = len(blocks[0])
    for index, block in enumerate(blocks):
        if len(block) != rows:
            raise Refused(400, f"inputs[{index}].shape: expected {rows} rows, as in inputs[0], got {len(block)}")
    return PayloadTable(values=joined(blocks, axis=1), parts=tuple(parts), total_rows=rows)


def _size(tensor: InputTensor[Any], where: str, signature: Signature, *, alone: bool) -> tuple[int, tuple[int, ...]]:
    """Return the number of rows of a tensor, and the shape of one."""
    if tensor.datatype not in DTYPES and not (tensor.datatype == BYTES and signature.packing.has_texts):
        datatypes = ", ".join((*DTYPES, BYTES) if signature.packing.has_texts else DTYPES)
        raise refused(400, f"{where}.datatype: expected one of {datatypes}, got {tensor.datatype!r:.60}")
    shape = tensor.shape
    if len(shape) == 1 and alone and signature.features > 1:
        shape = [1, *shape]
    if not shape or not shape[0]:
        raise no_rows(f"{where}.shape")
    if math.prod(shape) > _MAX_SIZE:
        raise Refused(400, f"{where}.shape: expected at most {_MAX_SIZE} values")
    return shape[0], tuple(shape[1:])


def _values(tensor: InputTensor[Any], content: bytes | memoryview, where: str, width: int) -> np.ndarray:
    """Return all values of a tensor, as many as its shape says."""
    count, size = math.prod(tensor.shape), tensor.size_bytes
    if (size is None) == (tensor.data is None):
        raise Refused(400, f"{where}: expected either data or parameters.binary_data_size")
    if tensor.datatype == BYTES:
        return _texts(tensor, content, where, count)
    if size is None:
        values = _numbers(tensor, where, width)
        if len(values) != count:
            raise Refused(400, f"{where}.data: expected {count} values, as in shape, got {len(values)}")
        return values
    dtype = DTYPES[tensor.datatype]
    wanted = count * dtype.itemsize
    if size != wanted:
        field = f"{where}.parameters.binary_data_size"
        raise Refused(400, f"{field}: expected {wanted}, as shape and datatype have it, got {size}")
    if size != len(content):
        raise Refused(400, f"{where}: expected {size} bytes of binary data, got {len(content)}")
    # Any byte but 0 is true; as NumPy's own booleans, others than 0 and 1 would be undefined.
    values = np.frombuffer(content, np.uint8) != 0 if tensor.datatype == "BOOL" else np.frombuffer(content, dtype)
    return plain(values)


def _texts(tensor: InputTensor[Any], content: bytes | memoryview, where: str, count: int) -> np.ndarray:
    """Return the texts of a tensor; what else is among them is for the payload reader to refuse."""
    texts: list[Any] = []
    if tensor.size_bytes not in (None, len(content)):
        raise Refused(400, f"{where}: expected {tensor.size_bytes} bytes of binary data, got {len(content)}")
    if tensor.size_bytes is None:
        put_values([tensor.data], texts)
    else:
        try:
            texts += texts_of_bytes(content)
        except ValueError as error:
            raise refused(400, f"{where}: expected texts in UTF-8 with their lengths, got {error}") from error
    if len(texts) != count:
        raise Refused(400, f"{where}: expected {count} values, as in shape, got {len(texts)}")
    return objects(texts)


def _numbers(tensor: InputTensor[Any], where: str, width: int) -> np.ndarray:
    """Return ``data`` as numbers. Raises Refused for cells that are not of the datatype."""
    source = f"{where}.data"
    if not isinstance(tensor.data, list):
        raise refused(400, f"{source}: expected a list, got {tensor.data!r:.60}")
    booleans = tensor.datatype == "BOOL"
    cells: list[Any] = []
    put_values(tensor.data, cells)
    allowed = (int, float, bool, NoneType) if booleans else (int, float, NoneType)
    for position, cell in enumerate(cells):
        if type(cell) not in allowed or (type(cell) is int and not -MAX_WHOLE < cell < MAX_WHOLE):
            row, column = _place(position, width)
            raise not_a_number(source, row, column, None, cell)
    values = array_of(cells, (len(cells),))
    dtype = DTYPES[tensor.datatype]
    if dtype.kind != "f":
        low, high = (0, 1) if booleans else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        approximate = values.astype(np.float64)
        with np.errstate(invalid="ignore"):
            fraction = ~np.isnan(approximate) & (approximate != np.trunc(approximate))
            wrong = fraction | (values < low) | (values > high)
        if wrong.any():
            position = int(np.argmax(wrong))
            spot = place(*_place(position, width), None)
            raise refused(400, f"{source}: expected {tensor.datatype} in {spot}, got {cells[position]!r:.60}")
    return values


def _place(position: int, width: int) -> tuple[int, int]:
    """Return row and column of a value, counted from 1."""
    row, column = divmod(position, width) if width else (position, 0)
    return row + 1, column + 1
