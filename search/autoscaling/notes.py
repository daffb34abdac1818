"""Notes on a scaling plan, to be read before relying on it: what it was not measured for, and the sources of its
defaults."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from servefit.quantities import duration_text, number_text

if TYPE_CHECKING:
    from servefit.search.autoscaling.plan import ScalingPlan
    from servefit.search.capacity.instance_rate import Simulation
    from servefit.search.capacity.latency_curve import MeasuredCurve
    from servefit.search.jobs.job import RecommendationJob


def scaling_notes(
    plan: ScalingPlan,
    job: RecommendationJob,
    curve: MeasuredCurve,
    simulation: Simulation | None,
    *,
    peak_given: bool,
) -> Iterator[str]:
    """Yield the notes on ``plan``, which rests on ``curve`` and ``simulation``. ``peak_given``: its highest rate is no
    default."""
    trial = plan.recommendation.trial
    if plan.recommendation.deployment == "library":
        yield "all figures are of the model in its workers: HTTP and the network in front of them come on top"
    elif trial.basis == "predicted":
        yield (
            "the endpoint's figures are predicted, since its instance is the whole host and left no CPU to a client; "
            "servefit load measures it from another machine"
        )
    if job.status != "COMPLETED":
        yield f"the job is {job.status}: it may still find something better"
    if trial.verdict == "UNDECIDED":
        yield f"whether the SLA is met is undecided: {trial.reason}"
    for problem in trial.problems:
        yield f"the machine got in the way of the measurement ({problem.kind}): {problem.reason}"
    yield from _evidence(plan, job, curve, simulation)
    if plan.instances == 1:
        yield "one instance serves the rate: while it is replaced nobody does; for availability, run two"
    yield from _instances(plan)
    if not peak_given:
        yield (
            f"at most {plan.target.max_capacity} run, which is for twice the rate asked; "
            "--max-rate says what you expect at most"
        )
    yield (
        f"the scale-out cooldown is a minute of the metric and the {duration_text(trial.measurement.load_s)} that a "
        "worker was measured to load in; add what your instances take to start"
    )
    if plan.recommendation.profile.is_of_a_cloud:
        yield (
            f"{plan.recommendation.profile.name} gives a shape and a price; "
            "every figure is of the processors of the job's host"
        )


def _instances(plan: ScalingPlan) -> Iterator[str]:
    """Yield how the number of instances compares with what the job recommended, and would recommend."""
    trial, asked_per_s = plan.recommendation.trial, plan.sla.rate_per_s
    if asked_per_s is None or plan.instances == trial.instance_count:
        return
    if plan.rate_per_s == asked_per_s:
        without = ", which leaves no headroom" if plan.instances > trial.instance_count else ""
        yield f"the job itself recommends {trial.instance_count} for this rate{without}"
    elif plan.rate_per_s > asked_per_s:
        yield (
            f"the configuration was chosen for {number_text(asked_per_s)} requests/s; another may carry this rate with "
            "fewer instances, such as one that joins more requests: ask servefit recommend with --rate"
        )


def _evidence(
    plan: ScalingPlan, job: RecommendationJob, curve: MeasuredCurve, simulation: Simulation | None
) -> Iterator[str]:
    """Yield how much of the plan was measured."""
    if curve.without_samples:
        yield f"tests whose raw samples are not on this host: {curve.without_samples}; their summaries were used"
    if job.request.phases is not None:
        yield "capacity is what the phases of users reached; more users may reach more"
    limited, simulated_per_s = bool(plan.sla.thresholds), plan.rate.simulated_per_s
    if not limited:
        yield "the job had no limit on latency: only the capacity bounds the rate of an instance"
    elif simulation is None and plan.rate.basis == "utilisation":
        yield (
            "whether the limits hold at the target is not known: nothing was measured at a rate, "
            "and there is nothing to simulate with"
        )
    elif simulation is not None and simulation.origin == "guess":
        yield "the simulation rests on service times of fewer threads or workers"
    elif simulation is not None and simulation.origin == "load test":
        yield "the simulation rests on the calls of the load test, since the job timed none alone"
    if simulated_per_s is not None and plan.rate.basis == "measured":
        yield (
            f"the simulation expects the limits to hold up to {number_text(simulated_per_s)} requests/s on an "
            "instance; what was measured at a rate is believed"
        )
    if limited and plan.rate.highest_per_s > curve.passed_per_s:
        untested_rates = (
            f"above {number_text(curve.passed_per_s)} requests/s on an instance" if curve.passed_per_s else "at a rate"
        )
        command = "load" if plan.recommendation.deployment == "endpoint" else "profile"
        yield f"no PASS was measured {untested_rates}: confirm the target with servefit {command} --rate and --sla"
