"""Orders and their answers as seen by the process that works on a job: it gives an order, waits for the answer, and
gives the order up where its agent is silent for too long.

The database decides what counts (``orders``), so a dispatcher may be killed at any time: agents go on, and the next one
finds what they answered.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar

from servefit.errors import AgentLost, StorageError
from servefit.quantities import span_text
from servefit.search.fleet.checks.answers import checked
from servefit.search.fleet.checks.rates import TimedCalls
from servefit.search.fleet.checks.unfit import Unfit, same
from servefit.search.fleet.orders import CHANNEL, Orders
from servefit.search.fleet.queue import open_queue
from servefit.search.fleet.registry import Registry
from servefit.search.fleet.tables import ANSWERED, OPEN
from servefit.search.storage.outages import PATIENCE_S
from servefit.search.storage.records import Unreadable

if TYPE_CHECKING:
    from servefit.search.fleet.database import Transactions
    from servefit.search.fleet.host import HostState, Leases
    from servefit.search.fleet.orders import Answer, Order
    from servefit.search.fleet.queue import Queue
    from servefit.search.storage.addresses import DatabaseAddress

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

LOOK_S = 1.0
"""Between two looks for answers that the database has not told of: a notice may be lost with its connection."""

IDLE_LOOKS = 5
"""A host that has an order begins it at once. One that was idle at so many looks has none."""

OVERDUE_S = 120.0
"""An agent has so much longer than the limit of an order to answer it: it ends what hangs after half a minute. Chosen,
not measured."""

PAUSE_S = 0.5
"""Between two attempts to reach the queue."""

USUAL_S = 30.0
"""The expected time of an order of which nothing else is known. Chosen, not measured."""

_ENDED = "whoever asks it for this ends"

_GONE = "the order is not in the database any more"

REFUSED = "the answer of "
"""Begins the reason of an AgentLost whose agent answered something that does not fit the order."""

OnState = Callable[["HostState"], None]


@dataclass(slots=True)
class _Pending:
    """An order that a thread waits for. ``on_state`` gets the state of its host while that does not work on it.
    ``calls`` gives the calls that were timed on the host, once it has answered. ``claims`` are the tokens of the agents
    that had its name since the order was given; None where it was given by an earlier dispatcher, which may have met
    others."""

    host: str
    limit_s: float | None
    lost_after_s: float
    left_s: Callable[[], float]
    on_state: OnState
    calls: Callable[[], TimedCalls]
    claims: set[str] | None
    over: threading.Event = field(default_factory=threading.Event)
    answer: Answer | None = None
    agent: str | None = None
    lost: str = ""
    idle_looks: int = 0
    given_up: bool = False
    measured_since_s: float | None = None


class Dispatcher:
    """Gives orders in the fleet at ``address``, whose tables are in ``database``, and looks for answers every
    ``look_s``. Threads may share one."""

    def __init__(
        self, database: Transactions, address: DatabaseAddress, leases: Leases, *, look_s: float = LOOK_S
    ) -> None:
        self.orders = Orders(database)
        self.registry = Registry(database, address, leases)
        self._address = address
        self.leases = leases
        self._look_s = look_s
        self._pending: dict[str, _Pending] = {}
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop
        self._look = asyncio.Event()
        self._queue: Queue | None = None
        self._queueing = asyncio.Lock()
        self._failed: BaseException | None = None
        self._closed = False

    @contextmanager
    def running(self) -> Iterator[Dispatcher]:
        """Dispatch for as long as the block lasts. Orders that are open at its end are withdrawn."""
        self._loop = asyncio.new_event_loop()
        thread = threading.Thread(target=self._run, name="servefit dispatcher", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            with suppress(StorageError):
                self.close()
            with suppress(RuntimeError):  # it has ended by itself, for want of the database
                self._loop.call_soon_threadsafe(self._stop)
            thread.join()

    def ask(
        self,
        order: Order,
        *,
        expected_s: float | None = None,
        left_s: Callable[[], float] = lambda: inf,
        on_state: OnState = lambda _: None,
        calls: Callable[[], TimedCalls] = TimedCalls,
    ) -> Answer:
        """Give ``order`` to the agent of its host, and return what it answers, however long that takes.

        It is expected to take ``expected_s``, or its limit where that is None. ``left_s`` gives the time that the asker
        has left: once that is over, a silent agent is given up. ``on_state`` gets the state of the host now and then
        while the host does not work on the order; ``calls`` gives the calls that were timed on the host, once it has
        answered. Raises AgentLost where the agent is silent for too long, or ends the order, or answers something that
        does not fit it (REFUSED), and StorageError.
        """
        self._check_open(order.host)
        if expected_s is None:
            expected_s = USUAL_S if order.limit_s is None else order.limit_s
        lost_after_s = self.leases.lost_after_s(expected_s)
        pending = _Pending(order.host, order.limit_s, lost_after_s, left_s, on_state, calls, set())
        self.orders.give(order)
        with self._lock:
            self._pending[order.token] = pending
        try:
            self._put(pending, order.token)
            return self._held(order, self._wait(pending), pending)
        finally:
            if not pending.over.is_set():
                # Interrupted: no thread waits for it any more.
                with suppress(StorageError):
                    self.withdraw(order.token)
            with self._lock:
                del self._pending[order.token]

    def wait_for(
        self,
        token: str,
        host: str,
        *,
        on_state: OnState = lambda _: None,
        calls: Callable[[], TimedCalls] = TimedCalls,
    ) -> Answer:
        """Return the answer to an order that was given before, as by a dispatcher that was killed; otherwise as
        :meth:`ask`."""
        pending = _Pending(host, None, self.leases.lost_after_s(USUAL_S), lambda: inf, on_state, calls, None)
        with self._lock:
            self._pending[token] = pending
        self._loop.call_soon_threadsafe(self._look.set)
        try:
            # It may have been killed before that.
            self._put(pending, token)
            answer = self._wait(pending)
            order = self.orders.order(token)
            if order is None:
                raise AgentLost(host, _GONE)
            return self._held(order, answer, pending)
        except Unreadable as error:
            raise AgentLost(host, error.message) from error
        finally:
            with self._lock:
                del self._pending[token]

    def close(self) -> None:
        """Withdraw all orders, and give no more. Raises StorageError."""
        self._closed = True
        with self._lock:
            tokens = tuple(self._pending)
        self.withdraw(*tokens)

    def withdraw(self, *tokens: str, hosts: Mapping[str, str] | None = None) -> None:
        """Give orders up: their agents end them. ``hosts`` has the hosts of those without a waiting thread. Raises
        StorageError."""
        with self._lock:
            waited_for = {token: self._pending[token].host for token in tokens if token in self._pending}
            for token in waited_for:
                self._pending[token].given_up = True
        hosts = {**(hosts or {}), **waited_for}
        for token in self.orders.give_up(tokens, "withdrawn"):
            if token in hosts:
                self._in_loop(self._withdraw(hosts[token], token))

    def _check_open(self, host: str) -> None:
        """Raise what ended the dispatcher, or AgentLost where it is being ended."""
        if self._failed is not None:
            raise self._failed
        if self._closed:
            raise AgentLost(host, _ENDED)

    def _put(self, pending: _Pending, token: str) -> None:
        """Queue an order, unless it is queued; waits for a database that is gone, or has no room for it."""
        ends_s, warned = time.monotonic() + PATIENCE_S, False
        while True:
            self._check_open(pending.host)
            try:
                self._in_loop(self._queue_up(pending, token))
            except StorageError as error:
                if time.monotonic() > ends_s:
                    raise
                # The task that holds the queue logs that it cannot be reached.
                if not warned and self._queue is not None:
                    _log.warning("an order for %s waits: %s", pending.host, error)
                    warned = True
                time.sleep(PAUSE_S)
            else:
                return

    def _wait(self, pending: _Pending) -> Answer:
        pending.over.wait()
        if self._failed is not None:
            raise self._failed
        if pending.answer is None:
            raise AgentLost(pending.host, pending.lost)
        return pending.answer

    def _held(self, order: Order, answer: Answer, pending: _Pending) -> Answer:
        """Return ``answer`` as it counts. Raises AgentLost where it does not fit ``order``; it is kept beside it."""
        try:
            same("host", order.host, pending.host)
            host = next((state for state in self.registry.hosts() if state.host.name == order.host), None)
            if host is None:
                raise Unfit("its host is not registered")
            if pending.claims is not None and pending.agent not in pending.claims | {host.token}:
                raise Unfit("it is not of the agent that has the name of the host")
            return checked(order, answer, host.host, pending.calls())
        except Unfit as unfit:
            reason = f"{REFUSED}host {order.host} to order {order.token} is refused: {unfit}"
            self.orders.refuse(order.token, f"refused: {unfit}")
            raise AgentLost(order.host, reason) from unfit

    def _in_loop(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _with_queue(self, work: Callable[[Queue], Coroutine[Any, Any, _T]]) -> _T:
        """Do ``work`` with the queue, once it is open. Raises StorageError where it is not."""
        if self._queue is None:
            raise self._address.error("the queue of the fleet cannot be reached")
        return await work(self._queue)

    def _run(self) -> None:
        # It also ends what a queue that could not be opened has left at work.
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._work())

    async def _work(self) -> None:
        self._tasks = [asyncio.create_task(coroutine) for coroutine in (self._hold_queue(), self._watch())]
        try:
            await asyncio.gather(*self._tasks)
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            self._failed = error
            raise
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            with self._lock:
                for pending in self._pending.values():
                    pending.lost = pending.lost or _ENDED
                    pending.over.set()

    def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _hold_queue(self) -> None:
        """Keep the queue open, and open it again where it is lost; look at the orders that are waited for when one is
        over."""
        warned = False
        while True:
            try:
                async with open_queue(self._address, channel=CHANNEL) as self._queue:
                    warned = False
                    self._look.set()
                    async for token in self._queue.notices():
                        if token in self._pending:
                            self._look.set()
            except StorageError as error:
                if not warned:
                    _log.warning("waiting for the queue of the fleet: %s", error)
                    warned = True
                await asyncio.sleep(PAUSE_S)
            finally:
                self._queue = None

    async def _watch(self) -> None:
        """Look at the orders that are waited for, whenever one is over, and now and then."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._look.wait(), self._look_s)
            self._look.clear()
            with self._lock:
                pending = dict(self._pending)
            if pending:
                await asyncio.to_thread(self._look_at, pending)

    def _look_at(self, pending: Mapping[str, _Pending]) -> None:
        states = self.orders.states(pending)
        waiting = {}
        for token, pending_order in pending.items():
            state = states.get(token)
            if state is None:
                pending_order.lost = _GONE
            elif state.state == ANSWERED:
                # What came before it on its host is as little of the job's time as what else measures there.
                answer, pending_order.agent = state.answer, state.agent
                pending_order.answer = (
                    None if answer is None else replace(answer, waited_s=answer.waited_s + state.queued_s)
                )
                pending_order.lost = "its agent answered nothing"
            elif state.state == OPEN:
                waiting[token] = pending_order
                continue
            else:
                pending_order.lost = state.state
            pending_order.over.set()
        if waiting:
            self._look_at_hosts(waiting, {token for token in waiting if states[token].agent is not None})

    def _look_at_hosts(self, waiting: Mapping[str, _Pending], begun: Collection[str]) -> None:
        """Give up what agents were asked for that are silent for too long, or have ``begun`` it and do not end it, and
        tell of those that do not measure."""
        hosts = {state.host.name: state for state in self.registry.hosts()}
        for token, pending_order in waiting.items():
            state = hosts.get(pending_order.host)
            if state is not None and pending_order.claims is not None:
                pending_order.claims.add(state.token)
            if state is None:
                self._give_up(token, pending_order, "it was forgotten")
            elif state.status == "gone" and not state.process:
                self._give_up(token, pending_order, "its agent ended")
            elif state.silent_s >= pending_order.lost_after_s:
                self._give_up(token, pending_order, f"its agent was silent for {span_text(state.silent_s)}")
            elif state.silent_s >= self.leases.late_s and pending_order.left_s() <= 0:
                self._give_up(
                    token, pending_order, f"its agent was silent for {span_text(state.silent_s)}, and time is over"
                )
            elif state.status != "measuring":
                pending_order.measured_since_s = None
                pending_order.on_state(state)
                self._queue_again(token, pending_order, state)
            elif token in begun and self._is_overdue(pending_order):
                self._give_up(token, pending_order, "its agent did not end it in time")

    def _is_overdue(self, pending: _Pending) -> bool:
        """Return whether an agent has measured for so long that it should have ended what hangs itself."""
        now_s = time.monotonic()
        pending.measured_since_s = now_s if pending.measured_since_s is None else pending.measured_since_s
        return pending.limit_s is not None and now_s - pending.measured_since_s > pending.limit_s + OVERDUE_S

    def _queue_again(self, token: str, pending: _Pending, state: HostState) -> None:
        """Queue an order again whose host has had nothing to do for a while: it is in the queue no more."""
        pending.idle_looks = pending.idle_looks + 1 if state.status == "idle" else 0
        if pending.idle_looks >= IDLE_LOOKS:
            pending.idle_looks = 0
            asyncio.run_coroutine_threadsafe(self._put_again(pending, token), self._loop)

    async def _put_again(self, pending: _Pending, token: str) -> None:
        with suppress(StorageError):
            await self._queue_up(pending, token)

    async def _queue_up(self, pending: _Pending, token: str) -> None:
        """Queue an order, unless it is queued, or was given up meanwhile."""
        async with self._queueing:
            if not pending.given_up:
                await self._with_queue(lambda queue: queue.put_again(pending.host, [token]))

    def _give_up(self, token: str, pending: _Pending, reason: str) -> None:
        if token not in self.orders.give_up([token], reason):
            return  # it was answered just now, which is seen next
        pending.lost = reason
        pending.given_up = True
        pending.over.set()
        asyncio.run_coroutine_threadsafe(self._withdraw(pending.host, token), self._loop)

    async def _withdraw(self, host: str, token: str) -> None:
        """Take an order that was given up out of the queue. Where that is not possible its agent finds out itself."""
        with suppress(StorageError):
            async with self._queueing:
                await self._with_queue(lambda queue: queue.withdraw(host, token))
