"""One measurement, one file: all that was recorded, so that every figure can be computed from it again.

Runs of an endpoint that is not ours are kept in the same way.

A file is gzip. Unpacked, its first line is a JSON object: ``format``, ``schema``, the version of ``servefit`` that
wrote it, ``measurement`` (see ``documents``), and ``arrays``, which describes the rest (see ``_pack``). Nothing in a
file is ever run, and gzip's checksum guards all of it.
"""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from servefit.errors import SpecError, UnreadableMeasurement
from servefit.field_types import check_type
from servefit.profiler.record.endpoint_runs import EndpointRuns
from servefit.profiler.record.storage.documents import Misfit, from_document, to_document
from servefit.profiler.record.storage.schema import OtherSchema, Schema, remark, unchanged
from servefit.profiler.record.types import Measurement
from servefit.state import write_atomically

FORMAT = "servefit measurement"

SCHEMA = Schema(number=4, upgrades=(unchanged,))
"""Readers of 3 refuse fields that they do not know. From 4 on they are left out; the documents are the same."""

_log = logging.getLogger(__name__)

_Kept = TypeVar("_Kept", Measurement, EndpointRuns)

_GZIP = 16 + zlib.MAX_WBITS
"""Tells zlib that gzip's header and checksum are around its stream."""

_LEVEL = 1
"""Of zlib. Level 6 takes twice as long and saves 3 %: what is left is noise."""

_BYTES_PER_VALUE = 8  # int64
_TRIED = 10_000
"""Values at the beginning of an array that ways to store it are tried on: they compress in a millisecond or so."""


def save_measurement(measurement: Measurement | EndpointRuns, path: str | Path, *, variable: str | None = None) -> None:
    """Write a measurement to a file, which holds the old content or the whole new one at any time.

    Args:
        measurement: A measurement, or the runs of an endpoint.
        path: Where to.
        variable: The environment variable that says where the file goes; None where the user named ``path``.

    Returns:
        None.

    Raises:
        SpecError: ``measurement`` is neither.
        StateError: The file cannot be written.

    Example:
        ::

            measured = sf.profile("model.ubj", users=1, duration_s=1)
            sf.save_measurement(measured.measurement, "measured.servefit")
    """
    check_type("measurement", measurement, Measurement | EndpointRuns)
    arrays: list[bytes] = []
    document = to_document(measurement, type(measurement), arrays, "measurement")
    descriptions, content = _pack(arrays)
    header = {
        "format": FORMAT,
        "schema": SCHEMA.number,
        "servefit": version("servefit"),
        "measurement": document,
        "arrays": descriptions,
    }
    line = json.dumps(header, allow_nan=False, separators=(",", ":")).encode()
    compressor = zlib.compressobj(_LEVEL, wbits=_GZIP)
    write_atomically(Path(path), compressor.compress(line + b"\n" + content) + compressor.flush(), variable=variable)


def load_measurement(path: str | Path) -> Measurement:
    """Read a measurement.

    Args:
        path: The file that :func:`save_measurement`, or ``servefit profile --save``, wrote.

    Returns:
        The measurement, equal to the one that was saved.

    Raises:
        UnreadableMeasurement: The file is missing, damaged, or holds something else.

    Example:
        ::

            measurement = sf.load_measurement("measured.servefit")
            print(sf.summarize(measurement.runs[0]).latency_ms["p95"])
    """
    return _load(Path(path), Measurement)


def measurement_of(content: bytes, name: str, *, most_bytes: int) -> Measurement:
    """Return the measurement in the ``content`` of a file, which is called ``name`` in errors and comes from somebody
    who may wish to fill the memory: unpacked it has ``most_bytes`` at most. Raises UnreadableMeasurement."""
    return _read(content, Path(name), Measurement, most_bytes)


def load_endpoint_runs(path: str | Path) -> EndpointRuns:
    """Read runs of an endpoint.

    Args:
        path: The file that :func:`save_measurement` wrote.

    Returns:
        The runs, equal to those that were saved.

    Raises:
        UnreadableMeasurement: The file is missing, damaged, or holds something else.

    Example:
        ::

            print(sf.load_endpoint_runs("endpoint.servefit").runs)
    """
    return _load(Path(path), EndpointRuns)


def _load(path: Path, kind: type[_Kept]) -> _Kept:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UnreadableMeasurement(path, error.strerror or str(error)) from error
    return _read(content, path, kind)


def _read(content: bytes, path: Path, kind: type[_Kept], most_bytes: int | None = None) -> _Kept:
    line, newline, arrays = _decompress(content, path, most_bytes).partition(b"\n")
    try:
        header = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UnreadableMeasurement(path, "it does not begin with a line of JSON") from error
    if not newline or not isinstance(header, dict) or header.get("format") != FORMAT:
        raise UnreadableMeasurement(path, "it holds something else")
    try:
        SCHEMA.check(header.get("schema"), header.get("servefit"))
    except OtherSchema as error:
        raise UnreadableMeasurement(path, error.message, remedy=error.remedy) from error
    left_out: list[str] = []
    try:
        measurement = _measurement(header, arrays, kind, left_out)
    except (Misfit, SpecError, ValueError, OverflowError) as error:
        raise UnreadableMeasurement(path, str(error)) from error
    if said := remark(left_out, str(header["servefit"])):
        _log.warning("%s was %s", path, said)
    return measurement


