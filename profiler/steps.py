"""Figures of the plateaus of a closed loop: one for every number of users that stayed for a while."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from servefit.profiler.summary import NS_PER_MS, percentiles
from servefit.profiler.traffic import NS_PER_S, ClosedLoop

if TYPE_CHECKING:
    from collections.abc import Mapping

    from servefit.profiler.types import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """``users`` users for ``duration_s``: answers a second, percentiles of the response time in ms (None where there
    are too few samples), and the CPU use over all cores, None where the step was too short to be looked at."""

    users: int
    duration_s: float
    throughput_per_s: float
    samples: int
    latency_ms: Mapping[str, float | None]
    cpu_percent: float | None


def steps_of(run: Run) -> tuple[Step, ...]:
    """The plateaus of ``run``, in order; none for an open loop, or where there is only one."""
    if not isinstance(run.traffic, ClosedLoop):
        return ()
    plateaus = run.traffic.plateaus()
    if len(plateaus) < 2:
        return ()
    start_ns = run.plateau_ns[1] - round(run.traffic.duration_s * NS_PER_S)
    scheduled, ended = run.samples.scheduled_ns(), run.samples.ended_ns()
    steps = []
    for plateau in plateaus:
        begin, end = (start_ns + round(edge * NS_PER_S) for edge in (plateau.begin_s, plateau.end_s))
        due = (scheduled >= begin) & (scheduled < end)
        looks = [
            point.cpu_percent for point in run.telemetry if begin <= point.at_ns - point.over_ns and point.at_ns < end
        ]
        answered = int(np.count_nonzero((ended >= begin) & (ended < end)))
        steps.append(
            Step(
                users=plateau.users,
                duration_s=plateau.end_s - plateau.begin_s,
                throughput_per_s=answered / (plateau.end_s - plateau.begin_s),
                samples=int(np.count_nonzero(due)),
                latency_ms=percentiles((ended[due] - scheduled[due]) / NS_PER_MS),
                cpu_percent=sum(looks) / len(looks) if looks else None,
            )
        )
    return tuple(steps)
