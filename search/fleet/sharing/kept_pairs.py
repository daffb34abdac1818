"""Earlier measurements of pairs: the orders of a fleet are kept with their answers, and say it.

So a pair that was measured once is not measured again for another plan, and nothing is kept in a second place.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from hashlib import sha256
from typing import TYPE_CHECKING

from servefit.search.fleet.checks.answers import check_pair
from servefit.search.fleet.checks.unfit import Unfit
from servefit.search.fleet.old_orders import RESULT
from servefit.search.fleet.orders import Answer
from servefit.search.fleet.pair_orders import LoadPair, PairLoaded
from servefit.search.fleet.tables import ANSWERED, fleet_tables
from servefit.search.storage import records
from servefit.search.storage.records import Unreadable

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from servefit.profiler.machine.host import Host
    from servefit.search.fleet.database import Transactions

_DIGITS = 32


def new_token(asked: LoadPair) -> str:
    """Return a token for an order of that pair, which tells what was asked."""
    return f"{_prefix(asked)}{secrets.token_hex(8)}"


def measured_before(
    database: Transactions, asked: LoadPair, hosts: Mapping[str, Host]
) -> tuple[str, PairLoaded] | None:
    """Return the last answer to an order of that pair, by any of ``hosts``, by name, and which that was; None where
    there is none that fits, or where the machine got in the way. Raises StorageError."""

    def read(connection: Connection) -> list[tuple[str, str]]:
        from sqlalchemy import select

        orders = fleet_tables().orders
        mine = (orders.c.token.startswith(_prefix(asked), autoescape=True), orders.c.state == ANSWERED)
        query = select(orders.c.host, orders.c.answer).where(*mine, orders.c.host.in_(sorted(hosts)))
        return [(row.host, row.answer) for row in connection.execute(query.order_by(orders.c.given_at.desc()))]

    for host, text in database.run(read):
        try:
            result = records.read(text, Answer, "the answer").result
        except Unreadable:
            continue  # of a newer agent
        if isinstance(result, PairLoaded) and not result.is_disturbed and _fits(asked, result, hosts[host]):
            return host, result
    return None


def _fits(asked: LoadPair, loaded: PairLoaded, host: Host) -> bool:
    """Return whether what is kept fits what was asked for: it may have been written since."""
    try:
        check_pair(asked, loaded, host)
    except Unfit:
        return False
    return True


def _prefix(asked: LoadPair) -> str:
    return f"{RESULT}{sha256(records.write(asked, LoadPair).encode()).hexdigest()[:_DIGITS]}-"
