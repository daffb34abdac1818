"""The parent's side of the http driver: starts load clients, hands them runs, and puts together what they recorded.

The server is there already; what can be seen of it is the business of ``servers``. The clients live on CPUs that the
caller chooses, outside of the server's where there are any, and nothing of them is left behind.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from servefit.errors import MeasurementError
from servefit.profiler.arrivals.contract import MAX_ARRIVALS
from servefit.profiler.defaults import MAX_CONNECTIONS
from servefit.profiler.drivers.driving.ending import ClosedLoopEnd, OpenLoopEnd
from servefit.profiler.drivers.driving.pinning import pinned_to
from servefit.profiler.drivers.driving.processes import WorkerProcesses
from servefit.profiler.drivers.driving.schedule import ArrivalSchedule
from servefit.profiler.drivers.driving.setup import write_setup
from servefit.profiler.drivers.http.assembling import Conditions, closed_run, open_run
from servefit.profiler.drivers.http.client_load import ClientLoad
from servefit.profiler.drivers.http.closed_loop_memory import ClosedLoopMemory
from servefit.profiler.drivers.http.messages import BeginClosed, BeginOpen, Prepare, Ready, Record, Setup, Started
from servefit.profiler.machine.envelope.affinity import open_affinity
from servefit.profiler.machine.slot.holding import measuring_slot
from servefit.profiler.record.traffic import NS_PER_S, OpenLoop, Traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from servefit.profiler.drivers.driving.ending import Enough
    from servefit.profiler.drivers.driving.memory import SharedWords
    from servefit.profiler.drivers.http.destination import Destination
    from servefit.profiler.drivers.http.servers import LoadedServer
    from servefit.profiler.evidence.stopping import StoppingConditions
    from servefit.profiler.machine.envelope.types import Envelope
    from servefit.profiler.machine.telemetry import Telemetry
    from servefit.profiler.record.traffic import ClosedLoop
    from servefit.profiler.record.types import Configuration, Run

_SERVE = "servefit.profiler.drivers.http.client:serve"
_START_TIMEOUT_S = 60.0
"""As patient as with an artifact that is loaded (``start_workers``): a client only imports numpy and uvloop."""

_LEAD_NS = 20_000_000
"""For the message that begins a run to reach every client before it does."""

_SPIN_NS = 200_000
"""Waking up takes 0.1 ms, and at times twice as long."""

_MIN_OPEN = 16
"""Connections that are opened beforehand even where few are usual. Chosen, not measured."""


@contextmanager
def start_clients(
    destination: Destination,
    rows: np.ndarray,
    server: LoadedServer,
    *,
    cpus: tuple[int, ...],
    own_cpus: tuple[int, ...] = (),
    shares_cpus: bool = False,
    connections: int = MAX_CONNECTIONS,
    rows_per_request: int = 1,
    timeout_s: float = 10.0,
    grace_s: float = 30.0,
) -> Iterator[HttpDriver]:
    """Start a load client on each of ``cpus``, that send ``rows`` (n, features) to ``destination``.

    The measuring slot is held meanwhile, and this thread keeps to ``own_cpus``, or to those of the clients where there
    are none. ``shares_cpus`` says that ``server`` uses these CPUs too: then clients do not spin, and this thread stays
    where it is. An open loop uses up to ``connections`` connections. Who has not connected, or answered, after
    ``timeout_s`` has failed. A run may take its duration, ``timeout_s``, and ``grace_s`` more.

    Raises WorkerCrashed or TimedOut.
    """
    clients = len(cpus)
    setup = Setup(
        address=destination.address,
        requests=destination.requests(rows, rows_per_request=rows_per_request),
        clients=clients,
        timeout_s=timeout_s,
    )
    with ExitStack() as stack:
        slot = stack.enter_context(measuring_slot(f"load on {destination.address.authority}"))
        memory_fd, setup_fd = os.memfd_create("servefit-run"), os.memfd_create("servefit-setup")
        stack.callback(os.close, memory_fd)
        stack.callback(os.close, setup_fd)
        write_setup(setup, setup_fd)
        envelope = stack.enter_context(open_affinity(tuple(sorted(set(cpus))), None))
        processes = WorkerProcesses(envelope, _SERVE, memory_fd, setup_fd, slot=slot, called="load client")
        stack.callback(processes.end)
        for number in range(clients):
            processes.launch({}, cpus=(cpus[number],))
        processes.answers(Started, "starting load clients", _START_TIMEOUT_S)
        yield HttpDriver(
            destination,
            server,
            processes,
            memory_fd=memory_fd,
            cpus=cpus,
            own_cpus=() if shares_cpus else own_cpus or cpus,
            shares_cpus=shares_cpus,
            connections=connections,
            patience_s=timeout_s + grace_s,
        )


class HttpDriver:
    """Load clients that are ready for runs: a Driver. Made by :func:`start_clients`."""

    def __init__(
        self,
        destination: Destination,
        server: LoadedServer,
        processes: WorkerProcesses,
        *,
        memory_fd: int,
        cpus: tuple[int, ...],
        own_cpus: tuple[int, ...],
        shares_cpus: bool,
        connections: int,
        patience_s: float,
    ) -> None:
        self.destination = destination
        self._server = server
        self._processes = processes
        self._memory_fd = memory_fd
        self._cpus = cpus
        self._own_cpus = own_cpus
        self._shares_cpus = shares_cpus
        self._connections = connections
        self._has_answered = False
        self._patience_s = patience_s

    @property
    def configuration(self) -> Configuration | None:
        return self._server.configuration

    @property
    def envelope(self) -> Envelope | None:
        return self._server.envelope

    @property
    def usual_users(self) -> int:
        return self._server.usual_users

    @property
    def client_pids(self) -> tuple[int, ...]:
        """The process ids of the load clients."""
        return self._processes.pids

    def run(
        self,
        traffic: Traffic,
        *,
        enough: Enough | None = None,
        stopping: StoppingConditions | None = None,
        begins_at: Callable[[], int] | None = None,
    ) -> Run:
        """Carry out ``traffic`` as ``Driver.run`` does. Raises MeasurementError too where the server answers nothing,
        before the run begins, and the error for a server of ours that dies meanwhile.

        An open loop begins when ``begins_at`` says, by ``time.monotonic_ns``: it is called once all is warm, and may
        take a while. None is at once."""
        clients = len(self._processes.pids)
        usual = -(-self.usual_users // clients)
        if isinstance(traffic, OpenLoop):
            most = max(1, self._connections // clients)
            self._prepare(
                Prepare(
                    connections=min(most, max(_MIN_OPEN, usual)),
                    users=usual,
                    rate_per_s=traffic.rate_per_s / clients,
                    most_connections=most,
                )
            )
            before = self._server.calls_by_size()
            run = self._run_open(traffic, enough, most, begins_at)
            return replace(run, largest_call=largest_between(before, self._server.calls_by_size()))
        users = -(-traffic.users // clients)
        self._prepare(Prepare(connections=users, users=min(usual, users)))
        return self._run_closed(traffic, stopping)

    def _prepare(self, order: Prepare) -> None:
        self._processes.send(order)
        ready = self._processes.answers(Ready, "the warm-up", self._patience_s, self._server.check)
        if any(client.answered for client in ready):
            self._has_answered = True
            return
        self._server.check()
        errors = sorted({kind for client in ready for kind in client.errors}) or ["no connection"]
        what = "answers no more requests" if self._has_answered else "answers no request"
        raise MeasurementError(
            f"{self.destination.address.url} {what}: {', '.join(errors)}",
            remedy="see what it logs, and whether it takes the payload",
        )

    def _run_open(
        self, traffic: OpenLoop, enough: Enough | None, connections: int, begins_at: Callable[[], int] | None
    ) -> Run:
        clients = len(self._processes.pids)
        with ArrivalSchedule.write(self._memory_fd, traffic.arrivals_ns(), workers=clients) as schedule:
            with self._watching(schedule.words) as watched:
                start_ns = time.monotonic_ns() + _LEAD_NS if begins_at is None else begins_at()
                end_ns = start_ns + round(traffic.duration_s * NS_PER_S)
                schedule.begin_at(start_ns, end_ns)
                begin = BeginOpen(
                    start_ns=start_ns,
                    # Spinning makes a client punctual, unless it takes the CPU from the server.
                    spin_ns=0 if self._shares_cpus else _SPIN_NS,
                    connections=connections,
                    backlog_cap=self._backlog_cap(traffic),
                )
                end = OpenLoopEnd(schedule, enough)
                records = self._carry_out(begin, watched.load, traffic.duration_s, end.check)
            conditions = self._conditions(watched)
            return open_run(traffic, schedule, records, conditions, (start_ns, end_ns), decided=end.decided)

    def _run_closed(self, traffic: ClosedLoop, stopping: StoppingConditions | None) -> Run:
        with ClosedLoopMemory.write(self._memory_fd, clients=len(self._processes.pids)) as shared:
            with self._watching(shared.words) as watched:
                start_ns = time.monotonic_ns() + _LEAD_NS
                joins_ns = np.array([round(join * NS_PER_S) for join in traffic.joins_s()], dtype=np.int64) + start_ns
                end_ns = start_ns + round(traffic.duration_s * NS_PER_S)
                begin = BeginClosed(
                    joins_ns=joins_ns,
                    end_ns=end_ns,
                    limits_ns=None
                    if stopping is None
                    else tuple(threshold.limit_ns for threshold in stopping.thresholds),
                )
                end = ClosedLoopEnd(shared, traffic, stopping, start_ns=start_ns)
                records = self._carry_out(begin, watched.load, traffic.duration_s, end.check)
            stopped = None if end.reached is None else (end.reached, shared.stopped_ns or end_ns)
        plateau_ns = (int(joins_ns[-1]), end_ns)
        return closed_run(traffic, records, self._conditions(watched), plateau_ns, start_ns=start_ns, stopped=stopped)

    @contextmanager
    def _watching(self, words: SharedWords) -> Iterator[_Watched]:
        """Watch server and clients, and keep out of their way, for as long as the block lasts."""
        with pinned_to(self._own_cpus), self._server.watch(self._own_cpus) as telemetry:
            yield _Watched(ClientLoad(self._processes.pids, self._cpus, words), telemetry)

    def _carry_out(
        self, begin: BeginOpen | BeginClosed, load: ClientLoad, duration_s: float, meanwhile: Callable[[], None]
    ) -> list[Record]:
        """Let the clients begin, and wait for their records, calling ``meanwhile`` every now and then."""

        def check_all() -> None:
            load.sample()
            self._server.check()
            meanwhile()

        self._processes.send(begin)
        records = self._processes.answers(Record, "the run", duration_s + self._patience_s, check_all)
        load.sample()
        self._server.check()
        return records

    def _conditions(self, watched: _Watched) -> Conditions:
        """Return what was seen in a run that is over."""
        return Conditions(
            telemetry=() if watched.telemetry is None else watched.telemetry.points(),
            processes=self._server.processes(),
            load=watched.load,
            cpus=self._cpus,
            clients=len(self._processes.pids),
            shares_cpus=self._shares_cpus,
        )

    def _backlog_cap(self, traffic: OpenLoop) -> int:
        """Return the cap as in process: what arrives in half a second, and 200 full calls of every worker, of a steady
        rate."""
        if traffic.backlog_cap is not None:
            return traffic.backlog_cap
        if not traffic.is_steady:
            return MAX_ARRIVALS
        configuration = self.configuration
        calls = 200 if configuration is None else 200 * configuration.workers * configuration.max_batch
        return max(round(traffic.rate_per_s / 2), calls)


def largest_between(before: Mapping[int, int] | None, after: Mapping[int, int] | None) -> int | None:
    """Return the most requests that a call joined between two counts of calls by their size."""
    if before is None or after is None:
        return None
    return max((size for size, calls in after.items() if calls > before.get(size, 0)), default=None)


class _Watched(NamedTuple):
    load: ClientLoad
    telemetry: Telemetry | None
