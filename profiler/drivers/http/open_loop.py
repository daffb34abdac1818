"""A client's side of an open loop: sends every arrival when it is due, whatever became of those before it.

The client claims the next arrival before it is due and waits for it, asleep at first and then, without ceasing to read
answers, awake. An arrival goes out on the connection that has been idle for longest, else on a new one, else it waits
for one. Response times count from the moment that it was due.
"""

from __future__ import annotations

import time
from array import array
from collections import deque
from typing import TYPE_CHECKING

from servefit.profiler.drivers.driving.schedule import DRAIN_NS, LIMIT, NEXT
from servefit.serving.timer import Timer

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from servefit.profiler.drivers.driving.schedule import ArrivalSchedule
    from servefit.profiler.drivers.http.connection import ClientConnection
    from servefit.profiler.drivers.http.messages import BeginOpen
    from servefit.profiler.drivers.http.pool import Pool

_POLL_S = 0.02
"""For what no event tells of, such as time-outs, which are of seconds; as often as a closed loop reports."""

_FIRST_PAUSE_NS, _MAX_PAUSE_NS = 1_000_000, 1_000_000_000
"""As in ``closed_loop``."""

_MAX_SPIN_NS = 100_000
"""A turn of the event loop takes a few us. Chosen, not measured."""

_MAX_OPENING = 8
"""A server that is busy accepting connections serves nobody meanwhile."""

_NOTHING = -1
"""In the place of the number of an arrival."""

_clock = time.monotonic_ns


