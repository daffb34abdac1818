"""The figures that a search asks of the simulation: the capacity of a configuration, its latency at a rate, the figures
of so many users, and the highest rate at which limits on latency hold.

Arrivals at a rate are a Poisson process, or whatever else is asked for. The same random numbers serve every rate, so
that rates differ by what they do to the queue alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf
from typing import TYPE_CHECKING

import numpy as np

from servefit.checks import check_above_zero, check_between, check_whole
from servefit.profiler.arrivals.contract import STEADY
from servefit.profiler.arrivals.registry import arrivals_named
from servefit.profiler.arrivals.schedule import draw_arrivals_ns
from servefit.profiler.evidence.rate_fit import after_warm_up
from servefit.profiler.evidence.summary import NS_PER_MS, samples_needed
from servefit.profiler.record.traffic import NS_PER_S
from servefit.search.simulation.closed_loop import serve_users
from servefit.search.simulation.endpoint import EndpointQueue
from servefit.search.simulation.simulated_run import SimulatedRun, simulate_arrivals

if TYPE_CHECKING:
    from servefit.profiler.queueing.discipline import Discipline
    from servefit.profiler.queueing.service import ServiceTimes
    from servefit.search.simulation.endpoint import Queue

_PARTS = (0.98, 0.95, *(tenth / 10 for tenth in range(9, 0, -1)), *(0.1 * 0.5**halved for halved in range(1, 8)))
"""Parts of the capacity at which the highest rate is first looked for, from above: down to a thousandth, below which no
rate is worth anything. Chosen, not measured."""

_PRECISION = 0.005
"""The highest rate is known to half a percent, which is less than what measurements differ by. Chosen, not measured."""

REQUESTS = 4000
"""Requests of the simulation of a rate: the last 5 % are 200 then. Chosen, not measured;
benchmarks/claims/simulation.py compares the p95 of as many with what is measured."""

REQUESTS_TO_SEARCH = 20_000
"""Requests of each simulation where the highest rate is looked for: the slowest 1 % are 200 then. Chosen, not
measured."""

_CALLS = 2000
_MAX_ANSWERS = 20_000
"""The part of a closed loop that is simulated: so many calls, but no more answers than that. A call is a few
microseconds of Python. Chosen, not measured."""

_MAX_IN_A_CYCLE = 50_000
"""Of a cycle of arrivals that has more, only the beginning is simulated: it takes about 0.1 s."""

_MIN_TURNS = 4
"""Every user is answered so many times, however many there are, and all but the first count. Chosen, not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePrediction:
    """``latency_ms`` holds percentiles of the response time by name ("p95"), None where there are too few samples.

    They are those at the rate that was asked for. ``saturated`` means that it cannot be served: then, and where none
    was asked for, they are those of the closed loop whose throughput is ``capacity_per_s``: of the users asked for,
    else of as many as keep all workers busy with full batches. ``largest_call`` is the most requests that a call
    joined at the rate, None where that was not simulated.
    """

    capacity_per_s: float
    latency_ms: Mapping[str, float | None]
    saturated: bool
    largest_call: int | None = None


def predict(
    service: ServiceTimes,
    discipline: Queue,
    *,
    rate_per_s: float | None,
    percentiles: Sequence[float],
    requests: int = REQUESTS,
    seed: int = 0,
    arrivals: str = "poisson",
) -> QueuePrediction:
    """Predict the capacity of a configuration, and ``percentiles`` (0..100, exclusive) of its response time at
    ``rate_per_s``.

    Those are of ``requests`` simulated requests, without the first tenth, in which the queue fills up. Where the rate
    of ``arrivals`` varies they are of all requests of whole cycles, of one at least. Raises SpecError.
    """
    for rank in percentiles:
        check_between("percentile", rank, 0, 100)
    capacity_per_s = _capacity_per_s(service, discipline)
    if rate_per_s is not None:
        check_above_zero("rate", rate_per_s)
        if rate_per_s < capacity_per_s:
            runs = _runs(service, discipline, requests=requests, seed=seed, arrivals=arrivals)
            run = runs.at(rate_per_s)
            if not run.saturated:
                return QueuePrediction(
                    capacity_per_s=capacity_per_s,
                    latency_ms=_percentiles_ms(runs.kept(run), percentiles),
                    saturated=False,
                    largest_call=int(run.batches.max()),
                )
    return QueuePrediction(
        capacity_per_s=capacity_per_s,
        latency_ms=_all_percentiles_ms(_own_users_ns(service, discipline, discipline.max_batch), percentiles),
        saturated=rate_per_s is not None,
    )


