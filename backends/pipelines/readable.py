"""Tells whether pipelines can be read here, without reading one."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from servefit.backends.libraries.installed import installed

if TYPE_CHECKING:
    from servefit.backends.types import Availability

READING_S = 2.0
"""Importing scikit-learn takes one and a half of it, and reading a pipeline some tenths."""


def pipelines_readable() -> Availability:
    return installed("sklearn", "scikit-learn", remedy="pip install 'servefit[sklearn]'")


@cache
def steps_key() -> str:
    """Return what artifacts with pickled steps depend on: a digest of this package's source, which their classes are
    in, and the version of scikit-learn, which the steps were read with and some are computed by."""
    digest = sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    try:
        library = f"scikit-learn {version('scikit-learn')}"
    except PackageNotFoundError:
        library = "no scikit-learn"
    return f"{digest.hexdigest()[:16]}, {library}"
