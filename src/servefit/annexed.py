"""Finds the annexes: parts of servefit that the core does not import, and does without where they are not installed.

The commands and reports of an annex are in ``annexes``; what they use is in its other folders.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from servefit.errors import SpecError

FOLDERS = {
    "fleet": ("servefit.annexes.fleet", "servefit.search.fleet"),
    "aws": ("servefit.annexes.aws", "servefit.aws", "servefit.sagemaker"),
}
"""The packages of each annex."""


def is_there(annex: str) -> bool:
    """Return whether all packages of ``annex`` are installed. None of them is imported."""
    return all(map(_has_package, FOLDERS[annex]))


def from_annex(annex: str, module: str, *, field: str, value: object = None) -> Any:
    """Return a module of ``annex`` that ``value`` of ``field`` needs. Raises SpecError where ``annex`` is not there."""
    missing = [name for name in FOLDERS[annex] if not _has_package(name)]
    if missing:
        raise SpecError(field, value, f"needs {missing[0]}, which is not here", remedy="install servefit again")
    return import_module(f"{FOLDERS[annex][0]}.{module}")


def _has_package(name: str) -> bool:
    try:
        spec = find_spec(name)
    except ModuleNotFoundError:  # so is the package that it would be in
        return False
    # A folder without code, as an update leaves one that has a __pycache__, is a package too, of no file.
    return spec is not None and spec.origin is not None
