"""Rights of the roles of agents in the database of a fleet, by PostgreSQL's own grants and row-level security.

Such a role takes and answers orders for hosts whose names it has itself registered, and reads jobs. Roles that may
delete orders, such as those who begin jobs, are not bound: agents never may, so the rights on that table tell the two
apart. Until a role of agents is named no role is bound, and all who use the fleet may do everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from servefit.errors import SpecError

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

_UNBOUND = "(SELECT has_table_privilege('servefit_orders'::regclass, 'DELETE'))"
"""The table is meant, and not whatever is called so where a session looks first: its number is kept."""

_HOSTS = "SELECT name FROM servefit_agents WHERE role = current_user"

_QUEUES = """
    SELECT CASE WHEN length(name) <= 40 THEN name
    ELSE left(name, 27) || '~' || left(encode(sha256(convert_to(name, 'UTF8')), 'hex'), 12) END
    FROM servefit_agents WHERE role = current_user
"""
"""As ``queue`` names them."""

_ROWS = {
    "servefit_agents": "role = current_user",
    "servefit_orders": f"host IN ({_HOSTS})",
    "servefit_starts": "token IN (SELECT token FROM servefit_orders)",
    # Its lock is one of all queues.
    "procrastinate_jobs": f"queue_name IN ({_QUEUES}) AND lock = queue_name AND queueing_lock IS NULL",
    "procrastinate_workers": "role = current_user",
}
"""Conditions on the rows of a table that belong to the role that asks."""

_RIGHTS = {
    "servefit_fleet": "SELECT",
    "servefit_agents": (
        "SELECT, INSERT (name, token, owner, renewed_at, document, doing, drained), "
        "UPDATE (token, owner, renewed_at, document, doing)"
    ),
    "servefit_orders": "SELECT, UPDATE (state, agent, began_at, answer, late)",
    "servefit_starts": "SELECT, INSERT (token, ready_at)",
    # To open the job of an order
    "servefit_layout": "SELECT",
    "servefit_checked": "SELECT",
    "servefit_jobs": "SELECT",
    "servefit_documents": "SELECT",
    "servefit_blobs": "SELECT",
    "servefit_blob_chunks": "SELECT",
    "version_info": "SELECT",
    "alembic_version": "SELECT",
    # What procrastinate's functions and triggers do for a worker, in its name
    "procrastinate_jobs": (
        "SELECT, INSERT (queue_name, task_name, priority, lock, queueing_lock, args, scheduled_at), "
        "UPDATE (status, worker_id), DELETE"
    ),
    "procrastinate_workers": "SELECT, INSERT, DELETE",
    "procrastinate_events": "SELECT, INSERT (job_id, type, at)",
    "procrastinate_periodic_defers": "SELECT (job_id), UPDATE (job_id)",
}

_SEQUENCES = ("procrastinate_jobs_id_seq", "procrastinate_events_id_seq")


def bind_agents(connection: Connection, roles: Sequence[str]) -> tuple[str, ...]:
    """Give ``roles`` what agents need and no more, and return what they may do besides that is not this function's to
    take from them. Raises SpecError for a role that is not there, or that nothing binds."""
    from sqlalchemy import text

    for role in roles:
        _check_role(connection, role)
    for statement in _binding():
        connection.execute(text(statement))
    schema = connection.execute(text("SELECT current_schema()")).scalar_one()
    quote = connection.dialect.identifier_preparer.quote
    remarks = []
    for role in roles:
        for statement in _granting(quote(role), quote(schema), _own_tables(connection)):
            # A colon in a name begins no parameter.
            connection.execute(text(statement.replace(":", "\\:")))
        if _has(connection, "has_table_privilege(:role, 'servefit_orders', 'DELETE')", role):
            raise SpecError(
                "agent_role", role, "has rights from another role, or as PUBLIC, so that nothing binds it",
                remedy="REVOKE them, or name another role",
            )  # fmt: skip
        if _has(connection, "has_schema_privilege(:role, current_schema(), 'CREATE')", role):
            remarks.append(
                f"{role} may make tables and functions in the schema {schema}, which others might use by mistake: "
                f"REVOKE CREATE ON SCHEMA {quote(schema)} FROM PUBLIC"
            )
    return tuple(remarks)


def is_bound(connection: Connection) -> bool:
    """Return whether there are roles of agents, which are bound to hosts of their own."""
    from sqlalchemy import text

    query = "SELECT relrowsecurity FROM pg_class WHERE oid = 'servefit_orders'::regclass"
    return bool(connection.execute(text(query)).scalar_one())


def _check_role(connection: Connection, role: str) -> None:
    from sqlalchemy import text

    query = """
        SELECT rolsuper OR rolbypassrls OR pg_has_role(rolname, relowner, 'MEMBER') FROM pg_roles, pg_class
        WHERE rolname = :role AND pg_class.oid = 'servefit_orders'::regclass
    """
    is_free = connection.execute(text(query), {"role": role}).scalar_one_or_none()
    if is_free is None:
        raise SpecError(
            "agent_role", role, "is no role of the database", remedy=f"CREATE ROLE \"{role}\" LOGIN PASSWORD '...'"
        )
    if is_free:
        raise SpecError(
            "agent_role", role, "is a superuser, bypasses row security or owns the fleet: nothing binds it",
            remedy="give agents a role of their own",
        )  # fmt: skip


def _binding() -> Iterator[str]:
    """Yield the statements that bind the roles of agents. Rows from before belong to the role that executes
    them."""
    for table in ("servefit_agents", "procrastinate_workers"):
        yield f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS role name NOT NULL DEFAULT current_user"
    for table, own in _ROWS.items():
        yield f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"
        yield f"DROP POLICY IF EXISTS servefit ON {table}"
        yield f"CREATE POLICY servefit ON {table} USING ({_UNBOUND} OR ({own}))"


def _own_tables(connection: Connection) -> list[str]:
    from sqlalchemy import text

    query = """
        SELECT quote_ident(relname) FROM pg_class WHERE relkind IN ('r', 'S') AND pg_has_role(relowner, 'USAGE')
        AND relnamespace = current_schema()::regnamespace
    """
    return list(connection.execute(text(query)).scalars())


def _granting(role: str, schema: str, tables: Sequence[str]) -> Iterator[str]:
    """Yield what gives ``role`` its rights, and takes all others on ``tables`` from it."""
    yield f"REVOKE ALL ON {', '.join(tables)} FROM {role}"
    yield f"REVOKE CREATE ON SCHEMA {schema} FROM {role}"
    yield f"GRANT USAGE ON SCHEMA {schema} TO {role}"
    for table, rights in _RIGHTS.items():
        yield f"GRANT {rights} ON {table} TO {role}"
    for sequence in _SEQUENCES:
        yield f"GRANT USAGE ON SEQUENCE {sequence} TO {role}"


def _has(connection: Connection, right: str, role: str) -> bool:
    from sqlalchemy import text

    return bool(connection.execute(text(f"SELECT {right}"), {"role": role}).scalar_one())
