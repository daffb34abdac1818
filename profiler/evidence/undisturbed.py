"""Runs without the stretches in which the machine got in their way.

Other processes and hypervisors take CPUs for a while and leave again; between, a run goes as it would have gone without
them. ``Run.left_out_ns`` names the stretches that do not count, and every figure is of ``counted(run)``: the run as if
its clock had stood still meanwhile. What was recorded stays as it was. Which stretches are disturbed is for
``validity`` to say.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from servefit.profiler.evidence.backlog import offered_and_backlog
from servefit.profiler.record.traffic import NS_PER_S, ClosedLoop
from servefit.profiler.record.types import Samples

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TypeAlias

    from servefit.profiler.record.types import Run, TelemetryPoint

    Stretch: TypeAlias = tuple[int, int]

IDLE_CLIENT_PERCENT = 50.0
"""Of its CPU: a client that uses no more has time to spare, and what it is late by is not its own doing. Chosen: at
half of what it can send, a client with Poisson arrivals has queues of its own of some 10 us."""

_MIN_LEFT, _MIN_LEFT_NS = 0.2, 200_000_000
"""Of the plateau, and at least, that has to be left. Chosen, not measured."""


def disturbed_stretches(run: Run, disturbed: Iterable[TelemetryPoint]) -> tuple[Stretch, ...]:
    """Return the stretches of the plateau of ``run`` to leave out, where telemetry is ``disturbed`` at these points,
    ascending and apart; none where that is not possible: too little would be left, or what is left is not like the
    whole, as in phases of users and arrivals whose rate varies.

    In an open loop a stretch goes on until all requests that were waiting at its end are answered.
    """
    if not _is_alike(run):
        return ()
    begin, end = run.plateau_ns
    stretches: list[Stretch] = []
    for point in disturbed:
        low, high = max(begin, point.at_ns - point.over_ns), min(end, point.at_ns)
        if low < high:
            stretches.append((low, high if isinstance(run.traffic, ClosedLoop) else min(end, _drained_ns(run, high))))
    merged = _merged(stretches)
    left_ns = end - begin - sum(high - low for low, high in merged)
    return merged if left_ns >= max(_MIN_LEFT_NS, _MIN_LEFT * (end - begin)) else ()


def sent_late_ns(run: Run, allowed_ns: float | None) -> tuple[int, ...]:
    """Return when the requests were due that a client which had time to spare sent later than is ``allowed_ns``,
    although a connection waited for them: others had its CPU. None of a busy client, which is late by itself, and of
    workers in process, whose CPUs telemetry sees."""
    client = run.client
    if allowed_ns is None or client is None or client.cpu_percent is None or client.cpu_percent > IDLE_CLIENT_PERCENT:
        return ()
    late = (_lags_ns(run) > allowed_ns) & _was_awaited(run)
    return tuple(run.samples.scheduled_ns()[late].tolist())


def counted(run: Run) -> Run:
    """Return ``run`` without what is left out of it: times after a stretch are earlier by its length.

    Of an open loop the requests that were there during a stretch are left out, of a closed one those that were answered
    in it. CPU time is that of telemetry, and lags are those of requests that found fewer others than there are workers,
    or connections.
    """
    stretches = run.left_out_ns
    if not stretches:
        return run
    samples = run.samples
    scheduled, ended = samples.scheduled_ns(), samples.ended_ns()
    answered_ns = np.abs(ended)
    if isinstance(run.traffic, ClosedLoop):
        kept = ~_meets(answered_ns, answered_ns, stretches)
    else:
        kept = ~_meets(scheduled, np.maximum(scheduled, answered_ns), stretches)
    points = [point for point in run.telemetry if not _is_inside(point, stretches)]
    at_ns = _without(np.array([point.at_ns for point in points], dtype=np.int64), stretches).tolist()
    begin, end = _without(np.array(run.plateau_ns, dtype=np.int64), stretches).tolist()
    shorter = Samples(
        scheduled=_without(scheduled[kept], stretches).tobytes(),
        started=_where_known(samples.started_ns()[kept], stretches).tobytes(),
        ended=_where_known(ended[kept], stretches).tobytes(),
        queued=_kept(samples.queued_ns(), kept),
        predicted=_kept(samples.predicted_ns(), kept),
    )
    offered, backlog = offered_and_backlog(shorter, (begin, end))
    return replace(
        run,
        samples=shorter,
        plateau_ns=(begin, end),
        offered=offered,
        backlog=backlog,
        lags=_lags_ns(run)[kept & _was_awaited(run)].tobytes() if len(run.lags) else b"",
        busy_cpu_ns=_busy_ns(run, stretches),
        telemetry=tuple(replace(point, at_ns=at) for point, at in zip(points, at_ns, strict=True)),
        left_out_ns=(),
    )


def left_out_s(run: Run) -> float:
    """Return how many seconds of the plateau of ``run`` do not count."""
    return sum(high - low for low, high in run.left_out_ns) / NS_PER_S


def _is_alike(run: Run) -> bool:
    """Return whether any part of the plateau of ``run`` is like any other."""
    if run.stopped == "backlog":
        return False
    if isinstance(run.traffic, ClosedLoop):
        return len(run.traffic.plateaus()) == 1
    return run.traffic.is_steady


def _drained_ns(run: Run, at_ns: int) -> int:
    """Return when all requests are answered that were due by ``at_ns``, and by each such moment, for the first time."""
    scheduled, answered_ns = run.samples.scheduled_ns(), np.abs(run.samples.ended_ns())
    latest_ns = np.maximum.accumulate(answered_ns)
    while (due := int(np.searchsorted(scheduled, at_ns, side="right"))) and latest_ns[due - 1] > at_ns:
        at_ns = int(latest_ns[due - 1])
    return at_ns


def _merged(stretches: Iterable[Stretch]) -> tuple[Stretch, ...]:
    merged: list[Stretch] = []
    for low, high in sorted(stretches):
        if merged and low <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], high)
        else:
            merged.append((low, high))
    return tuple(merged)


def _meets(from_ns: np.ndarray, to_ns: np.ndarray, stretches: Sequence[Stretch]) -> np.ndarray:
    """Return which of the spans meet a stretch."""
    meets = np.zeros(len(from_ns), dtype=np.bool_)
    for low, high in stretches:
        meets |= (from_ns < high) & (to_ns >= low)
    return meets


def _is_inside(point: TelemetryPoint, stretches: Sequence[Stretch]) -> bool:
    """Return whether more than half of ``point`` lies in a stretch."""
    middle_ns = point.at_ns - point.over_ns // 2
    return any(low <= middle_ns < high for low, high in stretches)


def _without(times_ns: np.ndarray, stretches: Sequence[Stretch]) -> np.ndarray:
    """Return ``times_ns`` by a clock that stood still in ``stretches``."""
    shifted = times_ns.copy()
    for low, high in stretches:
        shifted -= np.clip(times_ns - low, 0, high - low)
    return shifted


def _where_known(times_ns: np.ndarray, stretches: Sequence[Stretch]) -> np.ndarray:
    """Return times as ``_without``. 0 stands for no time, a negative time for a failure at that time."""
    shifted_ns: np.ndarray = np.sign(times_ns) * _without(np.abs(times_ns), stretches)
    return shifted_ns


def _kept(values: np.ndarray | None, kept: np.ndarray) -> bytes | None:
    return None if values is None else values[kept].tobytes()


def _lags_ns(run: Run) -> np.ndarray:
    """Return how much later than it was due each request was begun, int64 (n,)."""
    lags: np.ndarray = run.samples.started_ns() - run.samples.scheduled_ns()
    return lags


def _was_awaited(run: Run) -> np.ndarray:
    """Return which requests of an open loop were begun, and arrived when a worker was idle, or a connection, by how
    many of those before them were not answered yet."""
    scheduled, started = run.samples.scheduled_ns(), run.samples.started_ns()
    answered_ns = np.sort(np.abs(run.samples.ended_ns()))
    answered_ns = answered_ns[answered_ns > 0]
    inside = np.arange(len(scheduled)) - np.searchsorted(answered_ns, scheduled, side="right")
    servers = len(run.threads_per_worker) if run.client is None else run.client.connections
    awaited: np.ndarray = (started > 0) & (inside < max(1, servers))
    return awaited


def _busy_ns(run: Run, stretches: Sequence[Stretch]) -> int | None:
    """Return the CPU time of the workers within the plateau, without that in ``stretches``: by how busy telemetry saw
    them without these, over how busy it saw them with all."""
    if run.busy_cpu_ns is None:
        return None
    begin, end = run.plateau_ns
    points = [point for point in run.telemetry if begin <= point.at_ns - point.over_ns // 2 < end]
    whole, rest = _busy_part(points), _busy_part([point for point in points if not _is_inside(point, stretches)])
    left = 1 - sum(high - low for low, high in stretches) / (end - begin)
    return round(run.busy_cpu_ns * left * rest / whole) if whole else None


def _busy_part(points: Sequence[TelemetryPoint]) -> float:
    """Return for which part of the time the workers were busy at ``points``, summed over CPUs; 0.0 for none."""
    seen_ns = sum(point.over_ns for point in points)
    return sum(point.cpu_percent * point.over_ns for point in points) / (100 * seen_ns) if seen_ns else 0.0
