"""The time that a search says it will take, compared with the time that it takes, on a simulated clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from servefit.profiler.record.traffic import ClosedLoop
from servefit.search.optimizer import time_left
from servefit.search.optimizer.clock import FINISHING_S
from servefit.search.optimizer.time_left import TimeLeft
from servefit.search.request.job_request import JobRequest

if TYPE_CHECKING:
    from tests.search.optimizer.search.conftest import MakeSearch, MakeTable

    from servefit.search.optimizer.progress import Moment


def promises(table: MakeTable, search: MakeSearch, *, seed: int = 0, **asked: Any) -> tuple[list[Moment], float]:
    """Where a cold job stood before each of its tests, and when it was over."""
    bench = table(JobRequest(name="job", seed=seed, **asked), seed=seed, start_s=0.8)
    found = search(bench)
    heard: list[Moment] = []

    def hear() -> None:
        # Before that only calls are timed.
        if found.time_left.proposer is not None:
            heard.append(found.moment())

    bench.before = hear
    found.carry_out()
    return heard, bench.clock.elapsed_s + FINISHING_S


def error(moment: Moment, took_s: float) -> float:
    assert moment.left_s is not None
    return abs(moment.elapsed_s + moment.left_s - took_s) / took_s


@pytest.mark.integration
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("asked", [{}, {"max_tests": 3, "phases": ClosedLoop.constant(users=4, duration_s=10)}])
def test_a_promise_is_kept_within_a_tenth(
    table: MakeTable, search: MakeSearch, asked: dict[str, Any], seed: int
) -> None:
    heard, took_s = promises(table, search, seed=seed, **asked)
    assert len(heard) >= 3
    assert max(error(moment, took_s) for moment in heard) <= 0.1


def test_a_job_that_ends_by_itself_is_not_promised_to_use_up_its_time(table: MakeTable, search: MakeSearch) -> None:
    heard, took_s = promises(table, search, budget_s=400.0)
    assert took_s < 100
    assert max(error(moment, took_s) for moment in heard) <= 0.4
    assert error(heard[-1], took_s) <= 0.05


def test_a_space_that_is_too_large_to_rehearse_is_expected_to_take_the_usual_tests(
    table: MakeTable, search: MakeSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_left, "MAX_REHEARSED_SPACE", 0)
    heard, took_s = promises(table, search)
    assert error(heard[0], took_s) <= 0.4
    assert error(heard[-1], took_s) <= 0.05


@pytest.mark.integration
def test_the_tests_and_the_best_so_far_are_told(table: MakeTable, search: MakeSearch) -> None:
    heard, _ = promises(table, search, max_tests=10)
    assert {moment.most_tests for moment in heard} == {10}
    assert [moment.tests for moment in heard] == list(range(10))[: len(heard)]
    assert heard[0].best is None
    assert all(moment.best is not None for moment in heard[1:])
    assert not heard[0].asked


def test_before_calls_are_timed_a_search_knows_roughly_how_long_it_will_take(
    table: MakeTable, search: MakeSearch
) -> None:
    bench = table(JobRequest(name="job"), start_s=0.8)
    found = search(bench)
    found.time_left.update("timing")
    left_s = found.moment().left_s
    assert left_s is not None
    assert 20 < left_s < 50


def test_looking_ahead_changes_nothing_that_is_measured(
    table: MakeTable, search: MakeSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking = table(JobRequest(name="job"))
    search(looking).carry_out()
    monkeypatch.setattr(TimeLeft, "update", lambda *_, **__: None)
    blind = table(JobRequest(name="job"))
    search(blind).carry_out()
    assert looking.measured == blind.measured
