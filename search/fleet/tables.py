"""The tables of a fleet, beside those of jobs in the same database: its agents, and the orders that they are given.

``servefit fleet init`` makes them, and opening the database does not: a role that may measure need not be one that may
make tables. What is in their texts is for ``registry`` and ``orders``. The queue has tables of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from servefit.search.fleet.host import USUAL, Leases

if TYPE_CHECKING:
    from sqlalchemy import MetaData, Table
    from sqlalchemy.engine import Connection

SCHEMA = 1
"""Of the tables and of what is in them. Agents and jobs of another one have nothing to do with each other."""

OPEN, ANSWERED = "OPEN", "ANSWERED"
"""The states of an order that is not over, and of one that was answered in time."""

_MAX_NAME = 63
"""Letters of the name of a host."""

_TOKEN = 64


@dataclass(frozen=True, slots=True)
class FleetTables:
    """The tables as SQLAlchemy knows them."""

    metadata: MetaData
    fleet: Table
    agents: Table
    orders: Table
    starts: Table


@cache
def fleet_tables() -> FleetTables:
    """Return the tables."""
    from sqlalchemy import Column, Float, Integer, MetaData, String, Table, Text

    metadata = MetaData()
    fleet = Table(
        "servefit_fleet",
        metadata,
        Column("schema", Integer, primary_key=True, autoincrement=False),
        Column("silent_s", Float, nullable=False),
        Column("lost_s", Float, nullable=False),
    )
    agents = Table(
        "servefit_agents",
        metadata,
        Column("name", String(_MAX_NAME), primary_key=True),
        # The last process that had the name, dead or alive
        Column("token", String(_TOKEN), nullable=False),
        Column("owner", Text, nullable=False),
        Column("renewed_at", Float, nullable=False),
        Column("document", Text, nullable=False),
        Column("doing", Text),
        Column("drained", Integer, nullable=False),
    )
    orders = Table(
        "servefit_orders",
        metadata,
        Column("token", String(_TOKEN), primary_key=True),
        Column("host", String(_MAX_NAME), nullable=False, index=True),
        Column("job", String(_MAX_NAME), nullable=False),
        # OPEN, ANSWERED, or why it was given up
        Column("state", String(_TOKEN), nullable=False),
        Column("document", Text, nullable=False),
        Column("agent", String(_TOKEN)),
        Column("given_at", Float, nullable=False),
        Column("began_at", Float),
        Column("answer", Text),
        # Answers that came after the order was given up
        Column("late", Text),
    )
    # The orders that begin together
    starts = Table(
        "servefit_starts",
        metadata,
        Column("token", String(_TOKEN), primary_key=True),
        Column("ready_at", Float, nullable=False),
        Column("start_at", Float),
    )
    return FleetTables(metadata, fleet, agents, orders, starts)


def make(connection: Connection, leases: Leases | None = None) -> None:
    """Make the tables that are not there, and write down their schema and the ``leases`` of the fleet: None leaves
    those that it has, or gives it the usual ones."""
    from sqlalchemy import insert, update

    tables = fleet_tables()
    tables.metadata.create_all(connection)
    if schema(connection) is None:
        kept = leases or USUAL
        values = {"schema": SCHEMA, "silent_s": kept.silent_s, "lost_s": kept.lost_s}
        connection.execute(insert(tables.fleet).values(**values))
    elif leases is not None:
        connection.execute(update(tables.fleet).values(silent_s=leases.silent_s, lost_s=leases.lost_s))


def leases(connection: Connection) -> Leases:
    """Return the leases of the fleet."""
    from sqlalchemy import select

    fleet = fleet_tables().fleet
    row = connection.execute(select(fleet.c.silent_s, fleet.c.lost_s).where(fleet.c.schema == SCHEMA)).one()
    return Leases(silent_s=row.silent_s, lost_s=row.lost_s)


def schema(connection: Connection) -> int | None:
    """Return the schema of the tables, None where there are none."""
    from sqlalchemy import func, inspect, select

    tables = fleet_tables()
    if not inspect(connection).has_table(tables.fleet.name):
        return None
    number: int | None = connection.execute(select(func.max(tables.fleet.c.schema))).scalar_one()
    return number
