"""Telemetry of real processes on this machine, whose CPUs may be busy."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from servefit.profiler.machine.telemetry import TelemetryPoint, process_cpu_ns, watching

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timed

BUSY = "while True: pass"
TICK_NS = 10_000_000


@contextmanager
def python(program: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs ``program``, started and given the time to begin."""
    with subprocess.Popen([sys.executable, "-c", program]) as process:
        try:
            time.sleep(0.1)
            yield process
        finally:
            process.kill()


def total_ns(points: tuple[TelemetryPoint, ...], percents: list[float]) -> float:
    return sum(percent * point.over_ns / 100 for percent, point in zip(percents, points, strict=True))


def test_a_busy_process_reads_as_busy_and_its_waiting_is_taken_out() -> None:
    with python(BUSY) as process:
        with watching((process.pid,), lambda number: 0) as telemetry:
            time.sleep(0.5)
        busy = telemetry.points()
        with watching((process.pid,), lambda number: process_cpu_ns(process.pid)) as telemetry:
            time.sleep(0.3)
        waiting = telemetry.points()
    assert len(busy) >= 3
    most = max(point.cpu_percent for point in busy)
    assert 20 < most <= 110
    # The two clocks are not read at the same moment.
    assert max(point.cpu_percent for point in waiting) < most / 4
    assert max(point.worker_percents[0] for point in waiting) > 20


def test_looks_follow_one_another_without_a_gap() -> None:
    with watching((os.getpid(),), lambda number: 0) as telemetry:
        time.sleep(0.35)
    points = telemetry.points()
    assert [point.at_ns - before.at_ns for before, point in pairwise(points)] == [point.over_ns for point in points[1:]]
    assert sum(point.over_ns for point in points) > 0.29e9


def test_points_hold_memory_and_none_for_a_gpu_that_is_not_used() -> None:
    with watching((os.getpid(),), lambda number: 0) as telemetry:
        time.sleep(0.25)
    for point in telemetry.points():
        assert point.memory_bytes > 10_000_000
        assert (point.gpu_percent, point.gpu_memory_bytes, point.gpu_power_w) == (None, None, None)
        assert (point.gpu_sm_clock_mhz, point.gpu_throttled) == (None, None)


def test_a_hog_on_the_envelope_is_foreign_and_the_worker_beside_it_is_not() -> None:
    cpu = max(os.sched_getaffinity(0))
    pinned = f"import os; os.sched_setaffinity(0, {{{cpu}}})\n{BUSY}"
    with python(pinned) as worker, python(pinned) as hog:
        hog_before = process_cpu_ns(hog.pid)
        with watching((worker.pid,), lambda number: 0, cpus=(cpu,)) as telemetry:
            time.sleep(0.4)
        hog_ns = process_cpu_ns(hog.pid) - hog_before
    points = telemetry.points()
    foreign = [point.foreign_percent for point in points]
    cores = [point.core_percents for point in points]
    assert all(len(core) == 1 for core in cores if core is not None)
    known = [percent for percent in foreign if percent is not None]
    assert total_ns(points, known) > hog_ns - 4 * TICK_NS
    for point in points:
        assert point.core_percents is not None
        assert point.own_percent is not None
        others = sum(point.core_percents) - sum(point.worker_percents) - point.own_percent
        assert point.foreign_percent == pytest.approx(others)
    # Two busy processes on one CPU wait for each other, and each is made to give it up.
    assert max(point.run_queue_percent or 0 for point in points) > 15
    assert max(point.involuntary_switches or 0 for point in points) > 0


def test_the_cpu_time_of_this_process_is_its_own_and_not_foreign() -> None:
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            sum(range(10_000))

    with python("import time; time.sleep(9)") as worker:
        thread = threading.Thread(target=work)
        thread.start()
        before = time.process_time_ns()
        with watching((worker.pid,), lambda number: 0, cpus=tuple(os.sched_getaffinity(0))) as telemetry:
            time.sleep(0.5)
        used_ns = time.process_time_ns() - before
        stop.set()
        thread.join()
    points = telemetry.points()
    own_ns = total_ns(points, [point.own_percent or 0 for point in points])
    assert own_ns == pytest.approx(used_ns, rel=0.3)


def test_without_an_envelope_nothing_is_said_of_who_else_uses_it() -> None:
    with watching((os.getpid(),), lambda number: 0) as telemetry:
        time.sleep(0.15)
    assert all(point.core_percents is None and point.foreign_percent is None for point in telemetry.points())


def test_only_the_thread_that_looks_is_moved_outside_the_envelope() -> None:
    cpus = os.sched_getaffinity(0)
    outside = max(cpus)
    with watching((os.getpid(),), lambda number: 0, others=(outside,)):
        time.sleep(0.05)
        sampling = next(thread for thread in threading.enumerate() if thread.name.startswith("servefit-telemetry"))
        assert os.sched_getaffinity(sampling.native_id or 0) == {outside}
        assert os.sched_getaffinity(0) == cpus


def test_what_goes_wrong_while_looking_is_raised_at_the_end() -> None:
    def broken(number: int) -> int:
        raise ValueError(f"no such worker: {number}")

    with pytest.raises(ValueError, match="no such worker: 0"), watching((os.getpid(),), broken):
        time.sleep(0.15)


def test_watching_stops_at_once() -> None:
    began = time.monotonic()
    with watching((os.getpid(),), lambda number: 0):
        pass
    assert time.monotonic() - began < 0.5


def test_the_end_of_a_run_is_seen_although_the_next_look_was_not_due() -> None:
    with watching((os.getpid(),), lambda number: 0) as telemetry:
        time.sleep(0.08)
    (point,) = telemetry.points()
    assert point.over_ns < 100_000_000


def test_a_process_that_ends_ends_the_watch_quietly() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.2)"]) as process:
        with watching((process.pid,), lambda number: 0) as telemetry:
            process.wait()
            time.sleep(0.3)
        assert len(telemetry.points()) <= 3


@pytest.mark.thorough
def test_a_look_at_two_workers_costs_little() -> None:
    with (
        python("import time; time.sleep(9)") as first,
        python("import time; time.sleep(9)") as second,
        watching((first.pid, second.pid), lambda number: 0, cpus=tuple(os.sched_getaffinity(0))) as telemetry,
    ):
        time.sleep(0.1)
        before = time.process_time_ns()
        time.sleep(0.5)
        used_ns = time.process_time_ns() - before
        looks = len(telemetry.points())
    assert looks >= 3
    assert used_ns / 5 < 2_000_000
