"""Scripts that lie beside a model, as SageMaker's containers run them. None is run here, and a job says so."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePosixPath

from servefit.backends.model.archive import MAX_MEMBERS, visible_files
from servefit.backends.model.formats import is_gzip_archive
from servefit.backends.model.tar import BrokenArchive, TarReader
from servefit.errors import ModelError

_MOST_TOLD = 3
_BUDGET_BYTES = 2**32
"""An archive is looked through so far: reading one of 10 MB takes a tenth of a second. Chosen, not measured."""


def script_warning(model: Path) -> str | None:
    """Return what a job says of the scripts beside a model, None where there are none. An archive that cannot be read
    is for whoever opens the model to refuse."""
    try:
        names = list(islice((name for name in _names(model) if PurePosixPath(name).suffix == ".py"), _MOST_TOLD))
    except (BrokenArchive, ModelError, OSError):
        return None
    if not names:
        return None
    return (
        f"the model comes with {', '.join(names)}: no script is run, and figures and predictions are those of the "
        "model file alone"
    )


def _names(model: Path) -> Iterator[str]:
    if model.is_dir():
        yield from (file.relative_to(model).as_posix() for file in visible_files(model))
    elif model.is_file() and is_gzip_archive(model):
        with model.open("rb") as stream:
            for member in islice(TarReader(stream, _BUDGET_BYTES), MAX_MEMBERS):
                yield member.name
