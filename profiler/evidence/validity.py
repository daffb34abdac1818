"""The validity of a run, did it measure what it was meant to: a pure function of what it recorded.

A run with a problem is INVALID: it says nothing about the configuration, neither good nor bad. Each rule speaks only
where it is sure: counters that advance in steps are given the benefit of a step, and what a configuration does to
itself (more threads than CPUs) is its own property and no problem of the measurement. What telemetry could not read
raises no problem. The rules about the load client are in ``client_validity``. What is only disturbed for a while may be
good without that (``without_disturbances``).
"""

from __future__ import annotations

from dataclasses import replace
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from servefit.profiler.evidence.client_validity import (
    client_behind,
    client_on_the_servers_cpus,
    client_saturated,
    load_on_the_client,
)
from servefit.profiler.evidence.plateaus import users_of
from servefit.profiler.evidence.problem import Kind, Problem
from servefit.profiler.evidence.summary import NS_PER_MS, samples_needed
from servefit.profiler.evidence.undisturbed import counted, disturbed_stretches, sent_late_ns
from servefit.profiler.record.traffic import ClosedLoop
from servefit.quantities import ms_text, number_text, percent_text, share_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from servefit.profiler.machine.envelope.types import Containment
    from servefit.profiler.record.types import Run, TelemetryPoint


TICK_NS = 10_000_000
"""The step in which the kernel counts the idle and stolen time of a CPU."""

COME_AND_GO: frozenset[Kind] = frozenset({"competing load", "steal", "schedule lag"})
"""Problems of some stretches of a run, without which it may be a good one."""

MAX_FOREIGN = 0.03
"""Of the CPUs' time, to processes other than those that are measured: what was served is then right within 3 %."""

# The limits of the rules in ``problems``. They were chosen; benchmarks/claims/neighbour.py counts how often they let a
# neighbour pass, and how often they see one where there is none.
_MAX_LAG = 0.05
"""Of the limit, that arrivals may be started late by."""

_MIN_P95_MS = 4.0
"""Without a limit, for the lag to be held against: so 0.2 ms are allowed, as waking up takes any server its 0.1 ms."""

_ONE_SIDED_99 = 2.33
"""The quantile of the normal distribution."""

_MAX_FOREIGN_CPUS = 0.25
"""Of one CPU: in a large envelope 5 % of all would be whole CPUs, which take them from single workers."""

_MAX_OWN_CPUS = 0.10
"""Of one CPU, for looking at the workers ten times a second and keeping the time."""

_MAX_DELAY = 0.05
"""Of the time, that a thread may wait for a CPU."""

_MAX_STEAL = 0.01
"""Of the CPU time: a hypervisor takes a CPU for milliseconds at a time, so 1 % already is in the percentiles."""

_MAX_OVERUSE = 0.03
"""Of the envelope: what counting at the edges of a run may be off by. Chosen, not measured."""

_MAX_OFF = 0.05
"""By Little's law."""