class OpenLoopClient:
    """Client ``number`` of those that share ``schedule``, which is written to: when each arrival was sent, and when it
    was answered, or the negative of when it failed.

    ``answered`` has the numbers of the arrivals that were answered, and ``timings`` a line for each. ``lags`` are how
    much later than due arrivals were sent that had an idle connection. ``over`` is done when none waits any more.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pool: Pool,
        connections: Sequence[ClientConnection],
        requests: Sequence[bytes],
        schedule: ArrivalSchedule,
        begin: BeginOpen,
        *,
        number: int,
    ) -> None:
        self.over: asyncio.Future[None] = loop.create_future()
        self.answered, self.lags = array("q"), array("q")
        self.timings = bytearray()
        self.reconnections = 0
        self._loop = loop
        self._pool = pool
        self._requests = requests
        self._period = len(requests)
        self._schedule = schedule
        self._begin = begin
        self._number = number
        self._idle = deque(connection for connection in connections if connection.is_open)
        self._connections = len(self._idle)
        self._waiting: deque[int] = deque()
        self._in_flight = self._opening = 0
        self._claimed = _NOTHING
        self._all_claimed = False
        self._spun_at_ns = 0
        self._pause_ns = 0
        self._connect_again_ns = 0
        self._timer = Timer(loop, self._tick)
        for connection in self._idle:
            connection.owner = self

    async def run(self) -> None:
        """Carry out the run, from its beginning to the last answer."""
        try:
            self._poll()
            self._timer.set(self._begin.start_ns)
            await self.over
        finally:
            self._timer.close()

    def ended(self, connection: ClientConnection, now_ns: int, error: str | None) -> None:
        index = connection.tag
        self._spun_at_ns = 0
        self._in_flight -= 1
        if error is None:
            self._schedule.ended[index] = now_ns
            self.answered.append(index)
            self.timings += connection.timing
            self.timings += b"\n"
        else:
            self._fail(index, now_ns, error)
        if connection.is_open:
            self._reuse(connection, now_ns)
        else:
            self._discard(connection)
        if self._all_claimed:
            self._end_if_over()

    def lost(self, connection: ClientConnection) -> None:
        self._idle.remove(connection)
        self._discard(connection)

    def _discard(self, connection: ClientConnection) -> None:
        self._pool.dropped(connection)
        self._connections -= 1
        if self._waiting:
            self._connect()

    def _reuse(self, connection: ClientConnection, now_ns: int) -> None:
        """Send what has waited for longest, or keep the connection for what comes."""
        if self._waiting:
            self._send(connection, self._waiting.popleft(), now_ns)
        else:
            self._idle.append(connection)

    def _send(self, connection: ClientConnection, index: int, now_ns: int) -> None:
        self._schedule.started[index] = now_ns
        self._in_flight += 1
        connection.tag = index
        connection.send(self._requests[index % self._period], self._schedule.due[index], now_ns)

    def _fail(self, index: int, now_ns: int, error: str) -> None:
        self._pool.count(error)
        schedule = self._schedule
        schedule.started[index] = schedule.started[index] or now_ns
        schedule.ended[index] = -now_ns

    def _tick(self) -> None:
        """Send what is due; then sleep, or come again at once, until the next arrival is."""
        if self._all_claimed:
            return
        now_ns = _clock()
        if self._spun_at_ns:
            # Nothing else was done since. What took long was not done by this process: it was kept from its CPU.
            if now_ns - self._spun_at_ns < _MAX_SPIN_NS:
                self._schedule.words.add_waiting(self._number, now_ns - self._spun_at_ns)
            self._spun_at_ns = 0
        due = self._schedule.due
        while self._claimed != _NOTHING or self._claim():
            index = self._claimed
            due_ns = due[index]
            if due_ns > now_ns:
                self._wait(due_ns, now_ns)
                return
            self._claimed = _NOTHING
            if self._idle and not self._waiting:
                # Connections may have been lost, and others be ahead: look at the clock for every one.
                now_ns = _clock()
                self.lags.append(now_ns - due_ns)
                self._send(self._idle.popleft(), index, now_ns)
            else:
                self._waiting.append(index)
                self._connect()
                if self._give_up_if_behind(now_ns):
                    break
        self._end_if_over()

    def _claim(self) -> bool:
        """Take the next arrival, if there is one."""
        words, header = self._schedule.words, self._schedule.header
        if not words.acquire(False):
            words.wait_for_lock()
        index = header[NEXT]
        header[NEXT] = index + 1
        limit = header[LIMIT]
        words.release()
        self._all_claimed = index >= limit
        if not self._all_claimed:
            self._claimed = index
        return not self._all_claimed

    def _wait(self, due_ns: int, now_ns: int) -> None:
        wake_ns = due_ns - self._begin.spin_ns
        if wake_ns > now_ns or not self._begin.spin_ns:
            self._timer.set(wake_ns)
        else:
            self._spun_at_ns = now_ns
            self._loop.call_soon(self._tick)

    def _give_up_if_behind(self, now_ns: int) -> bool:
        """Give the run up, for all clients, where too many wait or they have waited for too long; return whether."""
        schedule = self._schedule
        oldest = self._waiting[0]
        behind = min(oldest + self._begin.backlog_cap, schedule.size)
        if schedule.due[behind] > now_ns and now_ns <= schedule.header[DRAIN_NS]:
            return False
        schedule.give_up(oldest)
        self._all_claimed = True
        return True

    def _drop_given_up(self) -> None:
        """Drop what waits and may no longer be sent, since the run was given up by this client or by another."""
        limit = self._schedule.header[LIMIT]
        while self._waiting and self._waiting[-1] >= limit:
            self._waiting.pop()

    def _connect(self) -> None:
        """Open one more connection, unless there are enough of them, or the last one could not be opened just now."""
        enough = self._connections >= self._begin.connections or self._opening >= _MAX_OPENING
        if enough or _clock() < self._connect_again_ns:
            return
        self._connections += 1
        self._opening += 1
        self._pool.open(self, self._connected, self._connecting_failed)

    def _connected(self, connection: ClientConnection) -> None:
        self._pause_ns = 0
        self._opening -= 1
        self.reconnections += 1
        self._reuse(connection, _clock())

    def _connecting_failed(self, error: str) -> None:
        """Fail what has waited for longest; if no connection is left, also everything else that waits."""
        self._connections -= 1
        self._opening -= 1
        now_ns = _clock()
        self._pause_ns = min(_MAX_PAUSE_NS, 2 * self._pause_ns or _FIRST_PAUSE_NS)
        self._connect_again_ns = now_ns + self._pause_ns
        while self._waiting:
            self._fail(self._waiting.popleft(), now_ns, error)
            if self._connections:
                break
        self._end_if_over()

    def _end_if_over(self) -> None:
        if self._all_claimed and not self._in_flight and not self._waiting and not self.over.done():
            self.over.set_result(None)

    def _poll(self) -> None:
        """Do what nobody else does: time-outs, runs that were given up, arrivals that wait for no connection at all."""
        if self.over.done():
            return
        self._pool.give_up_late()
        self._drop_given_up()
        if self._waiting:
            self._connect()
        if (self._waiting and not self._all_claimed) or (self._waiting and _clock() > self._schedule.header[DRAIN_NS]):
            self._give_up_if_behind(_clock())
            self._drop_given_up()
        self._end_if_over()
        self._loop.call_later(_POLL_S, self._poll)
