"""Finds the model in what the user named, and tells its format, in a child process that may not take much for it.

Archives, headers and magic numbers come from anywhere; what looks at them loads no native library. Opening the model
that was found is for ``inspection``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from servefit.backends.model.archive import find_model, unpack
from servefit.backends.model.formats import is_gzip_archive, model_format
from servefit.backends.model.keeping import ModelFile, file_digest
from servefit.backends.model.scripts import SCRIPT, has_script, misplaced_script, other_code, pack
from servefit.backends.model.types import Format
from servefit.errors import (
    CorruptModel,
    ModelError,
    OutOfMemory,
    TimedOut,
    UnsupportedModel,
    UntrustedModel,
    WorkerCrashed,
)
from servefit.isolation import call_isolated

MEMORY_BYTES = 2**29
"""Of address space. Python takes a fifth of it, the list of a ZIP archive's files the most of the rest."""

_TIMEOUT_S = 60.0
"""Chosen, not measured. Archives have more, by their size."""

_BYTES_PER_S = 4 * 2**20
"""The bytes of an archive, as it lies there, that a second more of time is for."""


def find_in_folder(folder: Path) -> Path:
    """Return the only model file in the folder that the user named. Raises CorruptModel, UnsupportedModel."""
    file: Path = _bounded(find_model_or_tell, folder, size=0, blamed=folder)
    return file


def find_in_file(copy: Path, digest: str, folder: Path, *, blamed: Path, trust_code: bool = False) -> ModelFile:
    """Return the model in ``copy``, a file with the SHA-256 ``digest``: the file itself, or the model of an archive,
    unpacked into the empty ``folder``. An archive with a script is the model itself if code is trusted.

    Raises CorruptModel, UnsupportedModel, UntrustedModel if there is a script alone, and StateError. Their messages
    name ``blamed``, the user's file.
    """
    size = copy.stat().st_size
    with blaming(copy, str(blamed)):
        model: ModelFile = _bounded(model_in_file, copy, digest, folder, trust_code, size=size, blamed=copy)
    return model


def pack_folder(folder: Path, archive: Path) -> None:
    """Write the folder of a model with a script that the user named into ``archive``, as ``scripts.pack`` does. Raises
    CorruptModel, StateError."""
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    _bounded(pack, folder, archive, size=size, blamed=folder)


def unpack_bounded(archive: Path, folder: Path) -> None:
    """Unpack the archive that the user named as ``archive.unpack`` does. Raises CorruptModel, StateError."""
    _bounded(unpack, archive, folder, size=archive.stat().st_size, blamed=archive)


def model_in_file(copy: Path, digest: str, folder: Path, trust_code: bool = False) -> ModelFile:
    """Find the model in a file: the part of ``find_in_file`` that runs in the child process."""
    if not is_gzip_archive(copy):
        return ModelFile(file=copy, digest=digest, format=model_format(copy))
    unpack(copy, folder)
    script = SCRIPT if has_script(folder) else None
    if script and trust_code:
        return ModelFile(file=copy, digest=digest, format=Format.SCRIPT)
    try:
        with blaming(folder, str(copy)):
            file = find_model_or_tell(folder)
    except ModelError as error:
        if script is None:
            raise
        raise UntrustedModel(copy, script=script) from error
    left_out = script or misplaced_script(folder)
    return ModelFile(file=file, digest=file_digest(file), format=model_format(file), script=left_out)


def find_model_or_tell(folder: Path) -> Path:
    """Return the only model in a folder, as ``find_model`` does. Where there is none, but a script that lies elsewhere
    than scripts do, the error says so."""
    try:
        return find_model(folder)
    except CorruptModel as error:
        script = None if has_script(folder) else misplaced_script(folder) or other_code(folder)
        if script is None:
            raise
        reason = f"{error.reason}; {script} is no script of it, which would be {SCRIPT}"
        raise CorruptModel(
            error.path, reason, remedy=f"move it to {SCRIPT} if it is meant to be, and say --trust-code"
        ) from error


@contextmanager
def blaming(path: Path, name: str) -> Iterator[None]:
    """Say of ``path``, a file of servefit's own, by the ``name`` that the user knows what is wrong with it."""
    try:
        yield
    except CorruptModel as error:
        raise CorruptModel(Path(name), error.reason.replace(str(path), name), remedy=error.remedy) from error
    except UnsupportedModel as error:
        raise UnsupportedModel(error.what.replace(str(path), name), remedy=error.remedy) from error
    except UntrustedModel as error:
        raise UntrustedModel(Path(name), script=error.script) from error
    except TimedOut as error:
        raise error.called(error.what.replace(str(path), name)) from error


def _bounded(function: Any, *arguments: Any, size: int, blamed: Path) -> Any:
    timeout_s = _TIMEOUT_S + size / _BYTES_PER_S
    try:
        return call_isolated(
            f"{function.__module__}:{function.__name__}", *arguments, timeout_s=timeout_s, memory_bytes=MEMORY_BYTES
        )
    except OutOfMemory as error:
        reason = f"telling what it is takes more than {MEMORY_BYTES // 2**20} MiB of memory"
        raise CorruptModel(blamed, reason) from error
    except TimedOut as error:
        raise error.called(f"telling what {blamed} is") from error
    except WorkerCrashed as error:
        raise CorruptModel(blamed, f"telling what it is, Python {error.reason}") from error
