"""Pairs of models as agents are asked to put them under load: orders, answers that are kept, and the models that agents
need for it.

A job that is over needs no model in the database any more, so those of a pair are put there again, from the folder of
its job on this host, and are there until the orders are over.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING

from servefit.errors import AgentLost, SpecError, StorageError
from servefit.search.fleet.checks.answers import check_pair
from servefit.search.fleet.checks.unfit import Unfit
from servefit.search.fleet.old_orders import RESULT
from servefit.search.fleet.orders import Answer, Order
from servefit.search.fleet.pair_orders import LoadPair, PairLoaded
from servefit.search.fleet.selection import AWAY
from servefit.search.fleet.sharing.pair_bench import BETWEEN_S
from servefit.search.fleet.subject import delete_unneeded, publish
from servefit.search.fleet.tables import ANSWERED, SCHEMA, fleet_tables
from servefit.search.storage import records
from servefit.search.storage.blobs import MAX_BYTES, Blobs
from servefit.search.storage.job_folder import PAYLOAD_FILE, job_folder
from servefit.search.storage.records import Unreadable
from servefit.showing import shown

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from servefit.profiler.machine.host import Host
    from servefit.search.fleet.database import Transactions
    from servefit.search.fleet.dispatcher import Dispatcher
    from servefit.search.fleet.fleet_job import FleetJob
    from servefit.search.fleet.host import HostState
    from servefit.search.fleet.sharing.fitting import FittingPair
    from servefit.search.optimizer.progress import Progress
    from servefit.search.storage.jobs import JobStore


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


_log = logging.getLogger(__name__)

STARTING_S = 60.0
"""For two models to be fetched, compiled where the cache has lost them, and started. Chosen, not measured."""

TIMES_TURNS = 2
"""A pair may take so many times as long as all turns do: some are made again. An agent that is silent is given up after
twice that, so more would be waited for in vain. Chosen, not measured."""


@shown("models", "host_class", "holds", "reason")
@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredPair:
    """The outcome of a pair on ``host``, of ``host_class``: ``found``, or why there is nothing, which is ``lost``.
    ``before`` says that it was measured for an earlier plan."""

    models: tuple[str, str]
    host_class: str
    host: str
    found: PairLoaded | None
    lost: str | None = None
    before: bool = False

    @property
    def holds(self) -> bool:
        """Whether both models hold their SLAs beside each other, so that they may be planned so."""
        return self.found is not None and self.found.holds

    @property
    def reason(self) -> str | None:
        """Why they are not planned together, None where they may be."""
        if self.found is None or self.holds:
            return self.lost
        failing = [
            f"{model} is {side.beside.verdict} beside the other: {side.beside.reason}"
            for model, side in zip(self.models, self.found.sides, strict=True)
            if side.beside.verdict != "PASS"
        ]
        return "; ".join(failing)


@dataclass(slots=True, kw_only=True)
class PairsAsked:
    """Asks the agents of a fleet for pairs of ``jobs``, by model. With ``again`` what was measured before counts for
    nothing."""

    store: JobStore
    dispatcher: Dispatcher
    jobs: Mapping[str, FleetJob]
    progress: Progress
    again: bool = False

    def measure(self, pairs: Sequence[FittingPair]) -> tuple[MeasuredPair, ...]:
        """Return what came of each of ``pairs``: measured before, or now, side by side on as many hosts as there are.

        Raises SpecError where a model that is needed is neither in the database nor on this host, CorruptModel where it
        has changed, and StorageError. What goes wrong on a host later is in the result.
        """
        results = {nth: before for nth, pair in enumerate(pairs) if (before := self._before(pair)) is not None}
        taken = dict.fromkeys((state.host.name for state in self._there()), 0)
        orders: dict[int, Order] = {}
        for nth, pair in enumerate(pairs):
            there = [host for host in pair.hosts if host in taken]
            if nth in results:
                continue
            if not there:
                results[nth] = _lost(pair, pair.hosts[0], "no agent of its hosts takes orders")
                continue
            host = min(there, key=lambda name: taken[name])
            taken[host] += 1
            orders[nth] = self._order(pair, host)
        if orders:
            measured = self._ask([pairs[nth] for nth in orders], list(orders.values()))
            results.update(zip(orders, measured, strict=True))
        return tuple(results[nth] for nth in range(len(pairs)))

    def clean_up(self) -> None:
        """Delete what was put into the database for agents, unless others need it."""
        try:
            delete_unneeded(self.store)
        except StorageError as error:  # the next one cleans up
            _log.warning("models that no job needs stay in the database: %s", error)

    def _before(self, pair: FittingPair) -> MeasuredPair | None:
        kept = None if self.again else measured_before(self.store.database, pair.asked, self._hosts(pair))
        if kept is None:
            return None
        host, loaded = kept
        return MeasuredPair(models=pair.models, host_class=pair.offer.host_class, host=host, found=loaded, before=True)

    def _hosts(self, pair: FittingPair) -> dict[str, Host]:
        hosts = {host.name: host.host for job in self.jobs.values() for host in job.header.hosts}
        return {name: hosts[name] for name in pair.hosts}

    def _there(self) -> list[HostState]:
        hosts = self.dispatcher.registry.hosts()
        return [state for state in hosts if state.status not in AWAY and state.host.schema == SCHEMA]

    def _order(self, pair: FittingPair, host: str) -> Order:
        return Order(
            token=new_token(pair.asked),
            host=host,
            job=pair.asked.sides[0].job,
            asked=pair.asked,
            limit_s=limit_s(pair.asked),
            elapsed_s=0.0,
        )

    def _ask(self, pairs: Sequence[FittingPair], orders: Sequence[Order]) -> list[MeasuredPair]:
        """Have ``orders`` carried out, and return what came of them."""
        try:
            # Open orders first: what they name is not deleted then.
            for order in orders:
                self.dispatcher.orders.give(order)
            for model in dict.fromkeys(model for pair in pairs for model in pair.models):
                self._provide(model)
            for pair, order in zip(pairs, orders, strict=True):
                self.progress.stage(f"{' beside '.join(pair.models)} under load on {order.host}")
            with ThreadPoolExecutor(len(orders), "servefit pair") as pool:
                running = [pool.submit(self._measured, pair, order) for pair, order in zip(pairs, orders, strict=True)]
                try:
                    return [future.result() for future in running]
                except BaseException:
                    self.dispatcher.close()
                    raise
        except BaseException:
            with suppress(StorageError):
                self.dispatcher.withdraw(*(order.token for order in orders))
            raise

    def _measured(self, pair: FittingPair, order: Order) -> MeasuredPair:
        try:
            answer = self.dispatcher.ask(order, on_state=partial(self._tell, pair))
        except AgentLost as error:
            return _lost(pair, order.host, f"{order.host}: {error.reason}")
        return _of(pair, order.host, answer)

    def _tell(self, pair: FittingPair, state: HostState) -> None:
        if state.status == "waiting":
            self.progress.stage(f"{' beside '.join(pair.models)}: {state.host.name} is {state.doing}")

    def _provide(self, model: str) -> None:
        """Put a model and its payload where agents find them."""
        job = self.jobs[model]
        header, blobs = job.header, Blobs.of(self.store)
        needed = [header.payload.digest] + ([header.model.digest] if header.model.size_bytes <= MAX_BYTES else [])
        if all(map(blobs.exists, needed)):
            return
        payload = job_folder(job.name) / PAYLOAD_FILE
        if not payload.exists():
            raise SpecError(
                "model",
                f"{model}={job.name}",
                "is not in the database any more, as its job is over, and the folder of the job is not on this host",
                remedy="plan on the host, and as the user, that began the job, or leave --share out",
            )
        publish(blobs, header, payload)


def limit_s(asked: LoadPair) -> float:
    """Return the seconds that an agent may take for a pair."""
    return STARTING_S + TIMES_TURNS * 3 * asked.rounds * (asked.turn_s + BETWEEN_S)


def _of(pair: FittingPair, host: str, answer: Answer) -> MeasuredPair:
    if answer.failure is not None:
        return _lost(pair, host, f"{host}: {answer.failure.as_error().message}")
    if not isinstance(answer.result, PairLoaded):
        return _lost(pair, host, f"{host}: its agent answered with something else")
    return MeasuredPair(models=pair.models, host_class=pair.offer.host_class, host=host, found=answer.result)


def _lost(pair: FittingPair, host: str, reason: str) -> MeasuredPair:
    return MeasuredPair(models=pair.models, host_class=pair.offer.host_class, host=host, found=None, lost=reason)
