"""The tables of jobs: which job there is, and its documents by key. They lie beside Optuna's, which are Optuna's alone.

Several statements make a transaction, and a write says whether it happened. What documents say is for ``records``.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from servefit.search.storage import blob_tables

if TYPE_CHECKING:
    from sqlalchemy import MetaData, Table
    from sqlalchemy.engine import Connection

Row: TypeAlias = tuple[int, str, bool, str | None, Any]
"""Number and name of a job, whether it is copied, key, text. What is in the place of the text may be anything, where it
is damaged."""

LAYOUT = 1
"""Of the tables. It is written down once the jobs of an earlier servefit are in them."""

MAX_NAME = 512
"""Letters of the name of a study in Optuna's tables, which is that of its job."""

_NOW = {
    "postgresql": "SELECT extract(epoch FROM clock_timestamp())",
    "mysql": "SELECT unix_timestamp(sysdate(6))",
    "mariadb": "SELECT unix_timestamp(sysdate(6))",
}
"""Queries for the time of a server, and not for that when the transaction began."""

_MAX_VERSION = 128
"""Letters of a version of Optuna and of its tables, each of which has a dozen."""

_MAX_KEY = 64
"""Letters. The longest key is that of a step, which has a quarter of them."""


@dataclass(frozen=True, slots=True)
class _Tables:
    metadata: MetaData
    jobs: Table
    documents: Table
    layout: Table
    checked: Table


@cache
def _tables() -> _Tables:
    from sqlalchemy import Column, ForeignKey, Integer, MetaData, String, Table, Text

    metadata = MetaData()
    jobs = Table(
        "servefit_jobs",
        metadata,
        Column("number", Integer, primary_key=True),
        Column("name", String(MAX_NAME), nullable=False, unique=True),
        # 1 while all that is kept of it was written by an earlier servefit, into the attributes of its study
        Column("copied", Integer, nullable=False),
        # A number is not given a second time.
        sqlite_autoincrement=True,
    )
    documents = Table(
        "servefit_documents",
        metadata,
        Column("job", Integer, ForeignKey(jobs.c.number, ondelete="CASCADE"), primary_key=True),
        Column("key", String(_MAX_KEY), primary_key=True),
        Column("text", Text),
    )
    layout = Table("servefit_layout", metadata, Column("number", Integer, primary_key=True, autoincrement=False))
    # The versions of Optuna that found their own tables to be compatible
    checked = Table("servefit_checked", metadata, Column("version", String(_MAX_VERSION), primary_key=True))
    return _Tables(metadata, jobs, documents, layout, checked)


def names() -> set[str]:
    """Return the names of all tables of servefit."""
    return {*_tables().metadata.tables, *blob_tables.names()}


def make(connection: Connection) -> None:
    """Make the tables that are not there, those of contents too."""
    _tables().metadata.create_all(connection)
    blob_tables.make(connection)


def layout(connection: Connection) -> int | None:
    """Return the layout that was written down, None where none was."""
    from sqlalchemy import func, select

    number: int | None = connection.execute(select(func.max(_tables().layout.c.number))).scalar_one()
    return number


def set_layout(connection: Connection) -> None:
    """Write the present layout down. That it is there already is an error of the database."""
    from sqlalchemy import insert

    connection.execute(insert(_tables().layout).values(number=LAYOUT))


def is_checked(connection: Connection, version: str) -> bool:
    """Return whether ``version`` of Optuna has found its tables to be compatible."""
    from sqlalchemy import select

    versions = _tables().checked.c.version
    return connection.execute(select(versions).where(versions == version)).first() is not None


def set_checked(connection: Connection, version: str) -> None:
    """Write down that it has, unless this role may only read, as those of agents. Two who do so at once are an error of
    the database for one of them."""
    from sqlalchemy import insert, text

    may_write = (
        connection.dialect.name != "postgresql"
        or connection.execute(text("SELECT has_table_privilege('servefit_checked', 'INSERT')")).scalar_one()
    )
    if may_write and not is_checked(connection, version):
        connection.execute(insert(_tables().checked).values(version=version))


def add_job(connection: Connection, name: str, texts: Mapping[str, str], *, copied: bool = False) -> int:
    """Keep a new job; give its number. A name that is in use is an error of the database."""
    from sqlalchemy import insert

    jobs = _tables().jobs
    query = insert(jobs).values(name=name, copied=int(copied)).returning(jobs.c.number)
    number: int = connection.execute(query).scalar_one()
    add(connection, number, texts)
    return number


def replace_copy(connection: Connection, job: int, texts: Mapping[str, str]) -> None:
    """Keep ``texts``, and nothing else, of a job that is copied, if it still is."""
    from sqlalchemy import delete, select

    tables = _tables()
    if connection.execute(select(tables.jobs.c.copied).where(tables.jobs.c.number == job)).scalar_one_or_none() == 1:
        connection.execute(delete(tables.documents).where(tables.documents.c.job == job))
        add(connection, job, texts)


