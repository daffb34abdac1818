"""Paths in reports: as they lie from the current folder, or else by the name of the file. A report is handed on, and
says nothing of the folders of its author."""

from __future__ import annotations

import re
from pathlib import Path

_ABSOLUTE = re.compile(r"(?<![\w./:~-])/(?:[\w.+@~-]+/)+[\w.+@~-]*")
"""An absolute path in a sentence: two names at least, so that it is not "/ping", and not within an address or a share,
as in "requests/s". One with spaces is not known where it ends."""


def local_path(path: str) -> str:
    """Return a path as it lies from the current folder: relative if it is below, else the name of the file alone."""
    full = Path(path)
    if not full.is_absolute():
        return path
    here = Path.cwd()
    return str(full.relative_to(here)) if full.is_relative_to(here) else full.name


def with_local_paths(text: str) -> str:
    """Return a sentence with its absolute paths as :func:`local_path` has them."""
    return _ABSOLUTE.sub(lambda match: local_path(match[0]), text)
