"""A load from several clients of a fleet: asks their agents for it, has them begin together, and waits for all.

No client is waited for without end: one that is not ready in time, or does not answer, makes the load INVALID.
"""

from __future__ import annotations

import secrets
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from servefit.errors import AgentLost, MeasurementError, ServefitError, StorageError
from servefit.quantities import given_text, span_text
from servefit.search.fleet.database import fleet_address, fleet_leases
from servefit.search.fleet.dispatcher import Dispatcher
from servefit.search.fleet.load.judging import judged
from servefit.search.fleet.load.load_result import LoadClientResult
from servefit.search.fleet.load.merging import ResponseTimes
from servefit.search.fleet.load.recording import BLOCKS
from servefit.search.fleet.load.requests import check_supported, client_orders, sent_payload
from servefit.search.fleet.load.starts import Starts
from servefit.search.fleet.load_orders import LoadPart
from servefit.search.fleet.orders import Order
from servefit.search.fleet.registry import Registry
from servefit.search.storage.blobs import Blobs
from servefit.search.storage.jobs import JobStore
from servefit.search.storage.outages import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servefit.errors import ServefitError
    from servefit.search.fleet.host import HostState
    from servefit.search.fleet.load.load_result import ClientsLoadTest
    from servefit.search.fleet.load.requests import LoadSubject
    from servefit.search.fleet.load_orders import LoadClient
    from servefit.search.fleet.orders import Answer
    from servefit.search.fleet.selection import Selection
    from servefit.search.optimizer.progress import Progress
    from servefit.search.request.load_request import LoadRequest


_MAX_NAME = 63
"""Letters of the name of a job among orders."""


@dataclass(slots=True)
class AskedClient:
    """``order`` asks a client for its part. ``waits_for`` is what it was last said to do; ``lost`` is why nothing comes
    of it, where that is known."""

    order: Order
    asked: LoadClient
    answer: Future[Answer] = field(default_factory=Future)
    waits_for: str = ""
    lost: str | None = None

    @classmethod
    def on(cls, host: str, asked: LoadClient, authority: str) -> AskedClient:
        """Return the client on ``host``, not asked yet, for a load on ``authority``."""
        order = Order(
            token=secrets.token_hex(16),
            host=host,
            job=f"load on {authority}"[:_MAX_NAME],
            asked=asked,
            limit_s=asked.duration_s,
            elapsed_s=0.0,
        )
        return cls(order, asked)

    @property
    def host(self) -> str:
        return self.order.host

    def failure(self) -> ServefitError | None:
        """Return what kept the client from its part, once it has answered; None where nothing did."""
        try:
            failure = self.answer.result().failure
        except AgentLost as error:
            return error
        return None if failure is None else failure.as_error()

    def result(self) -> LoadClientResult:
        """Return what became of the client, which has answered or is lost."""
        part = None
        lost = self.lost
        if lost is None:
            error = self.failure()
            lost = None if error is None else reason_of(error)
        if lost is None:
            result = self.answer.result().result
            part = result if isinstance(result, LoadPart) and _is_whole(result) else None
            lost = None if part is not None else "its answer is damaged"
        return LoadClientResult(host=self.host, rate_per_s=self.asked.rate_per_s, part=part, lost=lost)


def reason_of(error: ServefitError) -> str:
    """Return why a client is lost, without its host."""
    return error.reason if isinstance(error, AgentLost) else error.message


def _is_whole(part: LoadPart) -> bool:
    try:
        ResponseTimes.of(part.blocks)
    except ValueError:
        return False
    return len(part.blocks) == BLOCKS


READY_S = 60.0
"""For an agent to start a process, ask the endpoint what it speaks, connect and warm up, beside the time that it may
wait for its host. As patient as with load clients that are started here."""

LEAD_S = 2.0
"""Between the moment that a start is named and the start: clients look ten times a second, and a cable may be out for
more than one of them."""

ANSWER_S = 60.0
"""For the last answers, and for the delivery of what was measured while a cable was out. Chosen, not measured."""

_LOOK_S = 0.1


