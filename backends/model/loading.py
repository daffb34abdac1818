"""From what the user named to an opened file: keep a copy, have a child process inspect it, keep what that found.

The state folder holds, per model file, ``models/<digest>/model.*`` and one folder of findings per library version, with
the model itself where it had to be rewritten. What is there is believed where it has the digest that was recorded, and
made anew where it has not.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

from servefit.backends.model.finding import blaming, find_in_file, find_in_folder, pack_folder
from servefit.backends.model.given import NOTHING_GIVEN, Given
from servefit.backends.model.inspection_record import SCHEMA, Inspection
from servefit.backends.model.keeping import (
    ModelFile,
    digest_in_name,
    file_digest,
    find_kept,
    has_digest,
    keep,
    name_by_content,
    named_by_format,
    read_once,
)
from servefit.backends.model.library_versions import versions_text
from servefit.backends.model.live import save_live
from servefit.backends.model.onnx_given import with_given
from servefit.backends.model.onnx_weights import in_one_file, keeps_weights_elsewhere
from servefit.backends.model.openvino_files import with_weights
from servefit.backends.model.sampled_shapes import sampled_shapes
from servefit.backends.model.scripts import SCRIPT, has_script, misplaced_script
from servefit.backends.model.torch_archive import said_in
from servefit.backends.model.transformers_folder import in_one_archive
from servefit.backends.model.types import Format, Input, Library, Signature
from servefit.checks import check_local
from servefit.errors import (
    CorruptModel,
    ModelError,
    OutOfMemory,
    StateError,
    TimedOut,
    UntrustedModel,
    WorkerCrashed,
)
from servefit.field_types import check_type
from servefit.isolation import call_isolated
from servefit.state import filling, read_sealed, state_folder, temporary_folder, write_sealed, writing

INSPECTION_TIMEOUT_S = 120.0
"""Numeric libraries take several seconds to import, and large models as long to open. Chosen, not measured."""

CONVERSION_TIMEOUT_S = 600.0
"""A module of PyTorch is exported to ONNX as well. Chosen, not measured."""

_INSPECTION = "servefit.backends.inspection:inspect_kept"
_RECORD = "inspection"
_GIB = 2**30
"""Bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedFile:
    """A model file that was opened, and is kept. ``source`` is what the user named, ``folder`` has what the inspection
    wrote, and ``warnings`` are of what the file does not hold."""

    source: str
    kept: ModelFile
    inspection: Inspection
    folder: Path
    warnings: tuple[str, ...] = ()


def load_source(
    source: Any,
    *,
    trust_pickle: bool = False,
    trust_code: bool = False,
    given: Given = NOTHING_GIVEN,
    sample: Any = None,
) -> OpenedFile:
    """Open ``source``: see ``Model.load``."""
    # A text is no consent: "no" would be true.
    check_type("trust_pickle", trust_pickle, bool)
    check_type("trust_code", trust_code, bool)
    if not isinstance(source, str | PathLike):
        if given:
            raise given.refuse()
        return _load_live(source)
    file = file_of(Path(source), trust_code=trust_code)
    with reading(file, given, sample, trust_code=trust_code) as model_file:
        what = model_file.format.that_runs_code
        if what is not None and not trust_pickle:
            raise UntrustedModel(file, what)
        opened = inspect_and_keep(model_file, str(source))
    script = _script_beside(Path(source), model_file)
    if script is not None:
        opened = replace(opened, warnings=(*opened.warnings, _left_out(script)))
    if sample is not None and model_file.format is Format.TORCHSCRIPT and not given.shapes:
        opened = replace(opened, warnings=(*opened.warnings, _as_in_sample(opened.inspection.signature)))
    return opened


def _script_beside(source: Path, model: ModelFile) -> str | None:
    """Return the script beside the model, which is left out; None if there is none."""
    if model.format is not Format.SCRIPT and source.is_dir():
        return SCRIPT if has_script(source) else misplaced_script(source)
    return model.script


def _left_out(script: str) -> str:
    if script != SCRIPT:
        return f"{script} beside the model is not run: it would be {SCRIPT} if it were the script of the model"
    return (
        f"{script} beside the model is not run: requests go to the model file itself; --trust-code (trust_code=True) "
        "measures and serves the script"
    )


def _as_in_sample(signature: Signature) -> str:
    inputs = ", ".join(
        f"{model_input.name}={model_input.datatype}[rows{_sizes(model_input)}]" for model_input in signature.inputs
    )
    return f"its inputs take what the payload has: {inputs}; --input NAME=DATATYPE[SIZES] says otherwise"


def _sizes(model_input: Input) -> str:
    return "".join(f",{size}" for size in model_input.shape)


def _load_live(source: Any) -> OpenedFile:
    saved = save_live(source)
    with _reading_folder() as folder:
        file = folder / "model"
        with writing(file):
            file.write_bytes(saved.content)
        digest = hashlib.sha256(saved.content).hexdigest()
        model = named_by_format(ModelFile(file=file, digest=digest, format=saved.format))
        live = inspect_and_keep(model, f"a live {type(source).__name__}")
    return replace(live, warnings=saved.warnings)


def file_of(path: Path, *, trust_code: bool = False) -> Path:
    """Return the file that ``path`` is, or the one model in the folder that it is; the folder itself where that has a
    script, and code is trusted. Raises CorruptModel, UnsupportedModel, UntrustedModel, and
    SpecError for a URL."""
    if path.is_dir() and has_script(path):
        if trust_code:
            return path
        try:
            return find_in_folder(path)
        except ModelError as error:
            raise UntrustedModel(path, script=SCRIPT) from error
    if path.is_dir():
        return find_in_folder(path)
    if not path.is_file():
        check_local("model", path)
        raise CorruptModel(path, "it is no regular file" if path.exists() else "there is no such file")
    return path


