"""The queue of an open loop, driven without workers: a claim is what a serving loop does under the lock."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from servefit.profiler.drivers.driving.memory import SharedWords
from servefit.profiler.drivers.driving.schedule import LIMIT, NEXT, ArrivalSchedule
from servefit.profiler.record.traffic import FAILED_NS

if TYPE_CHECKING:
    from collections.abc import Iterator

HOUR_NS = 3_600_000_000_000


@pytest.fixture
def memory() -> Iterator[int]:
    descriptor = os.memfd_create("test-schedule")
    yield descriptor
    os.close(descriptor)


def write(memory: int, *offsets_ns: int, workers: int = 1) -> ArrivalSchedule:
    """A schedule of arrivals at these offsets from now."""
    schedule = ArrivalSchedule.write(memory, np.array(offsets_ns, dtype=np.int64), workers=workers)
    now = time.monotonic_ns()
    schedule.begin_at(now, now + HOUR_NS)
    return schedule


def claim(schedule: ArrivalSchedule) -> int | None:
    words, header = schedule.words, schedule.header
    if not words.acquire(False):
        words.wait_for_lock()
    index = header[NEXT]
    header[NEXT] = index + 1
    limit = header[LIMIT]
    words.release()
    return index if index < limit else None


def answer(schedule: ArrivalSchedule, index: int, response_ns: int) -> None:
    schedule.started[index] = schedule.due[index]
    schedule.ended[index] = schedule.due[index] + response_ns


def test_a_schedule_is_seen_by_whoever_opens_the_memory(memory: int) -> None:
    with write(memory, -2, -1, workers=2) as schedule, ArrivalSchedule(SharedWords(memory)) as opened:
        assert opened.size == 2
        assert opened.due.tolist() == schedule.due.tolist()
        assert opened.due[1] - opened.due[0] == 1
        assert opened.due[2] > time.monotonic_ns() + HOUR_NS


def test_no_arrival_is_claimed_twice_or_lost_by_concurrent_workers(memory: int) -> None:
    taken: list[list[int]] = [[] for _ in range(4)]

    def work(worker: int) -> None:
        with ArrivalSchedule(SharedWords(memory)) as schedule:
            while (index := claim(schedule)) is not None:
                taken[worker].append(index)

    with write(memory, *range(20_000), workers=4):
        threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(itertools.chain(*taken)) == list(range(20_000))


def test_answers_are_seen_up_to_the_first_request_that_has_none(memory: int) -> None:
    with write(memory, -4, -3, -2, -1) as schedule:
        for _ in range(4):
            claim(schedule)
        answer(schedule, 0, 10)
        answer(schedule, 1, 11)
        answer(schedule, 3, 13)
        assert schedule.answered().tolist() == [10, 11]
        answer(schedule, 2, 12)
        assert schedule.answered().tolist() == [10, 11, 12, 13]


def test_a_stopped_run_serves_what_is_due_and_nothing_after_it(memory: int) -> None:
    with write(memory, -3, -2, -1, HOUR_NS, 2 * HOUR_NS) as schedule:
        assert claim(schedule) == 0
        assert schedule.stop()
        assert [claim(schedule) for _ in range(3)] == [1, 2, None]
        assert [len(column) for column in schedule.records()] == [3, 3, 3]
        assert schedule.stopped_ns is not None


def test_a_run_that_is_given_up_serves_nothing_more_and_knows_what_was_waiting(memory: int) -> None:
    with write(memory, -3, -2, -1, HOUR_NS) as schedule:
        index = claim(schedule)
        answer(schedule, 0, 5)
        assert claim(schedule) == 1
        schedule.give_up(1)
        assert claim(schedule) is None
        assert not schedule.stop()
        scheduled, started, ended = schedule.records()
    assert index == 0
    assert len(scheduled) == 3
    assert started.astype(bool).tolist() == ended.astype(bool).tolist() == [True, False, False]


def test_stopping_does_not_wait_for_ever_for_a_worker_that_died_with_the_lock(memory: int) -> None:
    with write(memory, -1, HOUR_NS) as schedule:
        schedule.words.acquire()
        assert not schedule.stop()
        assert schedule.stopped_ns is None


def test_waiting_time_is_counted_for_each_worker(memory: int) -> None:
    with SharedWords.create(memory, workers=3, body_words=4) as words:
        words.add_waiting(1, 5)
        words.add_waiting(1, 6)
        words.add_waiting(2, 7)
        assert [words.waiting_ns(worker) for worker in range(3)] == [0, 11, 7]
        assert words.body.tolist() == [0, 0, 0, 0]


@pytest.mark.integration
def test_what_a_worker_holds_when_it_dies_stays_held(memory: int) -> None:
    with SharedWords.create(memory, workers=1, body_words=1) as words:
        child = os.fork()
        if child == 0:
            held = SharedWords(memory)
            held.acquire()
            os._exit(0)
        os.waitpid(child, 0)
        assert not words.acquire_within(0.1)


@pytest.mark.integration
def test_a_lock_that_is_gone_takes_no_other_semaphore_with_it() -> None:
    """The C library closes semaphores by address, and the next one made may have the address of the last."""
    program = (
        "import os, multiprocessing\n"
        "from servefit.profiler.drivers.driving.memory import SharedWords\n"
        "memory = os.memfd_create('test')\n"
        "for _ in range(20):\n"
        "    words = SharedWords.create(memory, workers=1, body_words=1)\n"
        "    words.__exit__()\n"
        "    other = multiprocessing.get_context('spawn').Lock()\n"
        "    del words\n"
        "    with other: pass\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_an_interruption_while_the_memory_is_looked_at_is_no_other_error(memory: int) -> None:

    def look() -> None:
        with write(memory, -2, -1) as schedule:
            view = np.frombuffer(schedule.due, dtype=np.int64)
            raise KeyboardInterrupt(len(view))

    with pytest.raises(KeyboardInterrupt):
        look()


def test_the_lock_admits_one_process_at_a_time(memory: int) -> None:
    with SharedWords.create(memory, workers=1, body_words=1) as words, SharedWords(memory) as attached:
        assert words.acquire(False)
        assert not attached.acquire(False)
        words.release()
        assert attached.acquire(False)


def test_a_request_that_failed_does_not_hide_those_after_it(memory: int) -> None:
    with write(memory, -5000, -4000, -3000, -2000) as schedule:
        schedule.header[NEXT] = 4
        for index, ended in enumerate((700, 300, 900)):
            schedule.started[index] = schedule.due[index] + 100
            schedule.ended[index] = schedule.due[index] + ended
        schedule.ended[1] *= -1
        assert schedule.answered().tolist() == [700, FAILED_NS, 900]
