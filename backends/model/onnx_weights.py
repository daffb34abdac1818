"""ONNX models that keep their weights in other files, as torch.onnx.export writes them: they become one file.

The files are those that the model names, in its own folder or below; each is read once. The digest of the one file is
then that of all of them. Format: https://onnx.ai/onnx/repo-docs/ExternalData.html
"""

from __future__ import annotations

import mmap
import stat
from math import prod
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from servefit.backends.model.keeping import ModelFile, file_digest, read_once
from servefit.backends.model.onnx_file import read_graph, weights_elsewhere
from servefit.backends.model.types import Format
from servefit.errors import CorruptModel, OutOfMemory, TimedOut, UnsupportedModel, WorkerCrashed
from servefit.isolation import call_isolated
from servefit.state import writing

if TYPE_CHECKING:
    import onnx

_MARK = b"\x0a\x08location\x12"
"""As protobuf writes the entry that names the file of a tensor's values: field 1, eight characters, and field 2."""

_MAX_BYTES = 2**31 - 2**20
"""Of one protobuf message there are 2 GiB at most. Some is left for what is not weights of other files."""

_MEMORY_BYTES = 16 * 2**30
"""The model is in memory some three times while it is written."""

_TIMEOUT_S = 60.0
_BYTES_PER_S = 16 * 2**20
"""Chosen, not measured: disks and network folders are faster."""


def keeps_weights_elsewhere(path: Path) -> bool:
    """Return whether the ONNX file at ``path`` seems to name files of weights. It may be wrong: what it finds may be
    text in the model, and what it does not find is refused by ``onnx_file``."""
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(_MARK) >= 0


def in_one_file(model: ModelFile, beside: Path, folder: Path) -> ModelFile:
    """Return the ``model``, whose weights are in the folder ``beside``, as one file in the empty ``folder``.

    A model that onnx cannot read is returned unchanged. Raises CorruptModel if a file is missing, too short or outside
    the folder; UnsupportedModel, StateError.
    """
    size = model.file.stat().st_size + sum(file.stat().st_size for file in beside.iterdir() if file.is_file())
    timeout_s = _TIMEOUT_S + min(size, _MAX_BYTES) / _BYTES_PER_S
    with writing(folder):
        folder.mkdir()
    target = folder / "model.onnx"
    try:
        call_isolated(f"{__name__}:join", model.file, beside, target, timeout_s=timeout_s, memory_bytes=_MEMORY_BYTES)
    except OutOfMemory as error:
        raise CorruptModel(model.file, "there is not enough memory to read its weights") from error
    except TimedOut as error:
        raise error.called(f"reading the weights of {model.file}") from error
    except WorkerCrashed:
        return model  # it is damaged: opening it raises the error
    return ModelFile(file=target, digest=file_digest(target), format=Format.ONNX)


def join(path: Path, beside: Path, target: Path) -> None:
    """Write the model at ``path`` to ``target``, with the weights that it names in the folder ``beside``: the part of
    ``in_one_file`` that runs in the child process."""
    model = read_graph(path)
    files = _Files(path, beside, target.parent)
    for tensor in weights_elsewhere(model, path):
        content = files.values(tensor)
        for field in ("external_data", "data_location"):
            tensor.ClearField(field)
        tensor.raw_data = content
    with writing(target):
        target.write_bytes(model.SerializeToString(deterministic=True))


class _Files:
    """The files of weights of the model at ``path``, each of which is copied once, to ``folder``."""

    def __init__(self, path: Path, beside: Path, folder: Path) -> None:
        self._path, self._beside, self._folder = path, beside, folder
        self._copies: dict[str, Path] = {}
        self._bytes = path.stat().st_size

    def values(self, tensor: onnx.TensorProto) -> bytes:
        """Return the bytes of the values of a tensor. Raises CorruptModel, UnsupportedModel."""
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        where = f"the weights {tensor.name!r:.60} are to be in {location!r:.120}"
        needed = _bytes_of(tensor)
        if needed is None:
            raise UnsupportedModel(f"{self._path} keeps values of the type {tensor.data_type} in other files")
        offset, length = _number(entries, "offset", 0), _number(entries, "length", needed)
        if offset is None or length is None:
            raise CorruptModel(self._path, f"{where}, at a place that is no number")
        if length != needed:
            raise CorruptModel(self._path, f"{where} and have {length} bytes there, and their shape takes {needed}")
        self._bytes += needed
        if self._bytes > _MAX_BYTES:
            raise UnsupportedModel(f"{self._path} has weights of more than 2 GiB, and an ONNX file holds no more")
        copy = self._copy(location, where)
        content = b""
        if offset + needed <= copy.stat().st_size:  # it may be beyond what a file has places for
            with copy.open("rb") as stream:
                stream.seek(offset)
                content = stream.read(needed)
        if len(content) != needed:
            problem = f"{where}, which ends before they do: {needed} bytes from {offset} on are needed"
            raise CorruptModel(self._path, problem, remedy="copy the whole file")
        return content

    def _copy(self, location: str, where: str) -> Path:
        if location not in self._copies:
            copy = self._folder / f"weights-{len(self._copies)}"
            read_once(self._checked(location, where), copy)
            self._copies[location] = copy
        return self._copies[location]

    def _checked(self, location: str, where: str) -> Path:
        """Return the path of a file of weights, which must lie in the model's folder and not be hidden."""
        name = PurePosixPath(location)
        if not name.name or name.is_absolute() or any(part.startswith(".") for part in name.parts) or "\0" in location:
            raise CorruptModel(self._path, f"{where}, which is no file in its folder")
        source = self._beside / name
        try:
            resolved, beside = source.resolve(), self._beside.resolve()
            inside = resolved.is_relative_to(beside)
            hidden = inside and any(part.startswith(".") for part in resolved.relative_to(beside).parts)
            status = source.stat()
        except OSError as error:
            problem = f"{where}, which cannot be read: {error.strerror}"
            raise CorruptModel(self._path, problem, remedy="put it beside the model") from error
        if not inside or hidden:
            problem = f"{where}, which is a link that leads out of the model's folder"
            raise CorruptModel(self._path, problem, remedy="copy the folder with what its links lead to: cp -rL")
        if not stat.S_ISREG(status.st_mode):
            raise CorruptModel(self._path, f"{where}, which is no regular file")
        if status.st_size > _MAX_BYTES:
            raise UnsupportedModel(
                f"{self._path} has weights in a file of more than 2 GiB, and an ONNX file holds no more"
            )
        return source


_IN_A_BYTE = {"INT4": 2, "UINT4": 2, "FLOAT4E2M1": 2, "INT2": 4, "UINT2": 4}
"""Values of a byte, of the datatypes that share one."""


def _bytes_of(tensor: onnx.TensorProto) -> int | None:
    """Return how many bytes the values of a tensor take; None for texts, and types that onnx does not know."""
    import onnx

    if any(size < 0 for size in tensor.dims) or tensor.data_type == onnx.TensorProto.STRING:
        return None
    values: int = prod(tensor.dims)
    try:
        name = onnx.TensorProto.DataType.Name(tensor.data_type)
        datatype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    except (KeyError, ValueError):
        return None
    return -(-values // _IN_A_BYTE[name]) if name in _IN_A_BYTE else values * int(datatype.itemsize)


def _number(entries: dict[str, str], key: str, default: int) -> int | None:
    """Return a whole number that is told as text; None where it is something else."""
    text = entries.get(key, str(default))
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None
