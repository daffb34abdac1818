"""The queue of an open loop: arrivals that were fixed before, as ``profiler.drivers.inprocess.open_loop`` serves them.

Workers claim arrivals in order, each as soon as it is free, and wait for those that are not due yet. So the next batch
always belongs to the worker that has been free for longest, and calls begin in the order of their claims.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from typing import TYPE_CHECKING

import numpy as np

from servefit.profiler.queueing.discipline import Discipline, ServedRequests

if TYPE_CHECKING:
    from servefit.profiler.queueing.service import DrawnTimes


def serve_arrivals(due_ns: np.ndarray, drawn: DrawnTimes, discipline: Discipline) -> ServedRequests:
    """Serve what is due at ``due_ns`` (n,), ascending. ``drawn`` has times for n calls or more."""
    if discipline.workers == 1 and discipline.max_batch == 1 and not drawn.after_idle:
        return _serve_singly(due_ns, drawn, discipline)
    return _serve_batches(due_ns, drawn, discipline)


def _serve_singly(due_ns: np.ndarray, drawn: DrawnTimes, discipline: Discipline) -> ServedRequests:
    """Serve with one worker and one request a call, by Lindley's recursion: start(n) = max(due(n), free(n - 1)), as a
    running maximum.

    [Lindley 1952, The theory of queues with a single server]
    """
    total = len(due_ns)
    service_ns = np.asarray(drawn.shapes[1][:total]) * (drawn.means_ns[1] * drawn.slowdowns[1])
    occupied_ns = service_ns + discipline.overhead_ns(1)
    before_ns = np.cumsum(occupied_ns) - occupied_ns
    # Rounding must not let a request begin before it is due.
    started_ns = np.maximum(np.maximum.accumulate(due_ns - before_ns) + before_ns, due_ns)
    return ServedRequests(
        scheduled_ns=due_ns.astype(np.float64),
        started_ns=started_ns,
        ended_ns=started_ns + service_ns,
        batches=np.ones(total, dtype=np.int64),
    )


def _serve_batches(due_ns: np.ndarray, drawn: DrawnTimes, discipline: Discipline) -> ServedRequests:
    workers, most, delay_ns = discipline.workers, discipline.max_batch, discipline.delay_ns
    overheads_ns = [discipline.overhead_ns(requests) for requests in range(most + 1)]
    means_ns, shapes, slowdowns = drawn.means_ns, drawn.shapes, drawn.slowdowns
    idle_ns, ranks = [pause.idle_ns for pause in drawn.after_idle], drawn.ranks
    extras_ns = [pause.extra_ns for pause in drawn.after_idle]
    due, total = due_ns.tolist(), len(due_ns)
    starts: list[float] = []
    ends: list[float] = []
    sizes: list[int] = []
    free = [0.0] * workers  # when each worker is free, ascending
    first = call = 0
    while first < total:
        start = freed = free.pop(0)
        leaves = due[first] + delay_ns
        # Without a delay, requests due at the same time still share a call, as in the driver.
        last = bisect_right(due, max(start, leaves), first + 1, min(first + most, total))
        size = last - first
        if size == most:
            leaves = due[last - 1]
        if start < leaves:
            start = leaves
        # Workers that become free later are still busy with earlier calls.
        busy = workers - bisect_right(free, start)
        end = start + means_ns[size] * shapes[size][call] * slowdowns[busy]
        # As ``extra_after`` finds it, without a call for every request.
        if extras_ns and due[first] > freed:
            extra_ns = extras_ns[bisect_right(idle_ns, due[first] - freed) - 1]
            end += extra_ns[int(ranks[call] * len(extra_ns))]
        insort(free, end + overheads_ns[size])
        starts.append(start)
        ends.append(end)
        sizes.append(size)
        first = last
        call += 1
    return ServedRequests.of_calls(due_ns.astype(np.float64), starts=starts, ends=ends, sizes=sizes)
