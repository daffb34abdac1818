"""The orders of a fleet: what an agent is asked for, and what it answers, each as a row of its own under a token.

An order is open until it is answered or given up, whichever is first: the database decides, in one statement. What an
agent answers later is kept beside it, and counts for nothing. How an order comes to its agent is for ``queue``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from servefit import errors
from servefit.errors import MeasurementError, ServefitError
from servefit.profiler.queueing.service import ServiceTimes
from servefit.search.fleet.compiling import Compile, Compiled
from servefit.search.fleet.load_orders import LoadClient, LoadPart
from servefit.search.fleet.pair_orders import LoadPair, PairLoaded
from servefit.search.fleet.tables import ANSWERED, OPEN, SCHEMA, fleet_tables
from servefit.search.jobs.orders import Load, SurveyEndpoint, TimeCalls
from servefit.search.results.host_timing import HostTiming
from servefit.search.results.recommendation import Trial
from servefit.search.simulation.endpoint import EndpointCosts
from servefit.search.storage import records
from servefit.search.storage.records import Unreadable
from servefit.search.storage.tables import now
from servefit.stored import Stored

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from servefit.search.fleet.database import Transactions

CHANNEL = "servefit_answers"
"""The channel that tells its listeners the token of every order that is over."""


class Calibrate(Stored, frozen=True, kw_only=True):
    """Time the host, by fixed work and by calls of the model's own library: of ``subject``, as HostTiming names it."""

    subject: str | None = None


Ordered: TypeAlias = Calibrate | TimeCalls | SurveyEndpoint | Load | Compile | LoadClient | LoadPair
Result: TypeAlias = HostTiming | ServiceTimes | EndpointCosts | Trial | Compiled | LoadPart | PairLoaded

_Plain: TypeAlias = str | int | float | bool | None


class Order(Stored, frozen=True, kw_only=True):
    """An order of ``asked`` to the agent on ``host``, for ``job``. A LoadClient belongs to none, and ``job`` is what it
    is called. Carrying it out may take ``limit_s`` from when the host is free to measure; None is without a limit.
    ``elapsed_s`` of the job's time are over. ``model_digest`` is that of the job's model, which answers name too."""

    token: str
    host: str
    job: str
    asked: Ordered
    limit_s: float | None
    elapsed_s: float
    model_digest: str | None = None
    schema: int = SCHEMA

    @property
    def purpose(self) -> str:
        """The purpose of the order, in words."""
        return self.job if isinstance(self.asked, LoadClient) else f"job {self.job}"


class Failure(Stored, frozen=True, kw_only=True):
    """An error of servefit's own, as a document: the name of its class, and its plain fields."""

    error: str
    fields: Mapping[str, _Plain]

    @classmethod
    def of(cls, error: ServefitError) -> Failure:
        """Return ``error`` as a document. One of another package becomes that of ours that it derives from."""
        kind = next(ancestor for ancestor in type(error).__mro__ if ancestor.__module__ == errors.__name__)
        fields = {name: value for name, value in error.__dict__.items() if isinstance(value, _Plain)}
        return cls(error=kind.__name__, fields={**fields, "message": error.message, "remedy": error.remedy})

    def as_error(self) -> ServefitError:
        """Return the error; one that is not known here, as of a newer agent, is a MeasurementError."""
        kind = getattr(errors, self.error, None)
        if not (isinstance(kind, type) and issubclass(kind, ServefitError)):
            kind = MeasurementError
        error: ServefitError = kind.__new__(kind)
        error.args = (str(self.fields.get("message")),)
        error.__dict__.update(self.fields)
        return error


class Answer(Stored, frozen=True, kw_only=True):
    """The outcome of an order: a ``result`` or a ``failure``. ``waited_s`` is how long something else measured on the
    host before; ``remarks`` are what a reader of the job must know. ``model_digest`` is that of the model that was
    measured, and ``recorded`` what a load recorded: the file that keeps it on the host, in base64."""

    result: Result | None = None
    failure: Failure | None = None
    waited_s: float = 0.0
    remarks: tuple[str, ...] = ()
    model_digest: str | None = None
    recorded: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderState:
    """An order as it is now. ``state`` is OPEN, ANSWERED, or why it was given up, which an answer that cannot be read
    is a reason for. ``agent`` is the token of the agent that began it; None where none has. ``queued_s`` is how long
    that took."""

    state: str
    agent: str | None
    answer: Answer | None
    queued_s: float


