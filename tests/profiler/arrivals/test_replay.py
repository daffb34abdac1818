"""Recorded traffic that is sent again."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest

from servefit.errors import SpecError
from servefit.profiler.arrivals.registry import arrivals_named
from servefit.profiler.arrivals.replay import Replay
from servefit.profiler.arrivals.schedule import draw_arrivals_ns

if TYPE_CHECKING:
    from pathlib import Path


def recorded(folder: Path, *times: float, name: str = "trace.csv") -> str:
    file = folder / name
    file.write_text("".join(f"{time}\n" for time in times))
    return str(file)


def sent(shape: Replay, *, rate_per_s: float | None = None, duration_s: float, seed: int = 0) -> list[float]:
    rate_per_s = shape.own_rate_per_s if rate_per_s is None else rate_per_s
    return [float(at) / 1e9 for at in draw_arrivals_ns(shape, rate_per_s=rate_per_s, duration_s=duration_s, seed=seed)]


def test_at_its_own_rate_requests_come_as_they_were_recorded(tmp_path: Path) -> None:
    shape = Replay(file=recorded(tmp_path, 5.5, 6.0, 7.5))
    assert shape.cycle_s == 3.0  # a gap after the last entry, as long as those between
    assert shape.own_rate_per_s == 1.0
    assert sent(shape, duration_s=3) == [0, 0.5, 2.0]


def test_a_loop_begins_anew_after_the_last_gap(tmp_path: Path) -> None:
    shape = Replay(file=recorded(tmp_path, 5.5, 6.0, 7.5))
    assert sent(shape, duration_s=7) == [0, 0.5, 2.0, 3.0, 3.5, 5.0, 6.0, 6.5]


def test_speed_moves_the_entries_together(tmp_path: Path) -> None:
    shape = Replay(file=recorded(tmp_path, 0, 1, 4), speed=2.0)
    assert shape.own_rate_per_s == 1.0
    assert sent(shape, duration_s=3) == [0, 0.5, 2.0]


def test_without_a_loop_it_ends_and_a_longer_run_is_refused(tmp_path: Path) -> None:
    shape = Replay(file=recorded(tmp_path, 0, 1, 2), loop=False)
    assert shape.longest_s == 3
    assert sent(shape, duration_s=3) == [0, 1, 2]
    with pytest.raises(SpecError, match=r"are over after 3 s, and a run takes 3\.5 s; say loop=yes"):
        sent(shape, duration_s=3.5)


def test_at_a_lower_rate_some_entries_are_left_out_and_the_others_stay_where_they_are(tmp_path: Path) -> None:
    times = np.cumsum(np.random.default_rng(0).exponential(0.01, 2000)).round(6)
    shape = Replay(file=recorded(tmp_path, *times))
    some = sent(shape, rate_per_s=shape.own_rate_per_s / 4, duration_s=shape.cycle_s)
    assert len(some) == pytest.approx(500, rel=0.15)
    assert set(np.round(some, 6)) <= set(np.round(times - times[0], 6))


def test_at_a_higher_rate_every_entry_stands_for_several_up_to_the_next(tmp_path: Path) -> None:
    shape = Replay(file=recorded(tmp_path, 0, 1, 1.1, 3))
    many = np.array(sent(shape, rate_per_s=100 * shape.own_rate_per_s, duration_s=4))
    assert np.histogram(many, bins=[0, 1, 1.1, 3, 4])[0].tolist() == [100, 100, 100, 100]


def test_whole_seconds_are_spread_at_random(tmp_path: Path) -> None:
    shape = Replay(file=recorded(tmp_path, *([100] * 50), *([101] * 10)))
    assert shape.cycle_s == 2.0
    first, second = (sent(shape, duration_s=2, seed=seed) for seed in (0, 1))
    assert len(first) == len(second) == 60
    assert first != second
    assert sum(time < 1 for time in first) == 50
    assert np.std(first[:50]) == pytest.approx(12**-0.5, rel=0.3)


def test_a_file_is_read_again_once_it_has_changed(tmp_path: Path) -> None:
    file = recorded(tmp_path, 0, 1)
    assert Replay(file=file).own_rate_per_s == 1
    recorded(tmp_path, 0, 0.25)
    os.utime(file, ns=(1, 1))
    assert Replay(file=file).own_rate_per_s == 4


def test_a_path_is_kept_absolute_and_may_have_commas(tmp_path: Path) -> None:
    recorded(tmp_path, 0, 1, name="a, b.csv")
    shape = arrivals_named("replay:a, b.csv,speed=2", folder=tmp_path)
    assert str(shape) == f"replay:{tmp_path}/a, b.csv,speed=2,loop=yes"
    assert shape.own_rate_per_s == 2


def test_a_misspelt_parameter_is_not_taken_for_a_part_of_the_path(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="'sped' is not known; did you mean 'speed'"):
        arrivals_named(f"replay:{recorded(tmp_path, 0, 1)},sped=2")


def test_a_file_that_is_not_there_is_refused_when_it_is_needed(tmp_path: Path) -> None:
    shape = arrivals_named(f"replay:{tmp_path}/none.csv")
    with pytest.raises(SpecError, match=r"none\.csv' cannot be read: No such file"):
        _ = shape.cycle_s
    with pytest.raises(SpecError, match="expected a regular file, got a folder"):
        _ = arrivals_named(f"replay:{tmp_path}").cycle_s


def test_more_than_fits_is_refused_before_it_is_made(tmp_path: Path) -> None:
    shape = Replay(file=recorded(tmp_path, 0, 1e-6))
    with pytest.raises(SpecError, match="have more than 50,000,000 entries in 3600 s"):
        shape.times_ns(rate_per_s=1, duration_s=3600, seed=0)
    shape = Replay(file=recorded(tmp_path, 0, 1, name="slow.csv"))
    with pytest.raises(SpecError, match="more than 50,000,000 requests"):
        shape.times_ns(rate_per_s=1e8, duration_s=2, seed=0)
