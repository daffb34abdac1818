"""From trials to recommendations, best first.

Whatever the goal, what meets the SLA comes before what is undecided, that before what was measured badly, and that
before what does not meet it, where the smallest violation comes first. A profile without a price is ranked after those
that have one when cost is the goal.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from servefit.search.recommendation import Recommendation

if TYPE_CHECKING:
    from servefit.profiler.types import Configuration, InstanceProfile
    from servefit.search.recommendation import Trial
    from servefit.search.request import Goal
    from servefit.search.space import Space

TIE = 0.02
"""Configurations of one profile this close to the best are a tie, and the simplest of them is taken."""

_VERDICT_ORDER = {"PASS": 0, "UNDECIDED": 1, "INVALID": 2, "FAIL": 3}


def recommend(space: Space, trials: Sequence[Trial], goal: Goal, *, at_rate: bool) -> tuple[Recommendation, ...]:
    """The best trial of every profile that has any, best profile first. ``at_rate``: a rate was asked, so that what
    counts is the price of all instances that it takes, not the price of an inference at full load."""
    chosen = [
        best_for(profile, [trial for trial in trials if trial.configuration in configurations], goal, at_rate=at_rate)
        for profile, configurations in space.profiles
    ]
    return tuple(sorted((one for one in chosen if one), key=lambda one: order(one, goal, at_rate=at_rate)))


def best_for(profile: InstanceProfile, trials: Iterable[Trial], goal: Goal, *, at_rate: bool) -> Recommendation | None:
    """The trial that serves ``profile`` best, the simplest of those that tie; None if none fits its memory."""
    candidates = [
        recommendation(profile, trial)
        for trial in trials
        if trial.measurement.peak_memory_bytes <= profile.memory_bytes
    ]
    if not candidates:
        return None
    best = min(candidates, key=lambda one: order(one, goal, at_rate=at_rate))
    *rank, figure = order(best, goal, at_rate=at_rate)
    ties = []
    for one in candidates:
        *own_rank, own_figure = order(one, goal, at_rate=at_rate)
        if own_rank == rank and own_figure <= figure + abs(figure) * TIE:
            ties.append((simplicity(one.trial.configuration), own_figure, one))
    return min(ties, key=lambda tie: tie[:2])[2]


def order(one: Recommendation, goal: Goal, *, at_rate: bool) -> tuple[int, int, float, float]:
    """What to sort by, best first: verdict, priced or not, hourly cost if a rate is asked, then the goal's figure."""
    verdict = _VERDICT_ORDER[one.trial.verdict]
    if one.trial.verdict == "FAIL":
        return verdict, 0, 0.0, one.trial.violation
    if goal == "latency":
        return verdict, 0, 0.0, latency_ms(one.trial)
    if goal == "throughput":
        return verdict, 0, 0.0, -one.max_invocations
    unpriced = one.cost_per_hour is None
    # Without a price, vCPUs stand in for it: among such profiles the smaller is the cheaper.
    per_hour = one.trial.instance_count * one.profile.vcpus if one.cost_per_hour is None else one.cost_per_hour
    per_inference = per_hour / one.max_invocations if one.max_invocations else math.inf
    if goal == "balanced":
        return verdict, int(unpriced), 0.0, per_inference * latency_ms(one.trial)
    return verdict, int(unpriced), per_hour if at_rate else 0.0, per_inference


def simplicity(configuration: Configuration) -> tuple[int, int, int, int]:
    """The smaller, the simpler to run: batching, processes, threads, and knobs away from nothing."""
    return (
        configuration.max_batch,
        configuration.workers * configuration.settings.threads,
        configuration.settings.threads,
        len(configuration.environment),
    )


def recommendation(profile: InstanceProfile, trial: Trial) -> Recommendation:
    """``trial`` as a recommendation for ``profile``, with what it costs there."""
    max_invocations = 60 * trial.capacity.throughput_per_s * trial.instance_count
    cost_per_hour = None if profile.price_per_hour is None else profile.price_per_hour * trial.instance_count
    return Recommendation(
        id=hashlib.sha256(repr((profile.name, trial.configuration)).encode()).hexdigest()[:8],
        profile=profile,
        trial=trial,
        cost_per_hour=cost_per_hour,
        cost_per_inference=(
            cost_per_hour / (60 * max_invocations) if cost_per_hour is not None and max_invocations else None
        ),
        max_invocations=max_invocations,
    )


def latency_ms(trial: Trial) -> float:
    """The p95 that the SLA is held against, infinite where there are too few samples to know it."""
    p95 = trial.judged.latency_ms["p95"]
    return math.inf if p95 is None else p95


def objectives(trial: Trial, goal: Goal) -> tuple[float, ...]:
    """What the search minimises. Prices differ between profiles of one size, so cost is counted in vCPU-seconds."""
    throughput = trial.capacity.throughput_per_s
    vcpu_s = trial.configuration.vcpus / throughput if throughput else 1e9
    p95_ms = min(latency_ms(trial), 1e9)
    return {"cost": (vcpu_s,), "latency": (p95_ms,), "throughput": (-throughput,), "balanced": (vcpu_s, p95_ms)}[goal]
