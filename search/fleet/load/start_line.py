"""The start line of a client: it says that it is ready, and waits to be told when to begin."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from servefit.errors import MeasurementError, StorageError
from servefit.profiler.record.traffic import NS_PER_S
from servefit.quantities import span_text
from servefit.search.fleet.load.database_clock import read_clock
from servefit.search.fleet.load.starts import Starts

if TYPE_CHECKING:
    from servefit.search.fleet.database import Transactions
    from servefit.search.fleet.load.database_clock import DatabaseClock

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
