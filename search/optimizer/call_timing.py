"""The timing of calls by workers that are ready: of each batch size, one call after the other, and, where a library is
to answer requests at a rate, as these come by themselves.

What is timed, and what becomes of it, is for ``service_time_survey``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING

import numpy as np

from servefit.errors import TimedOut
from servefit.profiler.drivers.inprocess.timing import WorkerTimeCalls
from servefit.profiler.procedures.decided_runs import run_valid
from servefit.profiler.queueing.service import BatchTimes, ServiceTimes
from servefit.profiler.record.traffic import NS_PER_S, OpenLoop
from servefit.search.optimizer.changing_sizes import longer_among_others
from servefit.search.optimizer.idle_times import MIN_SEEN, NO_LONGER, longer_than_calls
from servefit.search.optimizer.serial_order import order_of_calls

if TYPE_CHECKING:
    from servefit.profiler.drivers.inprocess.workers import Workers
    from servefit.profiler.record.types import Configuration, Run
    from servefit.search.request.job_request import JobRequest

_DURATION_S = 0.04
"""Calls of a size are made for so long, and as long before to warm up. Chosen, not measured."""

_MIN_CALLS = 5
"""Calls of a size at least, however long they are. Chosen, not measured."""

TIMING_A_SIZE_S = 2 * _DURATION_S
"""The time that it takes to time calls of one size, with its warm-up."""

IN_TRAFFIC_S = 0.3
"""So long, calls are timed as requests come by themselves. Chosen: a p95 of 500 a second."""

_BUSY_SHARE = 0.5
"""Of the time, a worker is busy then at most: it is idle for moments. Chosen, not measured."""

_LONG_CALL_NS = 5e6
"""Once a call takes 5 ms, what a call costs beside its rows is small. Chosen, not measured."""

_STILL_GAINS = 1.1
"""A larger call gains where it serves 10 % more requests a second. Chosen, not measured."""


def time_service(
    workers: Workers,
    sizes: Sequence[int],
    *,
    rate_per_s: float | None = None,
    seed: int = 0,
    longest_ns: float = inf,
) -> ServiceTimes:
    """Time calls of ``sizes`` requests, ascending, by all of ``workers`` at once.

    Where requests will come at ``rate_per_s``, calls of a single worker are then timed as requests come, with arrivals
    from ``seed``: at that rate, or at half of what it can serve one by one, since a call finds colder caches after a
    pause; and, where more will come than that, at that rate or at half of what it can serve joined, since calls of
    changing sizes take longer than calls among their like. The order of these calls is kept.

    Sizes are left out once calls are long and a larger call serves no more requests a second: what follows is in
    proportion. So are those whose calls alone would take longer than ``longest_ns``, and those that a time limit cuts
    off. Raises as ``Workers.time_calls``.
    """
    batches: list[BatchTimes] = []
    complete = True
    for size in sizes:
        if _projected_ns(batches, size) > longest_ns:
            break
        order = WorkerTimeCalls(
            requests_per_call=size, duration_s=_DURATION_S, warm_up_s=_DURATION_S, least_calls=_MIN_CALLS
        )
        try:
            recorded = workers.time_calls(order)
        except TimedOut:
            if not batches:
                raise
            complete = False
            break
        times_ns = np.concatenate([calls.durations_ns() / calls.calls_per_duration for calls in recorded])
        batches.append(BatchTimes.of(size, times_ns))
        if len(batches) > 1 and batches[-1].mean_ns > _LONG_CALL_NS and not _gains(*batches[-2:]):
            break
    alone = ServiceTimes(batches=tuple(batches), workers=workers.configuration.workers)
    if rate_per_s is None or not complete or not times_in_traffic(workers.configuration) or sizes[0] != 1:
        return alone
    return _timed_in_traffic(workers, alone, rate_per_s, seed)


def rate_in_process(request: JobRequest) -> float | None:
    """Return the rate at which calls are timed in traffic: that of the job, where it deploys the model as a library,
    unless too few requests would come; what requests cost in an endpoint is measured in traffic of its own."""
    rate_per_s = request.sla.rate_per_s
    if rate_per_s is None or request.deployment != "library" or rate_per_s * IN_TRAFFIC_S < MIN_SEEN:
        return None
    return rate_per_s


def timing_s(subject: Configuration, sizes: Sequence[int], *, rate_per_s: float | None) -> float:
    """Return the seconds of timing calls of ``subject``, as ``time_service`` does, without the start of processes; with
    one run of traffic, as a rate that takes another is not known before calls are timed."""
    in_traffic_s = IN_TRAFFIC_S if rate_per_s is not None and times_in_traffic(subject) else 0.0
    return len(sizes) * TIMING_A_SIZE_S + in_traffic_s


def times_in_traffic(subject: Configuration) -> bool:
    """Return whether calls of ``subject`` are timed in traffic too: what a pause does to several workers is what it
    does to one."""
    return subject.workers == 1


def _timed_in_traffic(workers: Workers, alone: ServiceTimes, rate_per_s: float, seed: int) -> ServiceTimes:
    """Return the times ``alone`` with what calls take longer after a pause and among calls of other sizes, and the
    order in which they are slow; of that, what there was time for. Of long calls too few are seen, and a pause makes
    little difference to them."""
    single, timed = alone.batches[0], replace(alone, after_idle=NO_LONGER)
    singly_per_s = min(rate_per_s, _one_by_one_per_s(single))
    if singly_per_s * IN_TRAFFIC_S >= MIN_SEEN:
        run = _run_in_traffic(workers, singly_per_s, seed)
        if run is None:
            return alone
        timed = replace(alone, after_idle=longer_than_calls(single, [run]), serial_order=order_of_calls(run))
    joined_per_s = max(_BUSY_SHARE * NS_PER_S * calls.requests / calls.mean_ns for calls in alone.batches)
    joined_per_s = min(rate_per_s, joined_per_s)
    if joined_per_s > _STILL_GAINS * _one_by_one_per_s(single) and joined_per_s * IN_TRAFFIC_S >= MIN_SEEN:
        run = _run_in_traffic(workers, joined_per_s, seed)
        if run is not None:
            order = order_of_calls(run) or timed.serial_order
            timed = replace(timed, changing_sizes=longer_among_others(alone, run), serial_order=order)
    return timed


def _one_by_one_per_s(calls: BatchTimes) -> float:
    """Return the rate at which a worker that makes ``calls`` of one request is idle for moments."""
    return _BUSY_SHARE * NS_PER_S / calls.mean_ns


def _run_in_traffic(workers: Workers, rate_per_s: float, seed: int) -> Run | None:
    """Return an open loop at the rate; None where time is over."""
    traffic = OpenLoop(rate_per_s=rate_per_s, duration_s=IN_TRAFFIC_S, seed=seed)
    try:
        run, _ = run_valid(workers, traffic)
    except TimedOut:
        return None
    return run


def longest_call_ns(request: JobRequest) -> float:
    """Return how long a call may take that meets any of the job's limits on latency, in nanoseconds; infinity where it
    has none."""
    return max((threshold.limit_ns for threshold in request.sla.thresholds), default=inf)


def _projected_ns(batches: Sequence[BatchTimes], size: int) -> float:
    """Return what a call of ``size`` requests will take at least, where each further request costs what those between
    the last two sizes did: nothing, where only one was timed."""
    if len(batches) < 2:
        return batches[-1].mean_ns if batches else 0.0
    smaller, larger = batches[-2:]
    each_ns = (larger.mean_ns - smaller.mean_ns) / (larger.requests - smaller.requests)
    return larger.mean_ns + max(0.0, each_ns) * (size - larger.requests)


def _gains(smaller: BatchTimes, larger: BatchTimes) -> bool:
    """Return whether calls of the ``larger`` batch serve notably more requests a second."""
    return larger.requests / larger.mean_ns > _STILL_GAINS * smaller.requests / smaller.mean_ns
