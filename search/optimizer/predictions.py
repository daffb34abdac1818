"""Predictions of each configuration of a space with a view to what a job asks for, measured or not.

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
from servefit.search.optimizer.expected_improvement import ExpectedScore
from servefit.search.optimizer.gaussian_process import LATENCY_NOISE, CorrectedPredictions, Lesson, LognormalEstimate
from servefit.search.results.instances import PLANNED_UTILISATION, instance_counts, instances_for
from servefit.search.results.objectives.contract import Prediction
from servefit.search.results.objectives.registry import context_of, objective_of
from servefit.search.results.objectives.score import score_of_figure
from servefit.search.results.pooled_trials import latency_ms
from servefit.search.results.price import Price, cheapest
from servefit.search.simulation.endpoint import queue_of
from servefit.search.simulation.prediction import REQUESTS, predict, predict_users

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servefit.profiler.queueing.service import ServiceTimes
    from servefit.profiler.record.types import Configuration
    from servefit.search.optimizer.service_time_survey import Survey
    from servefit.search.request.job_request import JobRequest
    from servefit.search.request.space import Space
    from servefit.search.results.objectives.contract import Context
    from servefit.search.results.recommendation import Trial
    from servefit.search.simulation.endpoint import EndpointCosts
    from servefit.search.simulation.prediction import QueuePrediction

_EARLIER_NOISE = 0.1
"""A measurement of an earlier job may be off by 10 % today. Chosen, not measured."""

_MAX_RANK = 99.9
"""Higher percentiles take more requests than it pays to simulate: this one stands in for them."""

_COUNTED = 0.85
"""Of the requests that are simulated, no fewer than this part counts: the first tenth, while the queue fills up, does
not, and the rest is a margin."""

_NEVER = LognormalEstimate(log_mean=inf, sd=1.0)
"""The excess of what cannot keep its limits: its probability of keeping them is zero."""


class Surrogate:
    """The surrogate model of a search, which stands in for measuring: what is expected of the configurations of
    ``space``. It learns from every trial."""

    def __init__(self, space: Space, survey: Survey, request: JobRequest) -> None:
        self._survey = survey
        self._request = request
        self._objective = objective_of(request)
        self.costs: EndpointCosts | None = None
        self._measured: list[Trial] = []
        self._capacities: dict[Configuration, tuple[float, bool] | None] = {}
        self._latencies: dict[tuple[Configuration, int | None], dict[str, tuple[float, bool]] | None] = {}
        self._min_ms: dict[Configuration, float] = {}
        self._instances: dict[Configuration, int] = {}
        self._roomiest: dict[tuple[Configuration, float], QueuePrediction] = {}
        self._largest_batch = max((configuration.max_batch for configuration in space.grid), default=1)
        limited = {threshold.percentile: min(threshold.rank, _MAX_RANK) for threshold in request.sla.thresholds}
        self._ranks = {"p95": 95.0} | limited
        self._contexts = {
            configuration: context_of(request, cheapest(space, configuration)) for configuration in space.grid
        }
        self._capacity = CorrectedPredictions(self._predicted_capacity)
        self._latency = CorrectedPredictions(self._predicted_p95, noise=LATENCY_NOISE)

    def predict_endpoints(self, costs: EndpointCosts) -> None:
        """Predict endpoints with these ``costs`` from now on, in place of the model in process."""
        self.costs = costs
        for cache in (self._capacities, self._latencies, self._instances, self._roomiest, self._min_ms):
            cache.clear()

    def copy(self) -> Surrogate:
        """Return a copy that has learnt the same and goes on to learn by itself. Predictions are computed once for
        both."""
        other = copy(self)
        # What was looked at, and what was not yet, makes a difference to what is measured.
        other._instances, other._measured = dict(self._instances), [*self._measured]
        other._capacity = self._capacity.copy(other._predicted_capacity)
        other._latency = self._latency.copy(other._predicted_p95)
        return other

    def price(self, configuration: Configuration) -> Price:
        """Return the price of the cheapest profile that admits ``configuration``."""
        return self._contexts[configuration].price

    def learn(self, trial: Trial, *, earlier: bool = False) -> None:
        """Take a measurement into account; of one of an ``earlier`` job, which may have had other traffic, the capacity
        alone."""
        configuration = trial.configuration
        if configuration not in self._contexts:
            return
        if earlier:
            self._capacity.learn(configuration, trial.capacity.throughput_per_s, noise=_EARLIER_NOISE)
            return
        self.learn_capacity(trial)
        self._measured.append(trial)
        self._learn_for_predictions()
        p95_ms = latency_ms(trial)
        if isfinite(p95_ms):
            self._instances[configuration] = trial.instance_count
            self._latency.learn(configuration, p95_ms)

    def _learn_for_predictions(self) -> None:
        """Let the objective learn from all trials; most objectives learn nothing."""
        learnt = self._objective.learn(self._measured)
        if learnt is not None:
            self._contexts = {
                configuration: replace(context, learnt=learnt) for configuration, context in self._contexts.items()
            }

    def learn_capacity(self, trial: Trial) -> None:
        """Take the capacity of a measurement into account, for which nothing has to be known of its latency."""
        self._capacity.learn(trial.configuration, trial.capacity.throughput_per_s)

    def lesson_of(self, trial: Trial) -> Lesson:
        """Return what ``trial`` teaches those who search on hosts of another class."""
        p95_ms = latency_ms(trial)
        return Lesson(
            configuration=trial.configuration,
            capacity_error=self._capacity.error_of(trial.configuration, trial.capacity.throughput_per_s),
            latency_error=self._latency.error_of(trial.configuration, p95_ms) if isfinite(p95_ms) else None,
        )

    def learn_from_elsewhere(self, lesson: Lesson, *, place: str) -> None:
        """Take into account what was learnt on hosts of another class, ``place``: it orders what is tested here, and is
        no measurement."""
        if lesson.capacity_error is not None:
            self._capacity.learn_error(lesson.configuration, lesson.capacity_error, place=place)
        if lesson.latency_error is not None:
            self._latency.learn_error(lesson.configuration, lesson.latency_error, place=place)

    def assume(self, configuration: Configuration) -> None:
        """Take ``configuration`` for measured, with what is expected of it."""
        for quantity in (self._capacity, self._latency) if self._latency_matters else (self._capacity,):
            (expected,) = quantity.estimates([configuration])
            if expected is not None:
                quantity.learn(configuration, expected.value)

    def capacities(self, configurations: Sequence[Configuration]) -> list[LognormalEstimate | None]:
        """Return the requests a second that each is expected to answer at most."""
        return self._capacity.estimates(configurations)

    def optimistic_scores(self, configurations: Sequence[Configuration]) -> list[ExpectedScore]:
        """Return what each would score if all limits held, without looking at latency where the objective does not;
        what nothing is known of, or whose figure cannot be predicted, is left out."""
        return self.split_by_predictability(configurations)[0]

    def split_by_predictability(
        self, configurations: Sequence[Configuration]
    ) -> tuple[list[ExpectedScore], list[Configuration]]:
        """Return the optimistic scores, and the configurations whose capacity is known and whose figure cannot be
        predicted."""
        expected_scores, unpredictable = [], []
        for configuration, capacity in zip(configurations, self.capacities(configurations), strict=True):
            if capacity is not None:
                min_ms = self._min_latency_ms(configuration)
                expected_score = self._expected_score(configuration, capacity, min_ms, capacity.sd, None)
                if expected_score is None:
                    unpredictable.append(configuration)
                else:
                    expected_scores.append(expected_score)
        return expected_scores, unpredictable

    def figures(self, configurations: Sequence[Configuration]) -> dict[Configuration, float]:
        """Return the figure of the objective that is expected of each, less being better, if all limits held; with
        vCPUs in place of prices, some of which may be unknown. Configurations without a prediction are left out."""
        figures = {}
        for configuration, capacity in zip(configurations, self.capacities(configurations), strict=True):
            if capacity is not None:
                for_latency = self._instances_for_latency(configuration)
                instances = max(for_latency, ceil(self._instances_for_capacity(capacity)))
                context = replace(self._contexts[configuration], price=Price.in_vcpus(configuration.vcpus))
                min_ms = self._min_latency_ms(configuration)
                figure = self._figure(configuration, capacity, min_ms, instances, context)
                if figure is not None:
                    figures[configuration] = self._objective.lower(figure)
        return figures

    def expected_score(self, configuration: Configuration) -> ExpectedScore | None:
        """Return what ``configuration`` is expected to score, and how likely it keeps the limits; None if nothing is
        known."""
        (capacity,) = self.capacities([configuration])
        if capacity is None:
            return None
        if not self._latency_matters:
            return self._expected_score(configuration, capacity, inf, capacity.sd, None)
        (latency,) = self._latency.estimates([configuration])
        if latency is None:
            return self._expected_score(configuration, capacity, inf, capacity.sd, _NEVER)
        sd = self._objective.uncertainty(capacity.sd, latency.sd)
        return self._expected_score(configuration, capacity, latency.value, sd, self._excess(configuration, latency))

    @property
    def _latency_matters(self) -> bool:
        """True where the objective asks for latency, or there are limits on it."""
        return self._objective.needs_latency or bool(self._request.sla.thresholds)

    def _expected_score(
        self,
        configuration: Configuration,
        capacity: LognormalEstimate,
        latency_ms: float,
        sd: float,
        excess: LognormalEstimate | None,
    ) -> ExpectedScore | None:
        """Return the expected score, None where the objective can tell nothing of it."""
        context = self._contexts[configuration]
        for_latency, for_capacity = self._instances_for_latency(configuration), self._instances_for_capacity(capacity)
        instances = max(for_latency, ceil(for_capacity))
        figure = self._figure(configuration, capacity, latency_ms, instances, context)
        if figure is None:
            return None
        paid_for = context.rate_per_s is not None and self._objective.paid_by_the_hour
        per_hour = context.price.per_hour
        return ExpectedScore(
            configuration=configuration,
            score=score_of_figure(self._objective, figure, context, instances=instances),
            sd=sd,
            excess=excess,
            per_hour=per_hour * for_capacity if paid_for else 0.0,
            min_per_hour=per_hour * for_latency if paid_for else 0.0,
        )

    def _figure(
        self,
        configuration: Configuration,
        capacity: LognormalEstimate,
        latency_ms: float,
        instances: int,
        context: Context,
    ) -> float | None:
        """Return the figure of the objective that is expected of ``configuration``, None where it cannot be
        predicted."""
        expected = Prediction(
            configuration=configuration, capacity_per_s=capacity.value, p95_ms=latency_ms, instances=max(1, instances)
        )
        return self._objective.predicted(expected, context)

    def _instances_for_capacity(self, capacity: LognormalEstimate) -> float:
        """Return the instances that capacity demands, were they divisible."""
        rate_per_s = self._request.sla.rate_per_s
        return 0.0 if rate_per_s is None else rate_per_s / (capacity.value * PLANNED_UTILISATION)

    def _instances_for_latency(self, configuration: Configuration) -> int:
        """Return the instances that latency demands, as far as it was looked at: 1 where those for the capacity will
        do."""
        rate_per_s, looked_at = self._request.sla.rate_per_s, self._instances.get(configuration, 1)
        if rate_per_s is None or looked_at == 1:
            return 1
        capacity = self._predicted_capacity(configuration)
        will_do = capacity is None or looked_at == instances_for(rate_per_s, capacity[0])
        return 1 if will_do else looked_at

    def _excess(self, configuration: Configuration, latency: LognormalEstimate) -> LognormalEstimate | None:
        """Return latency as a multiple of its limit, of the one that is exceeded most; None where there are none. The
        error of p95 is taken for that of other percentiles."""
        thresholds, predicted = self._request.sla.thresholds, self._latency_figures(configuration)
        if not thresholds:
            return None
        if predicted is None:
            return _NEVER
        worst = max(predicted[threshold.percentile][0] / threshold.limit_ms for threshold in thresholds)
        if not isfinite(worst):
            return _NEVER
        return LognormalEstimate(log_mean=log(worst) + latency.log_mean - log(predicted["p95"][0]), sd=latency.sd)

    def _predicted_capacity(self, configuration: Configuration) -> tuple[float, bool] | None:
        """Return the simulated requests a second, and whether they rest on a guess; None without service times, and of
        what is not in the space, which was measured elsewhere."""
        if configuration not in self._contexts:
            return None
        if configuration not in self._capacities:
            prediction = self._prediction(configuration, None)
            self._capacities[configuration] = (
                None if prediction is None else (prediction[0].capacity_per_s, prediction[1])
            )
        return self._capacities[configuration]

    def _predicted_p95(self, configuration: Configuration) -> tuple[float, bool] | None:
        """Return the simulated p95 in ms, and whether it rests on a guess; None where it is not finite, and of what is
        not in the space."""
        if configuration not in self._contexts:
            return None
        figures = self._latency_figures(configuration)
        return figures["p95"] if figures is not None and isfinite(figures["p95"][0]) else None

    def _latency_figures(self, configuration: Configuration) -> dict[str, tuple[float, bool]] | None:
        """Return percentiles in ms, by name, at the share of the rate that the fewest instances have which keep the
        limits, else of the closed loop; and whether they rest on a guess."""
        rate_per_s = self._request.sla.rate_per_s
        if rate_per_s is None:
            return self._percentiles(configuration, None)
        capacity = self._predicted_capacity(configuration)
        if capacity is None:
            return None
        if configuration in self._instances:
            return self._percentiles(configuration, self._instances[configuration])
        percentiles: dict[str, tuple[float, bool]] | None = None
        for count in instance_counts(rate_per_s, capacity[0]):
            percentiles = self._percentiles(configuration, count)
            self._instances[configuration] = count
            if percentiles is None or self._keeps_limits(percentiles):
                break
        return percentiles

    def _keeps_limits(self, figures: dict[str, tuple[float, bool]]) -> bool:
        """Return whether percentiles in ms are within all limits."""
        return all(figures[threshold.percentile][0] <= threshold.limit_ms for threshold in self._request.sla.thresholds)

    def _percentiles(self, configuration: Configuration, instances: int | None) -> dict[str, tuple[float, bool]] | None:
        """Return percentiles in ms, by name, and whether they rest on a guess. Those that are not known, and all of a
        rate that cannot be served, are infinite."""
        key = configuration, instances
        if key not in self._latencies:
            rate_per_s = self._request.sla.rate_per_s
            share_per_s = None if instances is None or rate_per_s is None else rate_per_s / instances
            prediction = self._prediction(configuration, share_per_s)
            self._latencies[key] = None if prediction is None else self._by_name(*prediction)
        return self._latencies[key]

    def _by_name(self, prediction: QueuePrediction, guessed: bool) -> dict[str, tuple[float, bool]]:
        """Return the percentiles of ``prediction`` in ms, by the names in the request."""
        figures = {}
        for name, rank in self._ranks.items():
            value = prediction.latency_ms[f"p{rank:g}"]
            figures[name] = (inf if value is None or prediction.saturated else value, guessed)
        return figures

    def _prediction(
        self, configuration: Configuration, rate_per_s: float | None
    ) -> tuple[QueuePrediction, bool] | None:
        """Simulate ``configuration`` at a rate, or in a closed loop, and return what came out, and whether it rests on
        a guess; None without service times."""
        timing = self._survey.service_times(configuration)
        if timing is None:
            return None
        service, timed = timing
        ranks = tuple(self._ranks.values())
        phases = self._request.phases
        if rate_per_s is None and phases is not None:
            prediction = predict_users(
                service,
                queue_of(configuration, self.costs),
                users=phases.users,
                percentiles=ranks,
                seed=self._request.seed,
            )
            return prediction, not timed
        simulated = self._at_rate(configuration, service, rate_per_s)
        return simulated, not timed

    def _at_rate(
        self, configuration: Configuration, service: ServiceTimes, rate_per_s: float | None
    ) -> QueuePrediction:
        """Simulate ``configuration`` at a rate, unless a simulation of larger batches has shown that no call would join
        more requests than it may."""
        roomiest = replace(configuration, max_batch=self._largest_batch)
        if rate_per_s is None or configuration == roomiest:
            return self._simulated(configuration, service, rate_per_s)
        key = roomiest, rate_per_s
        if key not in self._roomiest:
            self._roomiest[key] = self._simulated(roomiest, service, rate_per_s)
        prediction = self._roomiest[key]
        # With a delay a call that is exactly full leaves at once, and one with more room waits on.
        most = configuration.max_batch - (configuration.batch_delay_us > 0)
        if prediction.largest_call is None or prediction.largest_call > most:
            return self._simulated(configuration, service, rate_per_s)
        capacity_per_s = self._simulated(configuration, service, None).capacity_per_s
        return replace(prediction, capacity_per_s=capacity_per_s)

    def _simulated(
        self, configuration: Configuration, service: ServiceTimes, rate_per_s: float | None
    ) -> QueuePrediction:
        ranks = tuple(self._ranks.values())
        return predict(
            service,
            queue_of(configuration, self.costs),
            rate_per_s=rate_per_s,
            percentiles=ranks,
            requests=max(REQUESTS, ceil(samples_needed(max(ranks)) / _COUNTED)),
            seed=self._request.seed,
            arrivals=self._request.arrivals,
        )

    def _min_latency_ms(self, configuration: Configuration) -> float:
        """Return the time of a call of a single request, the lowest possible latency; infinite where the objective does
        not need it."""
        if not self._objective.needs_latency:
            return inf
        if configuration not in self._min_ms:
            timing = self._survey.service_times(configuration)
            beside_ns = 0.0 if self.costs is None else self.costs.of_call_ns(1)
            self._min_ms[configuration] = inf if timing is None else (timing[0].mean_ns(1) + beside_ns) / 1e6
        return self._min_ms[configuration]
