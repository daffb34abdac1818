"""Rows from an array in NumPy's own format, as the SageMaker SDK's NumpySerializer sends it. Nothing is unpickled, and
nothing is allocated that the body does not hold."""

from __future__ import annotations

import io
import math
import tokenize
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.payload.arrays import table_of_array
from servefit.errors import PayloadMismatch
from servefit.serving.rows import checked, mismatch, refused

if TYPE_CHECKING:
    from servefit.backends.model.types import Signature
    from servefit.serving.config import Limits

# numpy parses the header as Python.
_BROKEN_ARRAY = (ValueError, OverflowError, SyntaxError, TypeError, RecursionError, MemoryError, tokenize.TokenError)
_SOURCE = "body"


def rows_of_npy(body: bytes, signature: Signature, limits: Limits) -> np.ndarray:
    """The rows of an array of numbers. One dimension is one row, or one column where the model has one feature; more
    than two are those of the model's input. Raises Refused."""
    array = _array(body)
    try:
        table = table_of_array(array, _SOURCE, signature, most_rows=limits.rows)
    except PayloadMismatch as error:
        raise mismatch(error) from error
    return checked(table, signature, limits, _SOURCE)


def _array(body: bytes) -> np.ndarray:
    stream = io.BytesIO(body)
    try:
        shape, fortran_order, dtype = _header(stream)
        begin, values = stream.tell(), math.prod(shape)
        if dtype.hasobject or not dtype.itemsize or values * dtype.itemsize != len(body) - begin:
            raise ValueError(f"{values} values of {dtype} are not what follows its header")
        flat = np.frombuffer(body, dtype, offset=begin) if values else np.empty(0, dtype)
        return flat.reshape(shape, order="F" if fortran_order else "C")
    except _BROKEN_ARRAY as error:
        raise refused(
            400, f"{_SOURCE}: expected an array in NPY format, got one that does not load: {error}"
        ) from error


def _header(stream: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    formats = np.lib.format
    version = formats.read_magic(stream)
    readers = {(1, 0): formats.read_array_header_1_0, (2, 0): formats.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"version {version[0]}.{version[1]} is not known")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # headers that Python 2 wrote are welcome
        header: tuple[tuple[int, ...], bool, np.dtype[Any]] = readers[version](stream)
    return header