def predict_users(
    service: ServiceTimes,
    discipline: Queue,
    *,
    users: int,
    percentiles: Sequence[float],
    seed: int = 0,
) -> QueuePrediction:
    """Predict the throughput of a closed loop of ``users`` users, who may be too few to fill the batches, or so many
    that they queue; and ``percentiles`` (0..100, exclusive) of its response time.

    Exact where users meet the same worker every time, else simulated. Throughput is users over the mean response time
    [Little 1961, A proof for the queuing formula L = lambda W]. Raises SpecError.
    """
    for rank in percentiles:
        check_between("percentile", rank, 0, 100)
    check_whole("users", users, least=1)
    workers, max_batch = discipline.workers, discipline.max_batch
    if isinstance(discipline, EndpointQueue):
        response_ns = _connected_users_ns(service, discipline, users)
    elif users == workers * max_batch or (workers == 1 and users < max_batch and not discipline.batch_delay_us):
        response_ns = _own_users_ns(service, discipline, users // workers)
    else:
        response_ns = _users_ns(service, discipline, users, np.random.default_rng(seed))
    return QueuePrediction(
        capacity_per_s=users / float(np.mean(response_ns)) * NS_PER_S,
        latency_ms=_all_percentiles_ms(response_ns, percentiles),
        saturated=False,
    )


def highest_rate_per_s(
    service: ServiceTimes,
    discipline: Queue,
    *,
    limits: Sequence[tuple[float, float]],
    requests: int = REQUESTS_TO_SEARCH,
    seed: int = 0,
    arrivals: str = "poisson",
) -> float:
    """Predict the highest mean rate of ``arrivals`` at which all ``limits`` hold: pairs of a percentile (0..100,
    exclusive) and the most that the response time may be there, in ms. 0.0 where they hold at no rate worth a
    thousandth of the capacity.

    Looks from the capacity downwards, since with a batch delay a rate may be too low as well, and bisects where it
    finds one that passes. Raises SpecError.
    """
    for rank, limit_ms in limits:
        check_between("percentile", rank, 0, 100)
        check_above_zero("limit", limit_ms)
    quickest = service.among_changing_sizes()
    if any(limit_ms < _min_percentile_ms(quickest, discipline, rank) for rank, limit_ms in limits):
        return 0.0
    runs = _runs(service, discipline, requests=requests, seed=seed, arrivals=arrivals)

    def holds(rate_per_s: float) -> bool:
        run = runs.at(rate_per_s)
        response_ms = runs.kept(run) / NS_PER_MS
        return not run.saturated and all(np.mean(response_ms <= limit) >= rank / 100 for rank, limit in limits)

    high = _capacity_per_s(service, discipline)
    for low in [part * high for part in _PARTS]:
        if holds(low):
            break
        high = low
    else:
        return 0.0
    while high - low > _PRECISION * high:
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


class _PoissonRuns:
    """Simulations of ``requests`` Poisson arrivals at any rate, with the same random numbers."""

    def __init__(self, service: ServiceTimes, discipline: Queue, *, requests: int, seed: int) -> None:
        check_whole("requests", requests, least=1)
        random = np.random.default_rng(seed)
        # At a rate of one a nanosecond; the run ends with one more arrival.
        self._arrivals_ns = np.cumsum(random.exponential(1.0, requests + 1))
        self._drawn = service.draw(
            requests, most_requests=discipline.max_batch, workers=discipline.workers, random=random
        )
        self._discipline = discipline

    def at(self, rate_per_s: float) -> SimulatedRun:
        due_ns = self._arrivals_ns * (NS_PER_S / rate_per_s)
        return simulate_arrivals(due_ns[:-1], self._drawn, self._discipline, end_ns=float(due_ns[-1]))

    @staticmethod
    def kept(run: SimulatedRun) -> np.ndarray:
        """Return the response times that count: without the first tenth, in which the queue fills up."""
        return after_warm_up(run.response_ns)


class _ShapedRuns:
    """Simulations of some ``requests`` arrivals of any shape at any rate, drawn from the same seed, in whole cycles."""

    def __init__(self, service: ServiceTimes, discipline: Queue, *, requests: int, seed: int, arrivals: str) -> None:
        check_whole("requests", requests, least=1)
        self._shape = arrivals_named(arrivals)
        self._cycle_s = self._shape.cycle_s
        self._steady = arrivals in STEADY
        self._service, self._discipline = service, discipline
        self._requests, self._seed = requests, seed

    def at(self, rate_per_s: float) -> SimulatedRun:
        duration_s = whole_s = self._requests / rate_per_s
        if self._cycle_s:
            whole_s = max(1, round(duration_s / self._cycle_s)) * self._cycle_s
            duration_s = min(whole_s, max(duration_s, _MAX_IN_A_CYCLE / rate_per_s))
        due_ns = self._due_ns(rate_per_s, duration_s)
        if not len(due_ns):
            # The cycle begins with a pause: the part is what follows on that.
            due_ns, duration_s = self._due_ns(rate_per_s, whole_s), whole_s
            if len(due_ns) > _MAX_IN_A_CYCLE:
                duration_s = float(due_ns[_MAX_IN_A_CYCLE]) / NS_PER_S
                due_ns = due_ns[:_MAX_IN_A_CYCLE]
        drawn = self._service.draw(
            len(due_ns),
            most_requests=self._discipline.max_batch,
            workers=self._discipline.workers,
            random=np.random.default_rng(self._seed),
        )
        end_ns = duration_s * NS_PER_S
        return simulate_arrivals(due_ns, drawn, self._discipline, end_ns=end_ns, steady=self._steady)

    def _due_ns(self, rate_per_s: float, duration_s: float) -> np.ndarray:
        shape = self._shape
        return draw_arrivals_ns(shape, rate_per_s=rate_per_s, duration_s=duration_s, seed=self._seed).astype(np.float64)

    def kept(self, run: SimulatedRun) -> np.ndarray:
        """Return the response times that count: where the rate varies the beginning is a part of a cycle as any
        other."""
        return after_warm_up(run.response_ns) if self._steady else run.response_ns


def _runs(
    service: ServiceTimes, discipline: Queue, *, requests: int, seed: int, arrivals: str
) -> _PoissonRuns | _ShapedRuns:
    service = service.among_changing_sizes()
    if arrivals == "poisson":
        return _PoissonRuns(service, discipline, requests=requests, seed=seed)
    return _ShapedRuns(service, discipline, requests=requests, seed=seed, arrivals=arrivals)


def _capacity_per_s(service: ServiceTimes, discipline: Queue) -> float:
    """Return the throughput of a closed loop of as many users as fill the batches of all workers.

    Exact: every worker that has answered a full batch serves the same users again at once.
    """
    batch = discipline.max_batch
    call_ns = service.mean_ns(batch, discipline.workers) + discipline.overhead_ns(batch)
    return discipline.workers * batch / call_ns * NS_PER_S


def _own_users_ns(service: ServiceTimes, discipline: Queue, users: int) -> np.ndarray:
    """Return response times where every worker is busy with ``users`` of its own, who wait for nothing but the call and
    the driver: float64, equally likely."""
    return service.strata_ns(users, discipline.workers) + discipline.overhead_ns(users)


def _users_ns(service: ServiceTimes, discipline: Discipline, users: int, random: np.random.Generator) -> np.ndarray:
    """Simulate the response times of a closed loop, float64, without the first of every user, who all come at once."""
    joined = min(users, discipline.max_batch)
    answers = max(min(_CALLS * joined, _MAX_ANSWERS), _MIN_TURNS * users)
    drawn = service.draw(
        ceil(answers / joined), most_requests=discipline.max_batch, workers=discipline.workers, random=random
    )
    served, _ = serve_users([0.0] * users, drawn, discipline, end_ns=inf, most_answers=answers)
    response_ns: np.ndarray = (served.ended_ns - served.scheduled_ns)[users:]
    return response_ns


def _connected_users_ns(service: ServiceTimes, queue: EndpointQueue, users: int) -> np.ndarray:
    """Return response times of users who have a connection each: float64, equally likely. While half of those of a
    worker wait for a call the answers of the others are under way; few users find their worker idle."""
    own = users / queue.workers
    joined = min(queue.max_batch, max(1, ceil(own / 2)))
    strata_ns = service.strata_ns(joined, queue.workers)
    busy_ns = (strata_ns.mean() + queue.overhead_ns(joined)) / joined
    alone_ns = service.mean_ns(1, queue.workers) + queue.overhead_ns(1) + queue.costs.typical_extra_ns(0.0)
    response_ns = max(own * busy_ns, alone_ns)
    stretched_ns: np.ndarray = strata_ns * (response_ns / strata_ns.mean())
    return stretched_ns


def _min_percentile_ms(service: ServiceTimes, discipline: Queue, rank: float) -> float:
    """Return a bound that the percentile of the response time exceeds at any rate: calls of the quickest size, of the
    narrowest shape, without a queue."""
    means_ns = [service.mean_ns(requests) for requests in range(1, discipline.max_batch + 1)]
    shapes = [np.percentile(batch.strata_ns, rank, method="inverted_cdf") / batch.mean_ns for batch in service.batches]
    return float(min(means_ns) * min(shapes) * min(1.0, service.slowdown(discipline.workers)) / NS_PER_MS)


def _all_percentiles_ms(response_ns: np.ndarray, percentiles: Sequence[float]) -> dict[str, float | None]:
    values = np.percentile(response_ns, percentiles, method="inverted_cdf") / NS_PER_MS
    return {_name(rank): float(value) for rank, value in zip(percentiles, values, strict=True)}


def _percentiles_ms(response_ns: np.ndarray, percentiles: Sequence[float]) -> dict[str, float | None]:
    values_ms: dict[str, float | None] = {_name(rank): None for rank in percentiles}
    supported = [rank for rank in percentiles if len(response_ns) >= samples_needed(rank)]
    values = np.percentile(response_ns, supported, method="inverted_cdf") / NS_PER_MS
    values_ms.update((_name(rank), float(value)) for rank, value in zip(supported, values, strict=True))
    return values_ms


def _name(rank: float) -> str:
    return f"p{rank:g}"
