"""Times calls of a predictor, one by one or in blocks. This runs in a worker.

Reading the clock takes some 50 ns, so calls are only timed one by one if they take over twenty times as long. Shorter
ones are timed in blocks of about a millisecond, of which only the mean is known.
"""

from __future__ import annotations

import gc
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from statistics import median

import numpy as np

from servefit.checks import check_above_zero, check_whole
from servefit.profiler.drivers.inprocess.steady_state import MIN_VALUES, why_unsteady
from servefit.profiler.record.traffic import NS_PER_S
from servefit.showing import shown

SINGLE_CALLS_FROM = 20
"""Calls are timed one by one if they take more than so many readings of the clock."""

_BLOCK_NS = 1_000_000
"""20,000 readings of the clock, of which it takes two."""

Predict = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerTimeCalls:
    """The order to time calls of ``requests_per_call`` requests each, for ``duration_s`` seconds after a warm-up.

    The warm-up ends when the times have settled, and after ``warm_up_s`` at the latest. ``least_calls`` are timed even
    if that takes longer.
    """

    requests_per_call: int = 1
    duration_s: float = 1.0
    warm_up_s: float = 1.0
    least_calls: int = 7

    def __post_init__(self) -> None:
        check_whole("requests_per_call", self.requests_per_call, least=1)
        check_above_zero("duration_s", self.duration_s)
        check_above_zero("warm_up_s", self.warm_up_s)
        check_whole("least_calls", self.least_calls, least=1)


@shown()
@dataclass(frozen=True, slots=True, kw_only=True)
class CallTimes:
    """The times that a process recorded, in order, after its warm-up: int64 nanoseconds as bytes.

    Each of the ``durations`` is of ``calls_per_duration`` calls in a row; it is 1 where calls were timed one by one.
    ``clock_ns`` is what reading the clock once costs. ``warm_up_calls`` went before.
    """

    durations: bytes
    calls_per_duration: int
    rows_per_call: int
    clock_ns: float
    warm_up_calls: int

    def durations_ns(self) -> np.ndarray:
        return np.frombuffer(self.durations, dtype=np.int64)

    @property
    def calls(self) -> int:
        return len(self.durations_ns()) * self.calls_per_duration


def time_calls(predict: Predict, batches: Sequence[np.ndarray], order: WorkerTimeCalls) -> CallTimes:
    """Time calls of ``predict`` with one of ``batches`` after the other, round and round.

    ``batches`` are C-contiguous arrays of one shape, made beforehand. Garbage is not collected meanwhile.
    """
    rotation = cycle(batches)
    collected = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        clock_ns = clock_cost_ns()
        predict(next(rotation))  # the first call of all sets things up
        block, _, calibrating = _calibrate(predict, rotation)
        warming = _warm_up(predict, rotation, block, limit_ns=round(order.warm_up_s * NS_PER_S))
        block, block_ns, calibrating_again = _calibrate(predict, rotation)
        end_ns = time.perf_counter_ns() + round(order.duration_s * NS_PER_S)
        if block_ns > SINGLE_CALLS_FROM * clock_ns * block:
            block = 1
            durations = _time_singly(predict, rotation, end_ns=end_ns, least=order.least_calls)
        else:
            durations = _time_in_blocks(predict, rotation, block, end_ns=end_ns, least=order.least_calls)
    finally:
        if collected:
            gc.enable()
    return CallTimes(
        durations=durations.tobytes(),
        calls_per_duration=block,
        rows_per_call=len(batches[0]),
        clock_ns=clock_ns,
        warm_up_calls=1 + calibrating + warming + calibrating_again,
    )


def clock_cost_ns() -> float:
    """Return what reading the clock costs, in ns: the median over blocks of readings."""
    clock = time.perf_counter_ns
    costs = []
    for _ in range(9):
        began = clock()
        for _ in range(1000):
            clock()
        costs.append((clock() - began) / 1000)
    return median(costs)


def _calibrate(predict: Predict, rotation: Iterator[np.ndarray]) -> tuple[int, int, int]:
    """Double the calls of a block until it takes a millisecond; give their number, the time of the block in
    nanoseconds, and how many calls were made."""
    block, made = 1, 0
    while True:
        _, spent_ns = _time_block(predict, rotation, block)
        made += block
        if spent_ns >= _BLOCK_NS:
            # It may only have been interrupted. Twice in a row is bad luck enough.
            spent_ns = min(spent_ns, _time_block(predict, rotation, block)[1])
            made += block
        if spent_ns >= _BLOCK_NS:
            return block, spent_ns, made
        block *= 2


def _warm_up(predict: Predict, rotation: Iterator[np.ndarray], block: int, *, limit_ns: int) -> int:
    """Call until the times of blocks have settled, or the time is up; give the number of calls.

    It looks after every doubling of the series, which is all of the warm-up so far.
    """
    times: list[int] = []
    next_check = MIN_VALUES
    end = time.perf_counter_ns() + limit_ns
    while True:
        ended, spent_ns = _time_block(predict, rotation, block)
        times.append(spent_ns)
        if ended >= end:
            return len(times) * block
        if len(times) == next_check:
            if why_unsteady(np.array(times)) is None:
                return len(times) * block
            next_check *= 2


def _time_block(predict: Predict, rotation: Iterator[np.ndarray], calls: int) -> tuple[int, int]:
    """Call so often in a row; give when that ended and how long it took."""
    batches = islice(rotation, calls)
    began = time.perf_counter_ns()
    for rows in batches:
        predict(rows)
    ended = time.perf_counter_ns()
    return ended, ended - began


def _time_in_blocks(
    predict: Predict, rotation: Iterator[np.ndarray], block: int, *, end_ns: int, least: int
) -> array[int]:
    durations = array("q")
    ended = 0
    while ended < end_ns or len(durations) * block < least:
        ended, spent_ns = _time_block(predict, rotation, block)
        durations.append(spent_ns)
    return durations


def _time_singly(predict: Predict, rotation: Iterator[np.ndarray], *, end_ns: int, least: int) -> array[int]:
    clock = time.perf_counter_ns
    durations = array("q")
    add = durations.append
    for rows in rotation:
        began = clock()
        predict(rows)
        ended = clock()
        add(ended - began)
        if ended >= end_ns and len(durations) >= least:
            break
    return durations