@contextmanager
def reading(
    file: Path, given: Given = NOTHING_GIVEN, sample: Any = None, *, trust_code: bool = False
) -> Iterator[ModelFile]:
    """Read a file of the user once and provide the model in it, with the user's statements on its inputs: those
    ``given``, or else those that a ``sample`` of requests shows. It is deleted after the block unless it was kept. A
    folder with a script is read whole if code is trusted."""
    with _reading_folder() as folder:
        copy = folder / "file" / file.name
        with writing(copy):
            copy.parent.mkdir()
        if file.is_dir():
            pack_folder(file, copy)
            digest = file_digest(copy)
        else:
            digest = read_once(file, copy)
        kept = find_kept(digest)
        if kept is not None and kept.format is Format.SCRIPT and not trust_code:
            kept = None  # trusted before, but now only a model beside the script may be opened
        model = kept or named_by_format(_found(file, copy, digest, folder, trust_code=trust_code))
        if sample is not None and model.format is Format.TORCHSCRIPT and not (given.shapes or said_in(model.file)):
            given = replace(given, shapes=sampled_shapes(sample))
        if given:
            with blaming(model.file, str(file)):
                model = with_given(model, given, folder / "given")
        yield model


def _found(file: Path, copy: Path, digest: str, folder: Path, *, trust_code: bool) -> ModelFile:
    """Return the model in ``copy``, a copy of ``file``, as one file."""
    model = find_in_file(copy, digest, folder / "unpacked", blamed=file, trust_code=trust_code)
    if model.format is Format.HUGGINGFACE:
        with blaming(model.file, str(file)):
            return in_one_archive(model, file.parent if model.file == copy else model.file.parent, folder / "whole")
    if model.format is Format.OPENVINO_IR:
        with blaming(model.file, str(file)):
            return with_weights(model, file.parent if model.file == copy else model.file.parent, folder / "whole")
    if model.format is not Format.ONNX or not keeps_weights_elsewhere(model.file):
        return model
    with blaming(model.file, str(file)):
        return in_one_file(model, file.parent if model.file == copy else model.file.parent, folder / "whole")


def _reading_folder() -> AbstractContextManager[Path]:
    """Return a temporary folder beside the files that are kept, so that a file moves there without being copied."""
    return temporary_folder("reading", state_folder("models"))


def inspect_and_keep(model: ModelFile, source: str) -> OpenedFile:
    """Inspect the file, and keep it if it is a model."""
    with blaming(model.file, source):
        inspection, folder = inspect_file(model)
    return OpenedFile(source=source, kept=keep(model), inspection=inspection, folder=folder)


def inspect_file(model: ModelFile) -> tuple[Inspection, Path]:
    """Return the inspection of a file, from the state folder or from a child process, and the folder that the
    inspection wrote."""
    folder = state_folder("models", model.digest) / f"inspection-{SCHEMA}-{versions_text(model.format)}"
    about = f"{model.digest} {folder.name}"
    inspection_kept = _read_record(folder, about)
    if inspection_kept is None:
        with writing(folder):
            if folder.exists() and _read_record(folder, about) is None:
                shutil.rmtree(folder)
        with filling(folder) as temporary:
            inspection = _inspect_in_child(model, temporary)
            inspection = replace(
                inspection,
                file_name=_by_content(temporary, inspection.file_name),
                splits_name=_by_content(temporary, inspection.splits_name),
                converted_name=_by_content(temporary, inspection.converted_name),
            )
            write_sealed(temporary / _RECORD, inspection.to_json(), about=about)
        inspection_kept = _read_record(folder, about)
    if inspection_kept is None:
        raise StateError(folder, "it does not hold what was written")
    return inspection_kept, folder


def _by_content(folder: Path, name: str | None) -> str | None:
    return None if name is None else name_by_content(folder / name)


def _read_record(folder: Path, about: str) -> Inspection | None:
    """Return the record of an earlier inspection of the same, if all of it is there as it was written."""
    record = read_sealed(folder / _RECORD, about=about)
    if record is None:
        return None
    inspection = Inspection.from_json(record)
    names = (inspection.file_name, inspection.splits_name, inspection.converted_name)
    written = [folder / name for name in names if name is not None]
    return inspection if all(has_digest(path, digest_in_name(path) or "") for path in written) else None


def _inspect_in_child(model: ModelFile, folder: Path) -> Inspection:
    path, library = model.file, model.format.library.value
    memory_bytes = 16 * _GIB + 40 * path.stat().st_size
    limit_s = CONVERSION_TIMEOUT_S if model.format.library is Library.TORCH else INSPECTION_TIMEOUT_S
    try:
        inspection: Inspection = call_isolated(_INSPECTION, model, folder, timeout_s=limit_s, memory_bytes=memory_bytes)
    except WorkerCrashed as error:
        raise CorruptModel(path, _crash_reason(library, error)) from error
    except OutOfMemory as error:
        raise CorruptModel(path, f"{library} needs more than {memory_bytes // _GIB} GiB to open it") from error
    except TimedOut as error:
        raise error.called(f"opening {path} with {library}") from error
    return inspection


def _crash_reason(library: str, error: WorkerCrashed) -> str:
    """Return the library's last words before it died of the file: LightGBM names the reason and then aborts."""
    for line in error.stderr.splitlines():
        if "[Fatal] " in line:
            return f"{library} gives up on it: {line.partition('[Fatal] ')[2].strip()}"
    return f"opening it, {library} {error.reason}"
