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
    """Check that the file of an opened model is intact; restore a damaged or missing file from the model's source.
    Raises CorruptModel if the source is missing too, or has changed; StateError."""
    elsewhere = not _is_kept(model) or not _is_there(model.file)
    if has_digest(model.file, model.digest) or (elsewhere and find_kept(model.digest) is not None):
        return
    changed = CorruptModel(model.file, "it is gone, or not what it was when it was measured")
    try:
        trusted = model.format is Format.SCRIPT
        source = file_of(Path(model.source), trust_code=trusted)
        with reading(source, model.given, trust_code=trusted) as model_file:
            if model_file.digest not in model.file.parts:
                raise changed
            inspect_file(model_file)  # writes converted models again, too
            keep(model_file)
    except ModelError as error:
        raise changed from error
    if not has_digest(model.file, model.digest):
        raise changed


def as_kept(model: Model) -> Model:
    """Return ``model`` in today's form. Earlier versions of servefit used the user's file in place: it is kept now.

    Raises CorruptModel if the file is missing or has changed, and the errors of ``Model.load``.
    """
    is_as_today = model.splits is None or digest_in_name(model.splits) is not None
    # The paths of a fleet's job are those of the host that started it.
    if is_as_today and _is_there(model.file) and _is_kept(model) and not model.lacks_inputs:
        return model
    changed = CorruptModel(model.file, "it is not what it was when it was opened")
    kept = find_kept(model.digest)
    trusted = model.format is Format.SCRIPT
    with reading(model.file, trust_code=trusted) if kept is None else nullcontext(kept) as model_file:
        # Checked before it is opened: the user trusted a pickle with this content alone.
        if model_file.digest != model.digest:
            raise changed
        again = Model.of(inspect_and_keep(model_file, model.source))
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
