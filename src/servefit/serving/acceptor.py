"""Spreads connections over workers: each goes to the worker that has the fewest, of those that give signs of life.

The kernel would spread them by a hash (SO_REUSEPORT): of sixteen that clients keep, one of two workers may get eleven.
"""

from __future__ import annotations

import resource
import selectors
import socket
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from servefit.serving.admission import SPARE_CONNECTIONS
from servefit.serving.probes import MAX_WAITING, ProbeAnswerer

if TYPE_CHECKING:
    from servefit.serving.process import WorkerProcess

_ACCEPTED_AT_ONCE = 64
"""Connections accepted before the supervisor looks at its workers and signals again. Chosen, not measured."""

_BEYOND = 2 * SPARE_CONNECTIONS
"""Connections that a worker may be handed beyond its limit: it answers checks on some, and closes others for them."""

_OTHER_DESCRIPTORS = 128
"""The channels, the artifact, what libraries open, and connections on their way."""


class Acceptor:
    """Accepts on sockets that ``selector`` watches, for ``workers``, of which each has up to ``most_connections``, and
    a few beyond. Health checks of the model called ``name`` are answered here where no worker can (``probes``).

    While no worker has room, nothing is accepted, and what was accepted waits.
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        workers: Mapping[int, WorkerProcess],
        *,
        most_connections: int,
        name: str,
    ) -> None:
        self._selector = selector
        self._workers = workers
        self._most_connections = most_connections + _BEYOND
        self._sockets: tuple[socket.socket, ...] = ()
        self._accepts = False
        self._waiting: list[socket.socket] = []
        self._probes = ProbeAnswerer(selector, workers.values(), name, self._hand_over)

    @property
    def has_waiting(self) -> bool:
        """True while :meth:`accept_waiting` is to be called every now and then, because workers had no room, or no time
        to read."""
        return bool(self._waiting) or bool(self._probes) or (bool(self._sockets) and not self._accepts)

    def begin(self, listening: tuple[socket.socket, ...]) -> None:
        self._sockets = listening
        self._accept(True)

    def take_back(self, connections: list[socket.socket]) -> None:
        """Have other workers take connections that a worker did not live to take."""
        self._waiting += connections

    def accept_waiting(self) -> None:
        """Accept, and hand over what waits, as far as there is room."""
        self._probes.hand_over_all()
        self.hand_over_rest()
        if not self._accepts and not self._waiting and (self._with_room() or not self._ready()):
            self._accept(True)

    def hand_over_rest(self) -> None:
        """Hand over what waits, as far as there is room."""
        waiting, self._waiting = self._waiting, []
        for connection in waiting:
            self._hand_over(connection)

    def end(self) -> None:
        """Accept what is there, whether there is room or not, and nothing after that."""
        self._accept(False)
        self._most_connections = 2**31
        self._probes.hand_over_all(anyway=True)
        for listening in self._sockets:
            with suppress(OSError):
                while True:
                    self._hand_over(listening.accept()[0])
            listening.close()
        self._sockets = ()

    def close(self) -> None:
        self._probes.close()
        for connection in self._waiting:
            connection.close()

    def _accept(self, accepts: bool) -> None:
        if accepts is self._accepts:
            return
        self._accepts = accepts
        for listening in self._sockets:
            if accepts:
                self._selector.register(listening, selectors.EVENT_READ, partial(self._accept_from, listening))
            else:
                self._selector.unregister(listening)

    def _accept_from(self, listening: socket.socket) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            if self._ready() and not self._with_room():
                self._accept(False)
            if not self._accepts:
                return
            try:
                self._take(listening.accept()[0])
            except BlockingIOError:
                return
            except ConnectionError:
                continue  # the client is gone already
            except OSError:
                self._accept(False)  # there is no descriptor for it

    def _ready(self) -> bool:
        return any(worker.ready for worker in self._workers.values())

    def _take(self, connection: socket.socket) -> None:
        if self._probes.takes_more():
            self._probes.watch(connection)
        else:
            self._hand_over(connection)

    def _with_room(self) -> list[WorkerProcess]:
        """Return the workers that can take a connection, the best one first."""
        able = [
            worker
            for worker in self._workers.values()
            if worker.ready and not worker.stop_sent and worker.connections < self._most_connections
        ]
        return sorted(able, key=lambda worker: (not worker.serves, worker.connections))

    def _hand_over(self, connection: socket.socket) -> None:
        if not any(worker.hand_over(connection) for worker in self._with_room()):
            self._waiting.append(connection)
            if self._ready() or len(self._waiting) >= MAX_WAITING:
                self._accept(False)


def allow_descriptors(connections: int) -> tuple[int, str | None]:
    """Allow this process, and those that it starts, the descriptors that so many connections a worker need, or as many
    as the system lets; give how many connections these are for, and what to tell where that is fewer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    others = _BEYOND + _OTHER_DESCRIPTORS
    wanted = connections + others
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections, None
    allowed = max(1, soft - others)
    return allowed, (
        f"only {soft} files may be open, so a worker keeps {allowed} connections and not {connections}; "
        f"allow {wanted} (ulimit -n)"
    )
