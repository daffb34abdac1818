"""What is on its way to be an object: a file that is checked while it comes, and removed unless it is kept."""

from __future__ import annotations

import base64
import os
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from servefit.aws.wire.errors import ApiError
from servefit.processes import own_mark
from servefit.state import left_behind

if TYPE_CHECKING:
    from servefit.aws.s3.places import Places

_T = TypeVar("_T")


class Arrival:
    """An object on its way: its bytes go into a file as they come, and are held at the end against what the client said
    of them: their number, their CRC-32 in base64, their SHA-256 in hexadecimal; None for what it did not say.

    Each method waits for the disk, and is for a thread.
    """

    def __init__(
        self, places: Places, *, length: int | None = None, crc32: str | None = None, digest: str | None = None
    ) -> None:
        self._places, self._length, self._crc32, self._digest = places, length, crc32, digest
        self._written, self._crc, self._sha = 0, 0, sha256()
        self._stack = ExitStack()
        self._opened: tuple[BinaryIO, Path] | None = None

    def write(self, content: bytes) -> None:
        file, _ = self._open()
        file.write(content)
        self._written += len(content)
        if self._crc32 is not None:
            self._crc = zlib.crc32(content, self._crc)
        if self._digest is not None:
            self._sha.update(content)

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
        if self._crc32 is not None and base64.b64encode(self._crc.to_bytes(4, "big")).decode() != self._crc32:
            raise ApiError("BadDigest", "The CRC32 you specified did not match the calculated checksum.")
        if self._digest is not None and self._sha.hexdigest() != self._digest:
            raise ApiError("XAmzContentSHA256Mismatch", "The provided SHA-256 does not match what was computed.")


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


def sweep(places: Places) -> None:
    """Remove what killed servers left on its way."""
    for path in left_behind(places.incoming()):
        with suppress(OSError):
            path.unlink()
