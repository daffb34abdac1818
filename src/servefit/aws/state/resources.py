"""Resources, such as models and endpoints: documents by kind and name, in a file of SQLite.

Each change is one transaction: killing the server loses none that was answered. What a document means is for the
services.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from servefit.errors import StateError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS resource (
    kind TEXT NOT NULL, name TEXT NOT NULL, created REAL NOT NULL, modified REAL NOT NULL, document BLOB NOT NULL,
    PRIMARY KEY (kind, name)
)
"""

_ADD = "INSERT INTO resource (kind, name, created, modified, document) VALUES (?, ?, ?, ?, ?)"
_PUT = "REPLACE INTO resource (kind, name, created, modified, document) VALUES (?, ?, ?, ?, ?)"
_GET = "SELECT kind, name, created, modified, document FROM resource WHERE kind = ? AND name = ?"
_TAKEN = "SELECT 1 FROM resource WHERE kind = ? AND name = ? COLLATE NOCASE"
_ALL = "SELECT kind, name, created, modified, document FROM resource WHERE kind = ? ORDER BY created, name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A document, and when it was made and last changed, in seconds since 1970. Times in documents are such seconds
    too."""

    kind: str
    name: str
    created: float
    modified: float
    document: Mapping[str, Any]


class Taken(Exception):
    """There is a resource of that kind and name already."""


class Missing(Exception):
    """There is no resource of that kind and name."""


class Resources:
    """The resources of one server. All methods may be called by several threads.

    Raises StateError where the file cannot be opened, or written.

    Example:
        >>> import tempfile, pathlib
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     resources = Resources(pathlib.Path(folder) / "resources.db")
        ...     made = resources.add("model", "fraud", {"image": "none"})
        ...     names = [each.name for each in resources.all("model")]
        ...     resources.close()
        >>> names
        ['fraud']
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        with self._reporting():
            # It holds the variables of models, which may be secrets.
            path.touch(mode=0o600)
            self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10.0)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.execute(_SCHEMA)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def add(self, kind: str, name: str, document: Mapping[str, Any], *, ignores_case: bool = False) -> Resource:
        """Keep a new resource. Raises Taken; where the kind ``ignores_case`` also for a name that :meth:`is_taken`:
        the ARN of such a kind has its name in lower case, and two resources are not to share one."""
        now = time.time()
        made = Resource(kind=kind, name=name, created=now, modified=now, document=document)
        try:
            with self._transaction() as connection:
                if ignores_case and self.is_taken(kind, name):
                    raise Taken
                connection.execute(_ADD, _row(made))
        except sqlite3.IntegrityError as error:
            raise Taken from error
        return made

    def is_taken(self, kind: str, name: str) -> bool:
        """Return whether there is a resource of that name, in upper or lower case."""
        with self._transaction() as connection:
            return connection.execute(_TAKEN, (kind, name)).fetchone() is not None

    def get(self, kind: str, name: str) -> Resource:
        """Return a resource. Raises Missing."""
        with self._transaction() as connection:
            row = connection.execute(_GET, (kind, name)).fetchone()
        if row is None:
            raise Missing
        return _resource(row)

    def all(self, kind: str) -> tuple[Resource, ...]:
        """Return all resources of a kind, the newest last."""
        with self._transaction() as connection:
            rows = connection.execute(_ALL, (kind,)).fetchall()
        return tuple(map(_resource, rows))

    def change(self, kind: str, name: str, how: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> Resource:
        """Put what ``how`` makes of a document in its place, in one transaction, and return it. Raises Missing."""
        with self._transaction():
            before = self.get(kind, name)
            after = replace(before, document=how(before.document), modified=time.time())
            self._connection.execute(_PUT, _row(after))
        return after

    def put(self, kind: str, name: str, how: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> Resource:
        """Do as :meth:`change`, with an empty document where there is none."""
        with self._transaction():
            try:
                return self.change(kind, name, how)
            except Missing:
                return self.add(kind, name, how({}))

    def remove(self, kind: str, name: str) -> None:
        """Forget a resource. Raises Missing."""
        with self._transaction() as connection:
            gone = connection.execute("DELETE FROM resource WHERE kind = ? AND name = ?", (kind, name)).rowcount
        if not gone:
            raise Missing

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Give the connection, in a transaction that ends with the outermost block."""
        with self._lock, self._reporting():
            if self._connection.in_transaction:
                yield self._connection
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.commit()
            except BaseException:
                self._connection.rollback()
                raise

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise StateError(self._path, str(error)) from error


def _row(resource: Resource) -> tuple[Any, ...]:
    content = msgspec.json.encode(resource.document)
    return resource.kind, resource.name, resource.created, resource.modified, content


def _resource(row: tuple[Any, ...]) -> Resource:
    kind, name, created, modified, content = row
    return Resource(kind=kind, name=name, created=created, modified=modified, document=msgspec.json.decode(content))
