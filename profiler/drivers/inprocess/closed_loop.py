"""A worker's side of a closed loop: serve users, let them queue up again, serve those who are first.

In the steady state of as many users as workers can serve at once every worker keeps its own, and shares nothing with
the others.
"""

from __future__ import annotations

import time
from array import array
from typing import TYPE_CHECKING, TypeAlias

from servefit.profiler.drivers.driving.progress import REPORT_EVERY_NS

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from servefit.profiler.drivers.driving.progress import RunProgress
    from servefit.profiler.drivers.driving.waiting import Waiting
    from servefit.profiler.drivers.inprocess.requests import RotatingRequests
    from servefit.profiler.drivers.inprocess.users import WaitingUsers

_POLL_NS = 100_000
"""Of a worker that has nobody to serve: so much later at most a user is served who comes meanwhile."""

_DRAIN_NS = 5_000_000_000
"""After the end, as in an open loop (``driving.schedule``)."""

Recorded: TypeAlias = "tuple[array[int], array[int], array[int]]"
"""Scheduled, started and ended of every request, in the order that the worker answered them."""


def serve_users(
    users: WaitingUsers,
    predict: Callable[[np.ndarray], np.ndarray],
    requests: RotatingRequests,
    waiting: Waiting,
    progress: RunProgress,
    *,
    first: int,
    on_plateau: Callable[[], None],
    plateau_ns: int,
) -> Recorded:
    """Serve until the end that ``progress`` gives, which is told what was recorded every 20 ms, and then, for five
    seconds at most, those who were waiting by then.

    Requests are taken from the payload from number ``first`` on. ``on_plateau`` is called once, before the first call
    after ``plateau_ns``.
    """
    clock = time.monotonic_ns
    scheduled, starts, ends = array("q"), array("q"), array("q")
    record_scheduled, record_start, record_end = scheduled.append, starts.append, ends.append
    batch, singles, payloads = requests.batch, requests.singles, len(requests.singles)
    keep = users.may_be_kept
    arrivals: tuple[int, ...] = ()
    count = 0
    now = ended = clock()
    report_ns = end_ns = now
    before_plateau, over = True, False
    while True:
        if now >= report_ns:
            end_ns = progress.report(now, scheduled, ends)
            report_ns = min(end_ns, now + REPORT_EVERY_NS)
            over = now >= end_ns
        if over:
            # Nobody comes again; requests that were due before the end still get their answer.
            arrivals = tuple(users.exchange(0, 0, end_ns, waits=False))
            count = len(arrivals)
            if not count or now > end_ns + _DRAIN_NS:
                return scheduled, starts, ends
        elif count == 1 and keep(1):
            arrivals = (ended,)
        elif count and keep(count):
            arrivals = (ended,) * count
        else:
            arrivals = tuple(users.exchange(count, ended, now))
            count = len(arrivals)
            if not count:
                now = waiting.until(clock() + _POLL_NS)
                continue
        if before_plateau and now >= plateau_ns:
            on_plateau()
            before_plateau = False
        rows = singles[first % payloads] if count == 1 else batch(first, count)
        first += count
        started = clock()
        predict(rows)
        now = ended = clock()
        for arrival in arrivals:
            record_scheduled(arrival)
            record_start(started)
            record_end(ended)
