"""Notices from the database of a fleet, as they are said, and how psycopg is given its address.

Reading them costs nothing while none comes. Who says what, and what is done about it, is for others.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from servefit.search.storage.addresses import Address


@asynccontextmanager
async def listening(address: Address, channel: str) -> AsyncIterator[AsyncIterator[str]]:
    """Listen to ``channel`` of the database; give what is said there. Raises StorageError, also while it is read, once
    the connection is known to be broken.

    The socket is watched for that. ``AsyncConnection.notifies`` of psycopg 3.3 wakes up ten times a second instead.
    """
    from psycopg import AsyncConnection, Error, OperationalError
    from psycopg.sql import SQL, Identifier

    try:
        connection = await AsyncConnection.connect(conninfo(address), autocommit=True)
    except Error as error:
        raise address.error(reason_of(error)) from error
    async with connection:
        try:
            await connection.execute(SQL("LISTEN {}").format(Identifier(channel)))
        except Error as error:
            raise address.error(reason_of(error)) from error
        said: asyncio.Queue[str | None] = asyncio.Queue()
        loop, socket, pgconn = asyncio.get_running_loop(), connection.fileno(), connection.pgconn

        def read() -> None:
            try:
                pgconn.consume_input()
                while (notice := pgconn.notifies()) is not None:
                    said.put_nowait(notice.extra.decode())
            except OperationalError:
                loop.remove_reader(socket)
                said.put_nowait(None)

        async def notices() -> AsyncIterator[str]:
            while (payload := await said.get()) is not None:
                yield payload
            raise address.error("the connection for notices broke")

        loop.add_reader(socket, read)
        try:
            yield notices()
        finally:
            loop.remove_reader(socket)


def conninfo(address: Address) -> str:
    """Return the address as libpq takes it, with the limits of how long connecting may take."""
    from psycopg.conninfo import make_conninfo

    (*positional,), named = address.url.get_dialect()().create_connect_args(address.url)
    return make_conninfo(*positional, **{**address.engine_options["connect_args"], **named})


def reason_of(error: BaseException) -> str:
    """Return the driver's own words; what wraps its errors says nothing of them."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error) or type(error).__name__
