"""The queue of a fleet by itself."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import psycopg
import pytest

from servefit.errors import StorageError
from servefit.search.fleet.database import fleet_address
from servefit.search.fleet.notices import conninfo
from servefit.search.fleet.queue import open_queue

pytestmark = pytest.mark.integration


def test_an_open_queue_outlives_the_restoring_of_a_backup_which_makes_its_tables_anew(fleet_url: str) -> None:
    address = fleet_address(fleet_url)

    async def put_before_and_after() -> None:
        async with open_queue(address) as queue:
            for number in range(6):  # psycopg prepares what is asked a sixth time
                await queue.put("rack3-07", f"before-{number}")
            with psycopg.connect(conninfo(address), autocommit=True) as connection:
                connection.execute("DROP SCHEMA fleet CASCADE")
                connection.execute("CREATE SCHEMA fleet")
            async with open_queue(address) as restoring:
                await restoring.make()
            with suppress(StorageError):
                await queue.put("rack3-07", "lost")
            await queue.put("rack3-07", "after")

    asyncio.run(put_before_and_after())
    with psycopg.connect(conninfo(address)) as connection:
        queued = connection.execute("SELECT args ->> 'token' FROM procrastinate_jobs").fetchall()
    assert queued == [("after",)]
