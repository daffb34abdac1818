"""The queue of a fleet: how an order comes to the agent of its host, one at a time. No other module knows
procrastinate.

Every host has a queue of its own, and all that is in it has the same lock, which the database gives to one order at a
time. What is queued is the token of an order alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Any, cast

from servefit.errors import StorageError
from servefit.search.fleet.notices import ListeningConnection, reason_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from procrastinate import App
    from procrastinate.jobs import Job
    from psycopg_pool import AsyncConnectionPool

    from servefit.search.storage.addresses import DatabaseAddress

Carry = Callable[[str], Coroutine[Any, Any, None]]
"""Carries the order of a token out. It is cancelled when the order is withdrawn."""

POLL_S = 1.0
"""Between two looks for orders whose notice is lost."""

ABORT_POLL_S = 5.0
"""Between two looks whether what is carried out is to be ended, where the notice of that is lost."""

_MAX_QUEUE, _DIGEST = 40, 12

_TASK = "servefit.order"


@asynccontextmanager
async def open_queue(address: DatabaseAddress, *, channel: str | None = None) -> AsyncIterator[Queue]:
    """Connect to the queue in the database at ``address``, and listen to ``channel``, by one connection. Raises
    StorageError where that is not possible."""
    from procrastinate import App, PsycopgConnector

    app = App(connector=PsycopgConnector())
    with _quiet():
        async with AsyncExitStack() as stack:
            with _reporting(address):
                line = await stack.enter_async_context(ListeningConnection(address, channel).opened())
                await app.open_async(cast("AsyncConnectionPool", line))
            yield Queue(app, address, line)


class Queue:
    """An open queue. Methods raise StorageError."""

    def __init__(self, app: App, address: DatabaseAddress, line: ListeningConnection) -> None:
        self._app = app
        self._address = address
        self._line = line

    def notices(self) -> AsyncIterator[str]:
        """Yield what is said on the channel that the queue was opened with. Raises StorageError once the connection is
        known to have broken."""
        return self._line.notices()

    async def make(self) -> None:
        """Make the tables of the queue, unless they are there."""
        with _reporting(self._address):
            if not await self._app.check_connection_async():
                await self._app.schema_manager.apply_schema_async()

    async def put(self, host: str, token: str) -> None:
        """Queue the order of that token for ``host``."""
        task = self._app.configure_task(_TASK, queue=_queue(host), lock=_queue(host), allow_unknown=True)
        with _reporting(self._address):
            await task.defer_async(token=token)

    async def put_again(self, host: str, tokens: Iterable[str]) -> None:
        """Queue those of the orders for ``host`` that are in its queue no more, or never were."""
        with _reporting(self._address):
            queued = {job.task_kwargs.get("token") for job in await self._jobs(host)}
        for token in tokens:
            if token not in queued:
                await self.put(host, token)

    async def withdraw(self, host: str, token: str) -> None:
        """Take an order out of the queue of ``host``; its agent ends it if it has begun."""
        with _reporting(self._address):
            for job in await self._jobs(host):
                if job.task_kwargs.get("token") == token and job.id is not None:
                    await self._app.job_manager.cancel_job_by_id_async(job.id, abort=True, delete_job=True)

    async def end_begun(self, host: str) -> None:
        """Have done with the orders that an earlier agent of ``host`` took and did not end: until then none of the
        others begins. What is over in its queue is deleted."""
        from procrastinate.jobs import Status

        with _reporting(self._address):
            for job in await self._jobs(host):
                if job.status == Status.DOING.value and job.id is not None:
                    await self._app.job_manager.finish_job_by_id_async(job.id, Status.FAILED, delete_job=True)
            await self._app.job_manager.delete_old_jobs(
                0, queue=_queue(host), include_failed=True, include_cancelled=True, include_aborted=True
            )

    async def work(self, host: str, carry: Carry, *, until: asyncio.Event | None = None) -> None:
        """Carry out the orders of ``host``, on whose :func:`channel_of` the queue listens, as they come, one after the
        other, until this is cancelled; what runs then is cancelled too. Returns once ``until`` is set and nothing runs.
        Raises StorageError where the database goes away; what runs then is waited for first."""
        manager = self._app.job_manager
        with _reporting(self._address):
            worker = await manager.register_worker()
        try:
            await self._work(host, worker, carry, _Notices(self.notices()), until or asyncio.Event())
        finally:
            with suppress(StorageError), _reporting(self._address):
                await manager.unregister_worker(worker)

    async def _work(self, host: str, worker: int, carry: Carry, notices: _Notices, until: asyncio.Event) -> None:
        manager = self._app.job_manager
        async with notices.heeded():
            while not until.is_set():
                # In this order: what is put from now on is noticed.
                notices.came.clear()
                notices.check()
                with _reporting(self._address):
                    job = await manager.fetch_job([_queue(host)], worker)
                if job is None:
                    await notices.wait(POLL_S)
                else:
                    await self._carry_out(job, carry, notices)

    async def _carry_out(self, job: Job, carry: Carry, notices: _Notices) -> None:
        """Carry out a queued order, unless it is withdrawn meanwhile, and have done with it."""
        from procrastinate.jobs import Status

        if job.id is None:
            raise RuntimeError("what was fetched from the queue has a number")
        running = asyncio.ensure_future(carry(str(job.task_kwargs["token"])))
        try:
            while not running.done():
                # Anybody may say anything: a notice is a reason to look.
                await notices.wait(ABORT_POLL_S, running)
                if not running.done() and await self._is_withdrawn(job):
                    running.cancel()
            status = Status.ABORTED if running.cancelled() else Status.SUCCEEDED
            failure = None if running.cancelled() else running.exception()
        except asyncio.CancelledError:
            running.cancel()
            await asyncio.wait([running])
            status, failure = Status.ABORTED, None
            raise
        finally:
            with _reporting(self._address):
                await self._app.job_manager.finish_job(job, status, delete_job=True)
        if failure is not None:
            raise failure

    async def _is_withdrawn(self, job: Job) -> bool:
        """Return whether the order is to be ended, as far as the database can be asked."""
        try:
            with _reporting(self._address):
                return job.id in set(await self._app.job_manager.list_jobs_to_abort_async(job.queue))
        except StorageError:
            return False

    async def _jobs(self, host: str) -> list[Job]:
        listed: list[Job] = []
        for status in ("todo", "doing"):
            listed.extend(await self._app.job_manager.list_jobs_async(queue=_queue(host), status=status))
        return listed


class _Notices:
    """The notices to an agent; ``came`` is set by each. What is in them is not read: the database says what holds."""

    def __init__(self, notices: AsyncIterator[str]) -> None:
        self._notices = notices
        self._heeding: asyncio.Task[None] | None = None
        self.came = asyncio.Event()

    @asynccontextmanager
    async def heeded(self) -> AsyncIterator[None]:
        """Heed notices for as long as the block lasts."""
        self._heeding = asyncio.create_task(self._heed())
        try:
            yield
        finally:
            self._heeding.cancel()
            await asyncio.gather(self._heeding, return_exceptions=True)

    def check(self) -> None:
        """Raise StorageError where no more notices can come."""
        if self._heeding is not None and self._heeding.done():
            self._heeding.result()

    async def wait(self, seconds: float, *running: asyncio.Future[None]) -> None:
        """Wait for a notice, or the end of what is ``running``, for so long at most."""
        came = asyncio.ensure_future(self.came.wait())
        awaited: list[asyncio.Future[Any]] = [came, *running]
        try:
            await asyncio.wait(awaited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            came.cancel()
        if running:
            self.came.clear()

    async def _heed(self) -> None:
        async for _ in self._notices:
            self.came.set()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep procrastinate from logging, with tracebacks, what is raised here too. How much it says otherwise belongs to
    the user and is put back."""
    logger = logging.getLogger("procrastinate")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _queue(host: str) -> str:
    """Return the name of the queue of a host. What notices are sent by has it in its name, and that has 63 letters."""
    if len(host) <= _MAX_QUEUE:
        return host
    digest = sha256(host.encode()).hexdigest()[:_DIGEST]
    return f"{host[: _MAX_QUEUE - _DIGEST - 1]}~{digest}"


def channel_of(host: str) -> str:
    """Return the channel of notices about the queue of a host."""
    from procrastinate.manager import get_channel_for_queues

    (channel,) = get_channel_for_queues([_queue(host)])
    return channel


def _database_errors() -> tuple[type[Exception], ...]:
    import psycopg
    from procrastinate import exceptions

    return exceptions.ProcrastinateException, psycopg.Error


@contextmanager
def _reporting(address: DatabaseAddress) -> Iterator[None]:
    """Turn what procrastinate and psycopg raise into StorageError."""
    try:
        yield
    except _database_errors() as error:
        raise address.error(reason_of(error)) from error
