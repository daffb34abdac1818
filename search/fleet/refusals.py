"""Tells what a database of a fleet refuses for good from what it will take later, as once it is back or has room."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from servefit.errors import StorageError

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
