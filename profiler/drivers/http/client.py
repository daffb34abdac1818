"""A load client: a process with an event loop that carries out runs until its parent hangs up."""

from __future__ import annotations

import asyncio
import gc
import resource
import time
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
import uvloop

from servefit.profiler.drivers.driving.memory import SharedWords
from servefit.profiler.drivers.driving.progress import RunProgress
from servefit.profiler.drivers.driving.schedule import ArrivalSchedule
from servefit.profiler.drivers.driving.setup import read_setup
from servefit.profiler.drivers.driving.waiting import sleep_punctually
from servefit.profiler.drivers.http.closed_loop import ClosedLoopClient
from servefit.profiler.drivers.http.closed_loop_memory import ClosedLoopMemory
from servefit.profiler.drivers.http.messages import BeginClosed, BeginOpen, Prepare, Ready, Record, Started
from servefit.profiler.drivers.http.open_loop import OpenLoopClient
from servefit.profiler.drivers.http.pool import Pool
from servefit.profiler.drivers.http.server_timing import read_timings

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from multiprocessing.connection import Connection

    from servefit.profiler.drivers.http.connection import ClientConnection
    from servefit.profiler.drivers.http.messages import Setup

_CONNECTIONS_PER_BUSY = 4
"""Arrivals come in crowds: there are connections for four times as many as are on their way on average [Little]."""

_TO_CLOSE_S = 0.001
"""Connections are closed by the event loop, which does not run between runs."""

_BLOCK_S, _MAX_WARM_UP_S, _ALIKE = 0.05, 0.5, 0.1
"""Of a warm-up. As in process, with blocks that hold answers of slower servers. Chosen, not measured."""


def serve(parent: Connection, memory_fd: int, setup_fd: int, number: int) -> None:
    """Talk to the parent as ``messages`` describes, until EOFError says that it has hung up."""
    setup: Setup = read_setup(setup_fd)
    _allow_many_files()
    sleep_punctually()
    loop = uvloop.new_event_loop()
    try:
        parent.send(Started())
        run = _Run(loop, setup, number)
        while True:
            order: Prepare | BeginOpen | BeginClosed = parent.recv()
            gc.collect()
            gc.disable()
            match order:
                case Prepare():
                    run.close()  # its parent may have thought better of it
                    run = _Run(loop, setup, number)
                    parent.send(run.carry_out(run.prepare(order)))
                case BeginOpen():
                    parent.send(run.carry_out(run.open(SharedWords(memory_fd), order)))
                case BeginClosed():
                    parent.send(run.carry_out(run.closed(SharedWords(memory_fd), order)))
            gc.enable()
    finally:
        loop.close()


