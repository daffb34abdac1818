"""Makes what a fleet keeps in a database: tables of jobs, of agents and orders, and of the queue."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from servefit.search.fleet import rights, tables
from servefit.search.fleet.database import FleetDatabase, fleet_address, fleet_leases
from servefit.search.fleet.queue import open_queue
from servefit.search.storage.jobs import JobStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servefit.search.fleet.host import Leases
    from servefit.search.storage.addresses import DatabaseAddress


def make_fleet(storage: str | None, leases: Leases | None = None) -> DatabaseAddress:
    """Make what is not there yet, and return the address of the database. ``leases`` are those of the fleet; None
    leaves those that it has, or gives it the usual ones.

    Raises SpecError for a URL that can hold no fleet, StorageError where it cannot be reached or written, and where
    there is a fleet of another servefit.
    """
    address = fleet_address(storage)
    with JobStore.open(storage) as store:
        database = store.database
        if database.run(tables.schema) is not None:
            fleet_leases(database, address)
        database.run(partial(tables.make, leases=leases))
    asyncio.run(_make_queue(address))
    return address


def bind_agents(storage: str | None, roles: Sequence[str]) -> tuple[str, ...]:
    """Give ``roles`` the rights of agents in the fleet at ``storage`` and no others, and return what those who keep it
    have to know: also where there are no such roles.

    Raises SpecError for a role that is not there or that nothing binds, StorageError.
    """
    address = fleet_address(storage)
    database = FleetDatabase(address)
    try:
        if roles:
            return database.run(partial(rights.bind_agents, roles=roles))
        if database.run(rights.is_bound):
            return ()
        return (
            "whoever has the role of an agent may write the results of every host: give hosts roles of their own with "
            "--agent-role (docs/fleet.md)",
        )
    finally:
        database.close()


async def _make_queue(address: DatabaseAddress) -> None:
    async with open_queue(address) as queue:
        await queue.make()
