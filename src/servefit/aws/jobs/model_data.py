"""The version of model data: by it is known whether what was measured is still about what lies there.

Files up to some size are known by their content: who runs a notebook again uploads the same once more. Larger ones are
known by their names, sizes and times, which takes no time to look at; so are folders, by the files in which a model is
looked for: at any depth, and behind links.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from pathlib import Path

from servefit.backends.model.archive import visible_files
from servefit.backends.model.keeping import file_digest
from servefit.errors import CorruptModel

_MAX_READ_BYTES = 2**28
"""A quarter of a second of SHA-256 on a machine of 2023. DescribeModel waits for it, once."""


class DataVersions:
    """The versions of files and folders. What was read once is not read again until it changes. Threads may share
    it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[Path, tuple[str, str]] = {}

    def of(self, path: Path) -> str | None:
        """Return the version of what lies at ``path``, None where that is no folder with files in it that a model is
        looked for in, and no file with something in it that can be read."""
        try:
            seen = path.stat()
            if stat.S_ISDIR(seen.st_mode):
                files = visible_files(path)
                return _digest("\n".join(_facts(file, file.stat()) for file in files)) if files else None
            # What the kernel makes up is empty by its size, and may be waited for without end.
            if not stat.S_ISREG(seen.st_mode) or not seen.st_size or not os.access(path, os.R_OK):
                return None
            facts = _facts(path, seen)
            if seen.st_size > _MAX_READ_BYTES:
                return _digest(facts)
            with self._lock:
                version = self._known.get(path)
            if version is None or version[0] != facts:
                version = facts, file_digest(path)
                with self._lock:
                    self._known[path] = version
        except (CorruptModel, OSError, ValueError):  # very many files; and a name may hold what none may hold
            return None
        return version[1]


def _facts(path: Path, seen: os.stat_result) -> str:
    return f"{path} {seen.st_ino} {seen.st_size} {seen.st_mtime_ns}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
