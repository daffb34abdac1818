"""Contents that every host of a fleet needs, as the model and the payload of a job, by their SHA-256 in the database.

They are cut into chunks, each of which is a transaction of its own: a server that goes away costs the chunk that was
under way, and no process ever holds a whole content in memory. What is not complete counts as not there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from servefit.errors import SpecError, StorageError
from servefit.quantities import size_text
from servefit.search.storage import blob_tables
from servefit.state import temporary_folder, writing

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from servefit.search.storage.blob_tables import BlobRow
    from servefit.search.storage.database import Database
    from servefit.search.storage.jobs import JobStore

MAX_BYTES = 512 * 2**20
"""A larger content belongs on a file system that hosts share, and not into a database and its backups. Chosen."""

CHUNK_BYTES = 2**20
"""Large enough that a round trip of a millisecond is little beside it, small enough to be sent again. Drivers may write
a byte as two, and MySQL has taken no statement above 4 MB by default."""

_AGAIN = "resume the job on the host that began it, which puts it there again"

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Measured:
    """A content as it was when it was first read: its digest, its size and the digest of every chunk."""

    digest: str
    size_bytes: int
    chunks: tuple[bytes, ...]


class Blobs:
    """The contents that a database keeps. Reading and writing raise StorageError; a server that goes away is waited for
    as for everything else in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def of(cls, store: JobStore) -> Self:
        """Return those in the database of ``store``, for as long as that is open."""
        return cls(store.database)

    def exists(self, digest: str) -> bool:
        """Return whether the content of that SHA-256 is there, and complete."""
        row = self._find(digest)
        return row is not None and row.complete

    def put(self, content: Path | bytes | memoryview) -> str:
        """Keep a file or bytes, and return the SHA-256. Nothing is written where the content is there already.

        Several may put the same at once, and one that is killed leaves what the next completes: every chunk that is
        written is the right one. Raises SpecError above ``MAX_BYTES``, and for a file that cannot be read or changes
        meanwhile.
        """
        measured = _measured(content)
        digest = measured.digest
        if not self._write(partial(blob_tables.begin, digest=digest, size_bytes=measured.size_bytes)):
            self._put_chunks(content, measured)
        return digest

    def fetch(self, digest: str, path: Path) -> None:
        """Write the content of that SHA-256 to ``path``, in an existing folder. Readers of ``path`` see all of it
        or nothing, and it has that digest.

        Raises StorageError also where the content is not there or is damaged, StateError where ``path`` cannot be
        written.
        """
        row = self._find(digest)
        if row is None or not row.complete:
            raise self._database.address.error(f"the content {digest:.12} is not there", remedy=_AGAIN)
        with temporary_folder("fetching", path.parent) as folder, writing(path):
            part = folder / "content"
            with part.open("wb") as stream:
                os.fchmod(stream.fileno(), 0o600)
                for chunk in self._chunks(digest, row):
                    stream.write(chunk)
                stream.flush()
                os.fsync(stream.fileno())
            part.replace(path)

    def delete_all_but(self, needed: Callable[[], Collection[str] | None]) -> int:
        """Delete the contents whose digests are not among ``needed``, and return how many those were. None stands for
        not knowing, and deletes nothing.

        ``needed`` is asked after the contents are listed, and what is put after that is left alone. So nobody loses a
        content who first writes down that it is needed, and then puts it, even where it was there already.
        """
        listed = self._database.run(blob_tables.list_puts)
        kept = needed()
        if kept is None:
            return 0
        return sum(
            self._database.run(partial(blob_tables.remove, digest=digest, puts=puts))
            for digest, puts in listed.items()
            if digest not in kept
        )

    def _find(self, digest: str) -> BlobRow | None:
        return self._database.run(partial(blob_tables.find, digest=digest))

    def _put_chunks(self, content: Path | bytes | memoryview, measured: _Measured) -> None:
        nth = -1
        for nth, chunk in enumerate(_cut(content)):
            if nth >= len(measured.chunks) or sha256(chunk).digest() != measured.chunks[nth]:
                raise _changed(content)
            self._write(partial(blob_tables.put_chunk, digest=measured.digest, nth=nth, content=chunk))
        if nth + 1 < len(measured.chunks):
            raise _changed(content)
        completed = self._database.run(
            partial(
                blob_tables.complete,
                digest=measured.digest,
                chunks=len(measured.chunks),
                size_bytes=measured.size_bytes,
            )
        )
        if not completed:
            reason = f"the content {measured.digest:.12} was deleted while it was put"
            raise self._database.address.error(reason, remedy="try again")

    def _chunks(self, digest: str, row: BlobRow) -> Iterator[bytes]:
        """Yield the chunks of a content. Raises StorageError as soon as it turns out to be damaged, at the end if not
        before, and has it put again in full."""
        hashed, read_bytes, nth = sha256(), 0, 0
        if row.size_bytes > MAX_BYTES:
            raise self._damaged(digest, row, "it is larger than any that is put")
        while read_bytes < row.size_bytes:
            chunk = self._database.run(partial(blob_tables.read_chunk, digest=digest, nth=nth))
            if chunk is None:
                raise self._damaged(digest, row, f"its chunk {nth} is missing")
            if not isinstance(chunk, bytes) or not 0 < len(chunk) <= row.size_bytes - read_bytes:
                raise self._damaged(digest, row, f"its chunk {nth} is not what was put")
            hashed.update(chunk)
            yield chunk
            read_bytes, nth = read_bytes + len(chunk), nth + 1
        if hashed.hexdigest() != digest:
            raise self._damaged(digest, row, "it has another digest")

    def _damaged(self, digest: str, row: BlobRow, reason: str) -> StorageError:
        with suppress(StorageError):  # that it may not be written, say, comes second
            self._database.run(partial(blob_tables.spoil, digest=digest, puts=row.puts))
        return self._database.address.error(f"the content {digest:.12} is damaged: {reason}", remedy=_AGAIN)

    def _write(self, statements: Callable[[Connection], _T]) -> _T:
        """Return the result of ``statements``. Of two that insert the same row at once, the second is refused by the
        database; it finds the row when it tries again."""
        from sqlalchemy.exc import IntegrityError

        try:
            return self._database.run(statements)
        except StorageError as error:
            if not isinstance(error.__cause__, IntegrityError):
                raise
        return self._database.run(statements)


