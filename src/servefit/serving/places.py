"""Who may stay when more clients connect than a worker serves.

At the limit the connection that has been idle for longest makes place for the new one. While none is idle, new ones
get one of a few spare places, where only health checks and /metrics are answered: those must not fail because many
clients came. How requests are read there and answered is the business of ``connection``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from servefit.serving.connection import Connection

SPARE_PLACES = 32

_PAUSE_S = 20e-6
"""After a search for idle connections there is none for so long a connection, some fifty times what looking at one
takes: clients that come and go must not keep a worker searching."""


class Places:
    """The open connections of a worker, of which ``most`` may send any request. ``time`` is the clock that their times
    are of, in seconds."""

    def __init__(self, most: int, time: Callable[[], float]) -> None:
        self._most = most
        self._time = time
        self._served: dict[Connection, None] = {}
        self._spare: dict[Connection, None] = {}
        self._idle: list[tuple[float, Connection]] = []
        self._search_from_s = 0.0

    def __len__(self) -> int:
        return len(self._served) + len(self._spare)

    def all(self) -> tuple[Connection, ...]:
        return (*self._served, *self._spare)

    def take(self, newcomer: Connection) -> None:
        """Give ``newcomer`` a place, for which another connection may have to go."""
        if len(self._served) >= self._most:
            idle = self._longest_idle()
            if idle is None:
                self._take_spare(newcomer)
                return
            del self._served[idle]
            idle.close()
        self._served[newcomer] = None

    def leave(self, connection: Connection) -> None:
        self._served.pop(connection, None)
        self._spare.pop(connection, None)

    def move_up(self, connection: Connection) -> bool:
        """Whether there is room by now for ``connection``, which has a spare place, to send any request."""
        if len(self._served) >= self._most:
            return False
        del self._spare[connection]
        self._served[connection] = None
        return True

    def _take_spare(self, newcomer: Connection) -> None:
        if len(self._spare) >= SPARE_PLACES:
            oldest = next(iter(self._spare))
            out = next((one for one in self._spare if not one.has_unread()), oldest)
            del self._spare[out]
            out.abort()
        self._spare[newcomer] = None
        newcomer.answer_one_check()

    def _longest_idle(self) -> Connection | None:
        found = self._still_idle()
        now_s = self._time()
        if found is None and now_s >= self._search_from_s:
            self._search_from_s = now_s + _PAUSE_S * len(self._served)
            idle = [(since_s, one) for one in self._served if (since_s := one.idle_since_s) is not None]
            # The longest last; of those that are equal the one that came first
            idle.sort(key=lambda pair: pair[0])
            idle.reverse()
            self._idle = idle
            found = self._still_idle()
        return found

    def _still_idle(self) -> Connection | None:
        """The longest idle connection of those that were when they were searched for, and are since."""
        while self._idle:
            since_s, connection = self._idle.pop()
            if connection in self._served and connection.idle_since_s == since_s and not connection.has_unread():
                return connection
        return None
