"""One test: start the workers of a configuration, find what they can do, and hold it to the SLA.

A closed loop that keeps every worker busy gives the capacity. Where a rate is asked, an open loop at that rate (shared
out over as many instances as it takes) gives the latency; a closed loop never stands in for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from servefit.profiler.profiling import assemble, workers_for
from servefit.profiler.summary import SAMPLES_NEEDED, summarize
from servefit.profiler.traffic import NS_PER_S, ClosedLoop, OpenLoop
from servefit.search.recommendation import Trial
from servefit.search.verdict import judge

if TYPE_CHECKING:
    import numpy as np

    from servefit.backends.types import Artifact
    from servefit.profiler.host import Host
    from servefit.profiler.inprocess.workers import Workers
    from servefit.profiler.types import Configuration, Run
    from servefit.search.request import JobRequest
    from servefit.search.sla import Sla

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

    A low rate needs long to give the samples that a percentile takes; past ``at_rate_most_s`` it stays undecided.
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
) -> Trial:
    """Measure ``configuration`` and judge it. Raises MeasurementError, or what loading the artifact raises."""
    sla = request.sla
    runs = []
    with workers_for(configuration, artifact, rows, host=host, rows_per_request=request.rows_per_request) as workers:
        runs.append(_run_closed(workers, request.phases, durations))
        capacity, at_rate, instances = summarize(runs[0]), None, 1
        if sla.rate_per_s is not None and capacity.throughput_per_s:
            instances = max(1, math.ceil(sla.rate_per_s / (capacity.throughput_per_s * PLANNED_UTILISATION)))
            share_per_s = sla.rate_per_s / instances
            duration_s = min(max(durations.at_rate_s, _samples_to_offer(sla) / share_per_s), durations.at_rate_most_s)
            runs.append(workers.run(OpenLoop(rate_per_s=share_per_s, duration_s=duration_s, seed=request.seed)))
            at_rate = summarize(runs[1])
        measurement = assemble(workers, runs, host)
    judgement = judge(sla, capacity=capacity, at_rate=at_rate, instances=instances)
    return Trial(
        configuration=configuration,
        measurement=measurement,
        capacity=capacity,
        at_rate=at_rate,
        instance_count=instances,
        verdict=judgement.verdict,
        reason=judgement.reason,
        violation=judgement.violation,
    )


def _run_closed(workers: Workers, phases: ClosedLoop | None, durations: Durations) -> Run:
    """The user's own phases, or as many users as keep every worker busy, for as long as a slow predictor takes to
    answer a countable number of calls."""
    if phases is not None:
        return workers.run(phases)
    users = workers.configuration.workers * workers.configuration.max_batch
    run = workers.run(ClosedLoop.constant(users=users, duration_s=durations.capacity_s))
    calls_ns = run.samples.ended_ns() - run.samples.started_ns()
    needed_s = min(LEAST_CALLS * float(calls_ns.mean()) / NS_PER_S, MOST_CAPACITY_S) if len(calls_ns) else 0.0
    if needed_s <= durations.capacity_s:
        return run
    return workers.run(ClosedLoop.constant(users=users, duration_s=needed_s))


def _samples_to_offer(sla: Sla) -> float:
    """Poisson arrivals come up short of their mean by three standard deviations once in a thousand runs."""
    needed = max((SAMPLES_NEEDED[threshold.percentile] for threshold in sla.thresholds), default=0)
    return needed + 3 * math.sqrt(needed)
