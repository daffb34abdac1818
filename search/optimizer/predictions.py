"""What each configuration of a space promises with a view to what a job asks for, measured or not.

Joins the pieces: service times from ``service_time_survey``, the queueing simulation, the corrections of
``gaussian_process`` and the figures of ``results.objectives``. Latency takes a simulation each, so it is only computed
where somebody asks. Capacity is that of the closed loop which a test measures: of the users of the job's own phases,
all of them, or of as many as fill all batches.
"""

from __future__ import annotations

from copy import copy
from math import ceil, inf, isfinite, log
from typing import TYPE_CHECKING

from servefit.profiler.evidence.summary import samples_needed
from servefit.search.optimizer.expected_improvement import Promise
from servefit.search.optimizer.gaussian_process import Corrected, Estimate
from servefit.search.queueing.prediction import predict, predict_users
from servefit.search.results.objectives import (
    PLANNED_UTILISATION,
    Price,
    cheapest,
    instance_counts,
    instances_for,
    score,
)
from servefit.search.results.standings import latency_ms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servefit.profiler.record.types import Configuration
    from servefit.search.optimizer.service_time_survey import Survey
    from servefit.search.queueing.prediction import Prediction
    from servefit.search.request.job_request import JobRequest
    from servefit.search.request.space import Space
    from servefit.search.results.recommendation import Trial

_EARLIER_NOISE = 0.1
"""What was measured in an earlier job may be off by 10 % today."""

_MOST_RANK = 99.9
"""Higher percentiles take more requests than it pays to simulate: this one stands in for them."""

_LEAST_REQUESTS = 4000
_COUNTED = 0.85
"""Of the requests that are simulated, no fewer than this part counts."""

_NEVER = Estimate(log_mean=inf, sd=1.0)


