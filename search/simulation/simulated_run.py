"""Simulated runs of a traffic on a configuration, with service times that were measured.

The queues are those of the in-process driver (``profiler.queueing.open_loop``, ``closed_loop``) and of an endpoint;
figures mean what they mean in ``profiler.evidence.summary``. Time that the driver or the machine loses at times (late
wake-ups, other processes) is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

import numpy as np

from servefit.checks import check_whole
from servefit.profiler.evidence.backlog import cannot_drain, is_large
from servefit.profiler.evidence.summary import NS_PER_MS
from servefit.profiler.queueing.discipline import CALL_OVERHEAD_NS, REQUEST_OVERHEAD_NS, Discipline, ServedRequests
from servefit.profiler.queueing.open_loop import serve_arrivals
from servefit.profiler.record.traffic import NS_PER_S, ClosedLoop, OpenLoop
from servefit.search.simulation.closed_loop import serve_users
from servefit.search.simulation.endpoint import EndpointQueue, serve_connections

if TYPE_CHECKING:
    from servefit.profiler.queueing.service import DrawnTimes, ServiceTimes
    from servefit.search.simulation.endpoint import Queue

_MAX_DRAWS = 50_000
"""Different service times in a closed loop, whose calls cannot be counted before: after so many they come again, each
stratum having come 500 times. Chosen, not measured."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SimulatedRun:
    """A simulated run. Requests are in the order in which they were begun, times float64 nanoseconds from the start.

    ``batches`` (int64) has the number of requests of each call, in the same order. Figures are of ``plateau_ns``.
    ``saturated`` means what it means in ``profiler.evidence.summary``; a closed loop never is.
    """

    scheduled_ns: np.ndarray
    started_ns: np.ndarray
    ended_ns: np.ndarray
    batches: np.ndarray
    plateau_ns: tuple[float, float]
    workers: int
    saturated: bool

    @property
    def calls(self) -> int:
        return len(self.batches)

    @property
    def response_ns(self) -> np.ndarray:
        """Response times of all requests, on the plateau or not."""
        response_ns: np.ndarray = self.ended_ns - self.scheduled_ns
        return response_ns

    @property
    def throughput_per_s(self) -> float:
        """Answers a second on the plateau."""
        begin, end = self.plateau_ns
        answered = np.count_nonzero((self.ended_ns >= begin) & (self.ended_ns < end))
        return float(answered / (end - begin) * NS_PER_S)

    def percentile_ms(self, rank: float) -> float:
        """Return the percentile (0..100) of the response time of what was due on the plateau, a value that occurred;
        NaN where nothing was due."""
        begin, end = self.plateau_ns
        due = (self.scheduled_ns >= begin) & (self.scheduled_ns < end)
        if not due.any():
            return float("nan")
        return float(np.percentile(self.response_ns[due], rank, method="inverted_cdf") / NS_PER_MS)

    @property
    def utilisation(self) -> float:
        """The part of the plateau in which workers were in a call, on average (at most 1)."""
        begin, end = self.plateau_ns
        firsts = np.cumsum(self.batches) - self.batches
        within = np.minimum(self.ended_ns[firsts], end) - np.maximum(self.started_ns[firsts], begin)
        return float(np.maximum(within, 0).sum() / (self.workers * (end - begin)))