class Orders:
    """The orders in ``database``. Methods raise StorageError."""

    def __init__(self, database: Transactions) -> None:
        self._database = database

    def give(self, order: Order) -> None:
        """Keep a new order, open. Doing so twice is doing it once."""
        text = records.write(order, Order)

        def add(connection: Connection) -> None:
            from sqlalchemy import insert, select

            orders = fleet_tables().orders
            if connection.execute(select(orders.c.token).where(orders.c.token == order.token)).one_or_none():
                return  # the server went away when this was done
            values = {"token": order.token, "host": order.host, "job": order.job, "state": OPEN, "document": text}
            connection.execute(insert(orders).values(**values, given_at=now(connection)))

        self._database.run(add)

    def begin(self, token: str, agent: str) -> Order | None:
        """Take an order for the ``agent`` of that token, and return it; None where it is given up, or was begun before:
        an order is carried out once at most. Raises Unreadable for one that a newer servefit gave."""

        def take(connection: Connection) -> str | None:
            from sqlalchemy import update

            orders = fleet_tables().orders
            free = (orders.c.token == token, orders.c.state == OPEN, orders.c.agent.is_(None))
            statement = update(orders).where(*free).values(agent=agent, began_at=now(connection))
            text: str | None = connection.execute(statement.returning(orders.c.document)).scalar_one_or_none()
            return text

        text = self._database.run(take)
        return None if text is None else records.read(text, Order, f"order {token}")

    def answer(self, token: str, agent: str, answer: Answer) -> bool:
        """Keep the answer to an order, and notify listeners. Return whether it counts: an answer to an order that
        was given up, or that another agent began, is kept beside it."""
        text = records.write(answer, Answer)

        def keep(connection: Connection) -> bool:
            from sqlalchemy import select, update

            orders = fleet_tables().orders
            mine = (orders.c.token == token, orders.c.agent == agent)
            counts = update(orders).where(*mine, orders.c.state == OPEN).values(state=ANSWERED, answer=text)
            if connection.execute(counts).rowcount:
                _tell(connection, token)
                return True
            kept = connection.execute(select(orders.c.answer).where(*mine)).scalar_one_or_none()
            if kept == text:
                return True  # the server went away when this was done
            connection.execute(update(orders).where(orders.c.token == token).values(late=text))
            return False

        return self._database.run(keep)

    def give_up(self, tokens: Iterable[str], reason: str) -> tuple[str, ...]:
        """Give up those of the orders that are still open, and return them."""
        tokens = list(tokens)

        def end(connection: Connection) -> tuple[str, ...]:
            from sqlalchemy import update

            orders = fleet_tables().orders
            still_open = update(orders).where(orders.c.token.in_(tokens), orders.c.state == OPEN)
            ended = connection.execute(still_open.values(state=reason[:_MAX_REASON]).returning(orders.c.token))
            given_up = tuple(ended.scalars())
            for token in given_up:
                _tell(connection, token)
            return given_up

        return self._database.run(end)

    def refuse(self, token: str, reason: str) -> None:
        """Have the answer to an order count for nothing. It is kept beside it."""

        def move(connection: Connection) -> None:
            from sqlalchemy import update

            orders = fleet_tables().orders
            answered = update(orders).where(orders.c.token == token, orders.c.state == ANSWERED)
            connection.execute(answered.values(state=reason[:_MAX_REASON], late=orders.c.answer, answer=None))

        self._database.run(move)

    def order(self, token: str) -> Order | None:
        """Return an order that was given, None where there is none. Raises Unreadable."""

        def read(connection: Connection) -> str | None:
            from sqlalchemy import select

            orders = fleet_tables().orders
            return connection.execute(select(orders.c.document).where(orders.c.token == token)).scalar_one_or_none()

        text = self._database.run(read)
        return None if text is None else records.read(text, Order, f"order {token}")

    def open_of(self, host: str, *, begun: bool) -> tuple[str, ...]:
        """Return the open orders of a host that an agent has begun, or that none has."""

        def read(connection: Connection) -> tuple[str, ...]:
            from sqlalchemy import select

            orders = fleet_tables().orders
            agent = orders.c.agent.is_not(None) if begun else orders.c.agent.is_(None)
            query = select(orders.c.token).where(orders.c.host == host, orders.c.state == OPEN, agent)
            return tuple(connection.execute(query).scalars())

        return self._database.run(read)

    def states(self, tokens: Iterable[str]) -> Mapping[str, OrderState]:
        """Return those of the orders that are known, as they are now."""
        tokens = list(tokens)

        def read(connection: Connection) -> list[Any]:
            from sqlalchemy import select

            orders = fleet_tables().orders
            times = (orders.c.given_at, orders.c.began_at)
            columns = (orders.c.token, orders.c.state, orders.c.agent, orders.c.answer, *times)
            return list(connection.execute(select(*columns).where(orders.c.token.in_(tokens))))

        return {row.token: _state(row) for row in self._database.run(read)}


def _state(row: Any) -> OrderState:
    state, answer = row.state, None
    try:
        answer = None if row.answer is None else records.read(row.answer, Answer, "the answer")
    except Unreadable as error:
        state = f"what its agent answered cannot be read: {error.message}"
    queued_s = 0.0 if row.began_at is None else max(0.0, row.began_at - row.given_at)
    return OrderState(state=state, agent=row.agent, answer=answer, queued_s=queued_s)


_MAX_REASON = 64
"""Letters of the column."""


def _tell(connection: Connection, token: str) -> None:
    """Notify listeners that the order is over, once the transaction is committed."""
    from sqlalchemy import text

    connection.execute(text("SELECT pg_notify(:channel, :token)"), {"channel": CHANNEL, "token": token})
