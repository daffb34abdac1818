"""From the input tensors of the Open Inference Protocol to rows: as JSON, or in the binary extension's form.

One tensor holds the rows: (rows, features), dimensions after the second flattened, or (features,) for one row. Several
lie side by side, each with as many columns as its shape says; those of one column that are named like the model's
features are put in the model's order. Numbers of any datatype are converted to float32, rounded where it has no better.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

import msgspec
import numpy as np

from servefit.backends.payload.table import Table, no_rows, not_a_number, place
from servefit.serving.messages import Refused
from servefit.serving.rows import checked, finite, mismatch, packed, refused, within

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from servefit.backends.model.types import Signature
    from servefit.serving.config import Limits

_Size = Annotated[int, msgspec.Meta(ge=0)]
_Content = TypeVar("_Content")

_BEYOND = 2**1023
"""No integer beyond it becomes a float."""

_SPARE_INPUTS = 1000
"""So many columns may come along that the model does not ask for."""

_FLOATS = ("FP32", "FP64", "FP16")
_DTYPES: Mapping[str, np.dtype[Any]] = {
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    **{f"INT{bits}": np.dtype(f"<i{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": np.dtype(f"<u{bits // 8}") for bits in (8, 16, 32, 64)},
    "BOOL": np.dtype(np.bool_),
}


class TensorParameters(msgspec.Struct):
    """What is understood; any others are not minded."""

    binary_data_size: _Size | None = None


class InputTensor(msgspec.Struct, Generic[_Content]):
    """``data`` flat or nested; or ``binary_data_size`` bytes after the JSON."""

    name: str
    shape: list[_Size]
    datatype: str
    data: _Content | None = None
    parameters: TensorParameters | None = None

    @property
    def size_bytes(self) -> int | None:
        return None if self.parameters is None else self.parameters.binary_data_size


def rows_of_tensors(
    inputs: Sequence[InputTensor[Any]], binary: bytes, signature: Signature, limits: Limits, *, plain: bool
) -> np.ndarray:
    """The rows in ``inputs``, whose binary data follow one another in ``binary``. ``plain`` says that all ``data`` are
    known to be lists, or lists of lists, of finite numbers and None. Raises Refused."""
    if plain and len(inputs) == 1 and len(inputs[0].shape) == 2:
        within(inputs[0].shape[0], limits)
        rows = _plain_rows(inputs[0], binary, signature)
        if rows is not None:
            return rows
    return _any_rows(inputs, binary, signature, limits)


def rows_of_raw(body: bytes, signature: Signature, limits: Limits) -> np.ndarray:
    """The rows in a body that is nothing but the values of the one input, as FP32. Raises Refused."""
    size = 4 * signature.features
    if not body or len(body) % size:
        raise Refused(400, f"body: expected {signature.features} values of 4 bytes a row, got {len(body)} bytes")
    shape = [len(body) // size, signature.features]
    tensor: InputTensor[Any] = InputTensor("body", shape, "FP32", parameters=TensorParameters(len(body)))
    return rows_of_tensors([tensor], body, signature, limits, plain=True)


def _plain_rows(tensor: InputTensor[Any], binary: bytes, signature: Signature) -> np.ndarray | None:
    """The rows of what nearly all clients send, or None."""
    count, width = tensor.shape
    data, size = tensor.data, tensor.size_bytes
    if width != signature.features or not count or signature.integer_features:
        return None
    if size is None and data and not binary and tensor.datatype in _FLOATS:
        if type(data[0]) is not list:
            data = [data] if count == 1 else [data[begin : begin + width] for begin in range(0, len(data), width)]
        return packed(data, signature) if len(data) == count else None
    if tensor.datatype == "FP32" and data is None and size == len(binary) == 4 * count * width:
        return finite(binary, count, width)
    return None


@dataclass(frozen=True, slots=True)
class _Block:
    """The columns of one tensor, as float64 (rows, columns)."""

    name: str
    values: np.ndarray


def _any_rows(inputs: Sequence[InputTensor[Any]], binary: bytes, signature: Signature, limits: Limits) -> np.ndarray:
    most = signature.features + _SPARE_INPUTS
    if not 1 <= len(inputs) <= most:
        raise Refused(400, f"inputs: expected at least 1 tensor and at most {most}, got {len(inputs)}")
    blocks = []
    begin = 0
    for index, tensor in enumerate(inputs):
        where = f"inputs[{index}]"
        rows, width = _size(tensor, where, signature, alone=len(inputs) == 1)
        within(rows, limits)
        content = binary[begin : begin + (tensor.size_bytes or 0)]
        begin += tensor.size_bytes or 0
        blocks.append(_Block(tensor.name, _values(tensor, content, where, width).reshape(rows, width)))
    if begin != len(binary):
        raise Refused(400, f"body: {len(binary)} bytes follow the JSON, and the inputs name {begin}")
    return checked(_side_by_side(blocks), signature, limits, "inputs")


def _side_by_side(blocks: Sequence[_Block]) -> Table:
    rows = len(blocks[0].values)
    for index, block in enumerate(blocks):
        if len(block.values) != rows:
            raise Refused(400, f"inputs[{index}].shape: expected {rows} rows, as in inputs[0], got {len(block.values)}")
    values = np.concatenate([block.values for block in blocks], axis=1)
    named = len(blocks) > 1 and values.shape[1] == len(blocks)
    return Table(values=values, names=tuple(block.name for block in blocks) if named else None, total_rows=rows)


def _size(tensor: InputTensor[Any], where: str, signature: Signature, *, alone: bool) -> tuple[int, int]:
    """How many rows a tensor has, and how many columns."""
    if tensor.datatype not in _DTYPES:
        raise refused(400, f"{where}.datatype: expected one of {', '.join(_DTYPES)}, got {tensor.datatype!r:.60}")
    shape = tensor.shape
    if len(shape) == 1 and alone and signature.features > 1:
        shape = [1, *shape]
    if not shape or not shape[0]:
        raise mismatch(no_rows(f"{where}.shape"))
    return shape[0], math.prod(shape[1:])


def _values(tensor: InputTensor[Any], content: bytes, where: str, width: int) -> np.ndarray:
    """All values of a tensor as float64, as many as its shape says."""
    count, size = math.prod(tensor.shape), tensor.size_bytes
    if (size is None) == (tensor.data is None):
        raise Refused(400, f"{where}: expected either data or parameters.binary_data_size")
    if size is None:
        values = _numbers(tensor, where, width)
        if len(values) != count:
            raise Refused(400, f"{where}.data: expected {count} values, as in shape, got {len(values)}")
        return values
    dtype = _DTYPES[tensor.datatype]
    wanted = count * dtype.itemsize
    if size != wanted:
        field = f"{where}.parameters.binary_data_size"
        raise Refused(400, f"{field}: expected {wanted}, as shape and datatype have it, got {size}")
    if size != len(content):
        raise Refused(400, f"{where}: expected {size} bytes of binary data, got {len(content)}")
    # Any byte but 0 is true; as NumPy's own booleans, others than 0 and 1 would be undefined.
    values = np.frombuffer(content, np.uint8) != 0 if tensor.datatype == "BOOL" else np.frombuffer(content, dtype)
    with np.errstate(invalid="ignore"):  # a signalling NaN is a missing value too
        return values.astype(np.float64)


def _numbers(tensor: InputTensor[Any], where: str, width: int) -> np.ndarray:
    """``data`` as float64. Raises Refused for cells that are not of the datatype."""
    source = f"{where}.data"
    if not isinstance(tensor.data, list):
        raise refused(400, f"{source}: expected a list, got {tensor.data!r:.60}")
    booleans = tensor.datatype == "BOOL"
    cells = _flattened(tensor.data)
    allowed = (int, float, bool, NoneType) if booleans else (int, float, NoneType)
    for position, cell in enumerate(cells):
        if type(cell) not in allowed or (type(cell) is int and not -_BEYOND < cell < _BEYOND):
            raise _no_number(source, position, width, cell)
    values = np.array(cells, dtype=np.float64)
    dtype = _DTYPES[tensor.datatype]
    if dtype.kind != "f":
        low, high = (0, 1) if booleans else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        with np.errstate(invalid="ignore"):
            wrong = ~np.isnan(values) & ((values != np.trunc(values)) | (values < low) | (values > high))
        if wrong.any():
            position = int(np.argmax(wrong))
            spot = _place(position, width)
            raise refused(400, f"{source}: expected {tensor.datatype} in {spot}, got {cells[position]!r:.60}")
    return values


def _flattened(content: list[Any]) -> list[Any]:
    cells: list[Any] = []
    for item in content:
        if isinstance(item, list):
            cells += _flattened(item)
        else:
            cells.append(item)
    return cells


def _no_number(source: str, position: int, width: int, cell: object) -> Refused:
    row, column = divmod(position, width) if width else (position, 0)
    return mismatch(not_a_number(source, row + 1, column + 1, None, cell))


def _place(position: int, width: int) -> str:
    row, column = divmod(position, width) if width else (position, 0)
    return place(row + 1, column + 1, None)
