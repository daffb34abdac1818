"""Queues that intervals and verdicts are tried on: quiet ones, arrivals in bursts, servers that stall, neighbours,
servers whose speed wanders.

One server, or several, takes requests in the order in which they come; a service takes a millisecond on average. What
gets in the way of the server is a clock of its own: its time stands still while it stalls, and goes by slowly while a
neighbour works. In that time the queue is an ordinary one [Lindley 1952].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from benchmarks.queues import Floats, lognormal_services, simulate

SERVICE_S = 0.001
SETTLE_S = 4.0
"""Before what is looked at: longer than any of the queues here takes to forget that it began empty."""
_STANDING_STILL = 1e-9
"""The speed of a stalled server: an inverse of its clock exists."""
_LONG, _LONG_SEEDS = 400_000, 20
_HEAVY = 1.5
"""The index of the Pareto distribution: it has a mean and no variance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bursts:
    """Arrivals whose rate, as a part of the server's, is ``low`` for ``low_s`` on average and ``high`` for
    ``high_s``."""

    low: float
    high: float
    low_s: float
    high_s: float

    @property
    def utilisation(self) -> float:
        return (self.low * self.low_s + self.high * self.high_s) / (self.low_s + self.high_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbance:
    """The server works at ``speed`` for ``lasts_s``, as often as every ``every_s``, at random or like a clock. At
    random it lasts for an exponentially distributed time where it is a neighbour, and always as long where it is a
    stall; as a ``collector`` of garbage it stalls for an exponentially distributed time, and ``heavy`` ones last for
    times of a Pareto distribution with that mean and no variance, cut at ten times the mean."""

    every_s: float
    lasts_s: float
    speed: float = 0.0
    periodic: bool = False
    collector: bool = False
    heavy: bool = False

    def lengths_s(self, number: int, random: np.random.Generator) -> Floats:
        """Draw how long so many of them last."""
        if self.heavy:
            lasts: Floats = np.minimum(self.lasts_s * random.pareto(_HEAVY, number) * (_HEAVY - 1), 10 * self.lasts_s)
            return lasts
        if self.speed == 0 and not self.collector:
            return np.full(number, self.lasts_s)
        return random.exponential(self.lasts_s, number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wandering:
    """Services that take longer and shorter, by a factor whose logarithm has the standard deviation ``sd`` and is
    forgotten after ``memory_s`` (Ornstein and Uhlenbeck), or which is a sine of that period and relative height."""

    memory_s: float
    sd: float
    periodic: bool = False

    def factors(self, at_s: Floats, random: np.random.Generator) -> Floats:
        if self.periodic:
            turned: Floats = 1 + self.sd * np.sin(2 * np.pi * (at_s / self.memory_s + random.random()))
            return turned
        step_s = self.memory_s / 20
        kept, level, levels = math.exp(-step_s / self.memory_s), random.standard_normal(), []
        for shock in random.standard_normal(int(at_s[-1] / step_s) + 2).tolist():
            levels.append(level)
            level = kept * level + math.sqrt(1 - kept**2) * shock
        wandered: Floats = np.exp(self.sd * np.interp(at_s, step_s * np.arange(len(levels)), levels) - self.sd**2 / 2)
        return wandered


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedRun:
    """When requests arrived, from the beginning of the run, how long they took, and how long of that they were served,
    in order of arrival, shape (n,)."""

    arrivals_s: Floats
    response_s: Floats
    service_s: Floats

    def busy(self) -> float:
        """Return for which part of the time the server had something to do."""
        ends_s = self.arrivals_s + self.response_s
        idle_s = np.maximum(self.arrivals_s[1:] - ends_s[:-1], 0).sum()
        return float(1 - idle_s / (ends_s[-1] - self.arrivals_s[0]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """Poisson arrivals or ``bursts``, services that are exponential ("M"), constant ("D") or lognormal with
    ``variation`` ("G"), and what gets in the way of them."""

    name: str
    service: Literal["M", "D", "G"]
    utilisation: float
    variation: float = 1.0
    bursts: Bursts | None = None
    disturbance: Disturbance | None = None
    wandering: Wandering | None = None
    servers: int = 1

    @property
    def rate_per_s(self) -> float:
        return self.servers * self.utilisation / SERVICE_S

    @property
    def comes_every_s(self) -> float:
        """How often what disturbs it comes; 0.0 where nothing does."""
        if self.bursts is not None:
            return self.bursts.low_s + self.bursts.high_s
        if self.wandering is not None:
            return self.wandering.memory_s
        return 0.0 if self.disturbance is None else self.disturbance.every_s

    def run(self, requests: int, seed: int) -> SimulatedRun:
        """Simulate a run of about ``requests`` requests that begins at any time: as many as come in its seconds, and
        exactly as many where they come at a steady rate, as in an open loop."""
        random = np.random.default_rng(seed)
        arrivals = self._arrivals(requests / self.rate_per_s, random)
        services = self._services(len(arrivals), random)
        if self.wandering is not None:
            services *= self.wandering.factors(arrivals, random)
        kept = arrivals >= SETTLE_S
        if self.disturbance is None:
            response_s = simulate(arrivals, services, self.servers)
        else:
            real_s, own_s = _clock(self.disturbance, arrivals[-1] + services.sum(), random)
            begun = np.interp(arrivals, real_s, own_s)
            response_s = np.interp(begun + simulate(begun, services), own_s, real_s) - arrivals
        ends_s = arrivals + response_s
        service_s = ends_s - np.maximum(arrivals, np.append(0.0, ends_s[:-1]))
        return SimulatedRun(
            arrivals_s=arrivals[kept] - SETTLE_S, response_s=response_s[kept], service_s=service_s[kept]
        )

    def _services(self, requests: int, random: np.random.Generator) -> Floats:
        if self.service == "G":
            return lognormal_services(SERVICE_S, self.variation, requests, random)
        return random.exponential(SERVICE_S, requests) if self.service == "M" else np.full(requests, SERVICE_S)

    def _arrivals(self, seconds: float, random: np.random.Generator) -> Floats:
        end_s = SETTLE_S + seconds
        if self.bursts is None:
            before = random.uniform(0, SETTLE_S, random.poisson(SETTLE_S * self.rate_per_s))
            counted = random.uniform(SETTLE_S, end_s, round(seconds * self.rate_per_s))
            return np.sort(np.concatenate([before, counted]))
        bursts = self.bursts
        changes = int(3 * end_s / (bursts.low_s + bursts.high_s)) + 20
        first = int(random.random() < bursts.high_s / (bursts.low_s + bursts.high_s))
        states = (first + np.arange(2 * changes)) % 2
        ends_s = np.append(0.0, np.cumsum(random.exponential(np.array([bursts.low_s, bursts.high_s])[states])))
        done = np.append(0.0, np.cumsum(np.diff(ends_s) * np.array([bursts.low, bursts.high])[states] / SERVICE_S))
        last = float(np.interp(end_s, ends_s, done))
        arrivals: Floats = np.interp(np.sort(random.uniform(0, last, random.poisson(last))), done, ends_s)
        return arrivals


def _clock(disturbance: Disturbance, until_s: float, random: np.random.Generator) -> tuple[Floats, Floats]:
    """Return points of the real time and of the server's own time."""
    until_s = 2 * until_s + 100 * disturbance.every_s  # what is slow takes longer
    number = int(until_s / disturbance.every_s) + 1
    if disturbance.periodic:
        gaps_s = np.full(number, disturbance.every_s - disturbance.lasts_s)
        gaps_s[0] *= random.random()
    else:
        gaps_s = random.exponential(disturbance.every_s - disturbance.lasts_s, number)
    lasts_s = disturbance.lengths_s(number, random)
    steps_s = np.column_stack([gaps_s, lasts_s]).ravel()
    speeds = np.tile([1.0, disturbance.speed or _STANDING_STILL], number)
    return np.append(0.0, np.cumsum(steps_s)), np.append(0.0, np.cumsum(steps_s * speeds))


@lru_cache
def true_percentiles_s(queue: Queue) -> dict[float, float]:
    """Return percentiles of the response times of ``queue``, by simulations much longer than those that are tried."""
    long = _LONG if queue.servers == 1 else _LONG // 20  # several servers are simulated request by request
    drawn = np.concatenate([queue.run(long, seed=10**6 + seed).response_s for seed in range(_LONG_SEEDS)])
    ranks = (50.0, 90.0, 92.5, 95.0, 96.0, 97.5, 99.0, 99.9)
    return dict(zip(ranks, np.percentile(drawn, ranks).tolist(), strict=True))


QUIET = (
    *(Queue(name=f"M/M/1 at {load:g}", service="M", utilisation=load) for load in (0.3, 0.5, 0.8, 0.95)),
    *(Queue(name=f"M/D/1 at {load:g}", service="D", utilisation=load) for load in (0.3, 0.5, 0.8, 0.95)),
    *(
        Queue(name=f"lognormal, cv {cv:g}, at {load:g}", service="G", utilisation=load, variation=cv)
        for cv in (1.0, 3.0)
        for load in (0.3, 0.5, 0.8)
    ),
)


def _in_bursts(service: Literal["M", "D"], low: float, high: float, low_s: float, high_s: float) -> Queue:
    bursts = Bursts(low=low, high=high, low_s=low_s, high_s=high_s)
    name = f"MMPP/{service}/1 at {low:g} for {low_s:g} s and {high:g} for {high_s:g} s"
    return Queue(name=name, service=service, utilisation=bursts.utilisation, bursts=bursts)


UNEVEN = (
    _in_bursts("M", 0.3, 0.9, 0.5, 0.5),
    _in_bursts("M", 0.4, 1.6, 2.0, 0.2),
    _in_bursts("D", 0.2, 0.95, 3.0, 0.3),
    *(
        Queue(
            name=f"M/D/1 at 0.3 that stalls for {1000 * stall.lasts_s:g} ms {'' if stall.periodic else 'about '}"
            f"every {stall.every_s:g} s",
            service="D",
            utilisation=0.3,
            disturbance=stall,
        )
        for stall in (
            Disturbance(every_s=1.0, lasts_s=0.06),
            Disturbance(every_s=1.0, lasts_s=0.06, periodic=True),
            Disturbance(every_s=5.0, lasts_s=0.3),
        )
    ),
    Queue(
        name="M/M/1 at 0.5 beside a neighbour that works for 1 s in 5, and takes 45 %",
        service="M",
        utilisation=0.5,
        disturbance=Disturbance(every_s=5.0, lasts_s=1.0, speed=1 / 1.8),
    ),
)


SLOW = (
    *(
        Queue(name=f"M/D/1 at 0.4 that {what}", service="D", utilisation=0.4, disturbance=disturbance)
        for what, disturbance in (
            ("stalls for 150 ms about every 2 s", Disturbance(every_s=2.0, lasts_s=0.15)),
            ("stalls for 300 ms every 4 s", Disturbance(every_s=4.0, lasts_s=0.3, periodic=True)),
            ("stalls for 400 ms about every 8 s", Disturbance(every_s=8.0, lasts_s=0.4)),
            ("collects garbage for 20 ms about every 0.3 s", Disturbance(every_s=0.3, lasts_s=0.02, collector=True)),
        )
    ),
    Queue(
        name="M/M/1 at 0.4 beside a neighbour that works for 0.6 s in 3, heavy-tailed, and takes half",
        service="M",
        utilisation=0.4,
        disturbance=Disturbance(every_s=3.0, lasts_s=0.6, speed=0.5, heavy=True),
    ),
    Queue(
        name="M/M/1 at 0.5 whose services wander by 40 % within 0.2 s",
        service="M",
        utilisation=0.5,
        wandering=Wandering(memory_s=0.2, sd=0.4),
    ),
    Queue(
        name="M/M/1 at 0.5 whose services wander by 40 % within 2 s",
        service="M",
        utilisation=0.5,
        wandering=Wandering(memory_s=2.0, sd=0.4),
    ),
    Queue(
        name="M/M/1 at 0.6 whose services take 25 % longer and shorter in 40 s",
        service="M",
        utilisation=0.6,
        wandering=Wandering(memory_s=40.0, sd=0.25, periodic=True),
    ),
    Queue(name="M/M/2 at 0.8", service="M", utilisation=0.8, servers=2),
)
"""Servers that pause, share their CPU or wander, of which a run sees a few cycles at most."""


HELD_OUT = (
    *(Queue(name=f"M/M/1 at {load:g}", service="M", utilisation=load) for load in (0.4, 0.7, 0.9)),
    *(Queue(name=f"M/D/1 at {load:g}", service="D", utilisation=load) for load in (0.6, 0.9)),
    *(
        Queue(name=f"lognormal, cv {cv:g}, at {load:g}", service="G", utilisation=load, variation=cv)
        for cv, load in ((1.0, 0.4), (1.0, 0.7), (2.0, 0.6))
    ),
    Queue(name="M/M/2 at 0.7", service="M", utilisation=0.7, servers=2),
    *(
        Queue(name=f"M/M/1 at {load:g} that {what}", service="M", utilisation=load, disturbance=disturbance)
        for load, what, disturbance in (
            (0.36, "stalls for 200 ms about every 3 s", Disturbance(every_s=3.0, lasts_s=0.2)),
            (0.36, "stalls for 100 ms every 1 s", Disturbance(every_s=1.0, lasts_s=0.1, periodic=True)),
            (0.5, "stalls for 25 ms about every 0.5 s", Disturbance(every_s=0.5, lasts_s=0.025)),
            (
                0.5,
                "collects garbage for 30 ms about every 0.6 s",
                Disturbance(every_s=0.6, lasts_s=0.03, collector=True),
            ),
        )
    ),
    Queue(
        name="M/M/1 at 0.4 beside a neighbour that works for 0.3 s in 1, heavy-tailed, and takes half",
        service="M",
        utilisation=0.4,
        disturbance=Disturbance(every_s=1.0, lasts_s=0.3, speed=0.5, heavy=True),
    ),
    Queue(
        name="M/M/1 at 0.6 whose services wander by 30 % within 0.5 s",
        service="M",
        utilisation=0.6,
        wandering=Wandering(memory_s=0.5, sd=0.3),
    ),
)
"""Queues that no rule of intervals was found with."""
