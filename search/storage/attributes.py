"""Texts by key, kept with a study: Optuna's table of the user attributes of studies, and the statements on it.

Optuna's own functions write one attribute in a transaction, and drop a write without a word when two processes add the
same key at once. Here several statements make a transaction, and a write says whether it happened.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection
    from sqlalchemy.sql.expression import TableClause

Row: TypeAlias = tuple[int, str, str, Any]
"""Number and name of a study, key, text. What is in the place of the text may be anything, where it is damaged."""


@cache
def _tables() -> tuple[TableClause, TableClause]:
    from sqlalchemy import column, table

    return (
        table("studies", column("study_id"), column("study_name")),
        table("study_user_attributes", column("study_id"), column("key"), column("value_json")),
    )


def rows_of_all(connection: Connection, keys: Iterable[str], *, name: str | None = None) -> list[Row]:
    """What every study, or the one called ``name``, keeps under ``keys``; the newest study first."""
    from sqlalchemy import select

    studies, attributes = _tables()
    query = (
        select(studies.c.study_id, studies.c.study_name, attributes.c.key, attributes.c.value_json)
        .join_from(studies, attributes, studies.c.study_id == attributes.c.study_id)
        .where(attributes.c.key.in_(list(keys)))
        .order_by(studies.c.study_id.desc())
    )
    if name is not None:
        query = query.where(studies.c.study_name == name)
    return [(number, _name(study), key, text) for number, study, key, text in connection.execute(query)]


def _name(study: Any) -> str:
    """The name of a study as it may be shown: it may be damaged too."""
    return str(study).encode(errors="backslashreplace").decode()


def read(connection: Connection, study: int, key: str) -> Any:
    """The text, or whatever is in its place; None where nothing is kept under ``key``."""
    from sqlalchemy import select

    _, attributes = _tables()
    query = select(attributes.c.value_json).where(attributes.c.study_id == study, attributes.c.key == key)
    return connection.execute(query).scalar_one_or_none()


def read_all(connection: Connection, study: int, prefix: str) -> dict[str, Any]:
    """What is kept under keys that begin with ``prefix``."""
    from sqlalchemy import select

    _, attributes = _tables()
    query = select(attributes.c.key, attributes.c.value_json).where(
        attributes.c.study_id == study, attributes.c.key.startswith(prefix, autoescape=True)
    )
    return {row.key: row.value_json for row in connection.execute(query)}


def last_key(connection: Connection, study: int, prefix: str) -> str | None:
    """The highest key, by length and then by letter, of those that begin with ``prefix``."""
    from sqlalchemy import func, select

    _, attributes = _tables()
    key = attributes.c.key
    query = (
        select(key)
        .where(attributes.c.study_id == study, key.startswith(prefix, autoescape=True))
        .order_by(func.length(key).desc(), key.desc())
        .limit(1)
    )
    last: str | None = connection.execute(query).scalar_one_or_none()
    return last


def add(connection: Connection, study: int, texts: Mapping[str, str]) -> None:
    """Keep ``texts`` under new keys. One that exists is an error of the database."""
    from sqlalchemy import insert

    _, attributes = _tables()
    rows = [{"study_id": study, "key": key, "value_json": text} for key, text in texts.items()]
    connection.execute(insert(attributes), rows)


def replace(
    connection: Connection, study: int, key: str, text: str, *, seen: str | None = None, containing: str | None = None
) -> bool:
    """Put ``text`` in the place of what is kept under ``key``, only if that is still ``seen``, or has ``containing`` in
    it, where they are given. Whether it was done."""
    from sqlalchemy import update

    _, attributes = _tables()
    statement = update(attributes).where(attributes.c.study_id == study, attributes.c.key == key)
    if seen is not None:
        statement = statement.where(attributes.c.value_json == seen)
    if containing is not None:
        statement = statement.where(attributes.c.value_json.contains(containing, autoescape=True))
    return bool(connection.execute(statement.values(value_json=text)).rowcount)
