"""In which order calls are quick and slow, from what an open loop of one worker recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from servefit.profiler.evidence.undisturbed import counted
from servefit.profiler.queueing.recorded_calls import RecordedCalls, served_requests
from servefit.profiler.queueing.serial_order import MAX_ORDER
from servefit.search.optimizer.idle_times import IDLE_BOUNDS_NS

if TYPE_CHECKING:
    from servefit.profiler.queueing.serial_order import SerialOrder
    from servefit.profiler.record.types import Run

_MIN_CALLS = 1000
"""Calls that an order is of at least. Of fewer, which a simulation goes round more than four times, what came together
by chance comes again and again: with orders of 100 a p95 at 0.8 of capacity is 12 % too low, and scatters twice as
much."""


def order_of_calls(run: Run) -> SerialOrder:
    """Return how many per cent of their like are quicker than each call of ``run``, of the first as many as an order
    may have; empty where they are too few.

    Alike are calls of as many requests, to the nearest power of two, before which the worker was idle for about as
    long: what these make of a call is known by itself.
    """
    served = served_requests(counted(run))
    calls = RecordedCalls.of([served])
    if len(calls) < _MIN_CALLS:
        return ()
    firsts = np.cumsum(served.batches) - served.batches
    idle_ns = served.scheduled_ns[firsts][1:] - np.maximum.accumulate(served.ended_ns[firsts])[:-1]
    idle = np.searchsorted(IDLE_BOUNDS_NS, np.append(0.0, idle_ns))
    powers = np.rint(np.log2(calls.requests)).astype(np.int64)
    percents = np.empty(len(calls), dtype=np.int64)
    for kind in np.unique(np.stack([powers, idle]), axis=1).T:
        alike = np.flatnonzero((powers == kind[0]) & (idle == kind[1]))
        order = np.argsort(calls.service_ns[alike], kind="stable")
        percents[alike[order]] = (100 * (np.arange(len(alike)) + 0.5) / len(alike)).astype(np.int64)
    return tuple(percents[:MAX_ORDER].tolist())
