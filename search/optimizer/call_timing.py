"""The timing of calls by workers that are ready: of each batch size, one call after the other, and, where a library is
to answer requests at a rate, as these come by themselves.

What is timed, and what becomes of it, is for ``service_time_survey``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from servefit.errors import TimedOut
from servefit.profiler.drivers.inprocess.timing import TimeCalls
from servefit.profiler.procedures.decided_runs import run_valid
from servefit.profiler.queueing.service import BatchTimes, ServiceTimes
from servefit.profiler.record.traffic import NS_PER_S, OpenLoop
from servefit.search.optimizer.idle_times import MIN_SEEN, NO_LONGER, longer_than_calls

if TYPE_CHECKING:
    from servefit.profiler.drivers.inprocess.workers import Workers
    from servefit.profiler.queueing.after_idle import AfterIdle
    from servefit.profiler.record.types import Configuration
    from servefit.search.request.job_request import JobRequest

_DURATION_S = 0.04
"""Calls of a size are made for so long, and as long before to warm up. Chosen, not measured."""

_MIN_CALLS = 5
"""Calls of a size at least, however long they are. Chosen, not measured."""

TIMING_A_SIZE_S = 2 * _DURATION_S
"""What timing calls of one size takes, with its warm-up."""

IN_TRAFFIC_S = 0.3
"""So long, calls are timed as requests come by themselves. Chosen: a p95 of 500 a second."""

_BUSY_SHARE = 0.5
"""Of the time, a worker is busy then at most: it is idle for moments. Chosen, not measured."""

_LONG_CALL_NS = 5e6
"""Once a call takes 5 ms, what a call costs beside its rows is small. Chosen, not measured."""

_STILL_GAINS = 1.1
"""A larger call gains where it serves 10 % more requests a second. Chosen, not measured."""


def time_service(
    workers: Workers, sizes: Sequence[int], *, rate_per_s: float | None = None, seed: int = 0
) -> ServiceTimes:
    """Time calls of ``sizes`` requests, ascending, by all of ``workers`` at once.

    Where requests will come at ``rate_per_s``, calls of a single worker are then timed as single requests come, with
    arrivals from ``seed``, at that rate or at half of what it can serve: a call finds colder caches after a pause.

    Sizes are left out once calls are long and a larger call serves no more requests a second: what follows is in
    proportion. So are those that a time limit cuts off. Raises as ``Workers.time_calls``.
    """
    batches: list[BatchTimes] = []
    complete = True
    for size in sizes:
        order = TimeCalls(requests_per_call=size, duration_s=_DURATION_S, warm_up_s=_DURATION_S, least_calls=_MIN_CALLS)
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
    in_traffic = complete and rate_per_s is not None and times_in_traffic(workers.configuration) and sizes[0] == 1
    after_idle = _time_in_traffic(workers, batches[0], rate_per_s or 0.0, seed) if in_traffic else ()
    return ServiceTimes(batches=tuple(batches), workers=workers.configuration.workers, after_idle=after_idle)


def rate_in_process(request: JobRequest) -> float | None:
    """Return the rate at which calls are timed in traffic: that of the job, where it deploys the model as a library,
    unless too few requests would come; what requests cost in an endpoint is measured in traffic of its own."""
    rate_per_s = request.sla.rate_per_s
    if rate_per_s is None or request.deployment != "library" or rate_per_s * IN_TRAFFIC_S < MIN_SEEN:
        return None
    return rate_per_s


def timing_s(subject: Configuration, sizes: Sequence[int], *, rate_per_s: float | None) -> float:
    """Return the seconds of timing calls of ``subject``, as ``time_service`` does, without the start of processes."""
    in_traffic_s = IN_TRAFFIC_S if rate_per_s is not None and times_in_traffic(subject) else 0.0
    return len(sizes) * TIMING_A_SIZE_S + in_traffic_s


def times_in_traffic(subject: Configuration) -> bool:
    """Return whether calls of ``subject`` are timed in traffic too: what a pause does to several workers is what it
    does to one."""
    return subject.workers == 1


def _time_in_traffic(workers: Workers, calls: BatchTimes, rate_per_s: float, seed: int) -> tuple[AfterIdle, ...]:
    """Return what calls take longer after a pause than ``calls`` of one request; empty where time is over. Of long
    calls too few are seen, and a pause makes little difference to them."""
    rate_per_s = min(rate_per_s, _BUSY_SHARE * NS_PER_S / calls.mean_ns)
    if rate_per_s * IN_TRAFFIC_S < MIN_SEEN:
        return NO_LONGER
    traffic = OpenLoop(rate_per_s=rate_per_s, duration_s=IN_TRAFFIC_S, seed=seed)
    try:
        run, _ = run_valid(workers, traffic)
    except TimedOut:
        return ()
    return longer_than_calls(calls, [run])


def _gains(smaller: BatchTimes, larger: BatchTimes) -> bool:
    """Return whether calls of the ``larger`` batch serve notably more requests a second."""
    return larger.requests / larger.mean_ns > _STILL_GAINS * smaller.requests / smaller.mean_ns
