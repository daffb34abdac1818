"""Idle and stolen time, from recorded texts of /proc/stat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servefit.profiler.machine.telemetry import stolen_time
from servefit.profiler.machine.telemetry.processors import ProcessorTimes, processor_times

if TYPE_CHECKING:
    from pathlib import Path

STAT = """\
cpu  100 0 50 800 10 0 5 35 20 0
cpu0 50 0 25 400 10 0 5 30 20 0
cpu1 40 0 25 300 0 0 0 5 0 0
cpu3 10 0 0 100 0 0 0 0 0 0
intr 6873689 0 0
ctxt 12470318
"""


def test_idle_and_stolen_time_of_the_wanted_cpus_are_read() -> None:
    assert processor_times(STAT, (3, 0)) == (
        ProcessorTimes(idle_ns=4_100_000_000, steal_ns=300_000_000),
        ProcessorTimes(idle_ns=1_000_000_000, steal_ns=0),
    )
    every = processor_times(STAT, None)
    assert every is not None
    assert len(every) == 3


def test_a_cpu_that_went_offline_leaves_nothing_to_say() -> None:
    assert processor_times(STAT, (0, 2)) is None


def test_steal_is_read_from_the_total_line(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text(STAT)
    assert stolen_time(tmp_path) == (35, 1000)


def test_steal_that_is_not_reported_is_none_and_not_zero(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu  100 0 50 800 10 0 5\ncpu0 100 0 50 800 10 0 5\nintr 1\n")
    assert stolen_time(tmp_path) is None
    times = processor_times((tmp_path / "stat").read_text(), (0,))
    assert times == (ProcessorTimes(idle_ns=8_100_000_000, steal_ns=None),)
