"""The queue of a fleet: how an order comes to the agent of its host, one at a time. No other module knows
procrastinate.

Every host has a queue of its own, and all that is in it has the same lock, which the database gives to one order at a
time. What is queued is the token of an order alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from procrastinate import App
    from procrastinate.jobs import Job

    from servefit.search.storage.addresses import Address

Carry = Callable[[str], Awaitable[None]]
"""Carries the order of a token out. It is cancelled when the order is withdrawn."""

POLL_S = 1.0
"""Procrastinate 3.10 can lose the notice of an order that is put while another one ends, and then finds it when it
looks next. Looking every second costs four wake-ups more than every five."""

POOL_TIMEOUT_S = 10.0
"""A connection that is not there by then does not come."""

_TASK = "servefit.order"


@asynccontextmanager
async def open_queue(address: Address) -> AsyncIterator[Queue]:
    """Connect to the queue in the database at ``address``. Raises StorageError where that is not possible."""
    from procrastinate import App, PsycopgConnector

    connector = PsycopgConnector(conninfo=_conninfo(address), min_size=1, max_size=3, timeout=POOL_TIMEOUT_S)
    app = App(connector=connector)
    with _reporting(address):
        await app.open_async()
    try:
        yield Queue(app, address)
    finally:
        await app.close_async()


class Queue:
    """An open queue. Methods raise StorageError."""

    def __init__(self, app: App, address: Address) -> None:
        self._app = app
        self._address = address

    async def make(self) -> None:
        """Make the tables of the queue, unless they are there."""
        with _reporting(self._address):
            if not await self._app.check_connection_async():
                await self._app.schema_manager.apply_schema_async()

    async def is_made(self) -> bool:
        """Return whether the tables of the queue are there."""
        with _reporting(self._address):
            return await self._app.check_connection_async()

    async def put(self, host: str, token: str) -> None:
        """Queue the order of that token for ``host``."""
        task = self._app.configure_task(_TASK, queue=_queue(host), lock=_queue(host), allow_unknown=True)
        with _reporting(self._address):
            await task.defer_async(token=token)

    async def withdraw(self, host: str, token: str) -> None:
        """Take an order out of the queue of ``host``; its agent ends it if it has begun."""
        with _reporting(self._address):
            for job in await self._jobs(host):
                if job.task_kwargs.get("token") == token and job.id is not None:
                    await self._app.job_manager.cancel_job_by_id_async(job.id, abort=True)

    async def end_begun(self, host: str) -> None:
        """Have done with the orders that an earlier agent of ``host`` took and did not end: until then none of the
        others begins."""
        from procrastinate.jobs import Status

        with _reporting(self._address):
            for job in await self._jobs(host):
                if job.status == Status.DOING.value and job.id is not None:
                    await self._app.job_manager.finish_job_by_id_async(job.id, Status.FAILED, delete_job=False)

    async def work(self, host: str, carry: Carry) -> None:
        """Carry out the orders of ``host`` as they come, one after the other, until this is cancelled; what runs then
        is cancelled too. Raises StorageError where the database goes away; what runs then is waited for first."""

        @self._app.task(name=_TASK)
        async def order(token: str) -> None:
            await carry(token)

        try:
            await self._app.run_worker_async(
                queues=[_queue(host)],
                name=host,
                concurrency=1,
                fetch_job_polling_interval=POLL_S,
                shutdown_graceful_timeout=0,
                install_signal_handlers=False,
            )
        except _database_errors() as error:
            raise self._address.error(_reason(error)) from error
        raise self._address.error("its connection broke")

    async def _jobs(self, host: str) -> list[Job]:
        listed: list[Job] = []
        for status in ("todo", "doing"):
            listed.extend(await self._app.job_manager.list_jobs_async(queue=_queue(host), status=status))
        return listed


@asynccontextmanager
async def listening(address: Address, channel: str) -> AsyncIterator[AsyncIterator[str]]:
    """Listen to ``channel`` of the database; give what is said there. Raises StorageError, also while it is read."""
    from psycopg import AsyncConnection
    from psycopg.sql import SQL, Identifier

    with _reporting(address):
        connection = await AsyncConnection.connect(_conninfo(address), autocommit=True)
    async with connection:

        async def said() -> AsyncIterator[str]:
            with _reporting(address):
                async for notice in connection.notifies():
                    yield notice.payload

        with _reporting(address):
            await connection.execute(SQL("LISTEN {}").format(Identifier(channel)))
        yield said()


def _queue(host: str) -> str:
    return f"host:{host}"


def _conninfo(address: Address) -> str:
    """Return the address as libpq takes it, with the limits of how long connecting may take."""
    from psycopg.conninfo import make_conninfo

    (*positional,), named = address.url.get_dialect()().create_connect_args(address.url)
    return make_conninfo(*positional, **{**address.engine_options["connect_args"], **named})


def _database_errors() -> tuple[type[Exception], ...]:
    import psycopg
    import psycopg_pool
    from procrastinate import exceptions

    return exceptions.ProcrastinateException, psycopg.Error, psycopg_pool.PoolTimeout, psycopg_pool.PoolClosed


@contextmanager
def _reporting(address: Address) -> Iterator[None]:
    """Turn what procrastinate and psycopg raise into StorageError."""
    try:
        yield
    except _database_errors() as error:
        raise address.error(_reason(error)) from error


def _reason(error: BaseException) -> str:
    """Return the driver's own words; procrastinate's say nothing of them."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error) or type(error).__name__
