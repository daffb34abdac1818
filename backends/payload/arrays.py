"""Rows from NumPy arrays: in memory, in an NPY file, or in an NPZ file. Nothing is unpickled."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.model.input_shapes import is_by_position
from servefit.backends.payload.exact import joined, plain
from servefit.backends.payload.parts import TensorPart, same_layout
from servefit.backends.payload.table import MAX_ROWS, PayloadTable, no_rows
from servefit.errors import PayloadMismatch

if TYPE_CHECKING:
    from servefit.backends.model import Signature

BROKEN_ARRAY = (ValueError, OverflowError, SyntaxError, TypeError, tokenize.TokenError)
"""Errors of a broken header, which NumPy parses as Python."""

_MAX_NPZ_BYTES = 4 * 2**30
"""Unpacked, in memory. A sample of MAX_ROWS rows has 4 GiB where each has 100,000 float32 values."""

_ROWS_NAMES = ("X", "x", "rows", "features", "data", "instances")


def table_of_array(
    array: np.ndarray,
    source: str,
    signature: Signature | None,
    names: Sequence[str] | None = None,
    *,
    most_rows: int = MAX_ROWS,
) -> PayloadTable:
    """Return the first ``most_rows`` rows of an array of numbers. One dimension is one row, or one column where the
    model has one feature; more than two are those of the model's input, or whatever they are where no model is known.
    Raises PayloadMismatch."""
    if array.dtype.names is not None:
        return _table_of_records(array, source, most_rows)
    if array.dtype.kind not in "biufO":
        raise PayloadMismatch(source, expected="an array of numbers", got=f"one of {array.dtype}")
    if array.ndim < 2:
        array = array.reshape(-1, 1) if signature is not None and signature.features == 1 else array.reshape(1, -1)
    if array.ndim > 2 and signature is not None and not _is_shaped(array.shape[1:], signature.row_shape):
        wanted = ", ".join(map(str, signature.row_shape))
        raise PayloadMismatch(source, expected=f"rows of the shape ({wanted})", got=f"an array of {array.shape}"[:100])
    if not array.size:
        raise no_rows(source)
    kept = array[:most_rows]
    return PayloadTable(
        values=_numbers(kept.reshape(len(kept), -1)),
        names=None if names is None else tuple(names),
        total_rows=len(array),
    )


def _table_of_records(array: np.ndarray, source: str, most_rows: int) -> PayloadTable:
    """Return the same for an array whose columns have names, and datatypes of their own."""
    names = array.dtype.names or ()
    if not all(array.dtype[name].kind in "biuf" for name in names):
        raise PayloadMismatch(source, expected="columns of numbers", got=f"columns of {array.dtype}"[:100])
    flat = array.reshape(-1)
    columns = [_numbers(flat[name][:most_rows]).reshape(-1, 1) for name in names]
    return PayloadTable(values=joined(columns, axis=1), names=names, total_rows=len(flat))


def _is_shaped(row: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Return whether rows of the shape ``row`` are rows of the shape ``wanted``, which has several dimensions too."""
    return len(wanted) > 1 and same_layout(row, wanted)


def _numbers(array: np.ndarray) -> np.ndarray:
    return array if array.dtype.kind == "O" else plain(array)


def read_npy(path: Path, source: str, signature: Signature | None) -> PayloadTable:
    """Read an NPY file. Raises PayloadMismatch."""
    return table_of_array(load_npy(path, source), source, signature)


def load_npy(path: Path, source: str) -> np.ndarray:
    """Return the array in an NPY file. It is mapped and not loaded, so a header that promises more than the file holds
    is refused. Raises PayloadMismatch."""
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (*BROKEN_ARRAY, OSError) as error:
        raise _broken(source, "an NPY array of numbers", error) from error
    return array


def read_npz(path: Path, source: str, signature: Signature | None) -> PayloadTable:
    """Read the array of an NPZ file: its only one, or the one called X, rows, features, data or instances. For a model
    of several inputs, read one array for each, by name, or by position if the arrays have no names. Raises
    PayloadMismatch."""
    with _opened_npz(path, source) as arrays:
        names = [] if signature is None else [one.name for one in signature.inputs]
        if len(names) > 1 and set(names) & set(arrays.files):
            return _table_of_inputs({name: arrays[name] for name in arrays.files}, source)
        if len(names) == len(arrays.files) > 1 and is_by_position(arrays.files):
            pairs = zip(names, arrays.files, strict=True)
            return _table_of_inputs({name: arrays[file] for name, file in pairs}, source)
        return table_of_array(arrays[_name_of_rows(arrays.files, source)], source, signature)


def _table_of_inputs(arrays: Mapping[str, np.ndarray], source: str) -> PayloadTable:
    """Return the arrays side by side, each as what its input is called."""
    counts = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    first = next(iter(counts))
    for name, count in counts.items():
        if count != counts[first]:
            expected = f"as many rows in {name!r:.60} as in {first!r:.60} ({counts[first]})"
            raise PayloadMismatch(source, expected=expected, got=str(count))
        if arrays[name].dtype.kind not in "biuf":
            raise PayloadMismatch(source, expected=f"numbers in {name!r:.60}", got=f"an array of {arrays[name].dtype}")
    if not counts[first]:
        raise no_rows(source)
    kept = {name: array[:MAX_ROWS] for name, array in arrays.items()}
    return PayloadTable(
        values=joined([_numbers(array.reshape(len(array), -1)) for array in kept.values()], axis=1),
        total_rows=counts[first],
        parts=tuple(TensorPart(name, array.shape[1:]) for name, array in arrays.items()),
    )


def load_npz(path: Path, source: str) -> dict[str, np.ndarray]:
    """Return the arrays of an NPZ file by name. Raises PayloadMismatch."""
    with _opened_npz(path, source) as arrays:
        return {name: arrays[name] for name in arrays.files}


@dataclass(frozen=True, slots=True)
class _Arrays:
    """The arrays of an open NPZ file, by name."""

    opened: Any
    source: str

    @property
    def files(self) -> Sequence[str]:
        return tuple(self.opened.files)

    def __getitem__(self, name: str) -> np.ndarray:
        array = self.opened[name]
        if not isinstance(array, np.ndarray):
            raise PayloadMismatch(self.source, expected="an NPZ file of arrays", got="a ZIP archive of other files")
        return array


@contextmanager
def _opened_npz(path: Path, source: str) -> Iterator[_Arrays]:
    """Open an NPZ file, whose arrays are read as they are asked for. Raises PayloadMismatch for it or for one of
    them."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked_bytes = sum(member.file_size for member in archive.infolist())
        if unpacked_bytes > _MAX_NPZ_BYTES:
            raise PayloadMismatch(source, expected=f"at most {_MAX_NPZ_BYTES} bytes", got=str(unpacked_bytes))
        with np.load(path, allow_pickle=False) as opened:
            if (twice := next((name for name, count in Counter(opened.files).items() if count > 1), None)) is not None:
                raise PayloadMismatch(source, expected="each array once", got=f"{twice!r:.60} twice")
            yield _Arrays(opened, source)
    except (*BROKEN_ARRAY, OSError, MemoryError, KeyError, EOFError, zlib.error) as error:
        raise _broken(source, "an NPZ file of arrays of numbers", error) from error
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise _broken(source, "an NPZ file", error) from error


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
