"""The database of a fleet as its agents see it: no more of SQLAlchemy than they need, and nothing of Optuna.

Jobs see the same database through ``search.storage``. Whatever goes wrong with it is a StorageError.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol, TypeVar

from servefit.errors import SpecError, StorageError
from servefit.search.fleet import tables
from servefit.search.storage.addresses import parse_address

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from servefit.search.fleet.host import Leases
    from servefit.search.storage.addresses import DatabaseAddress


_FOR_GOOD = ("22", "23", "44", "54", "P0001")
"""Classes of SQLSTATE, and one of them (PostgreSQL, appendix A): invalid data, a constraint or the check of a view that
is not met, what exceeds a limit of the server, and what a trigger objects to. All others are about the server, the
connection, the room that is left, or what the role may do, which somebody may mend."""

_DISK_FULL = "53100"


def refused_for_good(error: StorageError) -> bool:
    """Return whether the database would refuse the same again whenever it is asked."""
    from psycopg import DataError

    cause = _driver_error(error)
    state = getattr(cause, "sqlstate", None)
    # Without one, the driver could not even say it.
    return isinstance(cause, DataError) if state is None else str(state).startswith(_FOR_GOOD)


def awaited(error: StorageError) -> str:
    """Return what has to happen before the database takes what it refuses now, in a few words: a database without room
    takes no more."""
    is_full = getattr(_driver_error(error), "sqlstate", None) == _DISK_FULL
    return "room in the database" if is_full else "the database to take an answer"


def _driver_error(error: StorageError) -> BaseException | None:
    from sqlalchemy.exc import DBAPIError

    return error.__cause__.orig if isinstance(error.__cause__, DBAPIError) else None


_T = TypeVar("_T")

_INIT = "make the tables of a fleet there: servefit fleet init --storage URL"


class Transactions(Protocol):
    """Whatever runs statements in a transaction, and gives their result: an agent's database or a job's."""

    def run(self, statements: Callable[[Connection], _T]) -> _T:
        """Run ``statements``. Raises StorageError."""
        ...


class FleetDatabase:
    """An open database of a fleet, to be closed, by one connection: threads take turns. It does not wait for a server
    that is gone: an agent has other things to do meanwhile."""

    def __init__(self, address: DatabaseAddress) -> None:
        self.address = address
        self._engine = address.engine(pool_size=1, max_overflow=0)

    def run(self, statements: Callable[[Connection], _T]) -> _T:
        """Return the result of ``statements`` in a transaction. Raises StorageError."""
        from sqlalchemy.exc import SQLAlchemyError

        try:
            with self._engine.begin() as connection:
                return statements(connection)
        except SQLAlchemyError as error:
            raise self.address.error(str(error.__cause__ or error)) from error

    def close(self) -> None:
        """Close its connections."""
        self._engine.dispose()


def fleet_address(url: str | None) -> DatabaseAddress:
    """Return the address of a database that can hold a fleet. Raises SpecError for one that cannot, or for none, and
    where the packages of fleets are not installed."""
    if url is None:
        raise SpecError(
            "storage",
            None,
            "is needed: hosts find each other in a database that all of them reach",
            remedy="give --storage postgresql://user@server/database, or set SERVEFIT_STORAGE",
        )
    if missing := [name for name in ("psycopg", "procrastinate") if find_spec(name) is None]:
        raise SpecError(
            "fleet",
            None,
            f"needs packages that are not installed: {', '.join(missing)}",
            remedy="pip install 'servefit[fleet]'",
        )
    address = parse_address(url)
    if address.url.get_backend_name() != "postgresql":
        raise address.refused(
            "cannot hold a fleet: its queue is in PostgreSQL", remedy="give a URL that begins with postgresql://"
        )
    return address


def fleet_leases(database: Transactions, address: DatabaseAddress) -> Leases:
    """Return the leases of the fleet in ``database``. Raises StorageError where there is none, or one of a servefit
    that this one does not know."""
    schema = database.run(tables.schema)
    if schema is None:
        raise address.error("it has no fleet", remedy=_INIT)
    if schema != tables.SCHEMA:
        newer = schema > tables.SCHEMA
        raise StorageError(
            address.shown,
            f"its fleet is of schema {schema}, and this servefit knows {tables.SCHEMA}",
            remedy="update servefit on this host"
            if newer
            else "update servefit on the hosts that use it, and " + _INIT,
        )
    return database.run(tables.leases)
