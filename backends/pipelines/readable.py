"""Tells whether pipelines can be read here, without reading one."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from servefit.backends.libraries.installed import installed

if TYPE_CHECKING:
    from servefit.backends.types import Availability

READING_S = 2.0
"""Importing scikit-learn takes one and a half of it, and reading a pipeline some tenths."""


def pipelines_readable() -> Availability:
    return installed("sklearn", "scikit-learn", remedy="pip install 'servefit[sklearn]'")


def library_read() -> str:
    """Return the name and the version of what pipelines are read with."""
    try:
        return f"scikit-learn {version('scikit-learn')}"
    except PackageNotFoundError:
        return "no scikit-learn"
