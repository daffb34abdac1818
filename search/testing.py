"""One test: start the workers of a configuration, find what they can do, and hold it to the SLA.

A closed loop that keeps every worker busy gives the capacity. Where a rate is asked, an open loop at that rate (shared
out over as many instances as it takes) gives the latency; a closed loop never stands in for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from servefit.profiler.deciding import run_until_decided, run_valid
from servefit.profiler.measuring import assemble, workers_for
from servefit.profiler.summary import summarize
from servefit.profiler.traffic import NS_PER_S, ClosedLoop, OpenLoop
from servefit.search.recommendation import Trial
from servefit.search.verdict import judge

if TYPE_CHECKING:
    import numpy as np

    from servefit.backends.types import Artifact
    from servefit.profiler.deciding import Decision
    from servefit.profiler.host import Host
    from servefit.profiler.inprocess.workers import Workers
    from servefit.profiler.types import Configuration, Run
    from servefit.profiler.validity import Problem
    from servefit.search.request import JobRequest

PLANNED_UTILISATION = 0.8
"""No instance is planned above this part of its capacity: beyond it, queueing makes latency unpredictable."""

LEAST_CALLS = 10
"""Calls that the closed loop gives every worker time for. Throughput counts whole calls, so it may be too low by one
part in so many."""

MOST_CAPACITY_S = 10.0
"""The closed loop takes no longer, however slow a call is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Durations:
    """How long the closed loop takes, and how long the open loop takes at least and at most.

    The open loop goes on while its limits are undecided, up to ``at_rate_most_s``.
    """

    capacity_s: float
    at_rate_s: float
    at_rate_most_s: float


SCREENING = Durations(capacity_s=0.5, at_rate_s=0.7, at_rate_most_s=3.0)
CONFIRMING = Durations(capacity_s=2.0, at_rate_s=2.0, at_rate_most_s=10.0)


def run_test(
    configuration: Configuration,
    artifact: Artifact,
    rows: np.ndarray,
    request: JobRequest,
    host: Host,
    durations: Durations = SCREENING,
    *,
    memory_bytes: int | None = None,
) -> Trial:
    """Measure ``configuration``, limited to ``memory_bytes``, and judge it.

    Raises MeasurementError, or what loading the artifact raises.
    """
    sla = request.sla
    with workers_for(
        configuration,
        artifact,
        rows,
        host=host,
        memory_bytes=memory_bytes,
        rows_per_request=request.rows_per_request,
    ) as workers:
        closed, problems = _run_closed(workers, request, durations)
        capacity = summarize(closed)
        decision, instances = None, 1
        if sla.rate_per_s is not None and capacity.throughput_per_s:
            instances = max(1, math.ceil(sla.rate_per_s / (capacity.throughput_per_s * PLANNED_UTILISATION)))
            decision = _run_at_rate(workers, request, sla.rate_per_s / instances, durations)
        runs = [closed] if decision is None else [closed, decision.run]
        measurement = assemble(workers, runs, host)
    if decision is not None:
        problems = decision.problems or problems
    at_rate = None if decision is None else summarize(decision.run)
    judgement = judge(
        sla,
        capacity=capacity,
        at_rate=at_rate,
        evidence=() if decision is None else decision.evidence,
        instances=instances,
    )
    invalid = bool(problems) and not request.allow_noise
    return Trial(
        configuration=configuration,
        measurement=measurement,
        capacity=capacity,
        at_rate=at_rate,
        instance_count=instances,
        verdict="INVALID" if invalid else judgement.verdict,
        reason=problems[0].reason if invalid else judgement.reason,
        violation=judgement.violation,
        problems=problems,
    )


def _run_closed(workers: Workers, request: JobRequest, durations: Durations) -> tuple[Run, tuple[Problem, ...]]:
    """The user's own phases, or as many users as keep every worker busy, for as long as a slow predictor takes to
    answer a countable number of calls."""
    allow_noise = request.allow_noise
    if request.phases is not None:
        return run_valid(workers, request.phases, allow_noise=allow_noise)
    users = workers.configuration.workers * workers.configuration.max_batch
    run, problems = run_valid(
        workers, ClosedLoop.constant(users=users, duration_s=durations.capacity_s), allow_noise=allow_noise
    )
    calls_ns = run.samples.ended_ns() - run.samples.started_ns()
    needed_s = min(LEAST_CALLS * float(calls_ns.mean()) / NS_PER_S, MOST_CAPACITY_S) if len(calls_ns) else 0.0
    if needed_s <= durations.capacity_s:
        return run, problems
    return run_valid(workers, ClosedLoop.constant(users=users, duration_s=needed_s), allow_noise=allow_noise)


def _run_at_rate(workers: Workers, request: JobRequest, rate_per_s: float, durations: Durations) -> Decision:
    """An open loop that ends when the SLA's limits are decided. One that has no limits takes its shortest duration."""
    thresholds = request.sla.thresholds
    duration_s = durations.at_rate_most_s if thresholds else durations.at_rate_s
    traffic = OpenLoop(rate_per_s=rate_per_s, duration_s=duration_s, seed=request.seed)
    return run_until_decided(workers, traffic, thresholds, least_s=durations.at_rate_s, allow_noise=request.allow_noise)
