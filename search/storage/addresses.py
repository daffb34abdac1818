"""Database URLs: which database is meant, how long connecting to it may take, and what may be shown of the URL.

A password is never shown: not in the URL, and not where a driver repeats it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

from servefit.errors import SpecError, StorageError
from servefit.search.storage.locks import LOOK_S, Patience, PatientConnection
from servefit.state import state_folder, writing

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection

FILE_NAME = "jobs.db"

CONNECT_S = 5
"""A server that has accepted no connection by then counts as absent."""

_SILENCE_MS = 30_000
"""A server that acknowledges nothing for so long is gone; without a limit, TCP takes a quarter of an hour."""

SILENT_TRANSACTION_S = 10
"""A transaction in which nothing was asked for so long is ended by PostgreSQL, and its locks with it: a host may be
unplugged in the middle of one, and others would wait for what it has locked, for hours. Chosen: servefit computes
nothing in transactions."""

_POSTGRESQL = {"connect_timeout": CONNECT_S, "tcp_user_timeout": _SILENCE_MS}
_CONNECT_ARGUMENTS: Mapping[str, Mapping[str, Any]] = {
    "psycopg": _POSTGRESQL,
    "psycopg2": _POSTGRESQL,
    "mysqldb": {"connect_timeout": CONNECT_S},
    "pymysql": {"connect_timeout": CONNECT_S},
    "mysqlconnector": {"connection_timeout": CONNECT_S},
}

_DRIVER_REMEDIES = {
    "postgresql": "pip install 'servefit[postgres]'",
    "mysql": "pip install pymysql, and begin the URL with mysql+pymysql://",
}

_EXAMPLES = "write sqlite:////folder/jobs.db or postgresql://user:password@server/database"
_HIDDEN = "***"

_FULL = re.compile("too many (clients|connections)|remaining connection slots")
"""PostgreSQL's words to one connection too many. Its driver has no code for what is said before one is there."""

_MORE_CONNECTIONS = (
    "raise max_connections in the server's postgresql.conf and restart it, or end what else is connected: an agent of "
    "a fleet has 2 connections, a job up to 16"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseAddress:
    """A database. ``shown`` is its URL without secrets, ``secrets`` what a driver's messages must not repeat."""

    url: URL
    shown: str
    secrets: tuple[str, ...]

    @property
    def text(self) -> str:
        """The whole URL, password included."""
        return self.url.render_as_string(hide_password=False)

    @property
    def is_file(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    @property
    def engine_options(self) -> dict[str, Any]:
        """The arguments of ``sqlalchemy.create_engine`` besides the URL, whose own options come first."""
        from sqlalchemy.pool import NullPool

        if self.is_file:
            patient = partial(PatientConnection, patience=Patience(self.url.database or ""))
            # Opening a file costs less than the trouble of connections that outlive their thread.
            return {"poolclass": NullPool, "connect_args": {"timeout": LOOK_S, "factory": patient}}
        arguments = _CONNECT_ARGUMENTS.get(self.url.get_driver_name(), {})
        chosen = {name: value for name, value in arguments.items() if name not in self.url.query}
        return {"pool_pre_ping": True, "connect_args": chosen}

    def engine(self, **options: Any) -> Engine:
        """Return SQLAlchemy's engine for it, with these ``options`` besides."""
        from sqlalchemy import create_engine, event

        engine = create_engine(self.text, **{**self.engine_options, **options})
        if engine.dialect.name == "postgresql":
            event.listen(engine, "connect", _end_silent_transactions)
        return engine

    def scrubbed(self, text: str) -> str:
        """Return ``text`` without secrets."""
        for secret in self.secrets:
            text = text.replace(secret, _HIDDEN)
        return text

    def error(self, reason: str, *, job: str | None = None, remedy: str | None = None) -> StorageError:
        if remedy is None and _FULL.search(reason):
            remedy = _MORE_CONNECTIONS
        return StorageError(self.shown, self.scrubbed(reason), job=job, remedy=remedy)

    def refused(self, problem: str, *, remedy: str) -> SpecError:
        """Return the error for an address under which there can be no jobs."""
        return SpecError("storage", self.shown, self.scrubbed(problem), remedy=remedy)


def _end_silent_transactions(connection: DBAPIConnection, _record: object) -> None:
    """Have the server do so on a new ``connection``. Not by an option of connecting, which PgBouncer refuses."""
    cursor = connection.cursor()
    cursor.execute(f"SET idle_in_transaction_session_timeout = '{SILENT_TRANSACTION_S}s'")
    cursor.close()
    connection.commit()


def own_address() -> DatabaseAddress:
    """Return the address of the file in the state folder. Raises StateError."""
    from sqlalchemy.engine import URL

    path = state_folder() / FILE_NAME
    with writing(path):
        # Readable by its user alone, as all that servefit keeps for itself
        path.touch(mode=0o600)
    url = URL.create("sqlite", database=str(path))
    return DatabaseAddress(url=url, shown=str(path), secrets=())


def parse_address(text: str) -> DatabaseAddress:
    """Parse any URL that SQLAlchemy takes; psycopg is the driver of PostgreSQL where none is named.

    Raises SpecError for what is no such URL, for an unknown kind of database, for one whose driver is not installed,
    and for one that would be forgotten at once.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # Where the password ends cannot be told, so neither the URL nor what is said of it can be shown.
        raise SpecError("storage", _HIDDEN, "is not the URL of a database", remedy=_EXAMPLES) from None
    if "@" in (url.host or ""):
        raise SpecError("storage", _HIDDEN, "has an @ too many", remedy="an @ in a password has to be written as %40")
    address = DatabaseAddress(url=_with_driver(url), shown=_shown(url), secrets=_secrets(url))
    backend = address.url.get_backend_name()
    try:
        address.url.get_dialect().import_dbapi()
    except NoSuchModuleError:
        raise address.refused(f"names no known kind of database: {url.drivername!r}", remedy=_EXAMPLES) from None
    except ImportError as error:
        remedy = _DRIVER_REMEDIES.get(backend, "install the driver that the URL names, or name another")
        raise address.refused(f"needs a driver for {backend} that is not installed ({error})", remedy=remedy) from error
    if backend == "sqlite" and _is_in_memory(url):
        raise address.refused("names no file: it would be forgotten at once", remedy=_EXAMPLES)
    return address


def _with_driver(url: URL) -> URL:
    # SQLAlchemy's own choice differs between its versions.
    return url.set(drivername="postgresql+psycopg") if url.drivername in ("postgres", "postgresql") else url


def _shown(url: URL) -> str:
    return url.set(query={}).render_as_string(hide_password=True)


def _secrets(url: URL) -> tuple[str, ...]:
    """Return the password, and those among the options, plain and as URLs write them, longest first."""
    options = [value for name, value in url.query.items() if "pass" in name.lower()]
    plain = {
        str(url.password or ""),
        *(part for option in options for part in ((option,) if isinstance(option, str) else option)),
    }
    forms = {form for secret in plain for form in (secret, quote(secret, safe=""), quote(secret), quote_plus(secret))}
    return tuple(sorted(forms - {""}, key=lambda form: (-len(form), form)))


def _is_in_memory(url: URL) -> bool:
    return (
        url.database in (None, "", ":memory:") or ":memory:" in str(url.database) or url.query.get("mode") == "memory"
    )
