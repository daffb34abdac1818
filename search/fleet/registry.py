"""The register of agents: who has which name, since when it was heard of, and what it is at.

A name belongs to one process at a time. Another may take it once that is dead, which is known at once on the same
machine, and elsewhere by its silence. Times are by the clock of the database.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from servefit.errors import SpecError, StorageError
from servefit.search.fleet.host import FleetHost, HostState
from servefit.search.fleet.tables import fleet_tables
from servefit.search.storage import records
from servefit.search.storage.ownership import Owner
from servefit.search.storage.records import Unreadable
from servefit.search.storage.tables import now

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from servefit.search.fleet.database import Transactions
    from servefit.search.fleet.host import HostStatus, Leases
    from servefit.search.storage.addresses import DatabaseAddress

WAITING = "waiting for "
"""Begins what an agent says that it is doing while something else measures on its host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right of this process to a name, and the token that says so, which was last heard of at ``renewed_at``.
    ``was_set_back`` says that the database was then as it had been earlier: somebody has restored a backup."""

    name: str
    token: str
    renewed_at: float
    was_set_back: bool = False


class Registry:
    """The register of a fleet, in ``database``. Methods raise StorageError."""

    def __init__(self, database: Transactions, address: DatabaseAddress, leases: Leases) -> None:
        self._database = database
        self._address = address
        self._leases = leases

    def claim(self, host: FleetHost) -> Claim:
        """Take the name of ``host`` for this process. Raises SpecError where another one has it that lives."""
        token = secrets.token_hex(16)
        document = records.write(host, FleetHost)

        def take(connection: Connection) -> float:
            from sqlalchemy import insert, select, update

            agents = fleet_tables().agents
            at = now(connection)
            owner = replace(Owner.this_process(at), token=token)
            # The second of two that come at once waits for the first, and then sees its row.
            row = connection.execute(select(agents).where(agents.c.name == host.name).with_for_update()).one_or_none()
            values = {
                "token": token,
                "owner": records.write(owner, Owner),
                "renewed_at": at,
                "document": document,
                "doing": None,
            }
            if row is None:
                connection.execute(insert(agents).values(name=host.name, drained=0, **values))
                return at
            earlier = self._owner(row)
            if earlier is not None and self._lives(earlier, row.renewed_at, at):
                raise SpecError(
                    "name",
                    host.name,
                    f"is that of an agent that runs: {earlier}",
                    remedy="end that one, or give this one another --name",
                )
            connection.execute(update(agents).where(agents.c.name == host.name).values(**values))
            return at

        from sqlalchemy.exc import IntegrityError

        try:
            renewed_at = self._database.run(take)
        except StorageError as error:
            if isinstance(error.__cause__, IntegrityError):
                raise SpecError(
                    "name",
                    host.name,
                    "was taken by another agent just now, or is that of another role of the database",
                    remedy=f"give this one another --name, or let the owner say: servefit fleet forget {host.name}",
                ) from error
            raise
        return Claim(name=host.name, token=token, renewed_at=renewed_at)

    def renew(self, claim: Claim, doing: str | None) -> Claim | None:
        """Say that the agent lives, and what it is ``doing``; None is nothing. Return its claim as it is from now on,
        None where it has lost its name."""

        def say(connection: Connection) -> Claim | None:
            from sqlalchemy import select, update

            agents, at = fleet_tables().agents, now(connection)
            mine = (agents.c.name == claim.name, agents.c.token == claim.token)
            seen = connection.execute(select(agents.c.renewed_at).where(*mine).with_for_update()).scalar_one_or_none()
            if seen is None:
                return None
            connection.execute(update(agents).where(*mine).values(renewed_at=at, doing=doing))
            return replace(claim, renewed_at=at, was_set_back=seen < claim.renewed_at)

        return self._database.run(say)

    def leave(self, claim: Claim) -> None:
        """Give the name back."""

        def give_back(connection: Connection) -> None:
            from sqlalchemy import update

            agents = fleet_tables().agents
            mine = update(agents).where(agents.c.name == claim.name, agents.c.token == claim.token)
            connection.execute(mine.values(owner=records.NOTHING, doing=None))

        self._database.run(give_back)

    def hosts(self) -> tuple[HostState, ...]:
        """Return the hosts that were ever there and not forgotten, by name, without those that cannot be read."""
        return tuple(host for host in self._read() if isinstance(host, HostState))

    def unreadable(self) -> tuple[str, ...]:
        """Say which hosts cannot be read, and why."""
        return tuple(str(row) for row in self._read() if isinstance(row, Unreadable))

    def _read(self) -> list[HostState | Unreadable]:
        def read(connection: Connection) -> list[HostState | Unreadable]:
            from sqlalchemy import select

            agents = fleet_tables().agents
            at = now(connection)
            return [self._state(row, at) for row in connection.execute(select(agents).order_by(agents.c.name))]

        return self._database.run(read)

    def drain(self, name: str, *, drained: bool = True) -> None:
        """Give the host no more orders, or orders again. Raises SpecError for one that is not known."""

        def write(connection: Connection) -> bool:
            from sqlalchemy import update

            agents = fleet_tables().agents
            statement = update(agents).where(agents.c.name == name).values(drained=int(drained))
            return bool(connection.execute(statement).rowcount)

        if not self._database.run(write):
            raise self._unknown(name)

    def forget(self, name: str) -> None:
        """Delete what is known of a host. Raises SpecError for one that is not known, or whose agent lives."""

        def delete_it(connection: Connection) -> bool:
            from sqlalchemy import delete, select

            agents = fleet_tables().agents
            row = connection.execute(select(agents).where(agents.c.name == name).with_for_update()).one_or_none()
            if row is None:
                return False
            owner = self._owner(row)
            if owner is not None and self._lives(owner, row.renewed_at, now(connection)):
                raise SpecError("host", name, f"has an agent that runs: {owner}", remedy="end it first")
            connection.execute(delete(agents).where(agents.c.name == name))
            return True

        if not self._database.run(delete_it):
            raise self._unknown(name)

    def _unknown(self, name: str) -> SpecError:
        names = [state.host.name for state in self.hosts()]
        if not names:
            return SpecError("host", name, "is not known", remedy="start an agent there: servefit agent --storage URL")
        return SpecError.unknown("host", name, names)

    def _state(self, row: Any, at: float) -> HostState | Unreadable:
        try:
            host: FleetHost = records.read(row.document, FleetHost, f"agent {row.name}")
            owner: Owner | None = records.read(row.owner, Owner | None, f"agent {row.name}")
        except Unreadable as error:
            return Unreadable(error.message, remedy="end that agent, and start it again")
        silent_s = max(0.0, at - row.renewed_at)
        doing = row.doing or ""
        return HostState(
            host=host,
            status=self._status(row, owner, at),
            silent_s=silent_s,
            doing=doing,
            process="" if owner is None else str(owner),
            token=row.token,
        )

    def _status(self, row: Any, owner: Owner | None, at: float) -> HostStatus:
        silent_s = at - row.renewed_at
        if owner is None or (owner.is_on_this_machine and not owner.lives(at)) or silent_s >= self._leases.lost_s:
            return "gone"
        if silent_s >= self._leases.silent_s:
            return "silent"
        if row.doing:
            return "waiting" if row.doing.startswith(WAITING) else "measuring"
        return "drained" if row.drained else "idle"

    def _lives(self, owner: Owner, renewed_at: float, at: float) -> bool:
        """Return whether the process may be alive: on this machine that is known, elsewhere by its silence."""
        if owner.is_on_this_machine:
            return owner.lives(at)
        return at - renewed_at < self._leases.silent_s

    def _owner(self, row: Any) -> Owner | None:
        try:
            owner: Owner | None = records.read(row.owner, Owner | None, f"agent {row.name}")
        except Unreadable as error:
            raise self._address.error(error.message, remedy=f"servefit fleet forget {row.name!r}") from error
        return owner
