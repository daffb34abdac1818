"""The ZIP archives of PyTorch, looked at without PyTorch: how much they unpack to, and what servefit adds to them.

A module of TorchScript does not tell the shapes of its inputs. Where the user says them they become a file of the
archive, in the folder ``extra`` that TorchScript has for what is not its own; so they are part of the model and of its
digest. Format: https://docs.pytorch.org/docs/stable/jit.html
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path

from servefit.backends.model.input_shapes import InputShape, input_shapes
from servefit.backends.model.keeping import ModelFile, file_digest
from servefit.errors import CorruptModel, SpecError
from servefit.state import writing

MAX_UNPACKED_BYTES = 16 * 2**30
"""More than a model takes that is served from memory. Chosen, not measured."""

_MAX_RATIO = 50
"""PyTorch does not compress weights, and its sources to a fifth. Chosen, not measured."""

_ALWAYS_ALLOWED_BYTES = 64 * 2**20
"""So little does no harm. Chosen, not measured."""

_SHAPES, _MAX_SHAPES_BYTES = "extra/servefit.json", 2**16
_NO_DATE = (1980, 1, 1, 0, 0, 0)
"""The same shapes make the same file whenever they are said."""


def check_unpacked_size(path: Path) -> None:
    """Raise CorruptModel for an archive that unpacks to far more than it holds, as its directory tells."""
    with opened(path) as archive:
        members = archive.infolist()
    unpacked = sum(member.file_size for member in members)
    size = path.stat().st_size
    if unpacked > min(MAX_UNPACKED_BYTES, max(_ALWAYS_ALLOWED_BYTES, _MAX_RATIO * size)):
        raise CorruptModel(path, f"the archive has {size:,} bytes and unpacks to {unpacked:,}, as a bomb does")
    if sum(member.compress_size for member in members) > size:
        raise CorruptModel(path, "the files of the archive overlap")


def with_shapes(found: ModelFile, shapes: Mapping[str, InputShape], folder: Path) -> ModelFile:
    """Return the module ``found`` with the shapes of its inputs, in the empty ``folder``. Raises SpecError where it has
    some already, CorruptModel, StateError."""
    with opened(found.file) as archive:
        root = archive.namelist()[0].partition("/")[0]
        if f"{root}/{_SHAPES}" in archive.namelist():
            raise SpecError("input", ", ".join(shapes), "is said in the file already", remedy="leave it out")
    target = folder / found.file.name
    with writing(target):
        folder.mkdir()
        shutil.copyfile(found.file, target)
        content = json.dumps({name: str(shape) for name, shape in shapes.items()})
        with zipfile.ZipFile(target, "a") as archive:
            archive.writestr(zipfile.ZipInfo(f"{root}/{_SHAPES}", _NO_DATE), content)
    return ModelFile(file=target, digest=file_digest(target), format=found.format)


def shapes_in(path: Path) -> dict[str, InputShape]:
    """Return the shapes that ``with_shapes`` wrote into a module's file; empty where there are none. Raises
    CorruptModel."""
    with opened(path) as archive:
        name = f"{archive.namelist()[0].partition('/')[0]}/{_SHAPES}"
        if name not in archive.namelist():
            return {}
        with archive.open(name) as stream:
            content = stream.read(_MAX_SHAPES_BYTES)
    try:
        texts = json.loads(content)
        return input_shapes({str(each): str(text) for each, text in texts.items()})
    except (ValueError, AttributeError, RecursionError, SpecError) as error:
        raise CorruptModel(path, f"its {_SHAPES} does not tell shapes of inputs") from error


def opened(path: Path) -> zipfile.ZipFile:
    """Open an archive to read. Raises CorruptModel, also for one without files."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        reason = "the ZIP archive is damaged or cut off"
        raise CorruptModel(path, reason, remedy="copy the whole file") from error
    if not archive.namelist():
        raise CorruptModel(path, "it is an empty ZIP archive")
    return archive
