"""Copies of model files in the state folder, by content: ``models/<SHA-256>/model.<suffix>``.

What the user named is read once, into such a copy, and only the copy is looked at from then on. It is believed as long
as its content has that digest, which everybody who opens it makes sure of. What else is found out about a model is kept
in files that have their digest in their names.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, TypeAlias

from servefit.backends.model.types import Format
from servefit.errors import CorruptModel
from servefit.state import state_folder, writing

_SUFFIXES = {
    Format.XGBOOST_JSON: ".json",
    Format.XGBOOST_UBJSON: ".ubj",
    Format.XGBOOST_BINARY: ".deprecated",
    Format.LIGHTGBM_TEXT: ".txt",
    Format.CATBOOST_CBM: ".cbm",
    Format.CATBOOST_JSON: ".cat.json",
    Format.ONNX: ".onnx",
    Format.ONNX_ORT: ".ort",
    Format.PICKLE: ".pkl",
    Format.SKOPS: ".skops",
    Format.SCRIPT: ".tar.gz",
    Format.TORCH_EXPORT: ".pt2",
    Format.TORCHSCRIPT: ".pt",
    Format.HUGGINGFACE: ".zip",
    Format.OPENVINO_IR: ".ir.zip",
}
"""xgboost, Treelite and, for .ort, ONNX Runtime go by the suffix; the other libraries read whatever they are given."""

_CHUNK_BYTES = 2**20
"""Read at once: large enough that reading costs no more calls than hashing. Chosen, not measured."""

_ATTEMPTS = 5
"""With the pauses between them, a file has a second to come to rest."""

_TICK_NS = 20_000_000
"""Times of files are as fine as the kernel's tick, which is 10 ms at most: two changes within it look like one."""

_NAMED_BY_CONTENT = re.compile(r".*-(?P<digest>[0-9a-f]{64})(\.[^.]+)?")

_Version: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A model file whose content has this SHA-256, and the format that it is in. ``script`` is the script that lay
    beside it in its archive and was left out, if there was one, wherever it was."""

    file: Path
    digest: str
    format: Format
    script: str | None = None


def read_once(source: Path, copy: Path) -> str:
    """Copy the content of ``source`` to the new file ``copy``, and give its SHA-256.

    A file that changes meanwhile is read again, so that the copy is no mixture of two contents. Raises CorruptModel
    where the file cannot be read or does not come to rest, and StateError.
    """
    for attempt in range(_ATTEMPTS):
        time.sleep(0.1 * attempt)
        with _opened(source) as stream:
            before = _settled_version(stream)
            digest = _copied(stream, source, copy)
            if before is not None and _version(os.fstat(stream.fileno())) == before:
                return digest
    raise CorruptModel(source, "it changes while it is read", remedy="try again when it has been written")


def find_kept(digest: str) -> ModelFile | None:
    """Return the kept copy of the model of that digest, whose format its name tells. None where there is no intact
    one."""
    folder = state_folder("models") / digest
    for kind, suffix in _SUFFIXES.items():
        if has_digest(folder / f"model{suffix}", digest):
            return ModelFile(file=folder / f"model{suffix}", digest=digest, format=kind)
    return None


def named_by_format(model: ModelFile) -> ModelFile:
    """Give a copy the suffix by which libraries recognise its format. Raises StateError."""
    path = model.file.with_name(f"model{_SUFFIXES[model.format]}")
    with writing(path):
        model.file.rename(path)
    return replace(model, file=path)


def keep(model: ModelFile) -> ModelFile:
    """Move a file from ``named_by_format`` below ``models/``, where it replaces a damaged copy. Raises StateError."""
    path = state_folder("models", model.digest) / model.file.name
    if model.file != path:
        with writing(path):
            model.file.chmod(0o400)
            with model.file.open("rb") as stream:
                os.fsync(stream.fileno())
            # Other processes may keep the same file now: an intact copy, which they may read, is not replaced.
            with _locked(path.parent):
                if not has_digest(path, model.digest):
                    model.file.replace(path)
    return replace(model, file=path)


def file_digest(path: Path) -> str:
    """Return the SHA-256 of the file's content, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def has_digest(path: Path, digest: str) -> bool:
    """Return whether there is a file whose content has that SHA-256."""
    try:
        return file_digest(path) == digest
    except OSError:
        return False


@contextmanager
def unchanged(path: Path, digest: str) -> Iterator[None]:
    """Make sure that whatever the block reads of ``path`` is of the content that has that SHA-256.

    Raises CorruptModel where it is not, or does not stay so while the block runs; whatever went wrong in the block.
    """
    before = _version_of(path)
    if not has_digest(path, digest):
        raise CorruptModel(path, "it is gone, or not what it was when it was opened", remedy="open the model again")
    try:
        yield
    finally:
        if _version_of(path) != before:
            raise CorruptModel(path, "it was changed while it was read", remedy="open the model again")


def name_by_content(path: Path) -> str:
    """Put the SHA-256 of its content into the file's name; give the new name. Raises StateError."""
    name = f"{path.stem}-{file_digest(path)}{path.suffix}"
    with writing(path):
        path.chmod(0o400)
        path.rename(path.with_name(name))
    return name


def digest_in_name(path: Path) -> str | None:
    """Return the SHA-256 that ``name_by_content`` put into the file's name, or None."""
    match = _NAMED_BY_CONTENT.fullmatch(path.name)
    return None if match is None else match["digest"]


def content_as_named(path: Path) -> bytes:
    """Return the content of a file that ``name_by_content`` named. Raises CorruptModel where it is another."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CorruptModel(path, error.strerror or str(error), remedy="open the model again") from error
    if hashlib.sha256(content).hexdigest() != digest_in_name(path):
        raise CorruptModel(path, "it is not what it was when it was written", remedy="open the model again")
    return content


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open ``path``, if it is a regular file: a pipe would be waited for. Raises CorruptModel."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise CorruptModel(path, error.strerror or str(error)) from error
    with os.fdopen(handle, "rb", buffering=0) as stream:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise CorruptModel(path, "it is no regular file")
        yield stream


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Wait for whoever else holds the lock of ``folder``, and hold it while the block runs; where there are locks."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # file systems of other machines may have none
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _copied(stream: BinaryIO, source: Path, copy: Path) -> str:
    digest = hashlib.sha256()
    with writing(copy), copy.open("wb") as target:
        while chunk := _read(stream, source):
            digest.update(chunk)
            target.write(chunk)
    return digest.hexdigest()


def _read(stream: BinaryIO, source: Path) -> bytes:
    try:
        return stream.read(_CHUNK_BYTES)
    except OSError as error:
        raise CorruptModel(source, error.strerror or str(error)) from error


def _settled_version(stream: BinaryIO) -> _Version | None:
    """Return the version that distinguishes the file's content from every later one; None if the file changed too
    recently for that."""
    if _is_fresh(os.fstat(stream.fileno())):
        time.sleep(_TICK_NS / 1e9)
    status = os.fstat(stream.fileno())
    return None if _is_fresh(status) else _version(status)


def _is_fresh(status: os.stat_result) -> bool:
    return 0 <= time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) < _TICK_NS


def _version_of(path: Path) -> _Version | None:
    try:
        return _version(path.stat())
    except OSError:
        return None


def _version(status: os.stat_result) -> _Version:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
