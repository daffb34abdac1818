"""The queue of a closed loop, driven without workers."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from servefit.profiler.drivers.inprocess.users import WaitingUsers

if TYPE_CHECKING:
    from collections.abc import Iterator

HOUR_NS = 3_600_000_000_000
NOW = time.monotonic_ns()


@pytest.fixture
def memory() -> Iterator[int]:
    descriptor = os.memfd_create("test-users")
    yield descriptor
    os.close(descriptor)


def write(memory: int, *joins_ns: int, most: int = 1, delay_ns: int = 0) -> WaitingUsers:
    joins = NOW + np.array(joins_ns, dtype=np.int64)
    return WaitingUsers.write(memory, joins, workers=1, most=most, delay_ns=delay_ns)


def test_users_are_served_in_the_order_they_joined_in(memory: int) -> None:
    with write(memory, -3, -2, 50) as users:
        assert users.exchange(0, 0, NOW) == [NOW - 3]
        assert users.exchange(0, 0, NOW) == [NOW - 2]
        assert users.exchange(0, 0, NOW) == []
        assert users.exchange(0, 0, NOW + 50) == [NOW + 50]


def test_a_user_who_returns_queues_behind_those_who_wait_and_before_those_who_join_later(memory: int) -> None:
    with write(memory, -20, -10, HOUR_NS) as users:
        assert users.exchange(0, 0, NOW) == [NOW - 20]
        assert users.exchange(1, NOW, NOW) == [NOW - 10]
        assert users.exchange(0, 0, NOW) == [NOW]
        assert users.exchange(0, 0, NOW) == []


def test_a_worker_may_keep_its_users_when_nobody_else_waits(memory: int) -> None:
    with write(memory, -2, -1, most=2) as users:
        assert not users.may_be_kept(1)
        assert len(users.exchange(0, 0, NOW)) == 2
        assert users.may_be_kept(2)
        assert users.may_be_kept(1)


def test_users_who_return_are_served_for_ever_and_counted_once(memory: int) -> None:
    with write(memory, -3, -2, -1, most=2) as users:
        count = len(users.exchange(0, 0, NOW))
        for turn in range(1000):
            assert not users.may_be_kept(count)
            count = len(users.exchange(count, NOW + turn, NOW + turn))
            assert count == 2
        assert len(users.waiting(NOW + HOUR_NS)) == 1


def test_a_batch_waits_for_more_users_until_the_first_has_waited_long_enough(memory: int) -> None:
    with write(memory, 0, 40, most=3, delay_ns=100) as users:
        assert users.exchange(0, 0, NOW) == []
        assert users.exchange(0, 0, NOW + 50) == []
        assert users.exchange(0, 0, NOW + 100) == [NOW, NOW + 40]
        assert not users.may_be_kept(2)


def test_at_the_end_a_batch_waits_for_nobody(memory: int) -> None:
    with write(memory, 0, 40, most=3, delay_ns=100) as users:
        assert users.exchange(0, 0, NOW + 50, waits=False) == [NOW, NOW + 40]


def test_a_full_batch_does_not_wait(memory: int) -> None:
    with write(memory, 0, 0, 0, most=3, delay_ns=HOUR_NS) as users:
        assert users.exchange(0, 0, NOW) == [NOW, NOW, NOW]
        assert users.may_be_kept(3)


def test_a_run_that_is_stopped_says_when(memory: int) -> None:
    with write(memory, -1) as users:
        assert users.stopped_ns is None
        users.stop()
        assert users.stopped_ns is not None
        assert NOW <= users.stopped_ns <= time.monotonic_ns()


def test_what_workers_tell_is_known_once_all_have_told_something(memory: int) -> None:
    joins = np.array([NOW], dtype=np.int64)
    with WaitingUsers.write(memory, joins, workers=2, most=1, delay_ns=0) as users:
        words = users.words
        words.report_progress(0, 100, 7, [1, 2])
        assert words.total_progress(limits=2) is None
        words.report_progress(1, 200, 5, [0, 5])
        assert words.total_progress(limits=2) == (150, 12, [1, 7])
        words.add_waiting(0, 99)
        words.report_progress(0, 300, 8, [1, 2])
        assert words.total_progress(limits=1) == (250, 13, [1])
        assert words.waiting_ns(0) == 99


def test_only_users_who_had_come_by_then_are_waiting(memory: int) -> None:
    with write(memory, -1, HOUR_NS) as users:
        assert users.waiting(NOW) == [NOW - 1]
        assert users.waiting(NOW + 2 * HOUR_NS) == [NOW - 1, NOW + HOUR_NS]
