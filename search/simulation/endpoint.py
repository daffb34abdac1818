"""The queue of an endpoint: what a request costs there beside its prediction, and how its workers serve connections.

A worker of an endpoint is one event loop. It reads what has come, joins it into calls, and writes the answers once the
calls are over. So every request takes ``request_ns`` of the worker beside its prediction, half of it before the call
and half after, and every call ``call_ns``. A request that meets an idle worker takes longer: the CPU has to wake up,
and caches are cold. How much longer depends on how long the worker was idle, and is drawn from what was measured.

Connections belong to workers, and so do requests: each worker has a queue of its own. A request goes to any of them,
as behind a balancer that knows nothing of them. The costs are measured in ``optimizer.endpoint_survey``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, Self, TypeAlias

import numpy as np

from servefit.checks import check_above_zero, check_at_least, check_whole
from servefit.profiler.evidence.problem import Problem
from servefit.profiler.queueing.after_idle import AfterIdle, check_ascending_from_0, extra_after
from servefit.profiler.queueing.discipline import Discipline, ServedRequests
from servefit.showing import shown
from servefit.stored import StoredMember

if TYPE_CHECKING:
    from servefit.profiler.queueing.service import DrawnTimes
    from servefit.profiler.record.types import Configuration

_MAX_TURN_NS = 250_000
"""Calls follow one another for so long before answers are written, as in ``servefit.serving.batching``."""

SURVEY_S = 7.0
"""The time of measuring the costs of an endpoint on an idle machine, with the start of three endpoints, roughly."""

_CLIENT_BUSY = 0.5
"""A process of a load client that is busy for more of the time adds to what it measures. Chosen, not measured."""

_ASSIGNMENT_SEED = 0x5EED
"""Requests go to the same workers in every simulation, so that rates differ by what they do to the queue alone."""


@shown()
class EndpointCosts(StoredMember, frozen=True, kw_only=True):
    """The time that requests of one shape take in an endpoint on this host beside their predictions, as it was measured
    with one worker.

    ``request_ns`` and ``call_ns`` are of a busy worker; ``after_idle`` is by how long it was idle, ascending from 0.
    ``rows`` are the rows of a request, ``request_bytes`` the mean length of its body, and ``form`` the protocol.
    ``joined`` is the most requests that a call held: of 1, ``call_ns`` is in ``request_ns``. ``single_ns`` is of a call
    of one request, for which nothing is joined; None where it is the sum of the two. ``client_ns`` is what sending a
    request and reading its answer takes a busy load client, which measures the time of an answer when it has read it.
    ``enough_for_per_s`` is the rate up to which they are enough although no more were joined. ``problems`` are what
    the machine got in the way with. Raises SpecError.
    """

    request_ns: float
    call_ns: float
    after_idle: tuple[AfterIdle, ...]
    rows: int
    request_bytes: int
    form: str = "open-inference"
    joined: int = 1
    single_ns: float | None = None
    client_ns: float = 0.0
    enough_for_per_s: float = 0.0
    problems: tuple[Problem, ...] = ()

    def __post_init__(self) -> None:
        check_above_zero("request_ns", self.request_ns)
        check_at_least("call_ns", self.call_ns, 0)
        check_at_least("client_ns", self.client_ns, 0)
        check_whole("rows", self.rows, least=1)
        check_whole("joined", self.joined, least=1)
        check_at_least("single_ns", self.of_call_ns(1), self.request_ns)
        check_ascending_from_0(self.after_idle)

    def stretched(self, slower: float) -> Self:
        """Return costs of a busy worker that takes ``slower`` times as long."""
        single_ns = None if self.single_ns is None else slower * self.single_ns
        return replace(self, request_ns=slower * self.request_ns, call_ns=slower * self.call_ns, single_ns=single_ns)

    def of_call_ns(self, requests: int) -> float:
        """Return what a worker that is busy takes for a call of so many requests beside the call itself."""
        if requests == 1 and self.single_ns is not None:
            return self.single_ns
        return self.call_ns + self.request_ns * requests

    def typical_extra_ns(self, idle_ns: float) -> float:
        """Return the median of what a request takes longer after the worker was idle for ``idle_ns``."""
        extra_ns = self.after(idle_ns)
        return extra_ns[len(extra_ns) // 2]

    def after(self, idle_ns: float) -> tuple[float, ...]:
        """Return what a request takes longer after the worker was idle for ``idle_ns``: equally likely, ascending."""
        return extra_after(idle_ns, self.after_idle)


def usual_costs(measured: Mapping[str, EndpointCosts]) -> EndpointCosts | None:
    """Return the first of the ``measured`` costs, for backends whose endpoints were not measured; None where there are
    none."""
    return next(iter(measured.values()), None)


def costs_for(backend: str, measured: Mapping[str, EndpointCosts]) -> EndpointCosts | None:
    """Return the ``measured`` costs of endpoints of ``backend``, or the usual ones where it was not measured."""
    return measured.get(backend) or usual_costs(measured)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointQueue:
    """The queues of an endpoint with so many ``workers``, each of which serves batches of up to ``max_batch`` requests
    with ``costs`` of its own beside the predictions. Raises SpecError."""

    costs: EndpointCosts
    workers: int = 1
    max_batch: int = 1
    batch_delay_us: int = 0

    def __post_init__(self) -> None:
        check_whole("workers", self.workers, least=1)
        check_whole("batch", self.max_batch, least=1)
        check_whole("delay", self.batch_delay_us, least=0)

    @classmethod
    def of(cls, configuration: Configuration, costs: EndpointCosts) -> Self:
        """Return the queues of ``configuration``."""
        return cls(
            costs=costs,
            workers=configuration.workers,
            max_batch=configuration.max_batch,
            batch_delay_us=configuration.batch_delay_us,
        )

    @property
    def delay_ns(self) -> int:
        return 1000 * self.batch_delay_us if self.max_batch > 1 else 0

    def overhead_ns(self, requests: int) -> float:
        """Return what a worker that is busy takes for a call of so many requests beside the call itself."""
        return self.costs.of_call_ns(requests)


Queue: TypeAlias = Discipline | EndpointQueue
"""The queues of a deployment: of the model in process, or of an endpoint."""


def queue_of(configuration: Configuration, costs: EndpointCosts | None) -> Queue:
    """Return the queues of ``configuration``: of an endpoint with these ``costs``, or in process where there are
    none."""
    return Discipline.of(configuration) if costs is None else EndpointQueue.of(configuration, costs)


def serve_connections(due_ns: np.ndarray, drawn: DrawnTimes, queue: EndpointQueue) -> ServedRequests:
    """Serve what is due at ``due_ns`` (n,), ascending. ``drawn`` has times for n calls or more; all other workers are
    taken to be busy.

    Returns:
        The requests in the order in which they were due; ``batches`` in that in which calls began, of each worker by
        itself.
    """
    total = len(due_ns)
    random = np.random.default_rng(_ASSIGNMENT_SEED)
    worker = random.integers(queue.workers, size=total) if queue.workers > 1 else np.zeros(total, dtype=np.int64)
    ranks = random.random(total).tolist()
    started_ns, ended_ns = np.zeros(total), np.zeros(total)
    sizes: list[int] = []
    for number in range(queue.workers):
        own = np.flatnonzero(worker == number)
        started, ended, calls = _serve_one(due_ns[own].tolist(), drawn, queue, ranks)
        started_ns[own], ended_ns[own] = started, ended
        sizes += calls
    ended_ns = _read_by_client(due_ns, ended_ns, queue.costs.client_ns)
    return ServedRequests(
        scheduled_ns=due_ns.astype(np.float64),
        started_ns=started_ns,
        ended_ns=ended_ns,
        batches=np.array(sizes, dtype=np.int64),
    )


def _read_by_client(sent_ns: np.ndarray, answered_ns: np.ndarray, request_ns: float) -> np.ndarray:
    """Return when a load client has read each answer, which sends what is due and reads what is answered one after the
    other, in the order in which it comes up, and takes ``request_ns`` for both together: answers of one call come at
    once. It has as many processes as leave each idle for half of the time, so that it bounds no rate.

    By Lindley's recursion, as a running maximum. Where the client is late with sending is left out.
    """
    span_ns = float(answered_ns.max(initial=0.0) - sent_ns.min(initial=0.0))
    processes = max(1, ceil(request_ns * len(sent_ns) / (_CLIENT_BUSY * span_ns))) if span_ns > 0 else 1
    each_ns = request_ns / 2 / processes
    moments_ns = np.concatenate([sent_ns, answered_ns])
    order = np.argsort(moments_ns, kind="stable")
    before_ns = np.arange(len(order)) * each_ns
    done_ns = np.empty(len(order))
    done_ns[order] = np.maximum.accumulate(moments_ns[order] - before_ns) + before_ns + each_ns
    return done_ns[len(sent_ns) :]


def _serve_one(
    due: list[float], drawn: DrawnTimes, queue: EndpointQueue, ranks: list[float]
) -> tuple[list[float], list[float], list[int]]:
    """Serve the requests of one worker. Return when the call of each began and when each was answered, and the sizes of
    the calls."""
    costs, most, delay_ns = queue.costs, queue.max_batch, queue.delay_ns
    half_ns, slowdown = costs.request_ns / 2, drawn.slowdowns[queue.workers]
    means_ns, shapes, calls_drawn = drawn.means_ns, drawn.shapes, drawn.calls
    total = len(due)
    started, ended = [0.0] * total, [0.0] * total
    sizes: list[int] = []
    waiting: deque[tuple[int, float]] = deque()
    extra_of: dict[int, float] = {}
    now, nth, call = 0.0, 0, 0
    while nth < total or waiting:
        if waiting:
            # The first of a batch that is not full waits for others.
            leaves = waiting[0][1] + delay_ns
            now = max(now, min(leaves, due[nth]) if nth < total else leaves)
        elif due[nth] > now:
            extra_ns = costs.after(due[nth] - now)
            typical_ns = extra_ns[len(extra_ns) // 2]
            # The worker is late by what is typical. What comes on top of that in the tail is lost on the way.
            extra_of[nth] = extra_ns[int(ranks[nth] * len(extra_ns))] - typical_ns
            now = due[nth] + typical_ns
        while nth < total and due[nth] <= now:
            now += half_ns
            # What came during a call is read after it, and waits for others from then on.
            waiting.append((nth, now))
            nth += 1
        answered: list[int] = []
        turn_began = now
        while waiting and now - turn_began <= _MAX_TURN_NS:
            size = min(len(waiting), most)
            if size < most and delay_ns and now < waiting[0][1] + delay_ns:
                break
            members = [waiting.popleft()[0] for _ in range(size)]
            for member in members:
                started[member] = now
            # The rest of what its requests take is before and after it.
            now += (
                costs.of_call_ns(size)
                - costs.request_ns * size
                + means_ns[size] * shapes[size][call % calls_drawn] * slowdown
            )
            call += 1
            sizes.append(size)
            answered += members
        for member in answered:
            now += half_ns
            ended[member] = max(now + extra_of.pop(member, 0.0), started[member])
    return started, ended, sizes