def problems(
    run: Run, *, limit_ms: float | None, cpus: tuple[int, ...], containment: Containment = "uncontained"
) -> tuple[Problem, ...]:
    """Find everything that makes ``run``, made in the envelope ``cpus``, a bad measurement; empty for a good one.

    ``cpus`` are none for a server that cannot be seen. ``limit_ms`` is the latency limit of the SLA, None without one.
    The rules:

    - schedule lag: arrivals that an idle worker waited for were started late, by more than 5 % of ``limit_ms``, and so
      were significantly more than 1 % of them (99 % confidence). Without an SLA the measured p95 response time stands
      in for it, but no less than 4 ms: waking up takes any server its 0.1 ms. Workers with more threads than CPUs that
      waited in the run queue for as long as they were late have only themselves to blame.
    - competing load: processes other than the workers used more than 3 % of the envelope's CPUs, or more than a quarter
      of one CPU. This process, which looks and keeps the time, is allowed a tenth of one. Or the workers' threads stood
      in the run queue for more than 5 % of the time, although there were no more of them than CPUs.
    - steal: a hypervisor took more than 1 % of the envelope's CPU time.
    - throttling: a control group's quota, heat, or a GPU's power supply held the run back at all.
    - outside the envelope: the workers used 3 % more CPU time than the envelope has, or, where it is a cgroup, any of
      their threads was allowed elsewhere. Under affinity alone libraries re-pin their threads as a matter of course:
      that is what "uncontained" warns of, and competing load may go unseen there.
    - Little's law: in a closed loop users = throughput x mean response time; off by more than 5 %, requests were lost.
      Over HTTP the time that the client takes between an answer and the next request is added to the response time.

    Over HTTP the lags are those of arrivals that had a connection. A closed loop has none: there competing load is also
    what made a client wait for its CPU for more than 5 % of the time. Steal is also that of the clients' CPUs. There
    are three rules more:

    - client on the server's CPUs: what the client does takes time from the server; nothing else is then said of
      competing load, which it is.
    - client saturated: it used more than 80 % of its CPU, without what it spent waiting.
    - client behind: less than 99 % of what was due was sent, and the client was busy for half of the time or more.
      Where it was not, it was the server that did not take more.
    """
    whole, run = run, counted(run)
    points = _on_plateau(run)
    checks = (
        _schedule_lag(run, points, limit_ms, cpus),
        _competing_load(run, points, cpus),
        _steal(run, points),
        _throttling(points),
        _outside(run, points, cpus, containment),
        _littles_law(whole),
        client_on_the_servers_cpus(run),
        client_saturated(run),
        client_behind(run),
    )
    return tuple(problem for problem in checks if problem is not None)


def without_disturbances(
    run: Run, *, limit_ms: float | None, cpus: tuple[int, ...], containment: Containment = "uncontained"
) -> Run | None:
    """Return ``run`` without the stretches in which others used its CPUs, by the same rules for each point of
    telemetry, or kept its client from sending, if that is a good measurement; None if not."""
    kinds = {problem.kind for problem in problems(run, limit_ms=limit_ms, cpus=cpus, containment=containment)}
    if not kinds <= COME_AND_GO:
        return None
    late_ns = sent_late_ns(run, _allowed_lag_ns(run, limit_ms)) if "schedule lag" in kinds else ()
    disturbed = [
        point
        for point in _on_plateau(run)
        if _load_on_the_server(run, (point,), cpus)
        or _is_stolen(_total_ns((point,), _steal_percent), point.over_ns)
        or any(point.at_ns - point.over_ns <= at_ns < point.at_ns for at_ns in late_ns)
    ]
    rest = replace(run, left_out_ns=disturbed_stretches(run, disturbed))
    if not rest.left_out_ns or problems(rest, limit_ms=limit_ms, cpus=cpus, containment=containment):
        return None
    return rest


