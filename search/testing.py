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
from servefit.profiler.traffic import ClosedLoop, OpenLoop
from servefit.search.recommendation import Trial
from servefit.search.verdict import judge

if TYPE_CHECKING:
    import numpy as np

    from servefit.backends.types import Artifact
    from servefit.profiler.host import Host
    from servefit.profiler.types import Configuration
    from servefit.search.request import JobRequest

PLANNED_UTILISATION = 0.8
"""No instance is planned above this part of its capacity: beyond it, queueing makes latency unpredictable."""

MOST_OPEN_LOOP_S = 10.0
"""A low rate needs long to give its samples; past this it stays undecided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Durations:
    """How long the closed loop takes, and how long the open loop takes at least."""

    capacity_s: float
    at_rate_s: float


SCREENING = Durations(capacity_s=0.5, at_rate_s=0.7)
CONFIRMING = Durations(capacity_s=2.0, at_rate_s=2.0)


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
        users = configuration.workers * configuration.max_batch
        closed = request.phases or ClosedLoop.constant(users=users, duration_s=durations.capacity_s)
        runs.append(workers.run(closed))
        capacity, at_rate, instances = summarize(runs[0]), None, 1
        if sla.rate_per_s is not None and capacity.throughput_per_s:
            instances = max(1, math.ceil(sla.rate_per_s / (capacity.throughput_per_s * PLANNED_UTILISATION)))
            share_per_s = sla.rate_per_s / instances
            needed = max(SAMPLES_NEEDED[threshold.percentile] for threshold in sla.thresholds) if sla.thresholds else 0
            # A tenth more than needed, since Poisson arrivals may come up short.
            duration_s = min(max(durations.at_rate_s, 1.1 * needed / share_per_s), MOST_OPEN_LOOP_S)
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
