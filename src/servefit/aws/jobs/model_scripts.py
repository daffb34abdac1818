"""Scripts that lie beside a model, as SageMaker's containers run them. A job says that they are not run; the one that a
server with ``--trust-code`` runs is the model itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath

from servefit.backends.model.archive import MAX_MEMBERS, visible_files
from servefit.backends.model.formats import is_gzip_archive
from servefit.backends.model.scripts import SCRIPT
from servefit.backends.model.tar import BrokenArchive, TarReader
from servefit.backends.payload.bodies import Bodies
from servefit.errors import ModelError

_MAX_NAMED = 3
_BUDGET_BYTES = 2**32
"""An archive is looked through so far: reading one of 10 MB takes a tenth of a second. Chosen, not measured."""


def payload_of(
    model: Path, payload: str | None, content_types: Sequence[str], *, trust_code: bool
) -> str | Bodies | None:
    """Return the payload of a job; for a model whose script is run, with the content type that the job says, if it is
    one."""
    if payload is None or not trust_code or len(content_types) != 1 or not _is_runnable(model):
        return payload
    return Bodies(source=payload, content_type=content_types[0])


def _is_runnable(model: Path) -> bool:
    try:
        return any(PurePosixPath(name) == PurePosixPath(SCRIPT) for name in _names(model))
    except (BrokenArchive, ModelError, OSError):
        return False


def script_warning(model: Path, *, trust_code: bool = False) -> str | None:
    """Return what a job says of the scripts beside a model, None where there are none, or they are trusted. An archive
    that cannot be read is refused where the model is opened."""
    try:
        scripts = [name for name in _names(model) if PurePosixPath(name).suffix == ".py"]
    except (BrokenArchive, ModelError, OSError):
        return None
    runnable = any(PurePosixPath(name) == PurePosixPath(SCRIPT) for name in scripts)
    if not scripts or (runnable and trust_code):
        return None
    consent = f"; {SCRIPT} is run by a server that was started with --trust-code" if runnable else ""
    return (
        f"the model comes with {', '.join(scripts[:_MAX_NAMED])}: no script is run, and figures and predictions are "
        f"those of the model file alone{consent}"
    )


def _names(model: Path) -> Iterator[str]:
    if model.is_dir():
        yield from (file.relative_to(model).as_posix() for file in visible_files(model))
    elif model.is_file() and is_gzip_archive(model):
        with model.open("rb") as stream:
            for member in islice(TarReader(stream, _BUDGET_BYTES), MAX_MEMBERS):
                yield member.name
