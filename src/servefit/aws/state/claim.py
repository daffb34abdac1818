"""The claim of a server to its state: a folder has one server at a time, and another one is told where that is."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from servefit.errors import SpecError
from servefit.state import writing

FOLDER = "api"
"""The folder of the state folder that a server keeps everything in."""

_FILE = "server.address"

_ATTEMPTS, _BETWEEN_S = 10, 0.02
"""A look takes microseconds."""


@contextmanager
def claimed(folder: Path) -> Iterator[Callable[[str], None]]:
    """Hold ``folder`` for a server within the block, and give a function that is told its address. The kernel gives the
    folder free where the server dies.

    Raises SpecError, naming the address of the server that has it, and StateError.
    """
    path = folder / _FILE
    with writing(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not _locked(handle):
            raise SpecError(
                "api",
                str(folder),
                f"has a server already, at {_read(handle) or 'another address'}",
                remedy="use that one, end it, or set SERVEFIT_HOME to another folder",
            )
        os.ftruncate(handle, 0)
        try:
            yield lambda address: _write(handle, address)
        finally:
            # A process that was forked meanwhile has the handle too.
            fcntl.flock(handle, fcntl.LOCK_UN)
    finally:
        os.close(handle)


def holder_of(folder: Path) -> str | None:
    """Return what the server that has ``folder`` said of its address, None where no server has it. Raises StateError.

    Example:
        >>> import tempfile, pathlib
        >>> with tempfile.TemporaryDirectory() as name:
        ...     with claimed(pathlib.Path(name)) as tell:
        ...         tell("http://127.0.0.1:8181")
        ...         within = holder_of(pathlib.Path(name))
        ...     after = holder_of(pathlib.Path(name))
        >>> within, after
        ('http://127.0.0.1:8181', None)
    """
    path = folder / _FILE
    with writing(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(handle)
    else:
        return None
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    """Lock the file, and return whether that was possible: a process that only looks has the lock for a moment."""
    for _ in range(_ATTEMPTS):
        with suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(_BETWEEN_S)
    return False


def _read(handle: int) -> str:
    return os.pread(handle, 1024, 0).decode(errors="replace").strip()


def _write(handle: int, address: str) -> None:
    os.pwrite(handle, address.encode(), 0)
