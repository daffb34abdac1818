"""Made-up truths to search in: the demo's configurations, with other speeds of the backends, and differences between
what calls promise that are timed alone and what configurations do under load.

Times come from the stored grid, so a measurement takes as long as it once took. What a configuration does follows from
the queueing simulation on its service times, times a distortion that these do not show: the surface. At the rate asked
it is that of the calls that come: a configuration that may join more requests than ever wait does what the one does
that may join just as many. So configurations that do the same have the same truth, and measurements scatter around it
by a known noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import exp, log2, pi, sin
from random import Random
from typing import TYPE_CHECKING, TypeAlias

from benchmarks.models.fraud import demo_request
from benchmarks.optimizers.replay import Noise
from servefit.search.optimizer.service_time_survey import Survey
from servefit.search.request.space import BATCH_SIZES
from servefit.search.results.instances import instance_counts
from servefit.search.simulation.endpoint import queue_of
from servefit.search.simulation.prediction import predict

if TYPE_CHECKING:
    from benchmarks.data.grid import Figures, Grid, Timing
    from servefit.profiler.queueing.service import ServiceTimes
    from servefit.profiler.record.types import Configuration

SPEEDS = 0.5
"""Backends are redrawn to be faster or slower by so much, as a standard deviation of logarithms."""

QUIET = Noise(capacity=0.03, latency=0.05, timing=0.02)
LOUD = Noise(capacity=0.10, latency=0.25, timing=0.05)
STILL = Noise(capacity=0.01, latency=0.03, timing=0.01)

Distortion: TypeAlias = "Callable[[Configuration], float]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """``distortion`` makes the factor of each configuration's capacity, given the backends, the best first by what is
    predicted, and a source of chance."""

    name: str
    noise: Noise
    distortion: Callable[[list[str], Random], Distortion]


def _none(_: list[str], __: Random) -> Distortion:
    return lambda _: 1.0


def _cliff(_: list[str], __: Random) -> Distortion:
    return lambda each: 1 / 1.6 if each.workers == 2 and each.max_batch >= 32 else 1.0


def _best_is_slower(backends: list[str], _: Random) -> Distortion:
    return lambda each: 1 / 1.5 if each.backend == backends[0] else 1.0


def _delay_pays(_: list[str], __: Random) -> Distortion:
    return lambda each: 1.15 if each.batch_delay_us and 16 <= each.max_batch <= 64 else 1.0


def _deceptive(backends: list[str], _: Random) -> Distortion:
    return lambda each: 1 / 3 if each.backend in backends[:2] and each.max_batch > 8 else 1.0


def _needle(backends: list[str], _: Random) -> Distortion:
    def factor(each: Configuration) -> float:
        is_needle = (each.backend, each.settings.threads, each.workers, each.max_batch) == (backends[1], 2, 1, 16)
        return 3.0 if is_needle else 1.0

    return factor


def _independent(_: list[str], random: Random) -> Distortion:
    seed = random.random()
    return lambda each: exp(Random(f"{seed} {replace(each, batch_delay_us=0)}").gauss(0, 0.25))


def _smooth(_: list[str], random: Random) -> Distortion:
    """A wave over the doublings of the batch, another one for each backend and shape; its deviation is 30 %."""
    seed = random.random()

    def factor(each: Configuration) -> float:
        phase = Random(f"{seed} {each.backend} {each.settings} {each.workers}").uniform(0, 2 * pi)
        return exp(0.3 * 2**0.5 * sin(phase + 2 * pi * log2(each.max_batch) / 8))

    return factor


SURFACES = (
    Surface(name="as predicted, noise 1 and 3 %", noise=STILL, distortion=_none),
    Surface(name="as predicted, noise 3 and 5 %", noise=QUIET, distortion=_none),
    Surface(name="cliff of the cache", noise=QUIET, distortion=_cliff),
    Surface(name="the best backend is slower under load", noise=QUIET, distortion=_best_is_slower),
    Surface(name="a delay pays at some batches", noise=QUIET, distortion=_delay_pays),
    Surface(name="the best backends fall off", noise=QUIET, distortion=_deceptive),
    Surface(name="a needle", noise=QUIET, distortion=_needle),
    Surface(name="as predicted, noise 10 and 25 %", noise=LOUD, distortion=_none),
    Surface(name="predictions off by 25 %", noise=QUIET, distortion=_independent),
    Surface(name="predictions off by 30 %, smooth in the batch", noise=QUIET, distortion=_smooth),
)


def redrawn(stored: Grid, surface: Surface, seed: int) -> Grid:
    """Return a grid of the configurations of ``stored`` in which each has its one true test on ``surface``."""
    random = Random(f"{surface.name} {seed}")
    speeds = {backend: exp(random.gauss(0, SPEEDS)) for backend in sorted({each.backend for each in stored.tests})}
    timings = {
        subject: tuple(_times(timing, speeds[subject.backend]) for timing in repeats[:1])
        for subject, repeats in stored.timings.items()
    }
    survey = Survey.of(tuple(stored.tests))
    survey.known.update({subject: repeats[0].service for subject, repeats in timings.items() if repeats})
    services = {each: found[0] for each in stored.tests if (found := survey.service_times(each)) is not None}
    capacities = {each: _simulated(service, each, None).capacity_per_s for each, service in services.items()}
    by_capacity = sorted(capacities, key=lambda each: -capacities[each])
    distortion = surface.distortion(list(dict.fromkeys(each.backend for each in by_capacity)), random)
    tests = {
        each: (_truth(stored.truth(each), each, services[each], capacities[each], distortion),)
        for each in stored.tests
        if each in services
    }
    return replace(stored, tests=tests, timings=timings)


def _truth(
    stored: Figures, configuration: Configuration, service: ServiceTimes, capacity_per_s: float, distortion: Distortion
) -> Figures:
    """Return what a test of ``configuration`` gives, which takes as long as the one that is ``stored``."""
    (limit,), rate_per_s = demo_request().sla.thresholds, demo_request().sla.rate_per_s or 0.0
    capacity_per_s *= distortion(configuration)
    for instances in instance_counts(rate_per_s, capacity_per_s):
        factor = distortion(_joining_as_many(configuration, service, rate_per_s / instances))
        found = _simulated(service, configuration, rate_per_s / instances / factor)
        p95_ms = found.p95_ms / factor
        if p95_ms <= limit.limit_ms:
            break
    return replace(
        stored,
        capacity_per_s=capacity_per_s,
        p50_ms=None,
        p95_ms=p95_ms,
        p99_ms=None,
        instances=instances,
        verdict="PASS" if p95_ms <= limit.limit_ms else "FAIL",
        violation=p95_ms / limit.limit_ms - 1,
        invalid=False,
        failed=None,
        largest_call=found.largest_call,
    )


def _joining_as_many(configuration: Configuration, service: ServiceTimes, rate_per_s: float) -> Configuration:
    """Return the configuration that may join as many requests as calls of this one do at the rate, to the next batch
    size."""
    largest = _simulated(service, configuration, rate_per_s).largest_call or configuration.max_batch
    sizes = [size for size in BATCH_SIZES if largest <= size <= configuration.max_batch]
    return replace(configuration, max_batch=min(sizes, default=configuration.max_batch))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Simulated:
    """The capacity and the p95 in ms, infinite where the rate cannot be served, and the most requests of a call at the
    rate, None where there is none."""

    capacity_per_s: float
    p95_ms: float
    largest_call: int | None


def _simulated(service: ServiceTimes, configuration: Configuration, rate_per_s: float | None) -> _Simulated:
    found = predict(service, queue_of(configuration, None), rate_per_s=rate_per_s, percentiles=(95.0,), seed=7)
    p95_ms = found.latency_ms["p95"]
    return _Simulated(
        capacity_per_s=found.capacity_per_s,
        p95_ms=float("inf") if p95_ms is None or found.saturated else p95_ms,
        largest_call=found.largest_call,
    )


def _times(timing: Timing, speed: float) -> Timing:
    """Return ``timing`` of a backend whose calls take so many times as long."""
    batches = tuple(
        replace(times, strata_ns=tuple(speed * ns for ns in times.strata_ns)) for times in timing.service.batches
    )
    return replace(timing, service=replace(timing.service, batches=batches))
