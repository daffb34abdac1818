"""Waits for an SQLite file that another process keeps to itself, and says at once which process that is.

SQLite's own patience is silent. Here a statement that finds the file locked is tried again, up to a limit, with a
warning that names the process that holds the file, as far as Linux tells: by its list of locks, or by open files.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

from servefit.processes import all_processes
from servefit.quantities import span_text

LOCKED_S = 30.0
"""The time for which a statement waits for others to leave the file. Each is there for milliseconds."""

LOOK_S = 0.5
"""SQLite's own patience, after which the caller warns, or tries again."""

AFTERWARDS_S = 1.0
"""Once it was in vain to wait, so long: whatever follows would wait as long for nothing."""

_log = logging.getLogger(__name__)

_T = TypeVar("_T")


class FileLocked(sqlite3.OperationalError):
    """The file was locked for too long; the message says by whom."""


class Patience:
    """The time that statements on the file at ``path`` wait for it, by the clock ``now``."""

    def __init__(self, path: str, *, now: Callable[[], float] = time.monotonic) -> None:
        self._path = Path(path)
        self._now = now
        self._limit_s = LOCKED_S

    def with_it(self, statement: Callable[[], _T]) -> _T:
        """Return the result of ``statement``, as soon as the file is free. Raises FileLocked."""
        began_s, warned = self._now(), False
        while True:
            tried_s = self._now()
            try:
                return statement()
            except sqlite3.OperationalError as error:
                now_s = self._now()
                # What SQLite does not wait for is a deadlock, which only the end of the transaction resolves.
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or now_s - tried_s < LOOK_S / 2:
                    raise
                if now_s - began_s >= self._limit_s:
                    holder = holder_of(self._path)
                    self._limit_s = AFTERWARDS_S
                    raise FileLocked(f"it is locked by {holder}, and was for {span_text(now_s - began_s)}") from error
                if not warned:
                    warned, holder = True, holder_of(self._path)
                    _log.warning("%s is locked by %s: waiting for it, %g s at most", self._path, holder, self._limit_s)
            except UnicodeError as error:
                # Not even what SQLite says of the file can be read.
                raise sqlite3.DatabaseError(f"it is damaged: {error}") from error

    def restore(self) -> None:
        """Wait as long as at first again. Called when something was written: what may only be read is not free."""
        self._limit_s = LOCKED_S


class _Cursor(sqlite3.Cursor):
    connection: PatientConnection

    def execute(self, sql: str, parameters: Any = (), /) -> Self:
        return self.connection.patience.with_it(partial(super().execute, sql, parameters))

    def executemany(self, sql: str, parameters: Any, /) -> Self:
        return self.connection.patience.with_it(partial(super().executemany, sql, parameters))


class PatientConnection(sqlite3.Connection):
    """A connection whose statements have ``patience``. Bytes that are no UTF-8 are surrogates in what it reads."""

    def __init__(self, *arguments: Any, patience: Patience, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.patience = patience
        # SQLite fails a whole query for one text that is no UTF-8. The reader of such a text reports it.
        self.text_factory = lambda raw: raw.decode(errors="surrogateescape")

    def cursor(self, factory: Any = _Cursor) -> Any:
        return super().cursor(factory)

    def commit(self) -> None:
        writes = self.in_transaction
        self.patience.with_it(super().commit)
        if writes:
            self.patience.restore()


def holder_of(path: Path) -> str:
    """Return the process that holds a lock on the file at ``path``, or else has it open, besides this one: "process
    1234 (python3)"."""
    with suppress(OSError):
        status = path.stat()
        others = {pid for pid in _locking(status) if pid != os.getpid()}
        open_by = {pid for pid in others or all_processes() if pid != os.getpid() and _has_open(pid, status)}
        if holders := sorted(open_by or others):
            return f"process{'es' if len(holders) > 1 else ''} {', '.join(map(_called, holders))}"
    return "another process"


def _locking(status: os.stat_result) -> Iterator[int]:
    """Yield processes with a lock on the file, by inode: the device in /proc/locks is not always that of stat."""
    for line in Path("/proc/locks").read_text().splitlines():
        # 1: POSIX  ADVISORY  WRITE 1234 fe:00:5678 0 EOF, and with -> where a process waits
        fields = line.split()
        if "->" not in fields and len(fields) >= 6 and fields[5].rpartition(":")[2] == str(status.st_ino):
            pid = int(fields[4])
            if pid > 0:
                yield pid


def _has_open(pid: int, status: os.stat_result) -> bool:
    """Return whether a process has the file open, as far as this user may see."""
    with suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                if os.path.samestat(descriptor.stat(), status):
                    return True
    return False


def _called(pid: int) -> str:
    with suppress(OSError):
        return f"{pid} ({Path(f'/proc/{pid}/comm').read_text().strip()})"
    return str(pid)
