"""The queue of a closed loop: users who come again after every answer.

It is served as in ``profiler.drivers.inprocess.closed_loop``. A worker that has answered its users queues them up
again, and takes those who came first; where no other users wait, these are the same ones. Idle workers do not know when
a user will come, and look every now and then.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from math import ceil, inf, nextafter
from typing import TYPE_CHECKING

import numpy as np

from servefit.profiler.queueing.discipline import Discipline, ServedRequests

if TYPE_CHECKING:
    from servefit.profiler.queueing.service import DrawnTimes

LOOK_EVERY_NS = 100_000
"""An idle worker looks for users so often, as in ``profiler.drivers.inprocess.closed_loop``."""


def serve_users(
    joins_ns: list[float], drawn: DrawnTimes, discipline: Discipline, *, end_ns: float, most_answers: float = inf
) -> tuple[ServedRequests, float]:
    """Serve users who join at ``joins_ns``, ascending, until ``end_ns``, and then those who were waiting by then.

    The end comes earlier once ``most_answers`` have been given since the last user joined; it is returned too. Drawn
    times are used again when there are more calls.
    """
    most, delay_ns = discipline.max_batch, discipline.delay_ns
    overheads_ns = [discipline.overhead_ns(requests) for requests in range(most + 1)]
    means_ns, shapes, slowdowns = drawn.means_ns, drawn.shapes, drawn.slowdowns
    joins = deque(joins_ns)
    all_joined_ns = joins_ns[-1]
    waiting: deque[float] = deque()
    scheduled: list[float] = []
    starts: list[float] = []
    ends: list[float] = []
    sizes: list[int] = []
    looks = [0.0] * discipline.workers  # when idle workers look next
    calls: list[tuple[float, float, int]] = []  # of busy workers: when they are free, when it ended, how many users
    answers = call = 0
    last_ended = 0.0
    while calls or looks:
        if calls and not (looks and looks[0] < calls[0][0]):
            now, ended, count = heappop(calls)
            last_ended = max(last_ended, ended)
            if ended >= all_joined_ns:
                answers += count
                if answers >= most_answers:
                    # All answers so far belong to the run. This one need not be the last of them: calls come here when
                    # their worker is free, and a larger one keeps it for longer after its end.
                    end_ns = min(end_ns, nextafter(last_ended, inf))
            if ended < end_ns:
                while joins and joins[0] < ended:
                    waiting.append(joins.popleft())
                waiting.extend([ended] * count)
        else:
            now = heappop(looks)
        while joins and joins[0] <= now:
            waiting.append(joins.popleft())
        size = min(len(waiting), most)
        if size == most or (size and (now >= end_ns or now >= waiting[0] + delay_ns)):
            scheduled.extend([waiting.popleft() for _ in range(size)])
            end = now + means_ns[size] * shapes[size][call] * slowdowns[len(calls) + 1]
            heappush(calls, (end + overheads_ns[size], end, size))
            starts.append(now)
            ends.append(end)
            sizes.append(size)
            call = (call + 1) % drawn.calls
        elif now < end_ns:
            # Looks in which nothing can have changed are left out.
            soonest = min(
                calls[0][0] if calls else inf,
                joins[0] if joins else inf,
                waiting[0] + delay_ns if waiting else inf,
                end_ns,
            )
            heappush(looks, now + LOOK_EVERY_NS * max(1, ceil((soonest - now) / LOOK_EVERY_NS)))
    return ServedRequests.of_calls(np.array(scheduled), starts=starts, ends=ends, sizes=sizes), end_ns
