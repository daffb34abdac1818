"""Queues whose truth is known: simulations of FIFO queues, and the theory of the simple ones.

The benchmarks of the verdicts, of the rate search and of the driver are held against what is computed here. Times are
in any one unit and rates per that unit. Simulations start empty and take arrivals in order.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]


def poisson_arrivals(rate: float, requests: int, random: np.random.Generator) -> Floats:
    """Draw arrival times of a Poisson process, ascending."""
    arrivals: Floats = np.cumsum(random.exponential(1 / rate, requests))
    return arrivals


def lognormal_services(mean: float, variation: float, requests: int, random: np.random.Generator) -> Floats:
    """Draw lognormal service times; ``variation`` is the standard deviation over the mean."""
    sigma = math.sqrt(math.log1p(variation**2))
    return random.lognormal(math.log(mean) - sigma**2 / 2, sigma, requests)


def simulate(arrivals: Floats, services: Floats, servers: int = 1) -> Floats:
    """Return response times, in order of arrival, of a FIFO queue in front of ``servers`` equal servers.

    One server: Lindley's recursion, end(n) = max(arrival(n), end(n - 1)) + service(n), solved by a running maximum.
    Several: every request goes to the server that is free first (Kiefer and Wolfowitz).
    """
    if servers == 1:
        worked = np.cumsum(services)
        work_began: Floats = np.maximum.accumulate(arrivals - worked + services)
        return worked + work_began - arrivals
    free = [-math.inf] * servers
    ends = np.empty(len(arrivals))
    for place, (arrival, service) in enumerate(zip(arrivals.tolist(), services.tolist(), strict=True)):
        ends[place] = end = max(arrival, free[0]) + service
        heapq.heapreplace(free, end)
    return ends - arrivals


def simulate_batches(
    arrivals: Floats,
    factors: Floats,
    batch_times: tuple[float, ...],
    *,
    servers: int = 1,
    delay: float = 0.0,
) -> Floats:
    """Return response times, in order of arrival, where servers join waiting requests into batches.

    As ``serve_batches`` does.
    """
    _, ends, sizes = serve_batches(arrivals, factors, batch_times, servers=servers, delay=delay)
    return np.repeat(ends, sizes) - arrivals


def serve_batches(
    arrivals: Floats,
    factors: Floats,
    batch_times: tuple[float, ...],
    *,
    servers: int = 1,
    delay: float = 0.0,
) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Return when each batch begins and ends, and how many requests it has, where servers join those that wait.

    A batch of ``k`` requests takes ``batch_times[k - 1]`` times the next of ``factors`` (as many as there are
    requests, to be safe); ``len(batch_times)`` is the largest batch. A free server takes what is there, and waits for
    more until the first request is ``delay`` old or the batch is full.
    """
    most, total = len(batch_times), len(arrivals)
    times = arrivals.tolist()
    free = [-math.inf] * servers
    starts, ends, sizes = [], [], []
    first = 0
    for factor in factors.tolist():
        if first == total:
            break
        full = first + most - 1
        filled = times[full] if full < total else math.inf
        start = max(free[0], times[first], min(times[first] + delay, filled))
        last = bisect_right(times, start, first + 1, min(first + most, total))
        end = start + batch_times[last - first - 1] * factor
        starts.append(start)
        ends.append(end)
        sizes.append(last - first)
        heapq.heapreplace(free, end)
        first = last
    return np.array(starts), np.array(ends), np.array(sizes, dtype=np.int64)


def erlang_c(load: float, servers: int) -> float:
    """Return the probability of having to wait in M/M/c; ``load`` is rate x mean service time, below ``servers``.

    By the recursion of the Erlang B formula, which is stable for any number of servers.
    """
    blocking = 1.0
    for busy in range(1, servers + 1):
        blocking = load * blocking / (busy + load * blocking)
    return blocking / (1 - load / servers * (1 - blocking))


def mmc_mean(rate: float, service: float, servers: int = 1) -> float:
    """Return the mean response time of M/M/c with mean service time ``service``."""
    return service + erlang_c(rate * service, servers) / (servers / service - rate)


def mmc_quantile(percentile: float, rate: float, service: float, servers: int = 1) -> float:
    """Return the ``percentile`` (0..100) of response time in M/M/c: waiting is 0, or with probability C exponential."""
    waits, ends, clears = erlang_c(rate * service, servers), 1 / service, servers / service - rate

    def beyond(time: float) -> float:
        if math.isclose(ends, clears, rel_tol=1e-9):
            delayed = (1 + ends * time) * math.exp(-ends * time)
        else:
            delayed = (clears * math.exp(-ends * time) - ends * math.exp(-clears * time)) / (clears - ends)
        return (1 - waits) * math.exp(-ends * time) + waits * delayed

    return _solve(lambda time: 1 - beyond(time), percentile / 100, service)


def md1_mean(rate: float, service: float) -> float:
    """Return the mean response time of M/D/1, by Pollaczek and Khinchine."""
    load = rate * service
    return service + load * service / (2 * (1 - load))


def md1_quantile(percentile: float, rate: float, service: float) -> float:
    """Return the ``percentile`` (0..100) of response time in M/D/1, every service taking ``service``.

    With Franx's formula for the waiting time (G. J. Franx, A simple solution for the M/D/c waiting time distribution,
    Operations Research Letters 29, 2001). All its terms are positive, where those of Erlang's series cancel out.
    """
    occupied = _Md1Occupancy(rate * service)
    return service + _solve(lambda wait: _md1_waits_at_most(wait / service, occupied), percentile / 100, service)


class _Md1Occupancy:
    """How many requests are in an M/D/1 queue: probabilities of at most n, computed as far as they are asked for."""

    def __init__(self, load: float) -> None:
        self.load = load
        self._exactly = [1 - load]
        self._at_most = [1 - load]
        self._more_arrive: list[float] = []  # the probability of over n arrivals during one service

    def at_most(self, count: int) -> float:
        while len(self._at_most) <= count:
            self._extend()
        return self._at_most[count]

    def _extend(self) -> None:
        """Compute the probability of n + 1 from those below: the number rises above n as often as it falls back to
        it."""
        below = len(self._exactly) - 1
        self._more_arrive.append(sum(_poisson(n, self.load) for n in range(below + 1, below + 30)))
        rises = self._exactly[0] * self._more_arrive[below]
        rises += sum(self._exactly[n] * self._more_arrive[below - n + 1] for n in range(1, below + 1))
        self._exactly.append(rises / _poisson(0, self.load))
        self._at_most.append(self._at_most[-1] + self._exactly[-1])


def _md1_waits_at_most(services: float, occupied: _Md1Occupancy) -> float:
    """Return the probability that waiting takes at most ``services`` service times."""
    whole = math.floor(services)
    expected = occupied.load * (whole + 1 - services)
    return sum(occupied.at_most(whole + 1 - n) * _poisson(n, expected) for n in range(whole + 1))


def _poisson(count: int, expected: float) -> float:
    return math.exp(count * math.log(expected) - expected - math.lgamma(count + 1))


def _solve(distribution: Callable[[float], float], probability: float, scale: float) -> float:
    """Return the smallest time at which a rising distribution function reaches ``probability``, 0 if it begins above
    it."""
    if distribution(0.0) >= probability:
        return 0.0
    low, high = 0.0, scale
    while distribution(high) < probability:
        low, high = high, 2 * high
    while high - low > 1e-10 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if distribution(middle) < probability else (low, middle)
    return high
