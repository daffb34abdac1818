"""A client's side of a closed loop: every user has a connection, and sends the next request when it has its answer.

A user is its connection, for as long as that works: only where it does not is there anything else to be done. Answers
that have come are all read before the next requests are sent, or else those read last would look late. A request is
due when it is sent: what the client takes between an answer and the next request is not the server's, and kept apart.
"""

from __future__ import annotations

import time
from array import array
from typing import TYPE_CHECKING

from servefit.profiler.drivers.driving.progress import REPORT_EVERY_NS
from servefit.serving.timer import Timer

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from servefit.profiler.drivers.driving.progress import RunProgress
    from servefit.profiler.drivers.http.connection import ClientConnection
    from servefit.profiler.drivers.http.pool import Pool

_NS_PER_S = 1_000_000_000
_FIRST_PAUSE_S, _MAX_PAUSE_S = 0.001, 1.0
"""Doubled with every failure: a server that restarts is found soon, and one that is gone is not hammered. Chosen."""

_clock = time.monotonic_ns


class ClosedLoopClient:
    """Users who join at ``joins_ns``, ascending, and send ``requests`` in turn from number ``first`` on, over
    ``connections`` that are open already and others from ``pool``.

    ``scheduled`` and ``ended`` hold every request in the order in which they ended, those that failed the negative of
    when they did; ``timings`` has a line for each. ``between_ns`` is the time that all users together spent between an
    answer and the next request, of which there were ``returns``. ``over`` is done when nobody waits any more.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pool: Pool,
        connections: Sequence[ClientConnection],
        requests: Sequence[bytes],
        progress: RunProgress,
        joins_ns: Sequence[int],
        *,
        first: int,
    ) -> None:
        self.over: asyncio.Future[None] = loop.create_future()
        self.scheduled, self.ended_at = array("q"), array("q")
        self.timings = bytearray()
        self.reconnections = 0
        self.between_ns = 0
        self.returns = 0
        self._ready: list[ClientConnection] = []
        self._loop = loop
        self._pool = pool
        self._spare = list(reversed(connections))
        self._requests = requests
        self._period = len(requests)
        self._next = first % self._period
        self._progress = progress
        self._joins_ns = joins_ns
        self._joined = 0
        self._waiting = 0
        self._end_ns = 0
        self._timer = Timer(loop, self._join)
        for connection in connections:
            connection.owner = self

    async def run(self) -> None:
        """Carry out the run, from the first user who joins to the last answer."""
        try:
            self._report()
            self._join()
            await self.over
        finally:
            self._timer.close()

    def ended(self, connection: ClientConnection, now_ns: int, error: str | None) -> None:
        if error is None:
            self.scheduled.append(connection.due_ns)
            self.ended_at.append(now_ns)
            self.timings += connection.timing
            self.timings += b"\n"
            connection.tag = failures = 0
        else:
            self._failed(connection.due_ns, now_ns, error)
            failures = connection.tag + 1
        if not connection.is_open:
            self._pool.dropped(connection)
            self._return_after(failures)
        elif now_ns >= self._end_ns:
            self._leave()
        elif self._waiting == 1:
            self._send_again(connection, now_ns)
        else:
            connection.due_ns = now_ns
            if not self._ready:
                self._loop.call_soon(self._send_all)
            self._ready.append(connection)

    def lost(self, connection: ClientConnection) -> None:
        """Drop a connection that is nobody's, or of a user who is about to send the next request, and will notice."""
        self._pool.dropped(connection)

    def _send_all(self) -> None:
        """Send the next requests of those whose answers have been read."""
        ready, self._ready = self._ready, []
        for connection in ready:
            if connection.is_open:
                self._send_again(connection, connection.due_ns)
            else:
                self._return_after(0)

    def _send_again(self, connection: ClientConnection, answered_ns: int) -> None:
        now_ns = _clock()
        self.between_ns += now_ns - answered_ns
        self.returns += 1
        self._send(connection, now_ns, now_ns)

    def _send(self, connection: ClientConnection, due_ns: int, now_ns: int) -> None:
        self._next = number = (self._next + 1) % self._period
        connection.send(self._requests[number], due_ns, now_ns)

    def _return_after(self, failures: int) -> None:
        """Have a user without a connection come again: at once, or after a pause that grows with its failures."""
        if _clock() >= self._end_ns:
            self._leave()
        elif failures:
            pause_s = min(_MAX_PAUSE_S, _FIRST_PAUSE_S * 2**failures)
            self._loop.call_later(pause_s, self._reconnect, failures)
        else:
            self._reconnect(0)

    def _reconnect(self, failures: int, due_ns: int | None = None) -> None:
        """Open a new connection for a user, whose request is due now: waiting for it is part of the response."""
        due_ns = _clock() if due_ns is None else due_ns
        if due_ns >= self._end_ns:
            self._leave()
            return

        def then(connection: ClientConnection) -> None:
            self.reconnections += 1
            connection.tag = failures
            self._send(connection, due_ns, _clock())

        def failed(error: str) -> None:
            self._failed(due_ns, _clock(), error)
            self._return_after(failures + 1)

        self._pool.open(self, then, failed)

    def _failed(self, due_ns: int, now_ns: int, error: str) -> None:
        self._pool.count(error)
        self.scheduled.append(due_ns)
        self.ended_at.append(-now_ns)
        self.timings += b"\n"

    def _join(self) -> None:
        """Let in everybody who is due, and be back for the next."""
        now_ns = _clock()
        while self._joined < len(self._joins_ns):
            due_ns = self._joins_ns[self._joined]
            if due_ns > now_ns:
                self._timer.set(due_ns)
                return
            self._joined += 1
            self._waiting += 1
            self._admit(due_ns, now_ns)

    def _admit(self, due_ns: int, now_ns: int) -> None:
        while self._spare:
            connection = self._spare.pop()
            if connection.is_open:
                connection.tag = 0
                self._send(connection, due_ns, now_ns)
                return
        self._reconnect(0, due_ns)

    def _leave(self) -> None:
        """Count out a user who has had its last answer."""
        self._waiting -= 1
        self._end_if_over()

    def _end_if_over(self) -> None:
        everybody_came = self._joined == len(self._joins_ns) or _clock() >= self._end_ns
        if everybody_came and not self._waiting and not self.over.done():
            self._timer.set(1 << 61)
            self.over.set_result(None)

    def _report(self) -> None:
        """Report how far the run is, and be back in 20 ms."""
        if self.over.done():
            return  # what is shared may belong to the next run by now
        now_ns = _clock()
        self._end_ns = self._progress.report(now_ns, self.scheduled, self.ended_at)
        self._pool.give_up_late()
        if now_ns >= self._end_ns:
            self._joined = len(self._joins_ns)
            self._end_if_over()
        if not self.over.done():
            self._loop.call_later(REPORT_EVERY_NS / _NS_PER_S, self._report)
