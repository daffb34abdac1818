"""The invocations of endpoints, kept one by one: when each was over, how long it took, and how it ended.

They are in the folder of their endpoint, beside its messages, a file for each variant, and stay there when the endpoint
is gone. A file that is full becomes the older one, whose place it takes: the newest invocations are kept, and no more
than two files of them. What was kept survives the end of the server; nothing waits for the disk.
"""

from __future__ import annotations

import logging
import os
import re
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np

_log = logging.getLogger(__name__)

_RECORD = struct.Struct("<qIIH")
_FIELDS = np.dtype([("at_us", "<i8"), ("model_us", "<u4"), ("overhead_us", "<u4"), ("status", "<u2")])

MAX_BYTES = 2**24
"""Of a file: 932,067 invocations, half an hour of clients that do nothing else. Chosen, not measured."""

_SUFFIX = ".invocations"
_OLDER = ".older"

NO_ANSWER = 0
"""The status of a request that got none: it took too long, or its connection broke."""

_MAX_US = 2**32 - 1

_NAME = re.compile(r"[a-zA-Z0-9-]{1,63}", re.ASCII)
"""Of endpoints and variants, which are files here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocations:
    """Requests by the time when they were over, ascending, an entry each: ``at_s`` in seconds since 1970, the time in
    the model and the rest of it in microseconds, NaN where that is not known, and the status of HTTP."""

    at_s: np.ndarray
    model_us: np.ndarray
    overhead_us: np.ndarray
    status: np.ndarray


class Variant(NamedTuple):
    """A variant of an endpoint."""

    endpoint: str
    name: str


class InvocationLogs:
    """The files below ``folder``, in folders that are called as endpoints. Threads may share it, processes may not.

    Example:
        >>> import tempfile, pathlib
        >>> with tempfile.TemporaryDirectory() as name:
        ...     logs = InvocationLogs(pathlib.Path(name))
        ...     logs.add(Variant("fraud", "AllTraffic"), at_s=1.7e9, model_us=80, overhead_us=20, status=200)
        ...     found = logs.read(Variant("fraud", "AllTraffic"))
        >>> found.model_us.tolist(), found.status.tolist()
        ([80.0], [200])
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._adding, self._reading = threading.Lock(), threading.Lock()
        self._read: tuple[tuple[Path, _Files], Invocations] | None = None

    def add(self, variant: Variant, *, at_s: float, model_us: float, overhead_us: float, status: int) -> None:
        """Keep an invocation. Where that is not possible, as on a full disk, the log of the server says so: the
        client gets its answer all the same."""
        times = [min(max(0, round(value)), _MAX_US) for value in (model_us, overhead_us)]
        path = self._path(variant)
        try:
            with self._adding:
                size = _append(path, _RECORD.pack(round(at_s * 1e6), *times, status))
                if size >= MAX_BYTES:
                    path.replace(_older(path))
        except OSError as error:
            _log.warning("an invocation of %s was not kept: %s", variant.endpoint, error)

    def read(self, variant: Variant) -> Invocations:
        """Return what is kept of a variant: nothing of what cannot be the name of one. What was read last is
        remembered: several metrics of a variant are asked for one after the other."""
        if not all(map(_NAME.fullmatch, variant)):
            return _invocations(b"")
        path = self._path(variant)
        with self._reading:
            files = _files(path)
            if self._read is None or self._read[0] != (path, files):
                content = _content(path)
                self._read = (path, files), _invocations(content)
            return self._read[1]

    def variants(self) -> Iterator[tuple[Variant, float]]:
        """Yield what has been invoked, with the time of the last one, in seconds since 1970."""
        newest: dict[Variant, float] = {}
        for path in sorted(self._folder.glob(f"*/*{_SUFFIX}*")):
            variant = Variant(path.parent.name, path.name.partition(_SUFFIX)[0])
            with suppress(FileNotFoundError):  # it has just become the older one
                newest[variant] = max(path.stat().st_mtime, newest.get(variant, 0.0))
        yield from newest.items()

    def _path(self, variant: Variant) -> Path:
        return self._folder / variant.endpoint / f"{variant.name}{_SUFFIX}"


def _older(path: Path) -> Path:
    return path.with_name(path.name + _OLDER)


def _append(path: Path, record: bytes) -> int:
    """Add a record, and return how long the file is. A part of a record at its end, such as a full disk leaves, is
    taken away before. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(handle).st_size
        if torn := size % _RECORD.size:
            os.ftruncate(handle, size - torn)
        return size - torn + os.write(handle, record)
    finally:
        os.close(handle)


_Files: TypeAlias = tuple[tuple[int, int, int] | None, ...]


def _files(path: Path) -> _Files:
    """Return what tells the contents of the older file and of the other one from others; None of one that is not
    there."""
    marks: list[tuple[int, int, int] | None] = []
    for file in (_older(path), path):
        try:
            facts = file.stat()
        except FileNotFoundError:
            marks.append(None)
        else:
            marks.append((facts.st_ino, facts.st_size, facts.st_mtime_ns))
    return tuple(marks)


def _content(path: Path) -> bytes:
    """Return all whole records. Others may be added meanwhile: where the file becomes the older one in between,
    both are read again."""
    while True:
        before = _files(path)[0]
        content = _whole_records(_older(path)) + _whole_records(path)
        if _files(path)[0] == before:
            return content


def _whole_records(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return b""
    return content[: len(content) - len(content) % _RECORD.size]


def _invocations(content: bytes) -> Invocations:
    records = np.frombuffer(content, _FIELDS)
    records = records[np.argsort(records["at_us"], kind="stable")]
    return Invocations(
        at_s=records["at_us"] / 1e6,
        model_us=records["model_us"].astype(np.float64),
        overhead_us=records["overhead_us"].astype(np.float64),
        status=records["status"].astype(np.int16),
    )
