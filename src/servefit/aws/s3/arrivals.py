"""Arrival of an object: its file is checked while it comes, and removed unless it is kept."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from servefit.aws.wire.errors import ApiError
from servefit.processes import own_mark
from servefit.state import left_behind

if TYPE_CHECKING:
    from servefit.aws.s3.checksums import Checksums
    from servefit.aws.s3.places import Places

_COPY_BYTES = 16 * 2**20

_T = TypeVar("_T")


class Arrival:
    """An object on its way: its bytes go into a file as they come, and are held at the end against what the client said
    of them: their number, None where it said none, and their checksums.

    Each method waits for the disk, and is for a thread.
    """

    def __init__(self, places: Places, *, length: int | None, checksums: Checksums) -> None:
        self._places, self._length, self._checksums = places, length, checksums
        self._written = 0
        self._stack = ExitStack()
        self._opened: tuple[BinaryIO, Path] | None = None

    def write(self, content: bytes) -> None:
        file, _ = self._open()
        file.write(content)
        self._written += len(content)
        self._checksums.update(content)

    def finish(self, keep: Callable[[Path], _T], *, outlives_crash: bool = True) -> _T:
        """Have the bytes in a file, and return what ``keep`` does, which puts it where it belongs. They are on the disk
        by then where they are to outlive a crash of the machine. Raises ApiError where they are not what they should
        be."""
        file, path = self._open()
        with self._stack:
            file.flush()
            self._check()
            if outlives_crash:
                os.fsync(file.fileno())
            return keep(path)

    def discard(self) -> None:
        """Remove what came, unless it was kept."""
        self._stack.close()

    def _open(self) -> tuple[BinaryIO, Path]:
        if self._opened is None:
            self._opened = self._stack.enter_context(arriving(self._places))
        return self._opened

    def _check(self) -> None:
        if self._length is not None and self._written != self._length:
            raise ApiError("IncompleteBody", f"{self._written} bytes came of {self._length}")
        self._checksums.check()


@contextmanager
def arriving(places: Places) -> Iterator[tuple[BinaryIO, Path]]:
    """Give a file for what is on its way, and remove it unless it was moved away within the block."""
    handle, name = tempfile.mkstemp(dir=places.incoming(), prefix=f".object.{own_mark()}.")
    path = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file, path
    finally:
        path.unlink(missing_ok=True)


def copy_bytes(source: BinaryIO, target: BinaryIO, *, start: int, length: int) -> None:
    """Append a part of a file to another one, in the kernel. Raises ApiError where the part ends before its end."""
    end = start + length
    while start < end:
        copied = os.sendfile(target.fileno(), source.fileno(), start, min(end - start, _COPY_BYTES))
        if not copied:
            raise ApiError("OperationAborted", "A file became shorter while it was copied.", status=409)
        start += copied


def sweep(places: Places) -> None:
    """Remove what killed servers left on its way."""
    for path in left_behind(places.incoming()):
        with suppress(OSError):
            path.unlink()