class Outlook:
    """What is expected of the configurations of ``space``; it learns from every trial."""

    def __init__(self, space: Space, survey: Survey, request: JobRequest) -> None:
        self._space = space
        self._survey = survey
        self._request = request
        self._capacities: dict[Configuration, tuple[float, bool] | None] = {}
        self._latencies: dict[tuple[Configuration, int | None], dict[str, tuple[float, bool]] | None] = {}
        self._least_ms: dict[Configuration, float] = {}
        self._instances: dict[Configuration, int] = {}
        limited = {one.percentile: min(one.rank, _MOST_RANK) for one in request.sla.thresholds}
        self._ranks = {"p95": 95.0} | limited
        self._prices = {one: cheapest(space, one) for one in space.grid}
        self._capacity = Corrected(self._predicted_capacity)
        self._latency = Corrected(self._predicted_p95)

    def copy(self) -> Outlook:
        """Another that has learnt the same and goes on to learn by itself. Predictions are computed once for both."""
        other = copy(self)
        # What was looked at, and what was not yet, makes a difference to what is measured.
        other._instances = dict(self._instances)
        other._capacity = self._capacity.copy(other._predicted_capacity)
        other._latency = self._latency.copy(other._predicted_p95)
        return other

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
        self.learn_capacity(trial)
        p95_ms = latency_ms(trial)
        if isfinite(p95_ms):
            self._instances[one] = trial.instance_count
            self._latency.learn(one, p95_ms)

    def learn_capacity(self, trial: Trial) -> None:
        """Take the capacity of a measurement into account, for which nothing has to be known of its latency."""
        self._capacity.learn(trial.configuration, trial.capacity.throughput_per_s)

    def assume(self, configuration: Configuration) -> None:
        """Take ``configuration`` for measured, with what is expected of it."""
        for quantity in (self._capacity, self._latency) if self._latency_matters else (self._capacity,):
            (expected,) = quantity.estimates([configuration])
            if expected is not None:
                quantity.learn(configuration, expected.value)

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
                found.append(self._promise(one, capacity, latency_ms, capacity.sd, None))
        return found

    def promise(self, configuration: Configuration) -> Promise | None:
        """What ``configuration`` is expected to score, and how likely it keeps the limits; None if nothing is known."""
        (capacity,) = self.capacities([configuration])
        if capacity is None:
            return None
        if not self._latency_matters:
            return self._promise(configuration, capacity, inf, capacity.sd, None)
        (latency,) = self._latency.estimates([configuration])
        if latency is None:
            return self._promise(configuration, capacity, inf, capacity.sd, _NEVER)
        sd = {"latency": latency.sd, "balanced": max(capacity.sd, latency.sd)}.get(self._request.goal, capacity.sd)
        return self._promise(configuration, capacity, latency.value, sd, self._excess(configuration, latency))

    @property
    def _latency_counts(self) -> bool:
        return self._request.goal in ("latency", "balanced")

    @property
    def _latency_matters(self) -> bool:
        return self._latency_counts or bool(self._request.sla.thresholds)

    def _promise(
        self, one: Configuration, capacity: Estimate, latency_ms: float, sd: float, excess: Estimate | None
    ) -> Promise:
        rate_per_s = self._request.sla.rate_per_s
        price = self._prices[one]
        least = self._demanded(one)
        needed = 0.0 if rate_per_s is None else rate_per_s / (capacity.value * PLANNED_UTILISATION)
        paid_for = rate_per_s is not None and self._request.goal == "cost"
        return Promise(
            configuration=one,
            score=score(
                self._request.goal,
                price=price,
                capacity_per_s=capacity.value,
                latency_ms=latency_ms,
                instances=max(least, ceil(needed)),
                at_rate=rate_per_s is not None,
                weight=self._request.cost_weight,
            ),
            sd=sd,
            excess=excess,
            per_hour=price.per_hour * needed if paid_for else 0.0,
            least_per_hour=price.per_hour * least if paid_for else 0.0,
        )

    def _demanded(self, one: Configuration) -> int:
        """The instances that latency demands, as far as it was looked at: one where those for the capacity will do."""
        rate_per_s, looked_at = self._request.sla.rate_per_s, self._instances.get(one, 1)
        if rate_per_s is None or looked_at == 1:
            return 1
        capacity = self._predicted_capacity(one)
        will_do = capacity is None or looked_at == instances_for(rate_per_s, capacity[0])
        return 1 if will_do else looked_at

    def _excess(self, one: Configuration, latency: Estimate) -> Estimate | None:
        """By how many times the worst limit is exceeded: the error of p95 is taken for that of other percentiles."""
        thresholds, predicted = self._request.sla.thresholds, self._latency_figures(one)
        if not thresholds:
            return None
        if predicted is None:
            return _NEVER
        worst = max(predicted[threshold.percentile][0] / threshold.limit_ms for threshold in thresholds)
        if not isfinite(worst):
            return _NEVER
        return Estimate(log_mean=log(worst) + latency.log_mean - log(predicted["p95"][0]), sd=latency.sd)

    def _predicted_capacity(self, one: Configuration) -> tuple[float, bool] | None:
        if one not in self._capacities:
            found = self._prediction(one, None)
            self._capacities[one] = None if found is None else (found[0].capacity_per_s, found[1])
        return self._capacities[one]

    def _predicted_p95(self, one: Configuration) -> tuple[float, bool] | None:
        figures = self._latency_figures(one)
        return figures["p95"] if figures is not None and isfinite(figures["p95"][0]) else None

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
        """Those that are not known, and all of a rate that cannot be served, are infinite."""
        key = one, instances
        if key not in self._latencies:
            rate_per_s = self._request.sla.rate_per_s
            found = self._prediction(one, None if instances is None or rate_per_s is None else rate_per_s / instances)
            self._latencies[key] = None if found is None else self._by_name(*found)
        return self._latencies[key]

    def _by_name(self, prediction: Prediction, guessed: bool) -> dict[str, tuple[float, bool]]:
        figures = {}
        for name, rank in self._ranks.items():
            value = prediction.latency_ms[f"p{rank:g}"]
            figures[name] = (inf if value is None or prediction.saturated else value, guessed)
        return figures

    def _prediction(self, one: Configuration, rate_per_s: float | None) -> tuple[Prediction, bool] | None:
        known = self._survey.service_times(one)
        if known is None:
            return None
        service, timed = known
        ranks = tuple(self._ranks.values())
        phases = self._request.phases
        if rate_per_s is None and phases is not None:
            prediction = predict_users(
                service,
                workers=one.workers,
                max_batch=one.max_batch,
                batch_delay_us=one.batch_delay_us,
                users=phases.users,
                percentiles=ranks,
                seed=self._request.seed,
            )
            return prediction, not timed
        prediction = predict(
            service,
            workers=one.workers,
            max_batch=one.max_batch,
            batch_delay_us=one.batch_delay_us,
            rate_per_s=rate_per_s,
            percentiles=ranks,
            requests=max(_LEAST_REQUESTS, ceil(samples_needed(max(ranks)) / _COUNTED)),
            seed=self._request.seed,
        )
        return prediction, not timed

    def _least_latency_ms(self, one: Configuration) -> float:
        """No request is answered sooner than a call of one takes."""
        if one not in self._least_ms:
            known = self._survey.service_times(one)
            self._least_ms[one] = inf if known is None else known[0].mean_ns(1) / 1e6
        return self._least_ms[one]