def _decompress(content: bytes, path: Path, most_bytes: int | None) -> bytes:
    decompressor = zlib.decompressobj(wbits=_GZIP)
    try:
        whole = decompressor.decompress(content, most_bytes or 0)
    except zlib.error as error:
        raise UnreadableMeasurement(path, f"it is damaged, or not gzip ({error})") from error
    if not decompressor.eof and decompressor.unconsumed_tail:
        raise UnreadableMeasurement(path, "it holds more than it can")
    if not decompressor.eof:
        raise UnreadableMeasurement(path, "it is cut short" if content else "it is empty")
    if decompressor.unused_data:
        raise UnreadableMeasurement(path, "more follows after its end")
    return whole


def _measurement(header: dict[str, Any], content: bytes, kind: type[_Kept], left_out: list[str]) -> _Kept:
    expected = {"format", "schema", "servefit", "measurement", "arrays"}
    if lacking := sorted(expected - header.keys()):
        raise Misfit(f"the header lacks {', '.join(map(repr, lacking))}")
    left_out.extend(sorted(header.keys() - expected))
    if not isinstance(header["arrays"], list):
        raise Misfit("the header does not list its arrays")
    arrays = _unpack(header["arrays"], content)
    document = SCHEMA.current(header["measurement"], header["schema"], header["servefit"])
    measurement: _Kept = from_document(document, kind, arrays, "measurement", left_out)
    return measurement


def _pack(arrays: Sequence[bytes]) -> tuple[list[dict[str, Any]], bytes]:
    """Join ``arrays`` of int64 into one content, still to be compressed, with a description of each, JSON values only.

    Neighbouring times are close, so the upper bytes of their differences are alike: sorted by place, plane by plane,
    they compress to almost nothing (byte shuffling, as in HDF5 and Blosc; measured in
    ``benchmarks/claims/sample_storage.py``).

    An array of ``length`` n is n lowest bytes, n second lowest, and so on to the eighth. What they make is, as ``less``
    says, the value less "nothing", less the "element" before it (zero for the first), or less the same element of the
    "array" before.
    """
    descriptions: list[dict[str, Any]] = []
    contents: list[bytes] = []
    before: np.ndarray | None = None
    for array in arrays:
        values = np.frombuffer(array, dtype=np.int64)
        less, numbers = _smallest(values, before)
        descriptions.append({"length": len(values), "less": less})
        contents.append(_planes(numbers))
        before = values
    return descriptions, b"".join(contents)


def _unpack(descriptions: Iterable[Any], content: bytes) -> tuple[bytes, ...]:
    """Return what :func:`_pack` made its result of. Raises ValueError where the two do not fit together."""
    arrays: list[np.ndarray] = []
    for less, numbers in _numbers(descriptions, content):
        if less == "nothing":
            arrays.append(numbers)
        elif less == "element":
            arrays.append(np.cumsum(numbers))
        elif less == "array" and arrays and len(arrays[-1]) == len(numbers):
            arrays.append(arrays[-1] + numbers)
        else:
            raise ValueError(f"array {len(arrays)} cannot be less {less!r:.80}")
    return tuple(array.tobytes() for array in arrays)


def _smallest(values: np.ndarray, before: np.ndarray | None) -> tuple[str, np.ndarray]:
    """Return what is taken from ``values``, and what is left: what compresses best, judged by the first thousands.

    Overflow wraps, there and back.
    """
    ways = {"nothing": values, "element": np.diff(values, prepend=np.int64(0))}
    if before is not None and len(before) == len(values):
        ways["array"] = values - before
    return min(ways.items(), key=lambda way: len(zlib.compress(_planes(way[1][:_TRIED]), _LEVEL)))


def _numbers(descriptions: Iterable[Any], content: bytes) -> Iterator[tuple[Any, np.ndarray]]:
    begin = 0
    for description in descriptions:
        if not isinstance(description, dict) or description.keys() != {"length", "less"}:
            raise ValueError(f"an array is described as {description!r:.80}")
        length = description["length"]
        if type(length) is not int or length < 0:
            raise ValueError(f"an array has a length of {length!r:.80}")
        end = begin + length * _BYTES_PER_VALUE
        if end > len(content):
            raise ValueError("arrays are missing")
        planes = np.frombuffer(content[begin:end], dtype=np.uint8).reshape(_BYTES_PER_VALUE, length)
        yield description["less"], np.ascontiguousarray(planes.T).reshape(-1).view("<i8")
        begin = end
    if begin != len(content):
        raise ValueError("more follows after the last array")


def _planes(values: np.ndarray) -> bytes:
    by_value = values.astype("<i8").view(np.uint8).reshape(len(values), _BYTES_PER_VALUE)
    return by_value.T.tobytes()
