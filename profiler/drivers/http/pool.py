"""Opens the connections of a client, knows which are there, and counts what went wrong."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections import Counter
from typing import TYPE_CHECKING

from servefit.profiler.drivers.http.answers import Heads
from servefit.profiler.drivers.http.connection import TIMED_OUT, ClientConnection, ConnectionUser, error_kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from servefit.profiler.drivers.http.address import Address

_AT_ONCE = 64
"""Connections being opened at the same time; a server that accepts slowly drops more than its backlog holds."""


class Pool:
    """Connections to ``address``. ``errors`` counts by kind, ``opened`` is how many were ever open, ``most`` how many
    at the same time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, address: Address, *, timeout_s: float) -> None:
        self.errors: Counter[str] = Counter()
        self.opened = 0
        self.most = 0
        self._loop = loop
        self._place = address.connects_to
        self._family = socket.AF_INET6 if ":" in self._place[0] else socket.AF_INET
        self._server_name = address.host if address.scheme == "https" else None
        self._tls = None if self._server_name is None else ssl.create_default_context()
        self._timeout_s = timeout_s
        self._look_again_ns = 0
        self._heads = Heads()
        self._connections: set[ClientConnection] = set()
        self._opening: set[asyncio.Task[None]] = set()

    def open(
        self, owner: ConnectionUser, then: Callable[[ClientConnection], None], failed: Callable[[str], None]
    ) -> None:
        """Open a connection for ``owner`` and hand it to ``then``, or call ``failed`` with the kind of the failure."""
        task = self._loop.create_task(self._open(owner, then, failed))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def open_all(self, owner: ConnectionUser, count: int) -> list[ClientConnection]:
        """Open ``count`` connections; fewer where that fails, which is counted."""
        connections: list[ClientConnection] = []
        room = asyncio.Semaphore(_AT_ONCE)

        async def open_another() -> None:
            async with room:
                await self._open(owner, connections.append, self.count)

        await asyncio.gather(*(open_another() for _ in range(count)))
        return connections

    def count(self, error: str) -> None:
        self.errors[error] += 1

    def dropped(self, connection: ClientConnection) -> None:
        """Forget ``connection``, which is no longer open."""
        self._connections.discard(connection)

    def give_up_late(self) -> None:
        """Wait no longer for answers that take longer than the time-out. To be called every now and then; it looks at
        all connections twenty times within the time-out."""
        now_ns = time.monotonic_ns()
        if now_ns < self._look_again_ns:
            return
        self._look_again_ns = now_ns + round(1e9 * self._timeout_s / 20)
        latest_ns = now_ns - round(1e9 * self._timeout_s)
        late = [connection for connection in self._connections if connection.is_busy and connection.sent_ns < latest_ns]
        for connection in late:
            connection.give_up(now_ns, TIMED_OUT)

    def close(self) -> None:
        """Close all connections, and open no more."""
        for task in list(self._opening):
            task.cancel()
        for connection in self._connections:
            connection.close()
        self._connections.clear()

    def forget(self) -> None:
        """Count from zero again."""
        self.errors.clear()
        self.opened, self.most = len(self._connections), len(self._connections)

    async def _open(
        self, owner: ConnectionUser, then: Callable[[ClientConnection], None], failed: Callable[[str], None]
    ) -> None:
        raw = socket.socket(self._family, socket.SOCK_STREAM)
        raw.setblocking(False)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._loop.sock_connect(raw, self._place)
                _, connection = await self._loop.create_connection(
                    lambda: ClientConnection(self._heads, owner, raw if self._tls is None else None),
                    sock=raw,
                    ssl=self._tls,
                    server_hostname=self._server_name,
                )
        except OSError as error:
            raw.close()
            failed(error_kind(error))
            return
        except asyncio.CancelledError:
            raw.close()
            raise
        self._connections.add(connection)
        self.opened += 1
        self.most = max(self.most, len(self._connections))
        then(connection)
