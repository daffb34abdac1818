"""The line to the database of a fleet: one connection for what is asked of the queue, and for notices meanwhile.

A server has few connections, and each agent keeps its own open. Reading notices costs nothing while none comes. Who
says what, and what is done about it, is for others.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from servefit.search.storage.addresses import DatabaseAddress


class ListeningConnection:
    """One connection to ``address``, which listens to ``channel`` where that is not None. To procrastinate it is a
    pool; a connection that broke is made anew when it is next asked for.

    Between queries the socket is watched for notices. ``AsyncConnection.notifies`` of psycopg 3.3 has the connection
    for itself, and wakes up ten times a second.
    """

    def __init__(self, address: DatabaseAddress, channel: str | None) -> None:
        self._address = address
        self._channel = channel
        self._connection: AsyncConnection | None = None
        self._one_at_a_time = asyncio.Lock()
        self._watched: int | None = None
        self._said: asyncio.Queue[str | None] = asyncio.Queue()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[ListeningConnection]:
        """Keep the connection for as long as the block lasts. Raises psycopg's errors where there is none."""
        async with self.connection():
            pass
        try:
            yield self
        finally:
            self._watch_no_more()
            if self._connection is not None:
                await self._connection.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection]:
        """Give the connection to one who asks at a time. Raises psycopg's errors where there is none."""
        from psycopg import InternalError
        from psycopg.pq import TransactionStatus

        async with self._one_at_a_time:
            if self._connection is None or self._connection.closed:
                self._connection = await self._connected()
            connection = self._connection
            self._watch_no_more()
            try:
                yield connection
            except InternalError:
                # Statements that it prepared before a backup was restored name types that are gone, and always will.
                await connection.close()
                raise
            finally:
                if connection.pgconn.transaction_status != TransactionStatus.IDLE:
                    await connection.close()
                if connection.closed:
                    self._said.put_nowait(None)
                else:
                    self._watch(connection)

    async def notices(self) -> AsyncIterator[str]:
        """Yield what is said on the channel. Raises StorageError once the connection is known to have broken."""
        while (payload := await self._said.get()) is not None:
            yield payload
        raise self._address.error("the connection for notices broke")

    async def _connected(self) -> AsyncConnection:
        from psycopg import AsyncConnection
        from psycopg.sql import SQL, Identifier

        connection = await AsyncConnection.connect(conninfo(self._address), autocommit=True)
        connection.add_notify_handler(lambda notice: self._said.put_nowait(notice.payload))
        if self._channel is not None:
            await connection.execute(SQL("LISTEN {}").format(Identifier(self._channel)))
        return connection

    def _watch(self, connection: AsyncConnection) -> None:
        from psycopg import OperationalError

        pgconn = connection.pgconn

        def read() -> None:
            try:
                pgconn.consume_input()
                while (notice := pgconn.notifies()) is not None:
                    self._said.put_nowait(notice.extra.decode())
            except OperationalError:
                self._watch_no_more()
                self._said.put_nowait(None)

        self._watched = connection.fileno()
        asyncio.get_running_loop().add_reader(self._watched, read)
        # What came with the last answer is here already.
        read()

    def _watch_no_more(self) -> None:
        if self._watched is not None:
            asyncio.get_running_loop().remove_reader(self._watched)
            self._watched = None


def conninfo(address: DatabaseAddress) -> str:
    """Return the address as libpq takes it, with the limits of how long connecting may take."""
    from psycopg.conninfo import make_conninfo

    (*positional,), named = address.url.get_dialect()().create_connect_args(address.url)
    return make_conninfo(*positional, **{**address.engine_options["connect_args"], **named})


def reason_of(error: BaseException) -> str:
    """Return the driver's own words; what wraps its errors says nothing of them."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error) or type(error).__name__