def own(connection: Connection, job: int) -> None:
    """Mark a job as one that is not copied any more."""
    from sqlalchemy import update

    jobs = _tables().jobs
    connection.execute(update(jobs).where(jobs.c.number == job).values(copied=0))


def now(connection: Connection) -> float:
    """Return the seconds since 1970 by the clock that all who use the database share: that of its server. A file has
    none, and is used on one machine."""
    from sqlalchemy import text

    query = _NOW.get(connection.dialect.name)
    return time.time() if query is None else float(connection.execute(text(query)).scalar_one())


def rows_of_all(
    connection: Connection, keys: Iterable[str], *, name: str | None = None, copied: bool | None = None
) -> list[Row]:
    """Return what every job, or the one called ``name``, or those that are copied or are not, keeps under ``keys``; the
    newest job first. A job that keeps nothing under them has one row, whose key and text are None: it is damaged."""
    from sqlalchemy import and_, select

    jobs, documents = _tables().jobs, _tables().documents
    query = (
        select(jobs.c.number, jobs.c.name, jobs.c.copied, documents.c.key, documents.c.text)
        .outerjoin_from(jobs, documents, and_(jobs.c.number == documents.c.job, documents.c.key.in_(list(keys))))
        .order_by(jobs.c.number.desc())
    )
    if name is not None:
        query = query.where(jobs.c.name == name)
    if copied is not None:
        query = query.where(jobs.c.copied == int(copied))
    return [(number, _name(job), kept == 1, key, text) for number, job, kept, key, text in connection.execute(query)]


def is_left_out(connection: Connection, attribute: str) -> bool:
    """Return whether there is a study of Optuna's with this user attribute that is no job here. Optuna would list all
    studies for that, and has to be loaded."""
    from sqlalchemy import column, exists, select, table

    studies = table("studies", column("study_id"), column("study_name"))
    attributes = table("study_user_attributes", column("study_id"), column("key"))
    names = select(_tables().jobs.c.name)
    of_study = attributes.c.study_id == studies.c.study_id
    left_out = exists().where(of_study, attributes.c.key == attribute, studies.c.study_name.not_in(names))
    return bool(connection.execute(select(left_out)).scalar_one())


def _name(job: Any) -> str:
    """Return the name of a job as it may be shown: it may be damaged too."""
    return str(job).encode(errors="backslashreplace").decode()


def read(connection: Connection, job: int, key: str) -> Any:
    """Return the text, or whatever is in its place; None where nothing is kept under ``key``."""
    from sqlalchemy import select

    documents = _tables().documents
    query = select(documents.c.text).where(documents.c.job == job, documents.c.key == key)
    return connection.execute(query).scalar_one_or_none()


def read_all(connection: Connection, job: int, prefix: str) -> dict[str, Any]:
    """Return what is kept under keys that begin with ``prefix``."""
    from sqlalchemy import select

    documents = _tables().documents
    query = select(documents.c.key, documents.c.text).where(
        documents.c.job == job, documents.c.key.startswith(prefix, autoescape=True)
    )
    return {row.key: row.text for row in connection.execute(query)}


def last_key(connection: Connection, job: int, prefix: str) -> str | None:
    """Return the highest key, by length and then by letter, of those that begin with ``prefix``."""
    from sqlalchemy import func, select

    documents = _tables().documents
    key = documents.c.key
    query = (
        select(key)
        .where(documents.c.job == job, key.startswith(prefix, autoescape=True))
        .order_by(func.length(key).desc(), key.desc())
        .limit(1)
    )
    last: str | None = connection.execute(query).scalar_one_or_none()
    return last


def add(connection: Connection, job: int, texts: Mapping[str, str]) -> None:
    """Keep ``texts`` under new keys. One that exists is an error of the database."""
    from sqlalchemy import insert

    rows = [{"job": job, "key": key, "text": text} for key, text in texts.items()]
    connection.execute(insert(_tables().documents), rows)


def replace(
    connection: Connection, job: int, key: str, text: str, *, seen: str | None = None, containing: str | None = None
) -> bool:
    """Put ``text`` in the place of what is kept under ``key``, only if that is still ``seen``, or has ``containing`` in
    it, where they are given. Return whether it was done."""
    from sqlalchemy import update

    documents = _tables().documents
    statement = update(documents).where(documents.c.job == job, documents.c.key == key)
    if seen is not None:
        statement = statement.where(documents.c.text == seen)
    if containing is not None:
        statement = statement.where(documents.c.text.contains(containing, autoescape=True))
    return bool(connection.execute(statement.values(text=text)).rowcount)
