"""Finds the one model in a folder or in a SageMaker ``model.tar.gz``, and unpacks such archives safely."""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO

from servefit.backends.model.formats import model_format
from servefit.errors import CorruptModel, UnsupportedModel
from servefit.state import writing

MAX_UNPACKED_BYTES = 16 * 2**30
MAX_MEMBERS = 10_000
# A model compresses several times; a bomb a thousand times. Small archives may do as they like.
_MAX_RATIO = 200
_ALWAYS_ALLOWED_BYTES = 64 * 2**20


def unpack(path: Path, folder: Path) -> None:
    """Write the regular files of the gzipped tar archive ``path`` into ``folder``.

    Links, devices, absolute names, names that lead out of the folder, and archives that unpack to far more than they
    hold are refused; nothing but names and contents is taken over. Raises CorruptModel, StateError.
    """
    budget = min(MAX_UNPACKED_BYTES, max(_ALWAYS_ALLOWED_BYTES, _MAX_RATIO * path.stat().st_size))
    try:
        with tarfile.open(path, mode="r:gz") as archive:
            for count, member in enumerate(archive, start=1):
                if count > MAX_MEMBERS:
                    raise CorruptModel(path, f"the archive has more than {MAX_MEMBERS} members")
                if member.isdir():
                    continue
                target = folder / _safe_name(path, member)
                if target.exists() or any(parent.is_file() for parent in target.parents):
                    raise CorruptModel(path, f"the archive holds two files called {member.name!r:.80}")
                budget -= member.size
                if budget < 0:
                    raise CorruptModel(path, "the archive unpacks to far more than a model would")
                content = archive.extractfile(member)
                if content is not None:
                    _write(content, target)
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise CorruptModel(path, f"it is no complete .tar.gz archive ({str(error).lower()})") from error


def find_model(folder: Path) -> Path:
    """The one file in ``folder``, at any depth, that is in a model format. Hidden files do not count.

    Raises CorruptModel when there is none, UnsupportedModel when there are several.
    """
    files = visible_files(folder)
    if len(files) == 1:
        model_format(files[0])  # Its own error says more than that there is no model.
        return files[0]
    candidates = [file for file in files if _is_model(file)]
    if not candidates:
        raise CorruptModel(folder, f"none of its {len(files)} files is a model" if files else "it holds no files")
    if len(candidates) > 1:
        names = ", ".join(str(file.relative_to(folder)) for file in candidates[:5])
        raise UnsupportedModel(f"{len(candidates)} models in one place ({names})", remedy="name the one to serve")
    return candidates[0]


def visible_files(folder: Path) -> list[Path]:
    """The regular files under ``folder`` by name, without hidden ones ("._model" is a trace of macOS) and what lies in
    hidden folders. Raises CorruptModel when there are very many: that is no model's folder."""
    files: list[Path] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files += [Path(parent, name) for name in names if not name.startswith(".")]
        if len(files) > MAX_MEMBERS:
            raise CorruptModel(folder, f"it holds more than {MAX_MEMBERS} files")
    return sorted(file for file in files if file.is_file())


def _is_model(file: Path) -> bool:
    try:
        model_format(file)
    except UnsupportedModel:
        return True  # A model all the same: the user should hear that there are two.
    except CorruptModel:
        return False
    return True


def _safe_name(path: Path, member: tarfile.TarInfo) -> PurePosixPath:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or not name.name or any(len(part) > 200 for part in name.parts):
        raise CorruptModel(path, f"the archive holds a name that is not safe to unpack: {member.name!r:.80}")
    if not member.isreg():
        raise CorruptModel(path, f"the archive holds a link or a device: {member.name!r:.80}")
    return name


def _write(content: IO[bytes], target: Path) -> None:
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as stream:
            shutil.copyfileobj(content, stream)
