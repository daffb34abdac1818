"""The session that measures the grid: what it keeps, resumes, and measures again."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.claims.demo_grid import MAX_ATTEMPTS, Session, Task, chosen, failed, subjects, tasks
from servefit.profiler.record.types import Configuration

if TYPE_CHECKING:
    from benchmarks.data.grid import Grid

IDENTITY = {"model": "0", "host": "f"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "grid.part.jsonl"


@pytest.fixture
def task(small_grid: Grid) -> Task:
    return Task(kind="test", configuration=next(iter(small_grid.tests)), repeat=0)


def test_a_session_that_was_broken_off_knows_what_it_had(small_grid: Grid, path: Path, task: Task) -> None:
    subject = next(iter(small_grid.timings))
    timing_task = Task(kind="timing", configuration=subject, repeat=1)
    session = Session(path, IDENTITY)
    assert not session.finished(task)
    session.keep(task, small_grid.tests[task.configuration][0])
    session.keep(timing_task, small_grid.timings[subject][0])
    later = Session(path, IDENTITY)
    assert later.finished(task)
    assert later.finished(timing_task)
    assert not later.finished(replace(task, repeat=1))
    (figures,) = later.tests(task.configuration)
    assert figures.capacity_per_s == pytest.approx(small_grid.tests[task.configuration][0].capacity_per_s, rel=1e-4)
    (timing,) = later.timings(subject)
    assert timing.service.mean_ns(1) == pytest.approx(small_grid.timings[subject][0].service.mean_ns(1), rel=1e-4)


def test_what_was_left_on_another_machine_is_refused(path: Path) -> None:
    Session(path, IDENTITY)
    with pytest.raises(SystemExit, match="another model, machine or traffic"):
        Session(path, {**IDENTITY, "host": "g"})


def test_what_is_invalid_is_measured_again_but_not_for_ever(small_grid: Grid, path: Path, task: Task) -> None:
    session = Session(path, IDENTITY)
    good = small_grid.tests[task.configuration][0]
    for _ in range(MAX_ATTEMPTS):
        assert not session.finished(task)
        session.keep(task, replace(good, invalid=True))
    assert session.finished(task)
    second_repeat = replace(task, repeat=1)
    session.keep(second_repeat, replace(good, invalid=True))
    session.keep(second_repeat, good)
    assert session.finished(second_repeat)
    assert [figures.invalid for figures in session.tests(task.configuration)] == [True, False]


def test_what_failed_is_not_tried_again(path: Path, task: Task) -> None:
    session = Session(path, IDENTITY)
    session.keep(task, failed("it crashed", 1.5))
    assert Session(path, IDENTITY).finished(task)


def test_every_repeat_has_everything_once_in_an_order_of_its_own(small_grid: Grid) -> None:
    grid = tuple(small_grid.tests)
    first, second = tasks(grid, subjects(grid), (0, 1), 0)
    assert Counter(task.configuration for task in first if task.kind == "test") == Counter(grid)
    assert {task.configuration for task in first if task.kind == "timing"} == set(subjects(grid))
    assert [task.configuration for task in first] != [task.configuration for task in second]
    assert {task.repeat for task in second} == {1}
    assert [first, second] == list(tasks(grid, subjects(grid), (0, 1), 0))


def test_a_survey_of_the_grid_finds_all_that_it_asks_for(small_grid: Grid) -> None:
    assert set(subjects(tuple(small_grid.tests))) == {
        Configuration(
            vcpus=configuration.vcpus,
            backend=configuration.backend,
            settings=configuration.settings,
            workers=configuration.workers,
        )
        for configuration in small_grid.tests
        if configuration.vcpus == configuration.workers * configuration.settings.threads
    }


def test_a_part_of_the_grid_is_chosen_by_values(small_grid: Grid) -> None:
    grid = tuple(small_grid.tests)
    assert chosen(grid, "") == grid
    assert {
        (configuration.backend, configuration.settings.threads)
        for configuration in chosen(grid, "backend=onedal,threads=2")
    } == {("onedal", 2)}
