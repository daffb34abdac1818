"""The ZIP archives of PyTorch, looked at without PyTorch: how much they unpack to, whether they hold weights alone or a
module with its class, and what servefit adds to them.

A module of TorchScript does not tell the shapes of its inputs. Where the user says them, or anything else of inputs, it
becomes a file of the archive, in the folder ``extra`` that PyTorch has for what is not its own; so it is part of the
model and of its digest. Format: https://docs.pytorch.org/docs/stable/jit.html
"""

from __future__ import annotations

import json
import pickletools
import re
import shutil
import zipfile
from pathlib import Path

from servefit.backends.model.given import NOTHING_GIVEN, Given
from servefit.backends.model.keeping import ModelFile, file_digest
from servefit.errors import CorruptModel, SpecError
from servefit.state import writing

MAX_UNPACKED_BYTES = 16 * 2**30
"""More than a model takes that is served from memory. Chosen, not measured."""

_MAX_RATIO = 50
"""PyTorch does not compress weights, and its sources to a fifth. Chosen, not measured."""

_ALWAYS_ALLOWED_BYTES = 64 * 2**20
"""So little does no harm. Chosen, not measured."""

SAID = "servefit.json"
"""The file that says it, in the folder extra."""

_MAX_SAID_BYTES = 2**16
_NO_DATE = (1980, 1, 1, 0, 0, 0)
"""The same shapes make the same file whenever they are said."""


_MAX_PICKLE_BYTES = 2**22
"""A pickle has a hundred bytes a tensor, whose values lie beside it. A longer one counts as weights."""

_OF_WEIGHTS = re.compile(
    r"(collections|builtins|__builtin__|_codecs) \w+|torch\._utils _\w+|torch(\.\w+)? \w+|numpy\S* \w+"
)
"""The names that a state_dict refers to, and what training keeps beside one."""


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


def with_said(module: ModelFile, given: Given, folder: Path) -> ModelFile:
    """Return the ``module`` with the statements ``given`` on its inputs, in the empty ``folder``. Raises SpecError if
    the file holds statements already; CorruptModel, StateError."""
    with opened(module.file) as archive:
        place = _place(archive)
        if place in archive.namelist():
            name = next(iter(given.inputs()), given.padded_by)
            raise SpecError("input", name, "is said in the file already, or others are", remedy="leave it out")
    target = folder / module.file.name
    with writing(target):
        folder.mkdir()
        shutil.copyfile(module.file, target)
        padded = {} if given.padded_by is None else {"pad": given.padded_by}
        with zipfile.ZipFile(target, "a") as archive:
            archive.writestr(zipfile.ZipInfo(place, _NO_DATE), json.dumps({"input": given.inputs(), **padded}))
    return ModelFile(file=target, digest=file_digest(target), format=module.format)


def said_in(path: Path) -> Given:
    """Return what ``with_said`` wrote into a module's file, or is in the folder with its files. Raises CorruptModel."""
    if path.is_dir():
        content = (path / SAID).read_bytes() if (path / SAID).exists() else None
    else:
        with opened(path) as archive:
            name = _place(archive)
            if name not in archive.namelist():
                return NOTHING_GIVEN
            with archive.open(name) as stream:
                content = stream.read(_MAX_SAID_BYTES)
    if content is None:
        return NOTHING_GIVEN
    try:
        said = json.loads(content)
        return Given.checked({str(name): value for name, value in said["input"].items()}, said.get("pad"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, SpecError) as error:
        raise CorruptModel(path, f"its {SAID} does not tell what was said of its inputs") from error


def _place(archive: zipfile.ZipFile) -> str:
    """Return where an archive has what was said: all files of PyTorch's are in one folder, except in old programs."""
    root, slash, _ = archive.namelist()[0].partition("/")
    return f"{root}{slash}extra/{SAID}" if slash else f"extra/{SAID}"


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


def holds_module(path: Path) -> bool:
    """Return whether the archive of torch.save at ``path`` refers to classes of modules. Nothing is unpickled. Raises
    OSError."""
    try:
        with zipfile.ZipFile(path) as archive:
            name = next(member for member in archive.namelist() if member.endswith("/data.pkl"))
            with archive.open(name) as stream:
                content = stream.read(_MAX_PICKLE_BYTES)
        globals_of = {
            argument for opcode, argument, _ in pickletools.genops(content) if opcode.name == "GLOBAL" and argument
        }
    except (ValueError, StopIteration, zipfile.BadZipFile, NotImplementedError, EOFError):
        return False
    return any(not _OF_WEIGHTS.fullmatch(str(name_of_global)) for name_of_global in globals_of)
