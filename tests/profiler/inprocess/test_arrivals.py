"""The queue that workers share, driven without workers."""

from __future__ import annotations

import itertools
import os
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from servefit.profiler.inprocess.arrivals import ArrivalQueue

if TYPE_CHECKING:
    from collections.abc import Iterator

HOUR_NS = 3_600_000_000_000


@pytest.fixture
def memory() -> Iterator[int]:
    descriptor = os.memfd_create("test-arrivals")
    yield descriptor
    os.close(descriptor)


def schedule(*offsets_ns: int) -> np.ndarray:
    return time.monotonic_ns() + np.array(offsets_ns, dtype=np.int64)


def write(
    memory: int,
    times: np.ndarray,
    *,
    most: int = 1,
    returning: bool = False,
    workers: int = 1,
    end_ns: int | None = None,
) -> ArrivalQueue:
    end = time.monotonic_ns() + HOUR_NS if end_ns is None else end_ns
    return ArrivalQueue.write(memory, times, users_return=returning, workers=workers, most=most, end_ns=end)


def test_arrivals_are_claimed_in_order_and_then_there_are_no_more(memory: int) -> None:
    times = schedule(-3, -2, -1)
    with write(memory, times) as queue:
        claims = [queue.claim() for _ in range(4)]
    assert claims == [(0, [times[0]]), (1, [times[1]]), (2, [times[2]]), None]


def test_a_claim_takes_what_waits_up_to_the_largest_batch(memory: int) -> None:
    times = schedule(-4, -3, -2, -1, HOUR_NS // 2)
    with write(memory, times, most=3) as queue:
        assert queue.claim() == (0, times[:3].tolist())
        assert queue.claim() == (3, times[3:4].tolist())


def test_an_arrival_of_the_future_is_claimed_alone_in_an_open_loop(memory: int) -> None:
    times = schedule(HOUR_NS // 4, HOUR_NS // 2)
    with write(memory, times, most=8) as queue:
        assert queue.claim() == (0, times[:1].tolist())


def test_nothing_is_claimed_after_the_end_and_what_was_due_is_the_backlog(memory: int) -> None:
    times = schedule(-3, -2, HOUR_NS)
    with write(memory, times, end_ns=time.monotonic_ns()) as queue:
        assert queue.claim() is None
        assert queue.backlog() == 2


def test_a_user_who_returns_queues_behind_those_who_wait_and_before_those_who_join_later(memory: int) -> None:
    times = schedule(-20, -10, HOUR_NS // 2)
    with write(memory, times, returning=True) as queue:
        assert queue.claim() == (0, [times[0]])
        returned = time.monotonic_ns()
        assert queue.claim(1, returned) == (1, [times[1]])
        assert queue.claim() == (2, [returned])
        assert queue.claim() == (3, [])


def test_users_who_return_are_served_for_ever_and_counted_once(memory: int) -> None:
    with write(memory, schedule(-2, -1), returning=True, most=2) as queue:
        sequence, arrivals = queue.claim() or (None, [])
        for turn in range(1, 1000):
            sequence, arrivals = queue.claim(len(arrivals), time.monotonic_ns()) or (None, [])
            assert sequence == 2 * turn
            assert len(arrivals) == 2
        assert queue.backlog() == 0


def test_no_arrival_is_claimed_twice_or_lost_by_concurrent_workers(memory: int) -> None:
    times = schedule(*range(-20_000, 0))
    taken: list[list[int]] = [[] for _ in range(4)]
    end_ns = time.monotonic_ns() + HOUR_NS

    def work(worker: int) -> None:
        with ArrivalQueue(memory, most=3, end_ns=end_ns) as queue:
            while (claim := queue.claim()) is not None:
                taken[worker].extend(claim[1])

    with write(memory, times, workers=4, most=3, end_ns=end_ns):
        threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(itertools.chain(*taken)) == times.tolist()


def test_waiting_time_is_counted_for_each_worker(memory: int) -> None:
    with write(memory, schedule(0), workers=3) as queue:
        queue.add_waiting(1, 5)
        queue.add_waiting(1, 6)
        queue.add_waiting(2, 7)
        assert [queue.waiting_ns(worker) for worker in range(3)] == [0, 11, 7]
