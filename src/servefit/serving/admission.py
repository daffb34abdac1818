"""The limit of connections that a worker keeps: which stay when more clients connect.

At the limit the connection that has been idle for longest makes room for the new one. While none is idle, new ones
are kept as a few spare ones, on which only health checks and /metrics are answered: those must not fail because many
clients came. How their requests are read and answered is the business of ``connection``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

SPARE_CONNECTIONS = 32
"""As many probes and scrapers as ask at once. Chosen, not measured."""

_PAUSE_S = 20e-6
"""After a search for idle connections there is none for so long a connection, some fifty times what looking at one
takes: clients that come and go must not keep a worker searching."""


class Occupant(Protocol):
    """A connection, as far as it matters here."""

    @property
    def idle_since_s(self) -> float | None:
        """The time since which nothing happens on it; None while something does."""
        ...

    def has_unread(self) -> bool:
        """Return whether something has come that nobody has read yet."""
        ...

    def answer_one_check(self) -> None:
        """Have only what must always work answered, once; anything else is refused."""
        ...

    def close(self) -> None:
        """Close when what was written is sent."""
        ...

    def abort(self) -> None:
        """Close at once."""
        ...


_Occupant = TypeVar("_Occupant", bound=Occupant)


class AdmissionControl(Generic[_Occupant]):
    """The open connections of a worker, of which ``max_connections`` may send any request. ``time`` is the clock that
    their times are of, in seconds."""

    def __init__(self, max_connections: int, time: Callable[[], float]) -> None:
        self._max_connections = max_connections
        self._time = time
        self._served: dict[_Occupant, None] = {}
        self._spare: dict[_Occupant, None] = {}
        self._idle: list[tuple[float, _Occupant]] = []
        self._search_from_s = 0.0

    def __len__(self) -> int:
        return len(self._served) + len(self._spare)

    def all(self) -> tuple[_Occupant, ...]:
        return (*self._served, *self._spare)

    def admit(self, newcomer: _Occupant) -> None:
        """Take ``newcomer``, for which another connection may have to go."""
        if len(self._served) >= self._max_connections:
            idle = self._longest_idle()
            if idle is None:
                self._admit_to_spare(newcomer)
                return
            del self._served[idle]
            idle.close()
        self._served[newcomer] = None

    def remove(self, connection: _Occupant) -> None:
        self._served.pop(connection, None)
        self._spare.pop(connection, None)

    def promote(self, connection: _Occupant) -> bool:
        """Let ``connection``, a spare one, send any request if there is room for that by now; return whether there
        is."""
        if len(self._served) >= self._max_connections:
            return False
        del self._spare[connection]
        self._served[connection] = None
        return True

    def _admit_to_spare(self, newcomer: _Occupant) -> None:
        if len(self._spare) >= SPARE_CONNECTIONS:
            oldest = next(iter(self._spare))
            evicted = next((connection for connection in self._spare if not connection.has_unread()), oldest)
            del self._spare[evicted]
            evicted.abort()
        self._spare[newcomer] = None
        newcomer.answer_one_check()

    def _longest_idle(self) -> _Occupant | None:
        longest = self._still_idle()
        now_s = self._time()
        if longest is None and now_s >= self._search_from_s:
            self._search_from_s = now_s + _PAUSE_S * len(self._served)
            idle = [
                (since_s, connection) for connection in self._served if (since_s := connection.idle_since_s) is not None
            ]
            # Longest idle last; among equals, the first to come last
            idle.sort(key=lambda pair: pair[0])
            idle.reverse()
            self._idle = idle
            longest = self._still_idle()
        return longest

    def _still_idle(self) -> _Occupant | None:
        """Return the longest idle connection of those that were when they were searched for, and are since."""
        while self._idle:
            since_s, connection = self._idle.pop()
            if connection in self._served and connection.idle_since_s == since_s and not connection.has_unread():
                return connection
        return None
