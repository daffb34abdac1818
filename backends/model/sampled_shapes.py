"""The datatypes and shapes of inputs as a sample of requests shows them: NPZ and NPY files, archives of these, and
arrays in memory. Of files the headers alone are read; what else is wrong with a payload is for ``payload`` to say.

The first size is the number of rows. Another is free where it differs within the sample, and has one name with those
that are always equal to it. Doubles count as float32, since NumPy makes them of all numbers that it is not told more
of. An array alone is that of the first input, whatever it is called.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np

from servefit.backends.model.archive import visible_files
from servefit.backends.model.finding import unpack_bounded
from servefit.backends.model.input_shapes import DATATYPES, InputShape, input_shapes
from servefit.errors import CorruptModel, PayloadMismatch
from servefit.state import temporary_folder

_ROWS = "rows"
_MAX_REQUESTS = 10_000
"""As many as a payload has."""

_Request: TypeAlias = dict[str, tuple[str, tuple[int, ...]]]
"""The datatype and the sizes after that of the rows of each input."""


def sampled_shapes(sample: Any) -> dict[str, InputShape]:
    """Return the shapes of the inputs in ``sample``; empty for a sample without shapes, such as a table or text.
    Raises PayloadMismatch for rows without values, SpecError for more values than a request may have."""
    requests = _requests(Path(sample)) if isinstance(sample, str | Path) else _of_objects(sample)
    if all(len(request) == 1 for request in requests):
        requests = [{"arr_0": next(iter(request.values()))} for request in requests]
    if not requests or any(request.keys() != requests[0].keys() for request in requests):
        return {}
    shapes: dict[str, InputShape] = {}
    names: dict[tuple[int, ...], str] = {}
    for name, (datatype, sizes) in requests[0].items():
        seen = [request[name] for request in requests]
        if datatype not in DATATYPES or any(kind != datatype or len(own) != len(sizes) for kind, own in seen):
            return {}
        if any(0 in own for _, own in seen):
            source = Path(sample).name if isinstance(sample, str | Path) else "array"
            raise PayloadMismatch(source, expected=f"rows with values in {name!r:.60}", got="a size of 0")
        shape_seen: list[int | str] = [
            sizes_seen[0] if len(set(sizes_seen)) == 1 else names.setdefault(sizes_seen, f"size_{len(names) + 1}")
            for sizes_seen in zip(*(own for _, own in seen), strict=True)
        ]
        shapes[name] = InputShape(datatype, (_ROWS, *shape_seen))
    return input_shapes({name: str(shape) for name, shape in shapes.items()})


def _requests(path: Path) -> list[_Request]:
    with suppress(OSError, ValueError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError):
        with path.open("rb") as stream:
            head = stream.read(6)
            if head.startswith(b"\x1f\x8b"):
                return _of_archive(path)
            if head == b"\x93NUMPY":
                stream.seek(0)
                return [{"arr_0": _header(stream)}]
        if head.startswith(b"PK"):
            return [_of_npz(path)]
    return []


def _of_archive(path: Path) -> list[_Request]:
    with temporary_folder("payload") as folder:
        try:
            unpack_bounded(path, folder)
        except CorruptModel:
            return []
        files = [_requests(file) for file in visible_files(folder)]
    return [] if not all(files) else [request for requests in files for request in requests]


def _of_npz(path: Path) -> _Request:
    with zipfile.ZipFile(path) as archive:
        request: _Request = {}
        for name in archive.namelist():
            with archive.open(name) as stream:
                request[name.removesuffix(".npy")] = _header(stream)
    return request


def _header(stream: IO[bytes]) -> tuple[str, tuple[int, ...]]:
    """Return what the header of an array in NumPy's format says. Raises ValueError."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, datatype = read(stream)
    return _told(datatype, shape)


def _told(datatype: np.dtype[Any], shape: Sequence[int]) -> tuple[str, tuple[int, ...]]:
    if not shape:
        raise ValueError("an array without rows")
    return _name(datatype), tuple(shape[1:])


def _name(datatype: np.dtype[Any]) -> str:
    return "float32" if datatype.name == "float64" else datatype.name


def _of_objects(sample: Any) -> list[_Request]:
    with suppress(ValueError):
        return list(_of_each(sample))
    return []


def _of_each(sample: Any) -> Iterator[_Request]:
    if isinstance(sample, np.ndarray):
        yield {"arr_0": _told(sample.dtype, sample.shape)}
    elif isinstance(sample, Mapping):
        yield {str(name): _told(np.asarray(one).dtype, np.asarray(one).shape) for name, one in sample.items()}
    elif isinstance(sample, Sequence) and not isinstance(sample, str):
        for request in sample[:_MAX_REQUESTS]:
            if not isinstance(request, Mapping):
                raise ValueError("a table")
            arrays = {str(name): np.asarray(one) for name, one in request.items()}
            yield {name: (_name(array.dtype), array.shape) for name, array in arrays.items()}