def load_from_clients(
    subject: LoadSubject,
    request: LoadRequest,
    selection: Selection,
    *,
    storage: str | None,
    wait_s: float = 0.0,
    progress: Progress,
) -> ClientsLoadTest:
    """Load the endpoint from every host that ``selection`` chooses of the fleet in the database at ``storage``.

    Each sends an equal part of the rate. It may wait for ``wait_s`` until nothing else measures on its host.

    Raises SpecError where the request or the choice is wrong, PayloadMismatch and MeasurementError where a client could
    not begin as it finds the endpoint, and StorageError. What goes wrong with a client later is in the result.
    """
    check_supported(request)
    address = fleet_address(storage)
    began_s = time.monotonic()
    with JobStore.open(storage, patience_s=PATIENCE_S) as store:
        leases = fleet_leases(store.database, address)
        there = Registry(store.database, address, leases).hosts()
        hosts = selection.choose(there)
        ready_s = READY_S + wait_s
        payload = None if subject.payload is None else sent_payload(subject.payload, Blobs.of(store))
        asked = client_orders(subject, request, len(hosts), payload, start_within_s=ready_s + LEAD_S)
        clients = [
            AskedClient.on(host.host.name, order, subject.authority) for host, order in zip(hosts, asked, strict=True)
        ]
        dispatcher = Dispatcher(store.database, address, leases)
        load = _Load(dispatcher, Starts(store.database), clients, progress)
        # The threads of the pool get an error when the dispatcher ends.
        with ThreadPoolExecutor(len(clients)) as pool, dispatcher.running():
            try:
                load.ask(pool)
                if load.wait_until_ready(ready_s):
                    load.start()
            finally:
                with suppress(StorageError):
                    load.forget()
    left_out = tuple(f"{why}, and sent nothing" for why in selection.left_out(there))
    results = [client.result() for client in clients]
    load_test = judged(subject.url, request, results, warnings=left_out, elapsed_s=time.monotonic() - began_s)
    summary = load_test.summary
    if summary is not None and summary.samples and not any(client.answered for client in load_test.clients):
        kinds = ", ".join(summary.errors) or "no answer"
        raise MeasurementError(f"{subject.url} answered nothing: {kinds}", remedy="see what it logs")
    return load_test


class _Load:
    """Clients, from their orders to their answers."""

    def __init__(
        self, dispatcher: Dispatcher, starts: Starts, clients: Sequence[AskedClient], progress: Progress
    ) -> None:
        self._dispatcher = dispatcher
        self._starts = starts
        self._clients = clients
        self._progress = progress

    @property
    def _tokens(self) -> list[str]:
        return [client.order.token for client in self._clients]

    def ask(self, pool: ThreadPoolExecutor) -> None:
        """Give every client its order."""
        self._progress.stage(f"asking {', '.join(client.host for client in self._clients)}")
        for client in self._clients:

            def on_state(state: HostState, client: AskedClient = client) -> None:
                client.waits_for = state.doing

            client.answer = pool.submit(partial(self._dispatcher.ask, client.order, on_state=on_state))

    def wait_until_ready(self, within_s: float) -> bool:
        """Wait until all clients are ready, and return whether they are; those that are not are lost.

        Raises the error of a client that cannot begin because of what was asked, or of the endpoint.
        """
        until_s = time.monotonic() + within_s
        ready: frozenset[str] = frozenset()
        while len(ready) < len(self._clients):
            ended = [client for client in self._clients if client.answer.done()]
            if ended:
                self._give_up_before(ended[0])
                return False
            if time.monotonic() > until_s:
                for client in self._clients:
                    waited = f", {client.waits_for}" if client.waits_for else ""
                    late = f"it was not ready within {span_text(within_s)}{waited}"
                    client.lost = "it was ready, and others were not" if client.order.token in ready else late
                self._dispatcher.withdraw(*self._tokens)
                return False
            time.sleep(_LOOK_S)
            ready = self._starts.ready(self._tokens)
        return True

    def start(self) -> None:
        """Have all clients begin together, and wait for their answers."""
        asked = self._clients[0].asked
        self._starts.name_start(self._tokens, lead_s=LEAD_S)
        rate_per_s = sum(client.asked.rate_per_s for client in self._clients)
        self._progress.stage(f"{given_text(rate_per_s)} requests/s from {len(self._clients)} clients")
        answer_s = LEAD_S + asked.duration_s + asked.timeout_s + ANSWER_S
        _, missing = wait([client.answer for client in self._clients], timeout=answer_s)
        late = [client for client in self._clients if client.answer in missing]
        for client in late:
            client.lost = f"it did not answer within {span_text(ANSWER_S)} of the end"
        self._dispatcher.withdraw(*(client.order.token for client in late))

    def forget(self) -> None:
        """Delete what clients were told of the start."""
        self._starts.forget(self._tokens)

    def _give_up_before(self, ended: AskedClient) -> None:
        """Give all clients up, as this one ended before there was a start."""
        error = ended.failure()
        self._dispatcher.withdraw(*self._tokens)
        if error is not None and not isinstance(error, AgentLost):
            raise _named(error, ended.host)
        for client in self._clients:
            if client is not ended:
                client.lost = f"nothing was sent, as {ended.host} was lost"
        ended.lost = None if error is None else reason_of(error)


def _named(error: ServefitError, host: str) -> ServefitError:
    """Return the error with the host in it, where it is about how that host sees the endpoint."""
    if type(error) is MeasurementError:
        return MeasurementError(f"{host}: {error.message}", remedy=error.remedy)
    return error