def simulate(
    service: ServiceTimes,
    traffic: OpenLoop | ClosedLoop,
    *,
    workers: int,
    max_batch: int = 1,
    batch_delay_us: int = 0,
    overhead_ns: float = CALL_OVERHEAD_NS,
    overhead_per_request_ns: float = REQUEST_OVERHEAD_NS,
    most_requests: int | None = None,
    seed: int = 0,
) -> SimulatedRun:
    """Carry out ``traffic``, which has its own seed for arrivals; ``seed`` is that of the service times.

    ``overhead_ns`` a call and ``overhead_per_request_ns`` pass after a call until its worker is free. The run ends
    after ``most_requests`` arrivals, or in a closed loop after that many answers on the plateau. Raises SpecError.
    """
    discipline = Discipline(
        workers=workers,
        max_batch=max_batch,
        batch_delay_us=batch_delay_us,
        call_overhead_ns=overhead_ns,
        request_overhead_ns=overhead_per_request_ns,
    )
    if most_requests is not None:
        check_whole("requests", most_requests, least=1)
    random = np.random.default_rng(seed)
    if isinstance(traffic, OpenLoop):
        due_ns, end_ns = traffic.arrivals_ns(), traffic.duration_s * NS_PER_S
        if most_requests is not None and most_requests < len(due_ns):
            due_ns, end_ns = due_ns[:most_requests], float(due_ns[most_requests])
        drawn = service.draw(len(due_ns), most_requests=max_batch, workers=workers, random=random)
        return simulate_arrivals(
            due_ns, drawn, discipline, end_ns=end_ns, backlog_cap=traffic.backlog_cap, steady=traffic.is_steady
        )
    return _simulate_users(service, traffic, discipline, inf if most_requests is None else most_requests, random)


def simulate_arrivals(
    due_ns: np.ndarray,
    drawn: DrawnTimes,
    discipline: Queue,
    *,
    end_ns: float,
    backlog_cap: int | None = None,
    steady: bool = True,
) -> SimulatedRun:
    """Serve arrivals at ``due_ns`` (n,), ascending and before ``end_ns``, with ``drawn`` times for n calls.

    More than ``backlog_cap`` waiting requests are saturation, but do not end the run. ``steady`` says that they arrive
    at the same rate at all times.
    """
    if isinstance(discipline, EndpointQueue):
        served = serve_connections(due_ns, drawn, discipline)
    else:
        served = serve_arrivals(due_ns, drawn, discipline)
    saturated = _saturated(served, discipline, end_ns, backlog_cap, steady=steady)
    return _simulated(served, discipline, (0.0, end_ns), saturated=saturated)


def _saturated(
    served: ServedRequests, discipline: Queue, end_ns: float, backlog_cap: int | None, *, steady: bool
) -> bool:
    due_ns, started_ns = served.scheduled_ns, served.started_ns
    if backlog_cap is not None and np.any(due_ns[backlog_cap:] <= started_ns[: max(len(due_ns) - backlog_cap, 0)]):
        return True
    backlog = np.count_nonzero((due_ns < end_ns - discipline.delay_ns) & (started_ns >= end_ns))
    if not is_large(int(backlog), offered=len(due_ns), workers=discipline.workers):
        return False
    # Nothing begins at 0, which stands for never: the first request may be due then, and a nanosecond is no time.
    return steady or cannot_drain(due_ns, np.maximum(started_ns, 1.0), begin_ns=0.0, end_ns=end_ns)


def _simulate_users(
    service: ServiceTimes,
    traffic: ClosedLoop,
    discipline: Discipline,
    most_answers: float,
    random: np.random.Generator,
) -> SimulatedRun:
    joins_ns = [join_s * NS_PER_S for join_s in traffic.joins_s()]
    shortest_ns = min(batch.strata_ns[0] for batch in service.batches)
    most_calls = discipline.workers * traffic.duration_s * NS_PER_S / shortest_ns
    drawn = service.draw(
        int(min(most_calls, most_answers, _MAX_DRAWS)) + 1,
        most_requests=discipline.max_batch,
        workers=discipline.workers,
        random=random,
    )
    served, end_ns = serve_users(
        joins_ns, drawn, discipline, end_ns=traffic.duration_s * NS_PER_S, most_answers=most_answers
    )
    return _simulated(served, discipline, (joins_ns[-1], end_ns), saturated=False)


def _simulated(
    served: ServedRequests, discipline: Queue, plateau_ns: tuple[float, float], *, saturated: bool
) -> SimulatedRun:
    return SimulatedRun(
        scheduled_ns=served.scheduled_ns,
        started_ns=served.started_ns,
        ended_ns=served.ended_ns,
        batches=served.batches,
        plateau_ns=plateau_ns,
        workers=discipline.workers,
        saturated=saturated,
    )
