"""Waits for a database server that was there and has gone, as one that is restarted, and says so.

A statement that was under way when the database went may or may not have taken effect. So code that repeats one checks
first whether it has.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from servefit.search.storage.interrupts import Interrupts

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine
    from sqlalchemy.exc import DBAPIError

    from servefit.search.storage.addresses import DatabaseAddress

PATIENCE_S = 300.0
"""The time for which a job waits for its database. Restarting one takes seconds, a failover a minute or two."""

PAUSE_S = 0.5
"""Between two attempts to connect."""

_ATTEMPTS = 20
"""So often something is begun again whose connection broke."""

_PREPARED_FOR_ANOTHER = "0A000"
"""PostgreSQL's code for a statement that it prepared for a table of that name which was dropped since. It is prepared
again after that. Whatever else it says this to fails as often as it is tried."""

_log = logging.getLogger(__name__)

_T = TypeVar("_T")


class Outages:
    """Those of the database at ``address``, each of which is waited out for ``patience_s`` at most; 0: not at all.

    After a wait in vain no thread waits again until there has been a connection. Threads wait together.
    """

    def __init__(self, address: DatabaseAddress, patience_s: float) -> None:
        self._address = address
        self._patience_s = patience_s
        self._left_s = patience_s
        self._lock = threading.Lock()
        self._waited_s = 0.0
        self._since_s: float | None = None
        self.interrupts = Interrupts()

    @property
    def waited_s(self) -> float:
        """The seconds that threads have waited so far, by the clock on the wall."""
        since_s = self._since_s
        return self._waited_s + (0.0 if since_s is None else time.monotonic() - since_s)

    @property
    def are_waited_out(self) -> bool:
        """Return whether outages are waited out at all."""
        return self._patience_s > 0

    def watch(self, engine: Engine) -> None:
        """Have new connections of ``engine`` wait for the server."""
        from sqlalchemy import event

        if self.are_waited_out:
            event.listen(engine, "do_connect", self._connect)

    def repeated(self, statements: Callable[[], _T], done: Callable[[], _T | None] = lambda: None) -> _T:
        """Return the result of ``statements``. They are begun again where their connection breaks, unless ``done``
        gives by then what they would have given. The next connection waits for the server. Ctrl-C counts once they are
        through."""
        with self.interrupts.held():
            return self._repeated(statements, done)

    def _repeated(self, statements: Callable[[], _T], done: Callable[[], _T | None]) -> _T:
        from sqlalchemy.exc import DBAPIError

        for attempt in range(1, _ATTEMPTS + 1):
            try:
                if attempt > 1 and (result := done()) is not None:
                    return result
                return statements()
            except database_errors() as error:
                broken = error if isinstance(error, DBAPIError) else error.__cause__
                lost = isinstance(broken, DBAPIError) and (broken.connection_invalidated or _was_replaced(broken))
                if not lost or not self._left_s or attempt == _ATTEMPTS:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _connect(self, dialect: Any, _record: Any, arguments: Any, options: Any) -> Any:
        failure: type[Exception] = dialect.loaded_dbapi.Error
        try:
            return dialect.connect(*arguments, **options)
        except failure:
            if not self._left_s:
                raise
        with self._lock:
            return self._wait(partial(dialect.connect, *arguments, **options), failure)

    def _say_that_it_is_gone(self, error: Exception) -> None:
        reason = " ".join(self._address.scrubbed(str(error)).split())
        minutes = self._left_s / 60
        _log.warning("%s is gone: waiting for it, %.0f min at most: %s", self._address.shown, minutes, reason)

    def _wait(self, connect: Callable[[], Any], failure: type[Exception]) -> Any:
        began_s, warned = time.monotonic(), False
        self._since_s = began_s
        try:
            while True:
                try:
                    connection = connect()
                except failure as error:
                    if time.monotonic() - began_s >= self._left_s:
                        self._left_s = 0.0
                        raise
                    if not warned:
                        warned = True
                        self._say_that_it_is_gone(error)
                    self.interrupts.let_through()
                    time.sleep(PAUSE_S)
                else:
                    self._left_s = self._patience_s
                    if warned:
                        _log.warning("%s is back after %.0f s", self._address.shown, time.monotonic() - began_s)
                    return connection
        finally:
            self._waited_s += time.monotonic() - began_s
            self._since_s = None


def database_errors() -> tuple[type[Exception], ...]:
    """Return what SQLAlchemy raises, and Optuna where it is loaded, which takes a while."""
    from sqlalchemy.exc import SQLAlchemyError

    # Another thread may be about to load it.
    internal = getattr(sys.modules.get("optuna.exceptions"), "StorageInternalError", None)
    return (SQLAlchemyError,) if internal is None else (SQLAlchemyError, internal)


def _was_replaced(error: DBAPIError) -> bool:
    """Return whether a table is another one than when its connection last used it: a backup was restored."""
    return getattr(error.orig, "sqlstate", None) == _PREPARED_FOR_ANOTHER
