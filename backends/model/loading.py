"""From what the user named to a Model: find the file, have it inspected in a child process, keep what was found.

The state folder holds, per model file, ``models/<digest>/model.*`` where the file had to be written (unpacked, saved
from a live object, or named so that libraries misread it) and one folder of findings per library version.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import Any

from servefit.backends.model.archive import find_model, unpack
from servefit.backends.model.formats import is_gzip_archive, model_format
from servefit.backends.model.inspection.types import SCHEMA, Inspection
from servefit.backends.model.live import save_live
from servefit.backends.model.types import Format, Library, Model
from servefit.errors import (
    BackendUnavailable,
    CorruptModel,
    OutOfMemory,
    TimedOut,
    UntrustedModel,
    WorkerCrashed,
)
from servefit.isolation import call_isolated
from servefit.state import filling, state_folder, write_atomically

INSPECTION_TIMEOUT_S = 120.0
_INSPECTION = "servefit.backends.model.inspection:inspect"
_GIB = 2**30

_SUFFIXES = {
    Format.XGBOOST_JSON: ".json",
    Format.XGBOOST_UBJSON: ".ubj",
    Format.XGBOOST_BINARY: ".deprecated",
    Format.LIGHTGBM_TEXT: ".txt",
    Format.ONNX: ".onnx",
    Format.PICKLE: ".pkl",
}
# xgboost and Treelite go by the suffix; the other libraries read whatever they are given.
_TOLD_BY_SUFFIX = (Format.XGBOOST_JSON, Format.XGBOOST_UBJSON)
_DISTRIBUTIONS = {Library.SKLEARN: "scikit-learn", Library.ONNX: "onnxruntime"}


def load_model(source: Any, *, trust_pickle: bool = False) -> Model:
    """Open ``source``: see ``Model.load``."""
    if not isinstance(source, str | PathLike):
        return _load_live(source)
    path = Path(source)
    if path.is_dir():
        return _load_file(find_model(path), str(source), trusted=trust_pickle)
    if not path.is_file():
        raise CorruptModel(path, "it is no regular file" if path.exists() else "there is no such file")
    if is_gzip_archive(path):
        return _load_archive(path, str(source), trusted=trust_pickle)
    return _load_file(path, str(source), trusted=trust_pickle)


def _load_live(source: Any) -> Model:
    saved = save_live(source)
    name = f"a live {type(source).__name__}"
    path = keep_file(saved.content, hashlib.sha256(saved.content).hexdigest(), saved.format)
    with _blaming(Path(name)):
        return _load_file(path, name, trusted=True, warnings=saved.warnings)


def _load_archive(archive: Path, source: str, *, trusted: bool) -> Model:
    with _blaming(archive), tempfile.TemporaryDirectory(prefix="servefit-model-") as folder:
        unpack(archive, Path(folder))
        unpacked = find_model(Path(folder))
        kind = model_format(unpacked)
        if kind is Format.PICKLE and not trusted:
            raise UntrustedModel(archive)
        path = keep_file(unpacked.read_bytes(), file_digest(unpacked), kind)
        return _load_file(path, source, trusted=trusted)


@contextmanager
def _blaming(path: Path) -> Iterator[None]:
    """Say of a file that servefit wrote or unpacked itself that ``path``, which the user named, is corrupt."""
    try:
        yield
    except CorruptModel as error:
        raise CorruptModel(path, error.reason, remedy=error.remedy) from error


def _load_file(path: Path, source: str, *, trusted: bool, warnings: tuple[str, ...] = ()) -> Model:
    kind = model_format(path)
    if kind is Format.PICKLE and not trusted:
        raise UntrustedModel(path)
    digest = file_digest(path)
    if kind in _TOLD_BY_SUFFIX and path.suffix != _SUFFIXES[kind]:
        path = keep_file(path.read_bytes(), digest, kind)
    with _blaming(Path(source)):
        inspection, folder = _inspected(path, kind, digest)
    file = path if inspection.file_name is None else folder / inspection.file_name
    return Model(
        source=source,
        file=file.absolute(),
        format=inspection.format,
        digest=digest if inspection.file_name is None else file_digest(file),
        size_bytes=file.stat().st_size,
        signature=inspection.signature,
        trees=inspection.trees,
        splits=None if inspection.splits_name is None else folder / inspection.splits_name,
        warnings=warnings + inspection.warnings,
    )


def keep_file(content: bytes, digest: str, kind: Format) -> Path:
    """Write a model file into the state folder, once; give its path. Raises StateError."""
    path = state_folder("models", digest) / f"model{_SUFFIXES[kind]}"
    if not path.exists():
        write_atomically(path, content)
    return path


def file_digest(path: Path) -> str:
    """The SHA-256 of the file's content, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _inspected(path: Path, kind: Format, digest: str) -> tuple[Inspection, Path]:
    """The inspection of a file, from the state folder or from a child process, and the folder of what it wrote."""
    versions = f"{kind.library}-{_library_version(kind.library)}-treelite-{metadata.version('treelite')}"
    folder = state_folder("models", digest) / f"inspection-{SCHEMA}-{versions}"
    record = folder / "inspection.json"
    if not record.exists():
        with filling(folder) as temporary:
            inspection = _inspect_in_child(path, kind, temporary)
            write_atomically(temporary / record.name, inspection.to_json())
    return Inspection.from_json(record.read_bytes()), folder


def _inspect_in_child(path: Path, kind: Format, folder: Path) -> Inspection:
    library = kind.library.value
    memory_bytes = 16 * _GIB + 40 * path.stat().st_size
    try:
        inspection: Inspection = call_isolated(
            _INSPECTION, path, kind, folder, timeout_s=INSPECTION_TIMEOUT_S, memory_bytes=memory_bytes
        )
    except WorkerCrashed as error:
        raise CorruptModel(path, _crash(library, error)) from error
    except OutOfMemory as error:
        raise CorruptModel(path, f"{library} needs more than {memory_bytes // _GIB} GiB to open it") from error
    except TimedOut as error:
        raise CorruptModel(path, f"{library} did not open it within {error.limit_s:g} s") from error
    return inspection


def _crash(library: str, error: WorkerCrashed) -> str:
    """What the library said before it died of the file: LightGBM names the reason and then aborts."""
    for line in error.stderr.splitlines():
        if "[Fatal] " in line:
            return f"{library} gives up on it: {line.partition('[Fatal] ')[2].strip()}"
    return f"opening it, {library} {error.reason}"


def _library_version(library: Library) -> str:
    """The installed version of a library, which is not imported. Raises BackendUnavailable."""
    module = "onnxruntime" if library is Library.ONNX else library.value
    if find_spec(module) is None:
        raise BackendUnavailable(
            module, f"the model needs {module}, which is not installed", remedy=f"pip install 'servefit[{module}]'"
        )
    try:
        return metadata.version(_DISTRIBUTIONS.get(library, module))
    except metadata.PackageNotFoundError:
        # Installed under another name, such as xgboost-cpu or onnxruntime-gpu.
        return metadata.version(metadata.packages_distributions()[module][0])
