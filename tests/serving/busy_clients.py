"""Clients that keep an endpoint busy, and count what they get."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

from tests.serving.conftest import ask_on, row

if TYPE_CHECKING:
    from tests.serving.conftest import Running

JSON = {"content-type": "application/json"}


class Clients:
    """Threads that invoke again and again, on connections that they keep or on a new one for every request."""

    def __init__(self, endpoint: Running, *, keeping: int, fresh: int) -> None:
        self.endpoint = endpoint
        self.statuses: Counter[int] = Counter()
        self.lost: list[str] = []
        """Requests that were sent on a connection that was accepted, and got no answer."""
        self._over = threading.Event()
        targets = [self._keep] * keeping + [self._renew] * fresh
        self._threads = [threading.Thread(target=target) for target in targets]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _keep(self) -> None:
        while not self._over.is_set():
            connection = self._connected()
            while connection is not None and not self._over.is_set() and self._ask(connection):
                pass
            if connection is not None:
                connection.close()

    def _renew(self) -> None:
        while not self._over.is_set():
            connection = self._connected()
            if connection is not None:
                self._ask(connection)
                connection.close()

    def _connected(self) -> http.client.HTTPConnection | None:
        connection = http.client.HTTPConnection("127.0.0.1", self.endpoint.port, timeout=10)
        try:
            connection.connect()
        except ConnectionError:
            time.sleep(0.005)
            return None
        connection.auto_open = 0  # it would hide that a kept connection was closed
        return connection

    def _ask(self, connection: http.client.HTTPConnection) -> bool:
        """Whether another request may follow on this connection."""
        try:
            answer = ask_on(connection, "POST", "/invocations", row(1.0), JSON)
        except (OSError, http.client.HTTPException) as error:
            self.lost.append(repr(error))
            return False
        self.statuses[answer.status] += 1
        return answer.headers.get("connection") != "close"
