"""The activity on this machine: a busy process is found in it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from servefit.profiler.procedures.noise.activity import observe_activity

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timed


def test_a_hog_is_seen_and_named() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as hog:
        try:
            activity = observe_activity(os.sched_getaffinity(0), seconds=0.4)
        finally:
            hog.kill()
    assert activity.over_s > 0.39
    assert activity.foreign_percent is not None
    assert activity.foreign_percent > 15
    (seen,) = [competitor for competitor in activity.competitors if competitor.pid == hog.pid]
    assert seen.name.startswith("python")
    assert seen.cpu_percent > 10
    assert [competitor.cpu_percent for competitor in activity.competitors] == sorted(
        (competitor.cpu_percent for competitor in activity.competitors), reverse=True
    )


def test_what_is_measured_is_no_competition() -> None:
    cpus = sorted(os.sched_getaffinity(0))
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as served:
        try:
            seen, beside = (observe_activity(cpus, seconds=0.4, beside=pids) for pids in ((), (served.pid,)))
        finally:
            served.kill()
    assert served.pid in {competitor.pid for competitor in seen.competitors}
    assert served.pid not in {competitor.pid for competitor in beside.competitors}
    assert seen.foreign_percent is not None
    assert beside.foreign_percent is not None
    assert beside.foreign_percent < seen.foreign_percent


def test_this_process_does_not_compete_with_itself() -> None:
    activity = observe_activity(os.sched_getaffinity(0), seconds=0.05)
    assert os.getpid() not in {competitor.pid for competitor in activity.competitors}


def test_what_cannot_be_read_is_none(tmp_path: Path) -> None:
    proc = tmp_path / "proc"
    proc.mkdir()
    (proc / "stat").write_text("cpu  1 0 1 1 0 0 0\ncpu0 1 0 1 1 0 0 0\nintr 1\n")
    activity = observe_activity({0}, seconds=0.01, proc=proc, sys=tmp_path)
    assert activity.competitors == ()
    assert activity.steal_percent is None
    assert activity.cpu_pressure_percent is None
    assert activity.memory_pressure_percent is None
    assert activity.thermal_throttles is None
    assert observe_activity({1}, seconds=0.01, proc=proc, sys=tmp_path).foreign_percent is None
