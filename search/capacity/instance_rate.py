"""The highest rate of arrivals at which one instance keeps an SLA, and on what that rests.

The queueing simulation, on service times that were measured and stretched to the measured capacity, foretells where the
limits are reached. No instance is planned above a part of its capacity, and what was measured at a rate is believed
rather than the simulation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import inf, isinf
from typing import TYPE_CHECKING, Literal, Self, TypeAlias

import numpy as np

from servefit.profiler.evidence.undisturbed import counted
from servefit.profiler.queueing.service import BatchTimes, ServiceTimes
from servefit.search.capacity.latency_curve import CurvePoint
from servefit.search.results.instances import PLANNED_UTILISATION
from servefit.search.simulation.endpoint import EndpointCosts, queue_of
from servefit.search.simulation.prediction import REQUESTS_TO_SEARCH, highest_rate_per_s, predict
from servefit.showing import shown

if TYPE_CHECKING:
    from servefit.profiler.evidence.limits import LatencyThreshold
    from servefit.profiler.record.types import Configuration, Run

Basis: TypeAlias = Literal["measured", "simulated", "utilisation"]
"""The basis of a highest rate: one that was measured, the one where the simulation reaches a limit, or the planned part
of the measured capacity."""


@shown()
@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRate:
    """The highest rate of an instance: ``highest_per_s`` requests a second, on one instance that answered
    ``capacity_per_s`` in the closed loop.

    ``simulated_per_s`` is where the simulation reaches a limit, None where there is no limit or no simulation.
    """

    highest_per_s: float
    basis: Basis
    capacity_per_s: float
    simulated_per_s: float | None

    @property
    def source(self) -> Literal["measured", "estimated"]:
        """Measured, or estimated by simulation or from the capacity."""
        return "measured" if self.basis == "measured" else "estimated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """The simulation of ``configuration`` with ``service`` times of the capacity that was measured.

    ``origin`` says where they were measured: by the microbenchmark, by the microbenchmark of fewer threads or workers,
    or in the load test itself.
    """

    configuration: Configuration
    service: ServiceTimes
    origin: Literal["microbenchmark", "guess", "load test"]
    seed: int
    arrivals: str = "poisson"
    costs: EndpointCosts | None = None

    @classmethod
    def of(
        cls,
        configuration: Configuration,
        capacity_per_s: float,
        *,
        timed: tuple[ServiceTimes, bool] | None,
        closed: Run | None,
        seed: int,
        arrivals: str = "poisson",
        costs: EndpointCosts | None = None,
    ) -> Self | None:
        """Return the simulation from the service times that were ``timed`` alone, with whether they are the
        configuration's own or guessed from another's; else from the calls of ``closed``, a closed loop of the
        configuration. None where there is neither."""
        origin: Literal["microbenchmark", "guess", "load test"] = "load test"
        service = None if closed is None else _calls_under_load(closed, configuration)
        if timed is not None and (timed[1] or service is None):
            service, origin = timed[0], "microbenchmark" if timed[1] else "guess"
        if service is None:
            return None
        simulation = cls(
            configuration=configuration, service=service, origin=origin, seed=seed, arrivals=arrivals, costs=costs
        )
        return simulation.with_capacity(capacity_per_s)

    def with_capacity(self, capacity_per_s: float) -> Self:
        """Return the simulation with service times stretched so that it has this capacity, and the costs of an endpoint
        as much."""
        slower = self._capacity_per_s() / capacity_per_s
        return replace(
            self,
            service=stretched(self.service, slower),
            costs=None if self.costs is None else self.costs.stretched(slower),
        )

    def highest_rate_per_s(self, thresholds: Sequence[LatencyThreshold]) -> float:
        """Return the highest rate at which all ``thresholds`` hold, infinite where there are none, 0.0 if they never
        do."""
        if not thresholds:
            return inf
        return highest_rate_per_s(
            self.service,
            queue_of(self.configuration, self.costs),
            limits=[(threshold.rank, threshold.limit_ms) for threshold in thresholds],
            seed=self.seed,
            arrivals=self.arrivals,
        )

    def point(self, rate_per_s: float, ranks: Sequence[float]) -> CurvePoint | None:
        """Return the percentiles at a rate; None for a rate that cannot be served."""
        prediction = predict(
            self.service,
            queue_of(self.configuration, self.costs),
            rate_per_s=rate_per_s,
            percentiles=ranks,
            requests=REQUESTS_TO_SEARCH,
            seed=self.seed,
            arrivals=self.arrivals,
        )
        if prediction.saturated:
            return None
        return CurvePoint(
            rate_per_s=rate_per_s,
            loop="open",
            source="estimated",
            latency_ms=prediction.latency_ms,
            latency_ms_ci95={},
            samples=None,
            verdict=None,
        )

    def _capacity_per_s(self) -> float:
        """Return the requests a second that are answered in a closed loop."""
        return predict(
            self.service,
            queue_of(self.configuration, self.costs),
            rate_per_s=None,
            percentiles=(50.0,),
        ).capacity_per_s


def stretched(service: ServiceTimes, slower: float) -> ServiceTimes:
    """Return ``service`` with calls that take ``slower`` times as long."""
    return replace(
        service,
        batches=tuple(
            replace(times, strata_ns=tuple(slower * value for value in times.strata_ns)) for times in service.batches
        ),
    )


def _calls_under_load(closed: Run, configuration: Configuration) -> ServiceTimes | None:
    """Return the calls that the workers made in a closed loop, None where there are none. A call of fewer requests than
    a full batch is taken to last as long as that of a full batch, and a lone worker to be as slow as all at once: both
    err on the safe side."""
    samples = counted(closed).samples
    predicted_ns = samples.predicted_ns()
    if predicted_ns is not None:
        calls_ns = predicted_ns
    else:
        started, ended = samples.started_ns(), samples.ended_ns()
        calls = np.unique(np.stack([started, ended]), axis=1)
        calls_ns = calls[1] - calls[0]
    calls_ns = calls_ns[calls_ns > 0]
    if not len(calls_ns):
        return None
    full = BatchTimes.of(configuration.max_batch, calls_ns)
    batches = (full,) if configuration.max_batch == 1 else (replace(full, requests=1), full)
    return ServiceTimes(batches=batches, workers=configuration.workers)


def instance_rate(
    points: Iterable[CurvePoint], *, capacity_per_s: float, simulated_per_s: float | None, asked_per_s: float | None
) -> InstanceRate:
    """Return the highest rate by the ``points`` that were measured, the capacity and the simulation.

    ``simulated_per_s`` is infinite where nothing limits latency, and None where nothing could be simulated: then only a
    rate that passed counts, or, if none was measured, the planned part of the capacity. ``asked_per_s`` is the rate
    that the recommendation was measured at and judged by, None where there was none. Estimated points do not count. A
    FAIL at a rate above that is an upper bound, and a PASS a lower one, up to the planned part of the capacity. A FAIL
    at that rate or below is outvoted by the verdict of the recommendation.
    """
    points, asked = [point for point in points if point.source == "measured"], asked_per_s or 0.0
    rates_failed = [point.rate_per_s for point in points if point.verdict == "FAIL"]
    failed = min((rate_per_s for rate_per_s in rates_failed if rate_per_s > asked), default=inf)
    rates_passed = [point.rate_per_s for point in points if point.verdict == "PASS"]
    passed = max((rate_per_s for rate_per_s in rates_passed if rate_per_s < failed), default=0.0)
    planned = PLANNED_UTILISATION * capacity_per_s
    expected = min(planned, inf if simulated_per_s is None else simulated_per_s)
    tried = max(passed, asked)
    only_what_was_tried = expected >= failed or (simulated_per_s is None and tried > 0)
    highest = min(planned, tried if only_what_was_tried else max(passed, expected))
    basis: Basis = "simulated"
    if highest in (passed, asked):
        basis = "measured"
    elif highest == planned:
        basis = "utilisation"
    return InstanceRate(
        highest_per_s=highest,
        basis=basis,
        capacity_per_s=capacity_per_s,
        simulated_per_s=None if simulated_per_s is None or isinf(simulated_per_s) else simulated_per_s,
    )
