"""The plateaus of a closed loop, one for every number of users that stayed for a while: their edges, and figures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from servefit.profiler.evidence.backlog import offered_and_backlog
from servefit.profiler.evidence.summary import NS_PER_MS, PERCENTILES, percentiles_of, with_usual
from servefit.profiler.record.traffic import NS_PER_S, ClosedLoop
from servefit.showing import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from servefit.profiler.record.types import Run, TelemetryPoint


@shown()
@dataclass(frozen=True, slots=True, kw_only=True)
class UserStep:
    """``users`` users for ``duration_s``: answers a second, percentiles of the response time in ms (None where there
    are too few samples), and the CPU use over all cores, None where the step was too short to be looked at."""

    users: int
    duration_s: float
    throughput_per_s: float
    samples: int
    latency_ms: Mapping[str, float | None]
    cpu_percent: float | None


def plateaus_of(run: Run) -> tuple[tuple[int, int], ...]:
    """Return begin and end, as in ``plateau_ns``, of every plateau that ``run`` reached, in order; the last one is cut
    where the run was stopped. An open loop has only one."""
    return tuple(edges for _, edges in _reached(run)) or (run.plateau_ns,)


def users_of(run: Run) -> int:
    """Return how many users took turns on the plateau of ``run``; 0 in an open loop."""
    return _reached(run)[-1][0] if isinstance(run.traffic, ClosedLoop) else 0


def on_plateau(run: Run, plateau_ns: tuple[int, int]) -> Run:
    """Return ``run`` with figures to be taken from another of its plateaus; CPU time is that of telemetry."""
    if plateau_ns == run.plateau_ns:
        return run
    offered, backlog = offered_and_backlog(run.samples, plateau_ns)
    busy_ns = busy_cpu_ns(run.telemetry, plateau_ns)
    return replace(
        run,
        plateau_ns=plateau_ns,
        offered=offered,
        backlog=backlog,
        busy_cpu_ns=None if run.busy_cpu_ns is None else busy_ns,
    )


def steps_of(run: Run, *, percentiles: Sequence[str] = PERCENTILES) -> tuple[UserStep, ...]:
    """Return the plateaus that ``run`` reached, in order; none for an open loop, or whose traffic has only one.
    ``percentiles`` are given beside the usual ones."""
    if not isinstance(run.traffic, ClosedLoop) or len(run.traffic.plateaus()) < 2:
        return ()
    names = with_usual(percentiles)
    scheduled, ended = run.samples.scheduled_ns(), run.samples.ended_ns()
    response_ms = np.where(ended > 0, (ended - scheduled) / NS_PER_MS, np.inf)
    steps = []
    for users, (begin, end) in _reached(run):
        due = (scheduled >= begin) & (scheduled < end)
        cpu_percents = [
            point.cpu_percent for point in run.telemetry if begin <= point.at_ns - point.over_ns and point.at_ns < end
        ]
        answered = int(np.count_nonzero((ended >= begin) & (ended < end)))
        duration_s = (end - begin) / NS_PER_S
        steps.append(
            UserStep(
                users=users,
                duration_s=duration_s,
                throughput_per_s=answered / duration_s,
                samples=int(np.count_nonzero(due)),
                latency_ms=percentiles_of(response_ms[due], names),
                cpu_percent=sum(cpu_percents) / len(cpu_percents) if cpu_percents else None,
            )
        )
    return tuple(steps)


def busy_cpu_ns(telemetry: Iterable[TelemetryPoint], plateau_ns: tuple[int, int]) -> int:
    """Return the CPU time of all workers on a plateau, without waiting, by what was seen of it; 0 where nothing was."""
    begin, end = plateau_ns
    seen_ns, busy_ns = 0, 0.0
    for point in telemetry:
        inside_ns = max(0, min(point.at_ns, end) - max(point.at_ns - point.over_ns, begin))
        seen_ns += inside_ns
        busy_ns += inside_ns * point.cpu_percent / 100
    return round(busy_ns * (end - begin) / seen_ns) if seen_ns else 0


def _reached(run: Run) -> list[tuple[int, tuple[int, int]]]:
    """Return users and edges of every plateau that was reached; none for an open loop."""
    if not isinstance(run.traffic, ClosedLoop):
        return []
    if run.stopped is None:
        plateaus, start_ns = run.traffic.plateaus(), run.plateau_ns[1] - round(run.traffic.duration_s * NS_PER_S)
    else:
        # Where a run that was stopped began is told by its first request alone.
        start_ns = int(run.samples.scheduled_ns().min()) - round(run.traffic.joins_s()[0] * NS_PER_S)
        plateaus = run.traffic.plateaus(until_s=(run.plateau_ns[1] - start_ns) / NS_PER_S)
    return [
        (
            plateau.users,
            (start_ns + round(plateau.begin_s * NS_PER_S), start_ns + round(plateau.end_s * NS_PER_S)),
        )
        for plateau in plateaus
    ]
