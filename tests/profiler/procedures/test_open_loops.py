"""The duration of open loops whose rate varies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from servefit.errors import SpecError
from servefit.profiler.procedures.open_loops import check_search, open_loop, remarks_on, whole_cycles_s
from servefit.profiler.record.traffic import ClosedLoop, OpenLoop

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("seconds", "cycle_s", "whole_s"),
    [(5.0, 0.0, 5.0), (5.0, 2.0, 4.0), (0.5, 2.0, 2.0), (0.9, 0.3, 0.9), (6.0, 2.0, 6.0)],
)
def test_runs_take_whole_cycles_and_one_at_least(seconds: float, cycle_s: float, whole_s: float) -> None:
    assert whole_cycles_s(seconds, cycle_s) == pytest.approx(whole_s)


def test_a_duration_that_nobody_asked_for_grows_to_a_cycle() -> None:
    loop = open_loop("sine:period=8s", rate_per_s=10, duration_s=5, usual=True, seed=0)
    assert (loop.duration_s, loop.arrivals) == (8, "sine:amplitude=0.5,period=8s")
    assert open_loop("sine:period=2s", rate_per_s=10, duration_s=5, usual=True, seed=0).duration_s == 4
    assert open_loop("sine:period=8s", rate_per_s=10, duration_s=5, usual=False, seed=0).duration_s == 5
    assert open_loop("poisson", rate_per_s=10, duration_s=5, usual=True, seed=0).duration_s == 5


def test_a_cycle_of_an_hour_is_only_run_by_those_who_say_so() -> None:
    with pytest.raises(SpecError, match="take 3,600 s to show all that they do; give a duration"):
        open_loop("sine:period=1h", rate_per_s=10, duration_s=5, usual=True, seed=0)


def test_a_trace_that_ends_is_run_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "trace").write_text("0\n1\n2.5\n")
    text = f"replay:{tmp_path}/trace,loop=no"
    assert open_loop(text, rate_per_s=0.8, duration_s=5, usual=True, seed=0).duration_s == 3.75
    with pytest.raises(SpecError, match=r"are over after 3\.75 s, and a run takes 5 s"):
        open_loop(text, rate_per_s=0.8, duration_s=5, usual=False, seed=0)


def test_a_search_has_time_for_several_cycles(tmp_path: Path) -> None:
    assert check_search("poisson", 1) == 0
    assert check_search("sine:period=1s", 8) == 1
    with pytest.raises(SpecError, match=r"take 2 s .* a search of 8 s has 1 s for a run; give 16s or more"):
        check_search("sine:period=2s", 8)
    (tmp_path / "trace").write_text("0\n1\n2\n")
    with pytest.raises(SpecError, match="end, and a search takes as long as it needs; say loop=yes"):
        check_search(f"replay:{tmp_path}/trace,loop=no", 100)


def test_what_a_run_shows_and_leaves_out_is_said() -> None:
    varying = OpenLoop(rate_per_s=10, duration_s=2, arrivals="sine:period=4s")
    assert remarks_on(varying) == (
        "requests arrived at a rate that swings by 50 % every 4 s; percentiles are of all of it, and have no intervals",
        "the run shows 2 s of the 4 s that its arrivals take to show all that they do",
    )
    assert remarks_on(OpenLoop(rate_per_s=10, duration_s=2)) == ()
    assert remarks_on(ClosedLoop.constant(users=1, duration_s=1)) == ()
