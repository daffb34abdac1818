"""The tables of contents by their SHA-256: which there are, and their bytes in chunks. They lie beside those of jobs.

Several statements make a transaction, as in ``tables``. What is cut into chunks, checked and waited for is for
``blobs``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, MetaData, Table
    from sqlalchemy.engine import Connection

_DIGEST = 64
"""Letters of a SHA-256 in hexadecimal."""

_MAX_CHUNK_BYTES = 2**24 - 1
"""MySQL wants to know, and makes a MEDIUMBLOB of it. Others ignore it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobRow:
    """A content. ``puts`` counts how often somebody put it: it tells one who saw it before whether it was put again
    since. The writer marks it ``complete`` once all of its chunks are there."""

    size_bytes: int
    complete: bool
    puts: int


@dataclass(frozen=True, slots=True)
class _Tables:
    metadata: MetaData
    blobs: Table
    chunks: Table


@cache
def _tables() -> _Tables:
    from sqlalchemy import BigInteger, Column, ForeignKey, Integer, LargeBinary, MetaData, String, Table

    metadata = MetaData()
    blobs = Table(
        "servefit_blobs",
        metadata,
        Column("digest", String(_DIGEST), primary_key=True),
        Column("size_bytes", BigInteger, nullable=False),
        Column("complete", Integer, nullable=False),
        Column("puts", Integer, nullable=False),
    )
    chunks = Table(
        "servefit_blob_chunks",
        metadata,
        Column("digest", String(_DIGEST), ForeignKey(blobs.c.digest, ondelete="CASCADE"), primary_key=True),
        Column("nth", Integer, primary_key=True, autoincrement=False),
        Column("bytes", LargeBinary(_MAX_CHUNK_BYTES), nullable=False),
    )
    return _Tables(metadata, blobs, chunks)


def names() -> set[str]:
    """Return the names of the tables."""
    return set(_tables().metadata.tables)


def make(connection: Connection) -> None:
    """Make the tables that are not there."""
    _tables().metadata.create_all(connection)


def find(connection: Connection, digest: str) -> BlobRow | None:
    """Return what is known of a content; None where nothing is."""
    from sqlalchemy import select

    blobs = _tables().blobs
    query = select(blobs.c.size_bytes, blobs.c.complete, blobs.c.puts).where(blobs.c.digest == digest)
    row = connection.execute(query).one_or_none()
    return None if row is None else BlobRow(size_bytes=row.size_bytes, complete=row.complete == 1, puts=row.puts)


def begin(connection: Connection, digest: str, size_bytes: int) -> bool:
    """Count that a content is put, and return whether it is complete already. That another inserts its row at the same
    time is an error of the database, and none the second time."""
    from sqlalchemy import insert, select, update

    blobs = _tables().blobs
    this = blobs.c.digest == digest
    if connection.execute(update(blobs).where(this).values(puts=blobs.c.puts + 1)).rowcount:
        return bool(connection.execute(select(blobs.c.complete).where(this)).scalar_one() == 1)
    connection.execute(insert(blobs).values(digest=digest, size_bytes=size_bytes, complete=0, puts=1))
    return False


def put_chunk(connection: Connection, digest: str, nth: int, content: bytes) -> None:
    """Keep a chunk, in place of the one that is there. Errors as for :func:`begin`."""
    from sqlalchemy import insert, select, update

    chunks, this = _tables().chunks, _chunk(digest, nth)
    if connection.execute(select(chunks.c.nth).where(this)).one_or_none() is None:
        connection.execute(insert(chunks).values(digest=digest, nth=nth, bytes=content))
    else:
        connection.execute(update(chunks).where(this).values(bytes=content))


def read_chunk(connection: Connection, digest: str, nth: int) -> Any:
    """Return a chunk, or whatever is in its place; None where nothing is."""
    from sqlalchemy import select, type_coerce
    from sqlalchemy.types import NullType

    # As the driver gives it: SQLAlchemy 2.0 fails over a text in the place of bytes.
    content = type_coerce(_tables().chunks.c.bytes, NullType)
    return connection.execute(select(content).where(_chunk(digest, nth))).scalar_one_or_none()


def complete(connection: Connection, digest: str, *, chunks: int, size_bytes: int) -> bool:
    """Mark a content as complete, and return whether it is: whether so many chunks of so many bytes are there. Further
    ones, of a servefit that cuts contents otherwise, are deleted."""
    from sqlalchemy import delete, func, select, update

    tables = _tables()
    mine = tables.chunks.c.digest == digest
    # Update the row first: its lock makes this and a deletion of the content wait for each other.
    mark = update(tables.blobs).where(tables.blobs.c.digest == digest)
    if not connection.execute(mark.values(complete=1, size_bytes=size_bytes)).rowcount:
        return False
    connection.execute(delete(tables.chunks).where(mine, tables.chunks.c.nth >= chunks))
    query = select(func.count(), func.coalesce(func.sum(func.length(tables.chunks.c.bytes)), 0)).where(mine)
    count, length = connection.execute(query).one()
    if (count, length) == (chunks, size_bytes):
        return True
    connection.execute(mark.values(complete=0))
    return False


def spoil(connection: Connection, digest: str, *, puts: int) -> None:
    """Mark a content as incomplete, unless it was put again since: the next put writes all of it."""
    from sqlalchemy import update

    blobs = _tables().blobs
    connection.execute(update(blobs).where(blobs.c.digest == digest, blobs.c.puts == puts).values(complete=0))


def list_puts(connection: Connection) -> dict[str, int]:
    """Return how often every content was put, by digest."""
    from sqlalchemy import select

    blobs = _tables().blobs
    return {row.digest: row.puts for row in connection.execute(select(blobs.c.digest, blobs.c.puts))}


def remove(connection: Connection, digest: str, *, puts: int) -> bool:
    """Delete a content, unless it was put again since. Return whether it was done."""
    from sqlalchemy import delete

    tables = _tables()
    # A file checks no foreign keys, so nothing else deletes the chunks; but a server does that, before the row is gone.
    this = tables.blobs.c.digest == digest
    if not connection.execute(delete(tables.blobs).where(this, tables.blobs.c.puts == puts)).rowcount:
        return False
    connection.execute(delete(tables.chunks).where(tables.chunks.c.digest == digest))
    return True


def _chunk(digest: str, nth: int) -> ColumnElement[bool]:
    from sqlalchemy import and_

    chunks = _tables().chunks
    return and_(chunks.c.digest == digest, chunks.c.nth == nth)
