"""Rows from an array in NumPy's own format, as the SageMaker SDK's NumpySerializer sends it. Nothing is unpickled, and
nothing is allocated that the body does not hold."""

from __future__ import annotations

import io
import math
import re
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from servefit.backends.payload.arrays import BROKEN_ARRAY, table_of_array
from servefit.backends.payload.tensors import rows_of_arrays
from servefit.serving.messages import TakesLong
from servefit.serving.rows import check_row_count, checked_rows, finite_rows, raise_for_long_body, refused

if TYPE_CHECKING:
    from servefit.backends.model.types import Signature
    from servefit.serving.config import Limits

_SOURCE = "body"

_PLAIN_HEADER = re.compile(
    rb"\x93NUMPY\x01\0(?P<length>..)\{'descr': '(?P<dtype>[<>|][biuf][1248])', 'fortran_order': (?P<order>False|True), "
    rb"'shape': \((?P<shape>(?:[0-9]{1,18}, ){0,31}[0-9]{1,18},?)\), \} *\n",
    re.DOTALL,
)
"""The header that NumPy writes before numbers. Its own way to read it takes 100 us, and up to 4 us for each byte."""


class _Header(NamedTuple):
    """The header of an array whose values begin at ``begin``."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype[Any]
    begin: int


def rows_of_npy(body: bytes, signature: Signature, limits: Limits, *, at_once: bool = False) -> np.ndarray:
    """Return the rows of an array of numbers. One dimension is one row, or one column where the model has one feature;
    more than two are those of the model's input. Raises Refused, PayloadMismatch, and TakesLong."""
    header = _plain_header(body)
    if header is None and at_once:
        raise TakesLong
    if header is not None:
        rows = _plain_rows(body, header, signature, limits)
        if rows is not None:
            return rows
    raise_for_long_body(body, at_once=at_once)
    try:
        array = _array(body, header or _any_header(body))
    except (*BROKEN_ARRAY, RecursionError, MemoryError) as error:
        raise refused(
            400, f"{_SOURCE}: expected an array in NPY format, got one that does not load: {error!s:.200}"
        ) from error
    if signature.sizes:
        check_row_count(len(array) if array.ndim else 0, limits)
        return rows_of_arrays({signature.inputs[0].name: array}, signature, _SOURCE)
    table = table_of_array(array, _SOURCE, signature, most_rows=limits.rows)
    return checked_rows(table, signature, limits, _SOURCE)


def _plain_rows(body: bytes, header: _Header, signature: Signature, limits: Limits) -> np.ndarray | None:
    """Return the rows of an array that is as the model takes it, or None."""
    values = memoryview(body)[header.begin :]
    if header.fortran_order or len(header.shape) != 2:
        return None
    count, width = header.shape
    if not count or width != signature.features or count * width * header.dtype.itemsize != len(values):
        return None
    check_row_count(count, limits)
    return finite_rows(values, header.dtype, count, signature)


def _array(body: bytes, header: _Header) -> np.ndarray:
    dtype, values = header.dtype, math.prod(header.shape)
    if dtype.hasobject or not dtype.itemsize or values * dtype.itemsize != len(body) - header.begin:
        raise ValueError(f"{values} values of {dtype} are not what follows its header")
    flat = np.frombuffer(body, dtype, offset=header.begin) if values else np.empty(0, dtype)
    return flat.reshape(header.shape, order="F" if header.fortran_order else "C")


def _plain_header(body: bytes) -> _Header | None:
    match = _PLAIN_HEADER.match(body)
    if match is None or match.end() - match.end("length") != int.from_bytes(match["length"], "little"):
        return None
    shape = tuple(int(size) for size in match["shape"].rstrip(b",").split(b", "))
    return _Header(shape, match["order"] == b"True", np.dtype(match["dtype"].decode()), match.end())


def _any_header(body: bytes) -> _Header:
    stream = io.BytesIO(body)
    formats = np.lib.format
    version = formats.read_magic(stream)
    readers = {(1, 0): formats.read_array_header_1_0, (2, 0): formats.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"version {version[0]}.{version[1]} is not known")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # headers that Python 2 wrote are welcome
        shape, fortran_order, dtype = readers[version](stream)
    return _Header(shape, fortran_order, dtype, stream.tell())
