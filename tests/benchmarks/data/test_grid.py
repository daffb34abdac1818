"""The stored grid: written and read, its truth, and its noise."""

from __future__ import annotations

import json
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

import pytest

from benchmarks.data.grid import SCHEMA, Figures, Grid, scatter
from servefit.profiler.queueing.after_idle import AfterIdle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from servefit.profiler.record.types import Configuration


def test_a_grid_reads_back_as_it_was_written(small_grid: Grid, tmp_path: Path) -> None:
    path = tmp_path / "grid.json"
    small_grid.write(path)
    found = Grid.read(path)
    assert list(found.tests) == list(small_grid.tests)
    assert (found.profiles, found.model, found.machine) == (small_grid.profiles, "0", {"cpu": "made up"})
    for configuration in small_grid.tests:
        assert found.truth(configuration).capacity_per_s == pytest.approx(
            small_grid.truth(configuration).capacity_per_s, rel=1e-4
        )
    for configuration, repeats in small_grid.timings.items():
        for before, after in zip(repeats, found.timings[configuration], strict=True):
            assert after.service.mean_ns(8) == pytest.approx(before.service.mean_ns(8), rel=1e-4)
            assert (after.sizes_s, after.service.workers) == (before.sizes_s, configuration.workers)
    assert found.space() == small_grid.space()


def test_what_calls_take_longer_in_traffic_reads_back(small_grid: Grid, tmp_path: Path) -> None:
    subject, (timing, *_) = next(iter(small_grid.timings.items()))
    after_idle = (AfterIdle(idle_ns=0.0, extra_ns=(1_000.0, 3_000.0)), AfterIdle(idle_ns=2e5, extra_ns=(40_000.0,)))
    changing_sizes = ((2, 1.25), (8, 1.5))
    service = replace(timing.service, after_idle=after_idle, changing_sizes=changing_sizes)
    in_traffic = replace(timing, in_traffic_s=0.35, service=service)
    replace(small_grid, timings={subject: (in_traffic,)}).write(tmp_path / "grid.json")
    (found,) = Grid.read(tmp_path / "grid.json").timings[subject]
    assert (found.in_traffic_s, found.service.after_idle) == (0.35, after_idle)
    assert found.service.changing_sizes == changing_sizes


def test_a_grid_says_what_its_columns_are(small_grid: Grid, tmp_path: Path) -> None:
    path = tmp_path / "grid.json"
    small_grid.write(path)
    document = json.loads(path.read_text())
    configuration, first, *_ = document["tests"][0]
    assert dict(zip(document["columns"]["configuration"], configuration, strict=True))["backend"] == "xgboost"
    assert dict(zip(document["columns"]["repeat of a test"], first, strict=True))["verdict"] == "PASS"


def test_a_grid_of_another_schema_is_refused(small_grid: Grid, tmp_path: Path) -> None:
    path = tmp_path / "grid.json"
    small_grid.write(path)
    path.write_text(path.read_text().replace(f'"schema": {SCHEMA}', '"schema": 1'))
    with pytest.raises(ValueError, match="measure the grid again"):
        Grid.read(path)


def test_scatter_is_what_repeats_were_drawn_with_whatever_a_few_disturbed_ones_say() -> None:
    random = Random(0)
    groups = [[random.lognormvariate(5 * random.random(), 0.0)] for _ in range(2000)]
    groups = [[group[0] * random.lognormvariate(0, 0.05) for _ in range(2)] for group in groups]
    for disturbed in groups[:100]:
        disturbed[0] *= 3
    assert scatter(groups, lambda value: value) == pytest.approx(0.05, rel=0.15)


def test_nothing_repeated_has_no_scatter() -> None:
    assert scatter([[1.0], [2.0]], lambda value: value) == 0.0


@pytest.fixture
def configuration(small_grid: Grid) -> Configuration:
    return next(iter(small_grid.tests))


@pytest.fixture
def with_repeats(small_grid: Grid, configuration: Configuration) -> Callable[..., Grid]:
    """A grid in which one configuration has these repeats, made of changes to its first."""

    def make(*changes: dict[str, object]) -> Grid:
        (first, *_) = small_grid.tests[configuration]
        repeats: tuple[Figures, ...] = tuple(replace(first, **change) for change in changes)  # type: ignore[arg-type]
        return replace(small_grid, tests={**small_grid.tests, configuration: repeats})

    return make


def test_a_grid_of_before_calls_were_counted_is_read_and_may_learn_of_them(small_grid: Grid, tmp_path: Path) -> None:
    path = tmp_path / "grid.json"
    small_grid.write(path)
    document = json.loads(path.read_text())
    for _, *repeats in document["tests"]:
        for row in repeats:
            row.pop()
    path.write_text(json.dumps(document))
    found = Grid.read(path)
    assert {each.largest_call for repeats in found.tests.values() for each in repeats} == {None}
    first, second, *_ = found.tests
    counted = replace(found, tests={first: tuple(replace(each, largest_call=2) for each in found.tests[first])})
    assert [each.largest_call for each in found.with_calls_of(counted).tests[first]] == [2, 2]
    assert [each.largest_call for each in found.with_calls_of(counted).tests[second]] == [None, None]


def test_repeats_of_another_grid_are_played_back_too(small_grid: Grid) -> None:
    first, second, *_ = small_grid.tests
    others = replace(small_grid, tests={first: small_grid.tests[first][:1]})
    assert small_grid.with_tests_of(others).tests[first] == (*small_grid.tests[first], small_grid.tests[first][0])
    assert small_grid.with_tests_of(others).tests[second] == small_grid.tests[second]


def test_the_truth_is_the_geometric_mean_and_the_verdict_in_the_middle(
    with_repeats: Callable[..., Grid], configuration: Configuration
) -> None:
    truth = with_repeats({"capacity_per_s": 100.0}, {"capacity_per_s": 400.0, "verdict": "UNDECIDED"}).truth(
        configuration
    )
    assert truth.capacity_per_s == pytest.approx(200.0)
    assert truth.verdict == "UNDECIDED"
    assert with_repeats({"verdict": "UNDECIDED"}, {}, {}).truth(configuration).verdict == "PASS"


def test_the_truth_leaves_out_what_was_disturbed_or_failed(
    with_repeats: Callable[..., Grid], configuration: Configuration
) -> None:
    disturbed = {"capacity_per_s": 1.0, "invalid": True}
    failed = {"capacity_per_s": 0.0, "failed": "it crashed", "verdict": "FAIL"}
    assert with_repeats({"capacity_per_s": 100.0}, disturbed, failed).truth(
        configuration
    ).capacity_per_s == pytest.approx(100)
    assert with_repeats(disturbed, failed).truth(configuration).capacity_per_s == pytest.approx(1)
    assert with_repeats(failed, failed).truth(configuration).failed == "it crashed"
