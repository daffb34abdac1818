"""The start line of a client: it says that it is ready, and waits to be told when to begin. The time is by the clock of
the database, which all clients of a load share.

Clocks of hosts differ. A client needs to know how its own is related to the shared one, and how well it knows that.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from servefit.errors import MeasurementError, StorageError
from servefit.profiler.record.traffic import NS_PER_S
from servefit.quantities import span_text
from servefit.search.fleet.load.starts import Starts
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


LOOK_S = 0.1
"""Between two looks for the start: twenty within the lead, so that most of it may be lost with a cable. Chosen."""

_MIN_LEAD_NS = 50_000_000
"""For the start to reach the processes that send. Chosen: more than a run on one host leaves for that."""


class StartLine:
    """The start line of the client whose order has ``token``. ``clock`` is there once it was passed."""

    clock: DatabaseClock

    def __init__(self, database: Transactions, token: str, *, within_s: float) -> None:
        self._database = database
        self._starts = Starts(database)
        self._token = token
        self._within_s = within_s

    def wait(self) -> int:
        """Say that this client is ready, and return when it is to begin, by the monotonic clock of this host.

        A database that cannot be reached is waited for. Raises MeasurementError where no start is heard of in time, or
        only when it is over.
        """
        until_s = time.monotonic() + self._within_s
        start_s: float | None = None
        is_ready = False
        while start_s is None:
            with suppress(StorageError):
                if not is_ready:
                    self.clock = read_clock(self._database)
                    self._starts.say_ready(self._token)
                    is_ready = True
                start_s = self._starts.start_of(self._token)
            if start_s is None:
                if time.monotonic() > until_s:
                    raise MeasurementError(f"it heard of no start within {span_text(self._within_s)}")
                time.sleep(LOOK_S)
        start_ns = self.clock.here_ns(start_s)
        early_ns = start_ns - time.monotonic_ns()
        if early_ns < _MIN_LEAD_NS:
            late = f"{-early_ns / NS_PER_S:.1f} s late" if early_ns < 0 else "too late"
            raise MeasurementError(
                f"it heard of the start {late}", remedy="see how this host reaches the database of the fleet"
            )
        return start_ns
