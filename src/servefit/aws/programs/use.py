"""Who uses a server that was started for programs: it ends with the last of them, also where that is killed.

Each use holds a lock of the kernel, shared with the others. The server waits until it has that lock alone. A program
inherits the lock of its use, and so keeps the server where ``servefit api run`` is killed above it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from servefit.state import writing

_USES, _LOOKS = "programs.lock", "programs.starting"


@dataclass(frozen=True, slots=True)
class Use:
    """A use of the server of a folder. ``handle`` is of the file that it has locked, for the program to inherit."""

    handle: int

    def is_last(self) -> bool:
        """End the use, and return whether nobody else uses the server. Nobody can begin to then, until the block of
        :func:`using` is over."""
        with suppress(BlockingIOError):
            fcntl.flock(self.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        try:
            fcntl.flock(self.handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True  # the server itself was faster to notice
        return False


@contextmanager
def using(folder: Path) -> Iterator[Use]:
    """Use the server of ``folder`` while the block lasts; first wait until one that is about to end has. Raises
    StateError."""
    handle = _opened(folder / _USES)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH)
        try:
            yield Use(handle)
        finally:
            # What the program has left running may have inherited the handle too.
            fcntl.flock(handle, fcntl.LOCK_UN)
    finally:
        os.close(handle)


@contextmanager
def looking(folder: Path) -> Iterator[None]:
    """Keep others from looking for a server, or starting one, while the block lasts. Raises StateError."""
    handle = _opened(folder / _LOOKS)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def wait_until_unused(folder: Path) -> None:
    """Return once no program uses the server of ``folder``. Who would then waits until this process has ended."""
    fcntl.flock(_opened(folder / _USES), fcntl.LOCK_EX)


def _opened(path: Path) -> int:
    with writing(path):
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
