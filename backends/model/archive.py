"""Finds the one model in a folder or in a SageMaker ``model.tar.gz``, and unpacks such archives safely."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from servefit.backends.model.file_kinds import FileKind, kind_of_folder
from servefit.backends.model.formats import model_format
from servefit.backends.model.tar import BrokenArchive, Member, NoArchive, TarReader
from servefit.backends.model.transformers_folder import without_weights
from servefit.errors import CorruptModel, ModelError, UnsupportedModel
from servefit.state import writing

MAX_UNPACKED_BYTES = 16 * 2**30
"""More than a model takes that is served from memory. Chosen, not measured."""

MAX_MEMBERS = 10_000
"""A model's archive has some files; each of them is looked at. Chosen, not measured."""

# A model compresses several times; a bomb a thousand times. Small archives may do as they like.
_MAX_RATIO = 200
_ALWAYS_ALLOWED_BYTES = 64 * 2**20
"""So little does no harm to a disk. Chosen, not measured."""

_WEIGHTS = re.compile(r"(?P<onnx>.+\.onnx)[._]data(_[0-9]+)?|(?P<ir>.+)\.bin")

# A path has 4,096 bytes at most on Linux, the folder's own included, and a part of it 255.
_MAX_NAME_BYTES, _MAX_PART_BYTES = 1000, 200


def unpack(path: Path, folder: Path) -> None:
    """Write the regular files of the gzipped tar archive ``path`` into ``folder``.

    Links, devices, absolute names, names that lead out of the folder, and archives that unpack to far more than they
    hold are refused; nothing but names and contents is taken over. Raises CorruptModel, StateError.
    """
    budget = min(MAX_UNPACKED_BYTES, max(_ALWAYS_ALLOWED_BYTES, _MAX_RATIO * path.stat().st_size))
    try:
        with path.open("rb") as stream:
            archive = TarReader(stream, budget)
            for count, member in enumerate(archive, start=1):
                if count > MAX_MEMBERS:
                    raise CorruptModel(path, f"the archive has more than {MAX_MEMBERS} members")
                if not member.is_folder:
                    _write(archive.content(), _target_path(path, member, folder))
    except NoArchive as error:
        raise CorruptModel(path, str(error), remedy="unpack it with gunzip") from error
    except BrokenArchive as error:
        raise CorruptModel(path, str(error)) from error


def find_model(folder: Path) -> Path:
    """Return the only file in ``folder``, at any depth, that is in a model format. Hidden files do not count.

    Raises CorruptModel where there is none, and UnsupportedModel where there are several or it is not supported.
    """
    visible = _without_weights(visible_files(folder))
    files = without_weights(visible)
    refused = {file: error for file in files if (error := _refusal(file)) is not None}
    servable = [file for file in files if file not in refused]
    unsupported = [error for error in refused.values() if isinstance(error, UnsupportedModel)]
    if not servable:
        kind = _kind_of_folder(folder, visible)
        if kind is not None and kind.format is not None:
            raise CorruptModel(folder, f"it is {kind.what}, without weights beside its config.json")
        if kind is not None:
            raise UnsupportedModel(f"{folder} is {kind.what}", remedy=kind.to_serve)
        if unsupported or len(visible) == len(files) == 1:
            raise next(iter(unsupported or refused.values()))
        raise CorruptModel(folder, f"none of its {len(visible)} files is a model" if visible else "it holds no files")
    if len(servable) + len(unsupported) > 1:
        # The user should hear that there are others, also of those that are not supported.
        candidates = [file for file in files if not isinstance(refused.get(file), CorruptModel)]
        names = ", ".join(str(file.relative_to(folder)) for file in candidates[:5])
        raise UnsupportedModel(f"{len(candidates)} models in one place ({names})", remedy="name the one to serve")
    return servable[0]


def is_model(file: Path) -> bool:
    """Return whether ``file`` is in a model format that servefit takes."""
    return _refusal(file) is None


def visible_files(folder: Path) -> list[Path]:
    """Return the regular files under ``folder`` by name, without hidden ones ("._model" is a trace of macOS) and what
    lies in hidden folders. Raises CorruptModel when there are very many: that is no model's folder."""
    files: list[Path] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files += [Path(parent, name) for name in names if not name.startswith(".")]
        if len(files) > MAX_MEMBERS:
            raise CorruptModel(folder, f"it holds more than {MAX_MEMBERS} files")
    return sorted(file for file in files if file.is_file())


def _without_weights(files: Sequence[Path]) -> list[Path]:
    """Leave out what holds the weights of a model beside it, by the names that PyTorch, Hugging Face and OpenVINO give:
    any bytes may be the beginning of such a file, those of another format too."""
    there = set(files)
    return [
        file
        for file in files
        if (match := _WEIGHTS.fullmatch(file.name)) is None
        or file.with_name(match["onnx"] or f"{match['ir']}.xml") not in there
    ]


def _refusal(file: Path) -> ModelError | None:
    """Return the error that says why ``file`` is no model that servefit takes; None where it is one."""
    try:
        model_format(file)
    except ModelError as error:
        return error
    return None


def _kind_of_folder(folder: Path, files: Sequence[Path]) -> FileKind | None:
    try:
        return kind_of_folder(folder, files)
    except OSError as error:
        raise CorruptModel(folder, error.strerror or str(error)) from error


def _target_path(path: Path, member: Member, folder: Path) -> Path:
    """Return the path in ``folder`` of a file of the archive ``path``. Raises CorruptModel where it is none, or its
    name is not safe or has been seen."""
    name, said = PurePosixPath(member.name), f"{member.name!r:.80}"
    if (
        name.is_absolute()
        or ".." in name.parts
        or not name.name
        or "\0" in member.name
        or len(member.name.encode()) > _MAX_NAME_BYTES
        or any(len(part.encode()) > _MAX_PART_BYTES for part in name.parts)
    ):
        raise CorruptModel(path, f"the archive holds a name that is not safe to unpack: {said}")
    if not member.is_file:
        raise CorruptModel(path, f"the archive holds a link or a device: {said}")
    target = folder / name
    if target.exists() or any(parent.is_file() for parent in target.parents):
        raise CorruptModel(path, f"the archive holds two files called {said}")
    return target


def _write(content: Iterable[bytes], target: Path) -> None:
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as stream:
            stream.writelines(content)
