"""Deletes orders that are over, once they are old."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servefit.search.fleet.tables import OPEN, fleet_tables
from servefit.search.storage.tables import now

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from servefit.search.storage.jobs import JobStore

KEPT_S = 24 * 3600.0
"""Old orders are kept for so long, to look up how a job went. Chosen, not measured."""


RESULT = "pair-"
"""Begins the tokens of orders whose answers are looked up later, as those of pairs of models are: nothing else has
them."""


def delete_old_orders(store: JobStore) -> int:
    """Delete the orders in ``store`` that were given more than a day ago, are not open, and belong to no job that can
    be resumed: to one that is over or was deleted, or to none, as those of a load. Those with a RESULT are kept. Return
    how many were deleted. A job that cannot be read may be one that can be resumed. Raises StorageError."""
    needing = [
        job.name for job in store.overview() if job.state is None or job.state.status not in ("COMPLETED", "FAILED")
    ]

    def delete_them(connection: Connection) -> int:
        from sqlalchemy import delete, inspect

        orders = fleet_tables().orders
        if not inspect(connection).has_table(orders.name):
            return 0
        old = orders.c.given_at < now(connection) - KEPT_S
        no_result = orders.c.token.not_like(f"{RESULT}%")
        unneeded = delete(orders).where(old, no_result, orders.c.state != OPEN, orders.c.job.not_in(needing))
        return connection.execute(unneeded).rowcount

    return store.database.run(delete_them)
