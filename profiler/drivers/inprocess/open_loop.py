"""A worker's side of an open loop: claim the next arrival, wait for it if it is early, serve it, write down when.

A worker claims an arrival before it is due and waits for it: among idle servers with one queue the next request goes to
whoever is first in line for it. Whatever is between two requests adds to their response time, so the loops below have
no calls in them that can be done without.
"""

from __future__ import annotations

import time
from array import array
from bisect import bisect_right
from typing import TYPE_CHECKING

from servefit.profiler.drivers.driving.schedule import DRAIN_NS, LIMIT, NEXT

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from servefit.profiler.drivers.driving.schedule import ArrivalSchedule
    from servefit.profiler.drivers.driving.waiting import Waiting
    from servefit.profiler.drivers.inprocess.requests import RotatingRequests

    Predict = Callable[[np.ndarray], np.ndarray]


def serve_singly(
    schedule: ArrivalSchedule, predict: Predict, requests: RotatingRequests, waiting: Waiting, *, backlog_cap: int
) -> array[int]:
    """Serve one arrival a call until there are no more, more than ``backlog_cap`` wait, or it takes too long to serve
    those that do.

    Gives the lags in ns: how much later than due each arrival was started that this worker had been waiting for.
    """
    clock = time.monotonic_ns
    words, header, size = schedule.words, schedule.header, schedule.size
    acquire, release = words.acquire, words.release
    due, starts, ends = schedule.due, schedule.started, schedule.ended
    singles = requests.singles
    payloads = len(singles)
    lags = array("q")
    while True:
        if not acquire(False):
            words.wait_for_lock()
        index = header[NEXT]
        header[NEXT] = index + 1
        limit = header[LIMIT]
        release()
        if index >= limit:
            return lags
        arrival = due[index]
        rows = singles[index % payloads]
        started = clock()
        if started < arrival:
            started = waiting.until(arrival)
            lags.append(started - arrival)
        elif due[min(index + backlog_cap, size)] <= started or started > header[DRAIN_NS]:
            schedule.give_up(index)
            return lags
        predict(rows)
        ends[index] = clock()
        starts[index] = started


def serve_batches(
    schedule: ArrivalSchedule,
    predict: Predict,
    requests: RotatingRequests,
    waiting: Waiting,
    *,
    backlog_cap: int,
    most: int,
    delay_ns: int,
) -> array[int]:
    """Serve as :func:`serve_singly`, joining up to ``most`` arrivals a call.

    A call takes what is due when it is made. When that is fewer than ``most``, the first waits up to ``delay_ns`` for
    others. Since the schedule is known, who will have come by then is known when the claim is made.
    """
    clock = time.monotonic_ns
    words, header, size = schedule.words, schedule.header, schedule.size
    acquire, release = words.acquire, words.release
    due, starts, ends = schedule.due, schedule.started, schedule.ended
    lags = array("q")
    while True:
        if not acquire(False):
            words.wait_for_lock()
        first = header[NEXT]
        limit = header[LIMIT]
        if first >= limit:
            release()
            return lags
        started = clock()
        closes = max(started, due[first] + delay_ns)
        last = bisect_right(due, closes, first + 1, min(first + most, limit))
        header[NEXT] = last
        release()
        # A full batch starts when its last request is there, any other one when its time is up.
        leaves = due[last - 1] if last - first == most else due[first] + delay_ns
        rows = requests.batch(first, last - first)
        started = clock()
        if started < leaves:
            started = waiting.until(leaves)
            lags.append(started - leaves)
        elif due[min(first + backlog_cap, size)] <= started or started > header[DRAIN_NS]:
            schedule.give_up(first)
            return lags
        predict(rows)
        ended = clock()
        for index in range(first, last):
            ends[index] = ended
            starts[index] = started
