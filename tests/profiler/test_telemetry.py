"""What is seen of processes from outside."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from servefit.profiler.telemetry import process_cpu_ns, steal_percent, stolen_time, watching

if TYPE_CHECKING:
    from pathlib import Path


def test_a_busy_process_reads_as_busy_and_its_waiting_is_taken_out() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        time.sleep(0.3)
        try:
            with watching((process.pid,), lambda number: 0) as telemetry:
                time.sleep(0.5)
            busy = [point.cpu_percent for point in telemetry.points()]
            with watching((process.pid,), lambda number: process_cpu_ns(process.pid)) as telemetry:
                time.sleep(0.3)
            waiting = [point.cpu_percent for point in telemetry.points()]
        finally:
            process.kill()
    assert len(busy) >= 3
    assert 20 < max(busy) <= 110
    assert waiting
    assert max(waiting) < 2


def test_points_hold_memory_and_none_for_a_gpu_that_is_not_used() -> None:
    with watching((os.getpid(),), lambda number: 0) as telemetry:
        time.sleep(0.25)
    for point in telemetry.points():
        assert point.memory_bytes > 10_000_000
        assert (point.gpu_percent, point.gpu_memory_bytes, point.gpu_power_w) == (None, None, None)


def test_watching_stops_at_once() -> None:
    began = time.monotonic()
    with watching((os.getpid(),), lambda number: 0):
        pass
    assert time.monotonic() - began < 0.09


def test_a_process_that_ends_ends_the_watch_quietly() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.2)"]) as process:
        with watching((process.pid,), lambda number: 0) as telemetry:
            process.wait()
            time.sleep(0.3)
        assert len(telemetry.points()) <= 3


def test_the_cpu_time_of_a_process_is_that_which_it_sees_itself() -> None:
    before = time.process_time_ns()
    seen = process_cpu_ns(os.getpid())
    assert before <= seen <= time.process_time_ns()


def test_steal_is_read_from_the_total_line(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 0 50 800 10 0 5 35 20 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n")
    assert stolen_time(tmp_path) == (35, 1000)
    assert steal_percent((35, 1000), (45, 1100)) == pytest.approx(10)
    assert steal_percent(None, (45, 1100)) is None
    assert steal_percent((35, 1000), (35, 1000)) is None


def test_steal_that_is_not_reported_is_none_and_not_zero(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu  100 0 50 800 10 0 5\n")
    assert stolen_time(tmp_path) is None
