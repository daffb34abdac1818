"""The agent of a host: takes a name, waits for orders, has each carried out, and delivers what came of it.

It listens nowhere, and measures nothing itself: its main thread keeps to the CPUs that envelopes leave, at the lowest
priority, and what measures is a process of its own (``bench_process``). What was measured is on the disk before it is
delivered, and is delivered by this agent or the next one of the host, however long the database is gone. A database
that is restored from a backup, and asks again for what was carried out, is given what came of it then.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from servefit.errors import ServefitError, SpecError, StorageError
from servefit.profiler.machine.background import work_in_background
from servefit.quantities import span_text
from servefit.search.fleet.agents.bench_client import BenchClient, Overdue
from servefit.search.fleet.agents.bench_process import Hello
from servefit.search.fleet.agents.spool import Spool, Spooled
from servefit.search.fleet.database import FleetDatabase, awaited, fleet_leases, refused_for_good
from servefit.search.fleet.orders import Answer, Failure, Orders
from servefit.search.fleet.queue import channel_of, open_queue
from servefit.search.fleet.registry import WAITING, Registry
from servefit.search.storage.records import Unreadable

if TYPE_CHECKING:
    from collections.abc import Callable

    from servefit.search.fleet.host import FleetHost, Leases
    from servefit.search.fleet.orders import Order
    from servefit.search.fleet.queue import Queue
    from servefit.search.fleet.registry import Claim
    from servefit.search.storage.addresses import DatabaseAddress

_log = logging.getLogger(__name__)

MAX_NICENESS = 19

PAUSE_S = 1.0
"""Between two attempts to reach a database that is gone."""

BENCH_IDLE_S = 60.0
"""A process that has measured, and is asked for nothing more for so long, is ended: it has the memory of a model."""


@dataclass(slots=True, kw_only=True)
class Agent:
    """The agent of ``host`` in the fleet at ``address``. It ends after ``idle_exit_s`` without an order (None: never),
    and when :meth:`stop` is called."""

    address: DatabaseAddress
    host: FleetHost
    idle_exit_s: float | None = None
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _starter: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "servefit bench"))
    _bench: BenchClient = field(default_factory=BenchClient)
    _doing: str | None = None
    _busy_until_s: float = field(default_factory=time.monotonic)
    _carrying: str | None = None
    _kept_back: str | None = None
    _saying_it: asyncio.Lock = field(default_factory=asyncio.Lock)
    _saying: set[asyncio.Task[None]] = field(default_factory=set)
    _restored: asyncio.Event = field(default_factory=asyncio.Event)
    _has_queue: bool = False
    _database: FleetDatabase = field(init=False)
    _leases: Leases = field(init=False)
    _registry: Registry = field(init=False)
    _orders: Orders = field(init=False)
    _spool: Spool = field(init=False)
    _claim: Claim = field(init=False)

    def __post_init__(self) -> None:
        self._database = FleetDatabase(self.address)
        self._orders = Orders(self._database)
        self._spool = Spool.of(self.host.name)

    async def run(self, *, ready: Callable[[], None] = lambda: None) -> None:
        """Be the agent until it is to end, and call ``ready`` once it has its name.

        Raises SpecError where another agent has the name, or takes it meanwhile; StorageError where the fleet cannot be
        reached at first; StateError.
        """
        try:
            self._leases = fleet_leases(self._database, self.address)
            self._registry = Registry(self._database, self.address, self._leases)
            async with AsyncExitStack() as stack:
                # An agent without the queue has no name: it cannot get orders.
                queue = await stack.enter_async_context(self._open_queue())
                self._claim = self._registry.claim(self.host)
                ready()
                try:
                    await self._live(stack, queue)
                finally:
                    with suppress(StorageError):
                        self._registry.leave(self._claim)
        finally:
            self._database.close()

    def stop(self) -> None:
        """End the agent, and what it measures, within five seconds."""
        self._stopping.set()

    def _open_queue(self) -> AbstractAsyncContextManager[Queue]:
        return open_queue(self.address, channel=channel_of(self.host.name))

    async def _live(self, stack: AsyncExitStack, queue: Queue) -> None:
        # Its thread starts what measures, and has to be there before this one steps back.
        self._starter.submit(lambda: None).result()
        _step_back(self.host)
        _log.info("agent %s takes orders", self.host.name)
        tasks = [asyncio.create_task(work) for work in (self._renew(), self._work(stack, queue), self._stopping.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._stopping.set()
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.to_thread(self._bench.end)
            self._starter.shutdown(cancel_futures=True)
        for error in ended:
            if isinstance(error, Exception):
                raise error

    async def _renew(self) -> None:
        """Say that the agent lives, now and then. Returns when it has been idle for long enough."""
        while True:
            await asyncio.sleep(self._leases.renew_s if self.idle_exit_s is None else self._until_idle_s())
            # An agent without the queue stays silent, so that it gets no orders.
            if self._has_queue:
                await self._say()
            idle_s = 0.0 if self._carrying else time.monotonic() - self._busy_until_s
            if self.idle_exit_s is not None and idle_s >= self.idle_exit_s:
                _log.info("agent %s had nothing to do for %s", self.host.name, span_text(idle_s))
                return
            if not self._carrying and idle_s >= BENCH_IDLE_S:
                await asyncio.to_thread(self._bench.close_when_idle)

    def _until_idle_s(self) -> float:
        left_s = (self.idle_exit_s or 0.0) - (time.monotonic() - self._busy_until_s)
        return min(self._leases.renew_s, max(0.1, left_s))

    async def _say(self) -> None:
        """Renew the claim, or make it again where the database has lost it. Raises SpecError where another agent has
        the name now."""
        # The task that waits for orders logs, once, that the database is gone.
        with suppress(StorageError):
            # One after the other: the last says what holds.
            async with self._saying_it:
                renewed = await asyncio.to_thread(self._registry.renew, self._claim, self._doing)
                if renewed is None:
                    self._claim = await asyncio.to_thread(self._claim_again)
                    _log.warning("%s does not know this agent any more: it is registered again", self.address.shown)
                    self._restored.set()
                    return
                self._claim = renewed
                if renewed.was_set_back:
                    _log.warning("%s is as it was earlier, as after restoring a backup", self.address.shown)
                    self._restored.set()

    def _claim_again(self) -> Claim:
        try:
            return self._registry.claim(self.host)
        except SpecError as error:
            raise SpecError(
                "name",
                self.host.name,
                "is that of another agent now: this one was silent for too long",
                remedy="start it again, under another --name where both are to run",
            ) from error

    async def _work(self, stack: AsyncExitStack, opened: Queue | None) -> None:
        """Carry out orders for as long as there is a database, and wait for it where there is none. ``stack`` holds the
        queue that is ``opened``."""
        gone = False
        while True:
            try:
                async with stack:
                    queue = await stack.enter_async_context(self._open_queue()) if opened is None else opened
                    self._restored.clear()
                    await self._settle(queue)
                    self._has_queue = True
                    if gone:
                        _log.warning("%s is back", self.address.shown)
                        self._doing = None
                        self._say_soon()
                    gone = False
                    await queue.work(self.host.name, self._carry, until=self._restored)
            except StorageError as error:
                if self._stopping.is_set():
                    return
                if not gone:
                    _log.warning("waiting for the database: %s", error)
                    self._doing = f"{WAITING}the database"
                    self._say_soon()
                gone = True
                await asyncio.sleep(PAUSE_S)
            finally:
                self._has_queue, opened = False, None

    async def _settle(self, queue: Queue) -> None:
        """Have done with what an earlier agent of the host, or this one before it lost the database, left open."""
        for spooled in self._spool.waiting():
            await self._deliver(spooled)
        for token in await self._open_begun():
            await self._settle_begun(token)
        await queue.end_begun(self.host.name)
        waiting = await asyncio.to_thread(self._orders.open_of, self.host.name, begun=False)
        await queue.put_again(self.host.name, waiting)

    async def _carry(self, token: str) -> None:
        """Carry out the order of that token, unless it was given up or begun before."""
        agent = self._claim.token
        try:
            order = await asyncio.to_thread(self._orders.begin, token, agent)
        except Unreadable as error:
            _log.warning("order %s is not carried out: %s", token, error)
            await asyncio.to_thread(self._orders.give_up, [token], "its agent cannot read it")
            return
        if order is None:
            if token in await self._open_begun():
                # A database that was restored asks for it: what is begun here is carried out, or settled.
                await self._settle_begun(token)
            return
        if self._spool.has_begun(token):
            await self._settle_begun(token, agent)
            return
        self._spool.begin(token)
        self._carrying = token
        try:
            spooled = Spooled(token=token, agent=agent, answer=await self._answer(order))
            self._spool.keep(spooled)
            while not await self._delivered(spooled):
                await asyncio.sleep(PAUSE_S)
        except asyncio.CancelledError:
            # Withdrawn, or this agent ends
            await asyncio.to_thread(self._bench.end)
            with suppress(StorageError):
                await asyncio.to_thread(self._orders.give_up, [token], "its agent ended it")
            raise
        finally:
            self._carrying, self._doing, self._busy_until_s = None, None, time.monotonic()
            await self._say()

    async def _open_begun(self) -> tuple[str, ...]:
        return await asyncio.to_thread(self._orders.open_of, self.host.name, begun=True)

    async def _settle_begun(self, token: str, agent: str | None = None) -> None:
        """Have done with an open order that was begun on this host before, and that nothing is at: answer it once more
        where it was answered, else give it up. It is not carried out twice. ``agent`` has begun it by what the database
        knows, where that is not the one that answered it."""
        before = self._spool.delivered(token)
        if before is None:
            await asyncio.to_thread(self._orders.give_up, [token], "its agent ended")
            return
        _log.warning("order %s was carried out before, and is answered with what was measured then", token)
        await self._deliver(before if agent is None else replace(before, agent=agent))

    async def _answer(self, order: Order) -> Answer:
        loop = asyncio.get_running_loop()
        hello = Hello(
            storage=self.address.text,
            job=order.job,
            host=self.host.name,
            trust_pickle=self.host.trust_pickle,
            trust_code=self.host.trust_code,
            allows=self.host.allows,
        )

        overdue = Overdue(order, self._bench)
        overdue.begin()

        def said(word: str, text: str) -> None:
            doing = f"{WAITING}{text}" if word == "waiting" else order.purpose
            loop.call_soon_threadsafe(self._take_note, doing)
            loop.call_soon_threadsafe(overdue.heard, word)

        def carry_out() -> Answer:
            return self._bench.carry_out(hello, order, said=said)

        try:
            return await loop.run_in_executor(self._starter, carry_out)
        except ServefitError as error:
            return Answer(failure=Failure.of(overdue.error or error))
        finally:
            overdue.allow(None)

    def _take_note(self, doing: str) -> None:
        """Say what the agent is at, where that has changed."""
        if self._carrying is not None and doing != self._doing:
            self._doing = doing
            self._say_soon()

    def _say_soon(self) -> None:
        saying = asyncio.get_running_loop().create_task(self._say())
        self._saying.add(saying)
        saying.add_done_callback(self._saying.discard)

    async def _delivered(self, spooled: Spooled) -> bool:
        try:
            await self._deliver(spooled)
        except StorageError as error:
            if spooled.token != self._kept_back:
                _log.warning("the answer to order %s waits: %s", spooled.token, error)
            self._kept_back = spooled.token
            # The database may accept that, and then the asker sees why no answer comes.
            self._doing = f"{WAITING}{awaited(error)}"
            await self._say()
            return False
        return True

    async def _deliver(self, spooled: Spooled) -> None:
        """Deliver an answer. One that the database refuses for good is set aside, and its order given up."""
        token = spooled.token
        try:
            counts = await asyncio.to_thread(self._orders.answer, token, spooled.agent, spooled.answer)
        except StorageError as error:
            if not refused_for_good(error):
                raise
            await asyncio.to_thread(self._orders.give_up, [token], "the database refuses what its agent answers")
            path = self._spool.set_aside(spooled)
            _log.warning("the answer to order %s is set aside in %s, as it is refused for good: %s", token, path, error)
            return
        if not counts:
            _log.warning(
                "order %s was given up before it was answered, or the database has lost it: what was measured does not "
                "count",
                token,
            )
        self._spool.have_delivered(spooled)


def _step_back(host: FleetHost) -> None:
    """Have this thread, and those that it starts, run where and when nothing is measured."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), MAX_NICENESS)
    work_in_background(host.host.cpus)
