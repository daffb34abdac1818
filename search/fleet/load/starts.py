"""The common start of the clients of a load: each says that it is ready, and is told when to begin.

Both are a row in the database, by the token of the client's order, so that neither is lost with a connection. Moments
are by the clock of the database.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from servefit.search.fleet.tables import fleet_tables
from servefit.search.storage.tables import now

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from servefit.search.fleet.database import Transactions


class Starts:
    """The starts in ``database``. Methods raise StorageError, and may be repeated after one."""

    def __init__(self, database: Transactions) -> None:
        self._database = database

    def say_ready(self, token: str) -> None:
        """Say that the client with that order could begin."""

        def say(connection: Connection) -> None:
            from sqlalchemy import insert, select

            starts = fleet_tables().starts
            if connection.execute(select(starts.c.token).where(starts.c.token == token)).one_or_none() is None:
                connection.execute(insert(starts).values(token=token, ready_at=now(connection)))

        self._database.run(say)

    def ready(self, tokens: Iterable[str]) -> frozenset[str]:
        """Return those of the clients that are ready."""
        tokens = list(tokens)

        def read(connection: Connection) -> frozenset[str]:
            from sqlalchemy import select

            starts = fleet_tables().starts
            return frozenset(connection.execute(select(starts.c.token).where(starts.c.token.in_(tokens))).scalars())

        return self._database.run(read)

    def name_start(self, tokens: Iterable[str], *, lead_s: float) -> float:
        """Have all of the clients, which are ready, begin in ``lead_s``, and return when that is. A start that was
        named stays."""
        tokens = list(tokens)

        def name(connection: Connection) -> float:
            from sqlalchemy import select, update

            starts = fleet_tables().starts
            unnamed = update(starts).where(starts.c.token.in_(tokens), starts.c.start_at.is_(None))
            connection.execute(unnamed.values(start_at=now(connection) + lead_s))
            named = select(starts.c.start_at).where(starts.c.token.in_(tokens)).limit(1)
            start_s: float = connection.execute(named).scalar_one()
            return start_s

        return self._database.run(name)

    def start_of(self, token: str) -> float | None:
        """Return when the client is to begin, None where that is not named yet."""

        def read(connection: Connection) -> float | None:
            from sqlalchemy import select

            starts = fleet_tables().starts
            return connection.execute(select(starts.c.start_at).where(starts.c.token == token)).scalar_one_or_none()

        return self._database.run(read)

    def forget(self, tokens: Iterable[str]) -> None:
        """Delete the rows of a load that is over."""
        tokens = list(tokens)

        def delete_them(connection: Connection) -> None:
            from sqlalchemy import delete

            starts = fleet_tables().starts
            connection.execute(delete(starts).where(starts.c.token.in_(tokens)))

        self._database.run(delete_them)
