"""What each configuration of a space promises with a view to what a job asks for, measured or not.

Joins the pieces: service times from ``survey``, the queueing simulation, the corrections of ``forecast`` and the
figures of ``score``. Latency takes a simulation each, so it is only computed where somebody asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf, isfinite, log
from statistics import NormalDist
from typing import TYPE_CHECKING

from servefit.search.forecast import Corrected, Estimate
from servefit.search.queueing.prediction import predict
from servefit.search.score import Price, Score, cheapest, instance_counts, instances_for, score
from servefit.search.standing import latency_ms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servefit.profiler.types import Configuration
    from servefit.search.queueing.prediction import Prediction
    from servefit.search.recommendation import Trial
    from servefit.search.request import JobRequest
    from servefit.search.space import Space
    from servefit.search.survey import Survey

_EARLIER_NOISE = 0.1
"""What was measured in an earlier job may be off by 10 % today."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What a configuration is expected to score, how sure that is (``sd`` is of the logarithm of the figure), and how
    likely it keeps the latency limits."""

    configuration: Configuration
    score: Score
    sd: float
    feasible: float


class Outlook:
    """What is expected of the configurations of ``space``; it learns from every trial."""

    def __init__(self, space: Space, survey: Survey, request: JobRequest) -> None:
        self._space = space
        self._survey = survey
        self._request = request
        self._capacities: dict[Configuration, tuple[float, bool] | None] = {}
        self._latencies: dict[tuple[Configuration, int | None], dict[str, tuple[float, bool]] | None] = {}
        self._instances: dict[Configuration, int] = {}
        self._prices = {one: cheapest(space, one) for one in space.grid}
        self._capacity = Corrected(self._predicted_capacity)
        self._latency = Corrected(lambda one: self._predicted_latency(one, "p95"))

    def price(self, configuration: Configuration) -> Price:
        return self._prices[configuration]

    def learn(self, trial: Trial, *, earlier: bool = False) -> None:
        """Take a measurement into account; of one of an ``earlier`` job, which may have had other traffic, the capacity
        alone."""
        one = trial.configuration
        if one not in self._prices:
            return
        if earlier:
            self._capacity.learn(one, trial.capacity.throughput_per_s, noise=_EARLIER_NOISE)
            return
        self._capacity.learn(one, trial.capacity.throughput_per_s)
        p95_ms = latency_ms(trial)
        if isfinite(p95_ms):
            self._instances[one] = trial.instance_count
            self._latency.learn(one, p95_ms)

    def capacities(self, configurations: Sequence[Configuration]) -> list[Estimate | None]:
        """Requests a second that each is expected to answer at most."""
        return self._capacity.estimates(configurations)

    def at_best(self, configurations: Sequence[Configuration]) -> list[Promise]:
        """What each would score if all limits held, without looking at latency where the goal does not; what nothing is
        known of is left out."""
        found = []
        for one, capacity in zip(configurations, self.capacities(configurations), strict=True):
            if capacity is not None:
                latency_ms = self._least_latency_ms(one) if self._latency_counts else inf
                found.append(self._promise(one, capacity, latency_ms, capacity.sd, feasible=1.0))
        return found

    def promise(self, configuration: Configuration) -> Promise | None:
        """What ``configuration`` is expected to score, and how likely it keeps the limits; None if nothing is known."""
        (capacity,) = self.capacities([configuration])
        if capacity is None:
            return None
        if not self._latency_counts and not self._request.sla.thresholds:
            return self._promise(configuration, capacity, inf, capacity.sd, feasible=1.0)
        (latency,) = self._latency.estimates([configuration])
        if latency is None:
            return self._promise(configuration, capacity, inf, capacity.sd, feasible=0.0)
        sd = capacity.sd if self._request.goal in ("cost", "throughput") else max(capacity.sd, latency.sd)
        return self._promise(
            configuration, capacity, latency.value, sd, feasible=self._feasible(configuration, latency)
        )

    @property
    def _latency_counts(self) -> bool:
        return self._request.goal in ("latency", "balanced")

    def _promise(
        self, one: Configuration, capacity: Estimate, latency_ms: float, sd: float, *, feasible: float
    ) -> Promise:
        rate_per_s = self._request.sla.rate_per_s
        instances = 1 if rate_per_s is None else self._planned(one, rate_per_s, capacity.value)
        return Promise(
            configuration=one,
            score=score(
                self._request.goal,
                price=self._prices[one],
                capacity_per_s=capacity.value,
                latency_ms=latency_ms,
                instances=instances,
                at_rate=rate_per_s is not None,
                weight=self._request.cost_weight,
            ),
            sd=sd,
            feasible=feasible,
        )

    def _planned(self, one: Configuration, rate_per_s: float, capacity_per_s: float) -> int:
        """How many instances it takes; as many as a latency that was looked at demands."""
        return max(self._instances.get(one, 1), instances_for(rate_per_s, capacity_per_s))

    def _feasible(self, one: Configuration, latency: Estimate) -> float:
        """The probability that every limit holds: the error of p95 is taken for that of the other percentiles."""
        predicted = self._latency_figures(one)
        if predicted is None:
            return 0.0
        error = latency.log_mean - log(predicted["p95"][0])
        likely = 1.0
        for threshold in self._request.sla.thresholds:
            value_ms = predicted[threshold.percentile][0]
            if not isfinite(value_ms):
                return 0.0
            off = (log(threshold.limit_ms / value_ms) - error) / latency.sd
            likely = min(likely, NormalDist().cdf(off))
        return likely

    def _predicted_capacity(self, one: Configuration) -> tuple[float, bool] | None:
        if one not in self._capacities:
            found = self._prediction(one, None)
            self._capacities[one] = None if found is None else (found[0].capacity_per_s, found[1])
        return self._capacities[one]

    def _predicted_latency(self, one: Configuration, percentile: str) -> tuple[float, bool] | None:
        figures = self._latency_figures(one)
        if figures is None or not isfinite(figures[percentile][0]):
            return None
        return figures[percentile]

    def _latency_figures(self, one: Configuration) -> dict[str, tuple[float, bool]] | None:
        """Percentiles in ms at the share of the rate that the fewest instances have which keep the limits, else of the
        closed loop; and whether they rest on a guess."""
        rate_per_s = self._request.sla.rate_per_s
        if rate_per_s is None:
            return self._figures(one, None)
        capacity = self._predicted_capacity(one)
        if capacity is None:
            return None
        if one in self._instances:
            return self._figures(one, self._instances[one])
        found: dict[str, tuple[float, bool]] | None = None
        for count in instance_counts(rate_per_s, capacity[0]):
            found = self._figures(one, count)
            self._instances[one] = count
            if found is None or self._holds(found):
                break
        return found

    def _holds(self, figures: dict[str, tuple[float, bool]]) -> bool:
        return all(figures[one.percentile][0] <= one.limit_ms for one in self._request.sla.thresholds)

    def _figures(self, one: Configuration, instances: int | None) -> dict[str, tuple[float, bool]] | None:
        key = one, instances
        if key not in self._latencies:
            rate_per_s = self._request.sla.rate_per_s
            found = self._prediction(one, None if instances is None or rate_per_s is None else rate_per_s / instances)
            self._latencies[key] = None if found is None else _percentiles(*found)
        return self._latencies[key]

    def _prediction(self, one: Configuration, rate_per_s: float | None) -> tuple[Prediction, bool] | None:
        known = self._survey.service_times(one)
        if known is None:
            return None
        service, timed = known
        names = {"p95": 95.0} | {threshold.percentile: threshold.rank for threshold in self._request.sla.thresholds}
        prediction = predict(
            service,
            workers=one.workers,
            max_batch=one.max_batch,
            batch_delay_us=one.batch_delay_us,
            rate_per_s=rate_per_s,
            percentiles=tuple(names.values()),
            seed=self._request.seed,
        )
        return prediction, not timed

    def _least_latency_ms(self, one: Configuration) -> float:
        """No request is answered sooner than a call of one takes."""
        known = self._survey.service_times(one)
        return inf if known is None else known[0].mean_ns(1) / 1e6


def _percentiles(prediction: Prediction, guessed: bool) -> dict[str, tuple[float, bool]]:
    """Those that are not known, and all of a rate that cannot be served, are infinite."""
    return {
        name: (inf if value is None or prediction.saturated else value, guessed)
        for name, value in prediction.latency_ms.items()
    }


def improvement(promise: Promise, best: Score | None) -> float:
    """By which part of the figure ``promise`` is expected to improve on ``best``, times the probability that it keeps
    the limits: expected improvement of a lognormal figure [Jones et al. 1998; Gardner et al. 2014 for the limits].

    Infinite where nothing is there to improve on, or where it costs less by the hour; zero where it costs more.
    """
    if best is None:
        return promise.feasible * 1e6
    mine = promise.score
    if (mine.unpriced, mine.per_hour) != (best.unpriced, best.per_hour):
        return promise.feasible * (1e3 if (mine.unpriced, mine.per_hour) < (best.unpriced, best.per_hour) else 0.0)
    if not (isfinite(mine.figure) and mine.figure > 0 and best.figure > 0):
        return 0.0
    normal = NormalDist()
    ratio, sd = log(mine.figure / best.figure), max(promise.sd, 1e-6)
    # E[max(0, 1 - x)] for x lognormal with median exp(ratio).
    cut = -ratio / sd
    return promise.feasible * max(0.0, normal.cdf(cut) - exp(ratio + sd**2 / 2) * normal.cdf(cut - sd))