def _on_plateau(run: Run) -> tuple[TelemetryPoint, ...]:
    """Return the points that lie on the plateau by more than half."""
    begin, end = run.plateau_ns
    return tuple(point for point in run.telemetry if begin <= point.at_ns - point.over_ns // 2 < end)


def _total_ns(points: tuple[TelemetryPoint, ...], percent: Callable[[TelemetryPoint], float | None]) -> float | None:
    """Return the time that a figure in per cent of it adds up to; None where no point has it."""
    times = [value * point.over_ns / 100 for point in points if (value := percent(point)) is not None]
    return sum(times) if times else None


def _seen_ns(points: tuple[TelemetryPoint, ...]) -> int:
    return sum(point.over_ns for point in points)


def _oversubscribed(run: Run, cpus: tuple[int, ...]) -> bool:
    return sum(run.threads_per_worker) > len(cpus)


def _schedule_lag(
    run: Run, points: tuple[TelemetryPoint, ...], limit_ms: float | None, cpus: tuple[int, ...]
) -> Problem | None:
    lags = run.lags_ns()
    against_ms = _p95_ms(run) if limit_ms is None else limit_ms
    allowed_ns = _allowed_lag_ns(run, limit_ms)
    if not len(lags) or against_ms is None or allowed_ns is None:
        return None
    late = lags[lags > allowed_ns]
    share = len(lags) / 100
    if len(late) <= share + _ONE_SIDED_99 * sqrt(share * 0.99):
        return None
    delay_ns = _total_ns(points, lambda point: point.run_queue_percent)
    own_fault = run.client is None and _oversubscribed(run, cpus)
    if own_fault and delay_ns is not None and delay_ns >= late.sum():
        return None
    p99_ms = float(np.percentile(lags, 99)) / NS_PER_MS
    begun = "started" if run.client is None else "sent"
    against = "the SLA's limit" if limit_ms is not None else "the p95 response time"
    remedy = "stop what else runs here; servefit host says what that is"
    if limit_ms is not None and p99_ms > limit_ms:
        remedy += (
            f". If nothing does, the limit is below what can be timed here: give {ms_text(p99_ms / _MAX_LAG)} or more"
        )
    return Problem(
        kind="schedule lag",
        reason=f"requests were {begun} late: p99 of the schedule lag is {ms_text(p99_ms)}, "
        f"{share_text(p99_ms / against_ms, against)}, {percent_text(_MAX_LAG)} are allowed",
        remedy=remedy,
    )


def _allowed_lag_ns(run: Run, limit_ms: float | None) -> float | None:
    """Return how much later than they were due requests may be begun; None where there is nothing to hold it
    against."""
    against_ms = _p95_ms(run) if limit_ms is None else limit_ms
    return None if against_ms is None else _MAX_LAG * against_ms * NS_PER_MS


def _p95_ms(run: Run) -> float | None:
    """Return the p95 response time on the plateau, 4 ms at least; None for too few answers."""
    scheduled, ended = run.samples.scheduled_ns(), run.samples.ended_ns()
    begin, end = run.plateau_ns
    response = (ended - scheduled)[(ended > 0) & (scheduled >= begin) & (scheduled < end)]
    if len(response) < samples_needed(95):
        return None
    return max(_MIN_P95_MS, float(np.percentile(response, 95)) / NS_PER_MS)


def _competing_load(run: Run, points: tuple[TelemetryPoint, ...], cpus: tuple[int, ...]) -> Problem | None:
    if run.client is not None and run.client.shares_cpus:
        return None
    return _load_on_the_server(run, points, cpus) or load_on_the_client(run)


def _load_on_the_server(run: Run, points: tuple[TelemetryPoint, ...], cpus: tuple[int, ...]) -> Problem | None:
    seen_ns = _seen_ns(points)
    own_ns = _total_ns(points, lambda point: point.own_percent) or 0.0
    foreign_ns = _total_ns(points, lambda point: point.foreign_percent)
    if foreign_ns is not None:
        competing_ns = foreign_ns + max(0.0, own_ns - _MAX_OWN_CPUS * seen_ns)
        allowed = min(MAX_FOREIGN * len(cpus), _MAX_FOREIGN_CPUS)
        if competing_ns - TICK_NS * len(cpus) > allowed * seen_ns:
            return Problem(
                kind="competing load",
                reason=f"other processes used {share_text(competing_ns / seen_ns, 'a CPU')} within the envelope of "
                f"{len(cpus)}, {percent_text(allowed)} are allowed",
                remedy="stop them; servefit host names them",
            )
    delay_ns = _total_ns(points, lambda point: point.run_queue_percent)
    if delay_ns is None or _oversubscribed(run, cpus):
        return None
    # Every thread that wakes up waits for a moment, so what is allowed grows with their number.
    threads = sum(run.threads_per_worker)
    if delay_ns - own_ns > _MAX_DELAY * threads * seen_ns:
        return Problem(
            kind="competing load",
            reason=f"threads waited for a CPU for {percent_text(delay_ns / (threads * seen_ns))} of the time, "
            f"although there are no more of them than CPUs; {percent_text(_MAX_DELAY)} are allowed",
            remedy="stop what else runs here; servefit host names it",
        )
    return None


def _steal(run: Run, points: tuple[TelemetryPoint, ...]) -> Problem | None:
    stolen = [(_total_ns(points, _steal_percent), _seen_ns(points))]
    if run.client is not None and run.client.steal_percent is not None:
        plateau_ns = run.plateau_ns[1] - run.plateau_ns[0]
        stolen.append((run.client.steal_percent * plateau_ns / 100, plateau_ns))
    shares = [ns / of_ns for ns, of_ns in stolen if ns is not None and _is_stolen(ns, of_ns)]
    if not shares:
        return None
    return Problem(
        kind="steal",
        reason=f"the hypervisor took {percent_text(max(shares))} of the CPU time, "
        f"{percent_text(_MAX_STEAL)} are allowed",
        remedy="measure on a machine, or at a time, without neighbours",
    )


def _steal_percent(point: TelemetryPoint) -> float | None:
    return point.steal_percent


def _is_stolen(ns: float | None, of_ns: float) -> bool:
    """Return whether a hypervisor took ``ns``, as far as that is known, which is more of ``of_ns`` than is allowed."""
    return ns is not None and ns - TICK_NS > _MAX_STEAL * of_ns


def _throttling(points: tuple[TelemetryPoint, ...]) -> Problem | None:
    if throttled_ns := _total_ns(points, lambda point: point.throttled_percent):
        return Problem(
            kind="throttling",
            reason=f"a CPU quota held this process's control group back for {ms_text(throttled_ns / NS_PER_MS)}",
            remedy="measure where no quota applies (docker run --cpuset-cpus in place of --cpus)",
        )
    if throttles := sum(point.thermal_throttles or 0 for point in points):
        return Problem(
            kind="throttling",
            reason=f"the processor was slowed down for heat {throttles} times",
            remedy="let it cool down, and see to its cooling",
        )
    if slowed := sum(point.gpu_throttled or False for point in points):
        return Problem(
            kind="throttling",
            reason=f"the GPU was slowed down for heat or power in {slowed} of {len(points)} looks",
            remedy="let it cool down; nvidia-smi -q -d PERFORMANCE says more",
        )
    return None


def _outside(
    run: Run, points: tuple[TelemetryPoint, ...], cpus: tuple[int, ...], containment: Containment
) -> Problem | None:
    if containment == "cgroup" and run.threads_outside:
        return Problem(
            kind="outside the envelope",
            reason=f"{run.threads_outside} threads of the workers were allowed on CPUs outside their control group's",
            remedy="see to it that nothing else moves processes between control groups",
        )
    used_ns = _total_ns(points, lambda point: sum(point.worker_percents))
    if used_ns is None or used_ns <= (1 + _MAX_OVERUSE) * len(cpus) * _seen_ns(points):
        return None
    return Problem(
        kind="outside the envelope",
        reason=f"the workers used {number_text(used_ns / _seen_ns(points))} CPUs in an envelope of {len(cpus)}",
        remedy="measure where servefit can make control groups; servefit host says what is missing",
    )


def _littles_law(run: Run) -> Problem | None:
    """Count the users in the system from the requests: the time that all spent there, over the time that passed.

    Up to the last arrival none is missing, so counting from the beginning of the plateau to there has no error at
    either edge. Users of this driver come again at the moment of the answer: requests could be lost, time could not.
    """
    if not isinstance(run.traffic, ClosedLoop):
        return None
    scheduled, ended = run.samples.scheduled_ns(), run.samples.ended_ns()
    begin = run.plateau_ns[0]
    end = min(run.plateau_ns[1], int(scheduled.max(initial=begin)))
    if end <= begin:
        return None
    left = np.where(ended == 0, end, np.abs(ended))
    inside_ns = np.clip(left, begin, end) - np.clip(scheduled, begin, end)
    counted = float(inside_ns.sum()) / (end - begin)
    if run.client is not None:
        arrived = np.count_nonzero((scheduled >= begin) & (scheduled < end))
        counted += arrived * 1000 * run.client.between_us / (end - begin)
    users = users_of(run)
    if run.client is not None and run.client.errors:
        # A user who could not connect waits for a moment before the next try, and is in no request meanwhile.
        return None
    if abs(counted / users - 1) <= _MAX_OFF:
        return None
    return Problem(
        kind="Little's law",
        reason=f"{users} users, but throughput x mean response time is {number_text(counted)}: requests were lost",
        remedy="report this: the driver is at fault, or the clock of this machine is",
    )