def too_large(field: str, value: str) -> SpecError:
    """Return the error for a content above ``MAX_BYTES``."""
    return SpecError(
        field,
        value,
        f"is larger than the {size_text(MAX_BYTES)} that the database of jobs takes",
        remedy="keep the model at a path that all hosts share, and name it by that",
    )


def _measured(content: Path | bytes | memoryview) -> _Measured:
    whole, size_bytes, digests = sha256(), 0, []
    for chunk in _cut(content):
        whole.update(chunk)
        size_bytes += len(chunk)
        if size_bytes > MAX_BYTES:
            raise too_large("file", _named(content))
        digests.append(sha256(chunk).digest())
    return _Measured(whole.hexdigest(), size_bytes, tuple(digests))


def _cut(content: Path | bytes | memoryview) -> Iterator[bytes]:
    """Yield the chunks of ``content``, of which the last may be shorter. Raises SpecError for a file that cannot be
    read."""
    if not isinstance(content, Path):
        with memoryview(content) as view, view.cast("B") as octets:
            for begin in range(0, len(octets), CHUNK_BYTES):
                yield bytes(octets[begin : begin + CHUNK_BYTES])
        return
    try:
        with content.open("rb") as stream:
            while chunk := stream.read(CHUNK_BYTES):
                yield chunk
    except OSError as error:
        raise SpecError("file", str(content), f"cannot be read: {error.strerror or error}") from error


def _changed(content: Path | bytes | memoryview) -> SpecError:
    return SpecError("file", _named(content), "changes while it is read", remedy="try again when it has been written")


def _named(content: Path | bytes | memoryview) -> str:
    return str(content) if isinstance(content, Path) else "bytes"
