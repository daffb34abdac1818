"""The files of models that were opened before: checked, copied, and put back or opened again where that is needed."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from servefit.backends.model.keeping import digest_in_name, find_kept, has_digest, keep, read_once
from servefit.backends.model.loading import file_of, inspect_and_keep, inspect_file, reading
from servefit.backends.model.opened import Model
from servefit.backends.model.types import Format
from servefit.errors import CorruptModel, ModelError


def copy_kept(model: Model, target: Path) -> None:
    """Copy the file of an opened model to ``target``. Raises CorruptModel where it is not what it was; StateError."""
    if read_once(model.file, target) != model.digest:
        raise CorruptModel(model.file, "it is not what it was when it was opened", remedy="open the model again")


def check_kept(model: Model) -> None:
    """Make sure that the file of an opened model is what it was; one that is damaged or gone is put back from where the
    model came from. Raises CorruptModel where that is gone too, or has changed; StateError."""
    elsewhere = not _is_kept(model) or not _is_there(model.file)
    if has_digest(model.file, model.digest) or (elsewhere and find_kept(model.digest) is not None):
        return
    changed = CorruptModel(model.file, "it is gone, or not what it was when it was measured")
    try:
        trusted = model.format is Format.SCRIPT
        source = file_of(Path(model.source), trust_code=trusted)
        with reading(source, model.given, trust_code=trusted) as found:
            if found.digest not in model.file.parts:
                raise changed
            inspect_file(found)  # which also rewrites the models that had to be rewritten
            keep(found)
    except ModelError as error:
        raise changed from error
    if not has_digest(model.file, model.digest):
        raise changed


def as_kept(model: Model) -> Model:
    """Return ``model``, or where an earlier servefit opened it, and used the file where it lay, the same as it is kept
    today.

    Raises CorruptModel where the file is gone or has changed, and what ``Model.load`` raises.
    """
    is_as_today = model.splits is None or digest_in_name(model.splits) is not None
    # What a job on a fleet says of its files is of the host that began it.
    if is_as_today and _is_there(model.file) and _is_kept(model) and not model.lacks_inputs:
        return model
    changed = CorruptModel(model.file, "it is not what it was when it was opened")
    kept = find_kept(model.digest)
    trusted = model.format is Format.SCRIPT
    with reading(model.file, trust_code=trusted) if kept is None else nullcontext(kept) as found:
        # Before it is opened: a pickle was trusted with that content, and not with another.
        if found.digest != model.digest:
            raise changed
        again = Model.of(inspect_and_keep(found, model.source))
    if again.digest != model.digest:
        raise changed
    return replace(again, warnings=model.warnings, constants=model.constants)


def _is_kept(model: Model) -> bool:
    return model.digest in (model.file.parent.name, digest_in_name(model.file))


def _is_there(path: Path) -> bool:
    """Return whether there is a file, as far as this user may know."""
    try:
        return path.exists()
    except OSError:  # in a folder of another user, as on the host that the path is of
        return False
