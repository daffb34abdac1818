"""Rows from NumPy arrays: in memory, in an NPY file, or in an NPZ file. Nothing is unpickled."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from servefit.backends.payload.table import MAX_ROWS, Table, no_rows
from servefit.errors import PayloadMismatch

# numpy parses the header of an array as Python.
_BROKEN_ARRAY = (ValueError, OverflowError, SyntaxError, TypeError, tokenize.TokenError)
_MAX_NPZ_BYTES = 4 * 2**30
_ROWS_NAMES = ("X", "x", "rows", "features", "data", "instances")


def table_of_array(
    array: np.ndarray,
    source: str,
    features: int | None,
    names: Sequence[str] | None = None,
    *,
    most_rows: int = MAX_ROWS,
) -> Table:
    """The first ``most_rows`` rows of an array of numbers. One dimension is one row, or one column where the model has
    one feature (``features``, None where no model is known); dimensions after the second are flattened. Raises
    PayloadMismatch."""
    if array.dtype.names is not None:
        if not all(array.dtype[name].kind in "biuf" for name in array.dtype.names):
            raise PayloadMismatch(source, expected="columns of numbers", got=f"columns of {array.dtype}"[:100])
        flat = array.reshape(-1)
        with np.errstate(over="ignore", invalid="ignore"):  # extended precision, signalling NaNs
            values = np.stack([flat[name][:most_rows].astype(np.float64) for name in array.dtype.names], axis=1)
        return Table(values=values, names=array.dtype.names, total_rows=len(flat))
    if array.dtype.kind not in "biuf":
        raise PayloadMismatch(source, expected="an array of numbers", got=f"one of {array.dtype}")
    if array.ndim < 2:
        array = array.reshape(-1, 1) if features == 1 else array.reshape(1, -1)
    if not array.size:
        raise no_rows(source)
    kept = array[:most_rows]
    with np.errstate(over="ignore", invalid="ignore"):
        values = kept.reshape(len(kept), -1).astype(np.float64)
    return Table(values=values, names=None if names is None else tuple(names), total_rows=len(array))


def read_npy(path: Path, source: str, features: int | None) -> Table:
    """Read an NPY file. It is mapped and not loaded, so a header that promises more than the file holds is refused."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (*_BROKEN_ARRAY, OSError) as error:
        raise _broken(source, "an NPY array of numbers", error) from error
    return table_of_array(array, source, features)


def read_npz(path: Path, source: str, features: int | None) -> Table:
    """Read the one array of an NPZ file, or of several the one called X, rows, features, data or instances."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked_bytes = sum(member.file_size for member in archive.infolist())
        if unpacked_bytes > _MAX_NPZ_BYTES:
            raise PayloadMismatch(source, expected=f"at most {_MAX_NPZ_BYTES} bytes", got=str(unpacked_bytes))
        with np.load(path, allow_pickle=False) as arrays:
            array = arrays[_name_of_rows(arrays.files, source)]
    except (*_BROKEN_ARRAY, OSError, MemoryError, KeyError, EOFError, zlib.error) as error:
        raise _broken(source, "an NPZ file of arrays of numbers", error) from error
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise _broken(source, "an NPZ file", error) from error
    if not isinstance(array, np.ndarray):
        raise PayloadMismatch(source, expected="an NPZ file of arrays", got="a ZIP archive of other files")
    return table_of_array(array, source, features)


def _name_of_rows(names: Sequence[str], source: str) -> str:
    candidates = names if len(names) == 1 else [name for name in _ROWS_NAMES if name in names]
    if not candidates:
        raise PayloadMismatch(
            source,
            expected="one array, or one called X",
            got=", ".join(" ".join(name.split()) for name in names)[:100] or "none",
        )
    return candidates[0]


def _broken(source: str, expected: str, error: Exception) -> PayloadMismatch:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return PayloadMismatch(source, expected=expected, got=f"a file that does not load: {reason:.100}")
