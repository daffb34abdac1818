"""What each configuration of a space promises with a view to what a job asks for, measured or not.

Joins the pieces: service times from ``service_time_survey``, the queueing simulation, the corrections of
``gaussian_process`` and the figures of ``results.objectives``. Latency takes a simulation each, so it is only computed
where somebody asks. Capacity is that of the closed loop which a test measures: of the users of the job's own phases,
all of them, or of as many as fill all batches.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from math import ceil, inf, isfinite, log
from typing import TYPE_CHECKING

from servefit.profiler.evidence.summary import samples_needed
from servefit.search.optimizer.expected_improvement import Promise
from servefit.search.optimizer.gaussian_process import Corrected, Estimate
from servefit.search.queueing.prediction import predict, predict_users
from servefit.search.results.instances import PLANNED_UTILISATION, instance_counts, instances_for
from servefit.search.results.objectives.contract import Prediction as Expected
from servefit.search.results.objectives.guarded import learnt, predicted_figure
from servefit.search.results.objectives.registry import context_of, objective_of
from servefit.search.results.objectives.score import score_of_figure
from servefit.search.results.price import Price, cheapest
from servefit.search.results.standings import latency_ms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servefit.profiler.record.types import Configuration
    from servefit.search.optimizer.service_time_survey import Survey
    from servefit.search.queueing.prediction import Prediction
    from servefit.search.request.job_request import JobRequest
    from servefit.search.request.space import Space
    from servefit.search.results.objectives.contract import Context
    from servefit.search.results.recommendation import Trial

_EARLIER_NOISE = 0.1
"""What was measured in an earlier job may be off by 10 % today."""

_MAX_RANK = 99.9
"""Higher percentiles take more requests than it pays to simulate: this one stands in for them."""

_MIN_REQUESTS = 4000
_COUNTED = 0.85
"""Of the requests that are simulated, no fewer than this part counts."""

_NEVER = Estimate(log_mean=inf, sd=1.0)


class Outlook:
    """What is expected of the configurations of ``space``; it learns from every trial."""

    def __init__(self, space: Space, survey: Survey, request: JobRequest) -> None:
        self._space = space
        self._survey = survey
        self._request = request
        self._objective = objective_of(request)
        self._measured: list[Trial] = []
        self._capacities: dict[Configuration, tuple[float, bool] | None] = {}
        self._latencies: dict[tuple[Configuration, int | None], dict[str, tuple[float, bool]] | None] = {}
        self._least_ms: dict[Configuration, float] = {}
        self._instances: dict[Configuration, int] = {}
        limited = {one.percentile: min(one.rank, _MAX_RANK) for one in request.sla.thresholds}
        self._ranks = {"p95": 95.0} | limited
        self._contexts = {one: context_of(request, cheapest(space, one)) for one in space.grid}
        self._capacity = Corrected(self._predicted_capacity)
        self._latency = Corrected(self._predicted_p95)

    def copy(self) -> Outlook:
        """Another that has learnt the same and goes on to learn by itself. Predictions are computed once for both."""
        other = copy(self)
        # What was looked at, and what was not yet, makes a difference to what is measured.
        other._instances, other._measured = dict(self._instances), [*self._measured]
        other._capacity = self._capacity.copy(other._predicted_capacity)
        other._latency = self._latency.copy(other._predicted_p95)
        return other

    def price(self, configuration: Configuration) -> Price:
        return self._contexts[configuration].price

    def learn(self, trial: Trial, *, earlier: bool = False) -> None:
        """Take a measurement into account; of one of an ``earlier`` job, which may have had other traffic, the capacity
        alone."""
        one = trial.configuration
        if one not in self._contexts:
            return
        if earlier:
            self._capacity.learn(one, trial.capacity.throughput_per_s, noise=_EARLIER_NOISE)
            return
        self.learn_capacity(trial)
        self._measured.append(trial)
        self._learn_for_predictions()
        p95_ms = latency_ms(trial)
        if isfinite(p95_ms):
            self._instances[one] = trial.instance_count
            self._latency.learn(one, p95_ms)

    def _learn_for_predictions(self) -> None:
        """Tell the objective of all trials; most make nothing of them."""
        found = learnt(self._objective, self._measured)
        if found is not None:
            self._contexts = {one: replace(context, learnt=found) for one, context in self._contexts.items()}

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
        """What each would score if all limits held, without looking at latency where the objective does not; what
        nothing is known of, or whose figure nobody can tell, is left out."""
        return self.foreseen(configurations)[0]

    def foreseen(self, configurations: Sequence[Configuration]) -> tuple[list[Promise], list[Configuration]]:
        """The same, and those whose capacity is known and whose figure nobody can tell."""
        promises, unforeseen = [], []
        for one, capacity in zip(configurations, self.capacities(configurations), strict=True):
            if capacity is not None:
                promise = self._promise(one, capacity, self._at_least_ms(one), capacity.sd, None)
                if promise is None:
                    unforeseen.append(one)
                else:
                    promises.append(promise)
        return promises, unforeseen

    def figures(self, configurations: Sequence[Configuration]) -> dict[Configuration, float]:
        """The figure of the objective that is expected of each, less being better, if all limits held; with vCPUs in
        place of prices, some of which may be unknown. What nothing is expected of is left out."""
        found = {}
        for one, capacity in zip(configurations, self.capacities(configurations), strict=True):
            if capacity is not None:
                instances = max(self._demanded(one), ceil(self._needed(capacity)))
                context = replace(self._contexts[one], price=Price.in_vcpus(one.vcpus))
                figure = self._figure(one, capacity, self._at_least_ms(one), instances, context)
                if figure is not None:
                    found[one] = self._objective.lower(figure)
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
        sd = self._objective.uncertainty(capacity.sd, latency.sd)
        return self._promise(configuration, capacity, latency.value, sd, self._excess(configuration, latency))

    @property
    def _latency_matters(self) -> bool:
        return self._objective.needs_latency or bool(self._request.sla.thresholds)

    def _promise(
        self, one: Configuration, capacity: Estimate, latency_ms: float, sd: float, excess: Estimate | None
    ) -> Promise | None:
        """None where the objective can tell nothing of it."""
        context, least, needed = self._contexts[one], self._demanded(one), self._needed(capacity)
        instances = max(least, ceil(needed))
        figure = self._figure(one, capacity, latency_ms, instances, context)
        if figure is None:
            return None
        paid_for = context.rate_per_s is not None and self._objective.paid_by_the_hour
        per_hour = context.price.per_hour
        return Promise(
            configuration=one,
            score=score_of_figure(self._objective, figure, context, instances=instances),
            sd=sd,
            excess=excess,
            per_hour=per_hour * needed if paid_for else 0.0,
            least_per_hour=per_hour * least if paid_for else 0.0,
        )

    def _figure(
        self, one: Configuration, capacity: Estimate, latency_ms: float, instances: int, context: Context
    ) -> float | None:
        expected = Expected(
            configuration=one, capacity_per_s=capacity.value, p95_ms=latency_ms, instances=max(1, instances)
        )
        return predicted_figure(self._objective, expected, context)

    def _needed(self, capacity: Estimate) -> float:
        """The instances that capacity demands, were they divisible."""
        rate_per_s = self._request.sla.rate_per_s
        return 0.0 if rate_per_s is None else rate_per_s / (capacity.value * PLANNED_UTILISATION)

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
            requests=max(_MIN_REQUESTS, ceil(samples_needed(max(ranks)) / _COUNTED)),
            seed=self._request.seed,
            arrivals=self._request.arrivals,
        )
        return prediction, not timed

    def _at_least_ms(self, one: Configuration) -> float:
        """No request is answered sooner than a call of one takes; infinite where the objective does not ask."""
        if not self._objective.needs_latency:
            return inf
        if one not in self._least_ms:
            known = self._survey.service_times(one)
            self._least_ms[one] = inf if known is None else known[0].mean_ns(1) / 1e6
        return self._least_ms[one]
