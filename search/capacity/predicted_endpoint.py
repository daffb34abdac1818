"""A test of an endpoint that could not be loaded here, predicted from what the model did in process.

Where the envelope takes all CPUs of the host none is left to a load client. Then the workers are measured in process,
and the endpoint's figures come from the queueing simulation: calls as they were timed, stretched to the capacity that
was measured, with what a request costs in an endpoint beside its prediction.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from servefit.profiler.evidence.summary import rank_of
from servefit.profiler.evidence.verdict import PREDICTION_MARGIN, exceeded, judge_prediction
from servefit.profiler.queueing.discipline import Discipline
from servefit.search.capacity.instance_rate import Simulation, stretched
from servefit.search.results.instances import instance_counts
from servefit.search.results.measure_trial import percentiles_of
from servefit.search.results.recommendation import ModelAlone
from servefit.search.simulation.endpoint import EndpointQueue
from servefit.search.simulation.prediction import REQUESTS_TO_SEARCH, predict, predict_users

if TYPE_CHECKING:
    from collections.abc import Mapping

    from servefit.profiler.evidence.summary import Summary
    from servefit.profiler.queueing.service import ServiceTimes
    from servefit.profiler.record.types import Run
    from servefit.search.request.job_request import JobRequest
    from servefit.search.results.recommendation import Trial
    from servefit.search.simulation.endpoint import EndpointCosts
    from servefit.search.simulation.prediction import QueuePrediction


def predicted_endpoint(
    trial: Trial,
    costs: EndpointCosts,
    request: JobRequest,
    *,
    timed: tuple[ServiceTimes, bool] | None,
    closed: Run | None,
) -> Trial:
    """Return ``trial``, which was measured in process, with the figures that are predicted of it as an endpoint.

    Args:
        trial: What was measured; its figures go to ``alone``.
        costs: What requests cost in an endpoint beside their predictions.
        request: What the test was asked for.
        timed: The calls that were timed alone, and whether they are the configuration's own.
        closed: The closed loop of the test, whose calls stand in where none were timed.

    Returns:
        The predicted trial: INVALID if what it rests on is, else its verdict is about the predicted percentiles.
    """
    thresholds = request.sla.thresholds
    alone = ModelAlone(capacity=trial.capacity, at_rate=trial.at_rate, instance_count=trial.instance_count)
    simulation = None
    if trial.capacity.throughput_per_s:
        simulation = Simulation.of(
            trial.configuration,
            trial.capacity.throughput_per_s,
            timed=timed,
            closed=closed,
            seed=request.seed,
            arrivals=request.arrivals,
        )
    if simulation is None:
        return replace(trial, alone=alone, driver="http", basis="predicted")
    queue = EndpointQueue.of(trial.configuration, costs)
    ranks = [rank_of(name) for name in percentiles_of(request)]
    if request.phases is None:
        at_full_load = predict(simulation.service, queue, rate_per_s=None, percentiles=ranks)
    else:
        users = max(1, request.phases.users)
        # So few users keep no worker busy: their throughput says how long calls take, and is no capacity.
        discipline = Discipline.of(trial.configuration)
        expected = predict_users(simulation.service, discipline, users=users, percentiles=ranks)
        slower = expected.capacity_per_s / trial.capacity.throughput_per_s
        simulation = replace(simulation, service=stretched(simulation.service, slower))
        at_full_load = predict_users(simulation.service, queue, users=users, percentiles=ranks)
    capacity = _summary(trial.capacity, at_full_load, throughput_per_s=at_full_load.capacity_per_s, request=request)
    instances, at_rate = 1, None
    late_ms = _late_ms(trial, simulation.service, request)
    if request.sla.rate_per_s is not None:
        # A turn is made with as many as the test before it.
        counts = instance_counts(request.sla.rate_per_s, at_full_load.capacity_per_s)
        for instances in counts if trial.round is None else [trial.instance_count]:
            share_per_s = request.sla.rate_per_s / instances
            reached = predict(
                simulation.service,
                queue,
                rate_per_s=share_per_s,
                percentiles=ranks,
                requests=REQUESTS_TO_SEARCH,
                seed=request.seed,
                arrivals=request.arrivals,
            )
            answered_per_s = min(share_per_s, reached.capacity_per_s)
            at_rate = _summary(
                trial.at_rate or trial.capacity, reached, throughput_per_s=answered_per_s, request=request
            )
            latency_ms = _later(at_rate.latency_ms, late_ms)
            at_rate = replace(at_rate, loop="open", offered_per_s=share_per_s, latency_ms=latency_ms)
            if not at_rate.saturated and not exceeded(thresholds, at_rate.latency_ms, by=1 / PREDICTION_MARGIN):
                break
    judgement = judge_prediction(thresholds, at_rate or capacity)
    verdict, reason = judgement.verdict, judgement.reason
    problems = (*trial.problems, *costs.problems)
    if problems and not request.allow_noise:
        verdict, reason = "INVALID", problems[0].reason
    return replace(
        trial,
        capacity=capacity,
        at_rate=at_rate,
        instance_count=instances,
        verdict=verdict,
        reason=reason,
        violation=judgement.violation,
        problems=problems,
        driver="http",
        basis="predicted",
        alone=alone,
        asked_per_s=None if request.sla.rate_per_s is None else request.sla.rate_per_s / instances,
    )


def _late_ms(trial: Trial, service: ServiceTimes, request: JobRequest) -> Mapping[str, float]:
    """Return by how much each percentile was above that of the simulation when ``trial`` was measured in process at its
    share of the rate: calls that follow each other slowly take longer than those that were timed alone. A percentile of
    too few requests is as late as the one below it."""
    if trial.at_rate is None or trial.at_rate.saturated or request.sla.rate_per_s is None:
        return {}
    prediction = predict(
        service,
        Discipline.of(trial.configuration),
        rate_per_s=request.sla.rate_per_s / trial.instance_count,
        percentiles=[rank_of(name) for name in percentiles_of(request)],
        requests=REQUESTS_TO_SEARCH,
        seed=request.seed,
        arrivals=request.arrivals,
    )
    if prediction.saturated:
        return {}
    late_ms, last_ms = {}, 0.0
    for name in sorted(percentiles_of(request), key=rank_of):
        measured_ms, expected_ms = trial.at_rate.latency_ms.get(name), prediction.latency_ms[f"p{rank_of(name):g}"]
        if measured_ms is not None and expected_ms is not None:
            last_ms = max(0.0, measured_ms - expected_ms)
        late_ms[name] = last_ms
    return late_ms


def _later(latency_ms: Mapping[str, float | None], late_ms: Mapping[str, float]) -> dict[str, float | None]:
    """Return percentiles that are so much later each, and none before one below it: nothing else says that the few
    requests that were late in the middle were not as late at the end."""
    later: dict[str, float | None] = dict(latency_ms)
    highest_ms = 0.0
    for name in sorted(latency_ms, key=rank_of):
        if (value_ms := latency_ms[name]) is not None:
            highest_ms = max(highest_ms, value_ms + late_ms.get(name, 0.0))
            later[name] = highest_ms
    return later


def _summary(
    measured: Summary, prediction: QueuePrediction, *, throughput_per_s: float, request: JobRequest
) -> Summary:
    """Return the predicted figures. Memory stays as measured, and other figures that are not predicted are left out."""
    latency_ms = {name: prediction.latency_ms[f"p{rank_of(name):g}"] for name in percentiles_of(request)}
    return replace(
        measured,
        throughput_per_s=throughput_per_s,
        samples=0,
        latency_ms=latency_ms,
        latency_ms_ci95={},
        lag_ms=dict.fromkeys(measured.lag_ms),
        saturated=prediction.saturated,
        largest_call=prediction.largest_call,
        backlog=0,
        cpu_percent=None,
        steal_percent=None,
        gpu_percent=None,
        gpu_power_w=None,
        package_power_w=None,
    )