class _Run:
    """One client's part in one run, with connections of its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop, setup: Setup, number: int) -> None:
        self._loop = loop
        self._requests = setup.requests
        self._number = number
        self._clients = setup.clients
        # Clients begin elsewhere in the payload, each.
        self._first = number * len(setup.requests) // setup.clients
        self._pool = Pool(loop, setup.address, timeout_s=setup.timeout_s)
        self._connections: list[ClientConnection] = []
        self._broken: asyncio.Future[Any] | None = None
        loop.set_exception_handler(self._raise)

    def carry_out(self, part: Coroutine[Any, Any, Any]) -> Any:
        """Run ``part`` and return its result. Errors in callbacks are raised here too, as nobody else hears of them."""
        self._broken = self._loop.create_future()
        return self._loop.run_until_complete(_first_of(self._loop.create_task(part), self._broken))

    def close(self) -> None:
        self._pool.close()

    async def prepare(self, order: Prepare) -> Ready:
        warm_up = _WarmUp(self._loop, self._pool, self._requests, first=self._first)
        self._connections = await self._pool.open_all(warm_up, order.connections)
        await warm_up.run(self._connections[: order.users])
        if order.rate_per_s is not None and warm_up.answered:
            mean_s = warm_up.response_ns / warm_up.answered / 1e9
            wanted = min(order.most_connections, ceil(_CONNECTIONS_PER_BUSY * order.rate_per_s * mean_s))
            more = max(0, wanted - len(self._connections))
            self._connections += await self._pool.open_all(warm_up, more)
        ready = Ready(answered=warm_up.answered, errors=dict(self._pool.errors))
        self._pool.forget()
        return ready

    async def open(self, words: SharedWords, begin: BeginOpen) -> Record:
        with ArrivalSchedule(words) as schedule:
            part = OpenLoopClient(
                self._loop, self._pool, self._connections, self._requests, schedule, begin, number=self._number
            )
            await part.run()
        return await self._record(
            part,
            requests=None,
            answered=np.array(part.answered, dtype=np.int64),
            lags=np.array(part.lags, dtype=np.int64),
            between_ns=0,
            returns=0,
        )

    async def closed(self, words: SharedWords, begin: BeginClosed) -> Record:
        joins_ns = begin.joins_ns[self._number :: self._clients].tolist()
        with ClosedLoopMemory(words) as shared:
            progress = RunProgress(shared, self._number, limits_ns=begin.limits_ns, end_ns=begin.end_ns)
            part = ClosedLoopClient(
                self._loop, self._pool, self._connections, self._requests, progress, joins_ns, first=self._first
            )
            await part.run()
        # In a closed loop a request is due when it is sent.
        columns = (part.scheduled, part.scheduled, part.ended_at)
        return await self._record(
            part,
            requests=np.array(columns, dtype=np.int64),
            answered=None,
            lags=np.array([], dtype=np.int64),
            between_ns=part.between_ns,
            returns=part.returns,
        )

    async def _record(self, part: OpenLoopClient | ClosedLoopClient, **recorded: Any) -> Record:
        pool = self._pool
        pool.close()
        await asyncio.sleep(_TO_CLOSE_S)
        timings = read_timings(bytes(part.timings))
        queued, predicted = (None, None) if timings is None else timings
        return Record(
            queued=queued,
            predicted=predicted,
            connections=pool.most,
            reconnections=part.reconnections,
            errors=dict(pool.errors),
            **recorded,
        )

    def _raise(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception") or RuntimeError(context["message"])
        if self._broken is not None and not self._broken.done():
            self._broken.set_exception(error)


async def _first_of(part: asyncio.Task[Any], broken: asyncio.Future[Any]) -> Any:
    done, _ = await asyncio.wait((part, broken), return_when=asyncio.FIRST_COMPLETED)
    return done.pop().result() if broken not in done else broken.result()


def _allow_many_files() -> None:
    """Raise the limit on open files: a connection is one, and the usual limit is a thousand."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class _WarmUp:
    """Gets a server to the speed that it keeps: sends ``requests`` in turn, one at a time on each connection, until two
    blocks of 50 ms in a row had as many answers within 10 %, for half a second at most. ``answered`` counts answers,
    which took ``response_ns`` altogether. Failures are counted in ``pool``."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pool: Pool,
        requests: Sequence[bytes],
        *,
        first: int,
    ) -> None:
        self.answered = 0
        self.response_ns = 0
        self._over: asyncio.Future[None] = loop.create_future()
        self._loop = loop
        self._pool = pool
        self._requests = requests
        self._next = first
        self._waiting = 0
        self._enough = False

    async def run(self, connections: Sequence[ClientConnection]) -> None:
        """Warm up over ``connections``, which are open."""
        now_ns = time.monotonic_ns()
        self._loop.call_later(_BLOCK_S, self._end_block, 0, 0, now_ns + round(1e9 * _MAX_WARM_UP_S))
        for connection in connections:
            if connection.is_open:
                self._waiting += 1
                self._send(connection, now_ns)
        if self._waiting:
            await self._over

    def ended(self, connection: ClientConnection, now_ns: int, error: str | None) -> None:
        if error is None:
            self.answered += 1
            self.response_ns += now_ns - connection.sent_ns
        else:
            self._pool.count(error)
        if not connection.is_open:
            self._pool.dropped(connection)
        if connection.is_open and not self._enough:
            self._send(connection, now_ns)
            return
        self._waiting -= 1
        if not self._waiting and not self._over.done():
            self._over.set_result(None)

    def lost(self, connection: ClientConnection) -> None:
        self._pool.dropped(connection)

    def _send(self, connection: ClientConnection, now_ns: int) -> None:
        self._next += 1
        connection.send(self._requests[self._next % len(self._requests)], now_ns, now_ns)

    def _end_block(self, answered_before: int, rate_before: int, end_ns: int) -> None:
        """Compare the block that is over with the one before."""
        self._pool.give_up_late()
        rate = self.answered - answered_before
        alike = bool(rate) and abs(rate - rate_before) <= _ALIKE * rate
        self._enough = alike or time.monotonic_ns() >= end_ns
        if not self._over.done():
            self._loop.call_later(_BLOCK_S, self._end_block, self.answered, rate, end_ns)
