"""The clock of the database as this host sees it, which is the one that all clients of a load share.

Clocks of hosts differ. A client needs to know how its own is related to the shared one, and how well it knows that.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from servefit.profiler.record.traffic import NS_PER_S
from servefit.search.storage.tables import now

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from servefit.search.fleet.database import Transactions

ROUND_TRIPS = 16
"""Of the round trips the shortest counts: one that met no queue bounds the difference best [Cristian 1989]. Chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseClock:
    """``ahead_ns`` is how far the database's clock, in nanoseconds since 1970, is ahead of ``time.monotonic_ns`` here,
    right within ``within_ns`` to either side."""

    ahead_ns: int
    within_ns: int

    def here_ns(self, database_s: float) -> int:
        """Return a moment of the database's clock by the monotonic clock of this host."""
        return round(database_s * NS_PER_S) - self.ahead_ns

    def database_s(self, here_ns: int) -> float:
        """Return a moment of the monotonic clock of this host by the database's."""
        return (here_ns + self.ahead_ns) / NS_PER_S


def read_clock(database: Transactions) -> DatabaseClock:
    """Compare the clocks by round trips: the database told its time somewhen between two looks at the clock here.
    Raises StorageError."""

    def compare(connection: Connection) -> DatabaseClock:
        trips = []
        for _ in range(ROUND_TRIPS):
            sent_ns = time.monotonic_ns()
            there_ns = round(now(connection) * NS_PER_S)
            trips.append((time.monotonic_ns() - sent_ns, sent_ns, there_ns))
        took_ns, sent_ns, there_ns = min(trips)
        return DatabaseClock(ahead_ns=there_ns - sent_ns - took_ns // 2, within_ns=took_ns - took_ns // 2)

    return database.run(compare)
