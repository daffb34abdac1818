"""The instances that a rate takes, and the target-tracking policy that adds and removes them.

The policy is the one that SageMaker's GetScalingConfigurationRecommendation gives: so many invocations a minute on each
instance, with bounds and cooldowns, from what a job measured of one recommendation. The highest rate of an instance is
found in ``capacity.instance_rate``; the plan and its JSON form are in ``plan``.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil, inf
from typing import TYPE_CHECKING

from servefit.checks import check_above_zero, check_finite, check_whole
from servefit.errors import SpecError
from servefit.profiler.arrivals.registry import BUILT_IN, arrivals_named
from servefit.profiler.evidence.summary import rank_of
from servefit.quantities import given_text
from servefit.search.autoscaling.notes import scaling_notes
from servefit.search.autoscaling.plan import ScalingPlan, TargetTracking
from servefit.search.capacity.instance_rate import InstanceRate, Simulation, instance_rate
from servefit.search.capacity.latency_curve import CurvePoint, MeasuredCurve, rate_of_an_instance
from servefit.search.jobs.job import RecommendationJob
from servefit.search.jobs.lifecycle import load_job
from servefit.search.optimizer.service_time_survey import Survey
from servefit.search.results.measure_trial import percentiles_of
from servefit.search.simulation.endpoint import costs_for
from servefit.search.storage.job_folder import job_folder
from servefit.search.storage.steps import endpoint_costs_of

if TYPE_CHECKING:
    from servefit.search.results.recommendation import Recommendation

HEADROOM = 0.2
"""The part of the highest rate that is kept free: until a new instance serves, the others take 1 / (1 - 0.2), 25 % more
than they are meant to. SageMaker's guide to load tests begins with half of the peak, but of a peak without a limit on
latency."""

MIN_CAPACITY = 1
"""An endpoint with no instance loses requests until one has started."""

PEAK_FACTOR = 2.0
"""Where the highest rate is not given: so many times the rate asked. It bounds what a runaway client costs."""

SCALE_IN_COOLDOWN_S = 300
"""The default of Application Auto Scaling for SageMaker endpoint variants: an instance too many costs little."""

METRIC_PERIOD_S = 60
"""Invocations are counted by the minute. A scale-out has taken effect once the worker has loaded, which was measured,
and a whole minute has been counted with it: that is the cooldown. By default it would be 300 s too."""

_MAX_RATE_PER_S = 10**12
"""Far above any traffic: it keeps out numbers of instances of a hundred digits."""

_NEARLY_FULL = (0.9, 0.95)
"""Parts of the capacity at which a curve is estimated beyond the highest rate, to show what limits it: nearer to 1 the
queue is so long that it depends on how long is simulated. Chosen, not measured."""

_MIN_PART = 0.05
"""The part of the highest rate at which a curve begins where nothing was asked of an instance. Chosen, not measured."""

_MAX_ESTIMATES = 100
"""More rates than anybody can tell apart on a curve; each takes a tenth of a second. Chosen, not measured."""

_ROUNDING = 1e-9
"""A rate that is the target times a whole number takes that many instances, though division may give a little more."""


def scale(
    job: RecommendationJob | str,
    *,
    rate_per_s: float,
    recommendation_id: str | None = None,
    headroom: float = HEADROOM,
    min_rate_per_s: float | None = None,
    max_rate_per_s: float | None = None,
    estimates: int = 0,
) -> ScalingPlan:
    """Plan how many instances of a recommendation a rate takes, and the policy that adds and removes them.

    Args:
        job: The job that made the recommendation, or its name in the state folder.
        rate_per_s: Requests a second, over all instances.
        recommendation_id: The ID of the recommendation; the best where None.
        headroom: The part of an instance's highest rate that is kept free.
        min_rate_per_s: The least that traffic comes down to, as SageMaker's MinInvocationsPerMinute. Without, at least
            one instance runs.
        max_rate_per_s: The most that it rises to, as MaxInvocationsPerMinute. Without, twice the rate.
        estimates: At how many more rates of an instance to simulate the latency, for a curve that can be drawn: from
            the rate that the recommendation was judged at up to the highest, and a little beyond.

    Returns:
        The plan, with its reasons.

    Raises:
        SpecError: The ID is not known, rates or the headroom make no sense, nothing is known to meet the SLA, or the
            arrivals of the job cannot be simulated here and nothing was measured at a rate.

    Example:
        ::

            plan = sf.scale(job, rate_per_s=1000)
            print(plan.instances, "x", plan.recommendation.profile.name)
    """
    job = load_job(job) if isinstance(job, str) else job
    if not isinstance(job, RecommendationJob):
        raise SpecError("job", job, "is not a job", remedy="give one, or the name of one that is kept")
    _check(rate_per_s, headroom, min_rate_per_s, max_rate_per_s)
    check_whole("estimates", estimates, least=0, most=_MAX_ESTIMATES)
    peak_per_s = PEAK_FACTOR * rate_per_s if max_rate_per_s is None else max_rate_per_s
    chosen = _chosen(job, recommendation_id)
    trial, request = chosen.trial, job.request
    curve = MeasuredCurve.of(trial, job.trials, request, job_folder(job.name))
    unknown_arrivals = _why_not_drawn(request.arrivals)
    simulation = None
    if unknown_arrivals is None:
        simulation = Simulation.of(
            trial.configuration,
            trial.capacity.throughput_per_s,
            timed=Survey.of_steps(job.steps).service_times(trial.configuration),
            closed=curve.closed,
            seed=request.seed,
            arrivals=request.arrivals,
            costs=(
                costs_for(trial.configuration.backend, endpoint_costs_of(job.steps))
                if request.deployment == "endpoint"
                else None
            ),
        )
    elif request.sla.thresholds and not (curve.passed_per_s or rate_of_an_instance(trial, request)):
        raise unknown_arrivals
    rate = _rate(chosen, job, curve, simulation)
    target_per_s = rate.highest_per_s * (1 - headroom)
    more_per_s = _rates_between(rate, rate_of_an_instance(trial, request), estimates)
    plan = ScalingPlan(
        job=job.name,
        recommendation=chosen,
        sla=request.sla,
        rate_per_s=rate_per_s,
        instances=_instances(rate_per_s, target_per_s),
        headroom=headroom,
        rate=rate,
        target=TargetTracking(
            rate_per_s=target_per_s,
            min_capacity=MIN_CAPACITY if min_rate_per_s is None else _instances(min_rate_per_s, target_per_s),
            max_capacity=_instances(peak_per_s, target_per_s),
            scale_in_cooldown_s=SCALE_IN_COOLDOWN_S,
            scale_out_cooldown_s=METRIC_PERIOD_S + ceil(trial.measurement.load_s),
        ),
        min_rate_per_s=min_rate_per_s,
        max_rate_per_s=peak_per_s,
        curve=_with_estimates(curve, chosen, job, simulation, {target_per_s, rate.highest_per_s, *more_per_s}),
        notes=(),
    )
    notes = list(scaling_notes(plan, job, curve, simulation, peak_given=max_rate_per_s is not None))
    if unknown_arrivals is not None:
        notes.insert(0, f"nothing was simulated, and what was measured alone counts: {unknown_arrivals}")
    return replace(plan, notes=tuple(notes))


def _why_not_drawn(arrivals: str) -> SpecError | None:
    """Return why ``arrivals`` cannot be drawn here: their package was uninstalled, or their file is gone. None where
    they can be drawn."""
    try:
        _ = arrivals_named(arrivals).cycle_s
    except SpecError as error:
        name = arrivals.partition(":")[0]
        remedy = error.remedy if name in BUILT_IN else f"install the package that offers {name} again"
        return SpecError(error.field, error.value, error.problem, remedy=remedy)
    return None


def _check(rate_per_s: float, headroom: float, min_rate_per_s: float | None, max_rate_per_s: float | None) -> None:
    """Raise SpecError for rates or a headroom that make no sense."""
    for field, value in (("rate", rate_per_s), ("min_rate", min_rate_per_s), ("max_rate", max_rate_per_s)):
        if value is not None:
            check_above_zero(field, value, most=_MAX_RATE_PER_S)
    check_finite("headroom", headroom)
    if not 0 <= headroom < 1:
        raise SpecError("headroom", headroom, "is not a part of an instance", remedy="say 20%, or 0.2")
    if min_rate_per_s is not None and max_rate_per_s is not None and min_rate_per_s > max_rate_per_s:
        raise SpecError(
            "min_rate", min_rate_per_s, f"is above the highest rate, {given_text(max_rate_per_s)} requests/s"
        )
    if min_rate_per_s is not None and min_rate_per_s > rate_per_s:
        raise SpecError(
            "min_rate", min_rate_per_s, f"is above the rate to plan for, {given_text(rate_per_s)} requests/s"
        )
    if max_rate_per_s is not None and max_rate_per_s < rate_per_s:
        raise SpecError(
            "max_rate", max_rate_per_s, f"is below the rate to plan for, {given_text(rate_per_s)} requests/s"
        )


def _chosen(job: RecommendationJob, recommendation_id: str | None) -> Recommendation:
    """Return the recommendation that was asked for. Raises SpecError where there is nothing to be planned with it."""
    chosen = job.recommendation(recommendation_id)
    trial = chosen.trial
    because = "" if trial.reason is None else f": {trial.reason}"
    if trial.verdict == "INVALID":
        raise SpecError(
            "recommendation",
            chosen.id,
            f"has no valid measurement to plan with{because}",
            remedy="run the job again on a quieter machine, or with --allow-noise (allow_noise=True)",
        )
    if trial.verdict == "FAIL":
        kept = [other.id for other in job.recommendations if other.trial.verdict == "PASS"]
        raise SpecError(
            "recommendation",
            chosen.id,
            f"was measured and does not meet {job.request.sla}{because}",
            remedy=f"{kept[0]} does" if kept else "run the job again with a wider limit, or with larger profiles",
        )
    if not trial.capacity.throughput_per_s:
        raise SpecError("recommendation", chosen.id, "answered no request while it was measured")
    return chosen


def _rate(
    chosen: Recommendation, job: RecommendationJob, curve: MeasuredCurve, simulation: Simulation | None
) -> InstanceRate:
    """Return the highest rate of an instance. Raises SpecError where it is zero."""
    sla = job.request.sla
    simulated_per_s = None if sla.thresholds else inf
    if simulation is not None:
        simulated_per_s = simulation.highest_rate_per_s(sla.thresholds)
    rate = instance_rate(
        curve.points,
        capacity_per_s=chosen.trial.capacity.throughput_per_s,
        simulated_per_s=simulated_per_s,
        asked_per_s=rate_of_an_instance(chosen.trial, job.request) if chosen.trial.basis == "measured" else None,
    )
    if not rate.highest_per_s:
        raise SpecError(
            "recommendation",
            chosen.id,
            f"is not expected to meet {sla} at any rate of arrivals; it was measured in a closed loop",
            remedy="run the job again with --rate (rate), or with a wider limit",
        )
    return rate


def _instances(rate_per_s: float, target_per_s: float) -> int:
    """Return as many instances as it takes for none to get more than its target."""
    return max(1, ceil(rate_per_s / target_per_s * (1 - _ROUNDING)))


def _rates_between(rate: InstanceRate, asked_per_s: float | None, count: int) -> list[float]:
    """Return ``count`` rates of an instance from that asked up to the highest, each as many times the one before, and
    those beyond at which it is nearly full; none where ``count`` is 0."""
    if not count:
        return []
    highest = rate.highest_per_s
    lowest = highest * _MIN_PART if asked_per_s is None else min(asked_per_s, highest * 0.5)
    between = [lowest * (highest / lowest) ** (nth / count) for nth in range(count)]
    beyond = [part * rate.capacity_per_s for part in _NEARLY_FULL]
    return [*between, *(rate_per_s for rate_per_s in beyond if rate_per_s > highest)]


def _with_estimates(
    curve: MeasuredCurve,
    chosen: Recommendation,
    job: RecommendationJob,
    simulation: Simulation | None,
    rates_per_s: set[float],
) -> tuple[CurvePoint, ...]:
    """Return the points of ``curve`` and the capacity, all measured, and simulated ones at those of ``rates_per_s``
    that were not."""
    points = [*curve.points, CurvePoint.at_full_load(chosen.trial)]
    if simulation is not None:
        ranks = [rank_of(name) for name in percentiles_of(job.request)]
        unknown = rates_per_s - {point.rate_per_s for point in points}
        estimated = (simulation.point(rate_per_s, ranks) for rate_per_s in unknown)
        points += [point for point in estimated if point is not None]
    return tuple(sorted(points, key=lambda point: point.rate_per_s))
