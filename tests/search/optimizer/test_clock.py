"""The time and the tests of a job."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servefit.profiler.record.traffic import ClosedLoop
from servefit.search.optimizer.clock import Clock
from servefit.search.optimizer.slowness import Slowness
from servefit.search.request.job_request import JobRequest


class Now:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def test_time_counts_from_the_beginning_and_from_what_was_spent_before_an_interruption() -> None:
    now = Now()
    clock = Clock(limit_s=60.0, test_limit=inf, elapsed_before_s=20.0, now=now)
    assert (clock.elapsed_s, clock.left_s) == (20.0, 40.0)
    now.seconds += 15
    assert (clock.elapsed_s, clock.left_s) == (35.0, 25.0)


def test_time_that_was_not_spent_at_work_is_left_out() -> None:
    now = Now()
    clock = Clock(limit_s=60.0, test_limit=inf, now=now)
    now.seconds += 45
    clock.leave_out(40)
    assert (clock.elapsed_s, clock.left_s) == (5.0, 55.0)


def test_what_is_kept_for_the_end_is_as_much_longer_as_the_machine_is_slower() -> None:
    now = Now()
    asked = JobRequest(name="job", budget_s=20.0)
    assert Clock.of(asked, finishing_s=0.5, now=now).left_s == pytest.approx(19.5)
    assert Clock.of(asked, finishing_s=0.5, slowness=Slowness(3.0), now=now).left_s == pytest.approx(18.5)


def test_time_without_a_limit_is_never_spent() -> None:
    now = Now()
    clock = Clock(limit_s=inf, test_limit=3, now=now)
    now.seconds += 1e9
    assert clock.left_s == inf


@pytest.mark.parametrize(
    ("limit", "to_search"), [(1, 1), (2, 1), (3, 2), (5, 4), (6, 4), (8, 6), (9, 6), (10, 7), (100, 97), (inf, inf)]
)
def test_a_third_of_the_tests_but_three_at_most_and_one_at_least_is_kept_for_the_finalists(
    limit: float, to_search: float
) -> None:
    assert Clock(limit_s=inf, test_limit=limit).tests_to_search == to_search


@given(limit=st.integers(1, 1000), made=st.integers(0, 1000))
def test_every_test_that_was_made_leaves_one_less(limit: int, made: int) -> None:
    clock, fresh = (Clock(limit_s=inf, test_limit=limit, tests=tests) for tests in (made, 0))
    assert clock.tests_left == limit - made
    assert clock.tests_to_search == fresh.tests_to_search - made
    assert 1 <= fresh.tests_to_search <= limit


def test_limits_are_those_of_the_request() -> None:
    assert Clock.of(JobRequest(name="job", budget_s=9.0, max_tests=4)).limit_s == 9.0
    assert Clock.of(JobRequest(name="job", budget_s=9.0, max_tests=4)).test_limit == 4
    phases = ClosedLoop.constant(users=1, duration_s=10)
    clock = Clock.of(JobRequest(name="job", phases=phases), elapsed_before_s=5.0, tests=2)
    assert (clock.limit_s, clock.test_limit, clock.tests_left) == (inf, 10, 8)
    assert clock.elapsed_s >= 5.0
    assert Clock.of(JobRequest(name="job")).test_limit == inf
