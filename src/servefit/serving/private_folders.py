"""Folders for this user alone in which endpoints keep their copies of artifacts: made, locked for as long as the
process lives that made them, and removed by whoever comes later where it was killed.

A lock says so, and not a mark (``processes``): these folders are on a disk that outlives a boot, and may be shared with
containers, whose processes cannot be seen from here.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from servefit.state import writing

FOLDERS_BEGIN = "servefit-artifact-"

_PARENTS = ("/var/tmp", "/tmp", "/dev/shm")  # noqa: S108 - a folder for this user alone is made in one of them
"""The parents of folders, unless $TMPDIR names another. The first is on a disk, the last always there."""


def own_folder() -> tuple[Path, int]:
    """Make a new folder for this user alone, and a descriptor that locks it for as long as this process lives. Raises
    StateError."""
    parent = _parent(os.environ)
    sweep_private_folders()
    with writing(parent, variable="TMPDIR"):
        while True:
            folder = tempfile.mkdtemp(prefix=FOLDERS_BEGIN, dir=parent)
            # Another process may sweep it away before it is locked.
            with suppress(FileNotFoundError, BlockingIOError):
                return Path(folder), _locked(folder)


def sweep_private_folders(environment: Mapping[str, str] = os.environ) -> None:
    """Remove the folders of this user's processes that were killed, where a process with ``environment`` makes them."""
    with suppress(OSError), os.scandir(_parent(environment)) as entries:
        for entry in entries:
            if entry.name.startswith(FOLDERS_BEGIN) and entry.stat(follow_symlinks=False).st_uid == os.geteuid():
                with suppress(OSError):
                    lock = _locked(entry.path)
                    shutil.rmtree(entry.path, ignore_errors=True)
                    os.close(lock)


def _parent(environment: Mapping[str, str]) -> Path:
    writable = [path for path in _PARENTS if os.access(path, os.W_OK | os.X_OK)]
    return Path(environment.get("TMPDIR") or next(iter(writable), _PARENTS[-1]))


def _locked(folder: str) -> int:
    """Return a descriptor that locks ``folder``. Raises OSError where another process has, or it is gone."""
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(lock), os.stat(folder)):  # noqa: PTH116
            raise FileNotFoundError(folder)
    except OSError:
        os.close(lock)
        raise
    return lock
