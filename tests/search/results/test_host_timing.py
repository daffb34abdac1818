"""Times of hosts: their interval, what is refused, and two timings of one host."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.search.fleet.classes.made_hosts import timing, work

from servefit.errors import SpecError
from servefit.search.results.host_timing import ROUNDS, CallsTime, HostTiming, WorkTime

TIMES = st.floats(1.0, 1000.0)


def test_the_quicker_rounds_count_and_disturbed_ones_do_not() -> None:
    even = [100.0 + nth for nth in range(ROUNDS)]
    assert WorkTime.of(even) == WorkTime(time_ns=103.0, low_ns=100.0, high_ns=106.0)
    assert WorkTime.of([*even[:7], *(100 * value for value in even[7:])]) == WorkTime.of(even)


def test_what_is_in_every_round_counts() -> None:
    assert WorkTime.of([200.0] * ROUNDS).time_ns == 200.0


def test_the_interval_holds_the_quartile_as_often_as_it_says() -> None:
    draws = np.random.default_rng(0).normal(1000.0, 10.0, (2000, ROUNDS))
    quartile = 1000.0 - 0.6745 * 10
    times = [WorkTime.of(rounds.tolist()) for rounds in draws]
    held = np.mean([time.low_ns <= quartile <= time.high_ns for time in times])
    assert 0.93 <= held <= 0.97
    # Of normal rounds the standard error is that of the quartile, or rather more.
    true = np.std([time.time_ns for time in times]) / 1000
    assert true <= np.mean([time.error for time in times]) <= 1.6 * true


@given(rounds=st.lists(TIMES, min_size=ROUNDS, max_size=ROUNDS), factor=st.floats(0.1, 10))
def test_a_host_that_is_slower_by_a_factor_is_told_to_be(rounds: list[float], factor: float) -> None:
    one, other = WorkTime.of(rounds), WorkTime.of([factor * value for value in rounds])
    assert other.time_ns == pytest.approx(factor * one.time_ns)
    assert other.error == pytest.approx(one.error, abs=1e-9)


@pytest.mark.parametrize(
    "rounds", [[], [1.0] * (ROUNDS - 1), [1.0] * (ROUNDS + 1), [float("nan")] * ROUNDS, [0.0] * ROUNDS, [-1.0] * ROUNDS]
)
def test_rounds_that_say_nothing_are_refused(rounds: list[float]) -> None:
    with pytest.raises(SpecError, match="rounds_ns"):
        WorkTime.of(rounds)


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("time_ns", {"time_ns": float("nan")}),
        ("low_ns", {"low_ns": 0.0}),
        ("high_ns", {"high_ns": float("inf")}),
        ("time_ns", {"low_ns": 3.0}),
        ("high_ns", {"high_ns": 1.0}),
    ],
)
def test_times_that_cannot_be_are_refused(field: str, fields: dict[str, float]) -> None:
    with pytest.raises(SpecError) as refused:
        WorkTime(**{"time_ns": 2.0, "low_ns": 1.5, "high_ns": 2.5} | fields)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("cpu_taken", {"cpu_taken": 1.5}),
        ("cpu_taken", {"cpu_taken": float("nan")}),
        ("subject", {"subject": "fraud"}),
        ("subject", {"calls": (CallsTime(requests=1, time=work(1.0)),)}),
        ("calls", {"calls": tuple(CallsTime(requests=n, time=work(1.0)) for n in (64, 1)), "subject": "fraud"}),
        ("calls", {"calls": tuple(CallsTime(requests=n, time=work(1.0)) for n in (1, 1)), "subject": "fraud"}),
    ],
)
def test_timings_that_contradict_themselves_are_refused(field: str, fields: dict[str, Any]) -> None:
    with pytest.raises(SpecError) as refused:
        dataclasses.replace(timing(), **fields)
    assert refused.value.field == field


def test_a_call_joins_one_request_at_least() -> None:
    with pytest.raises(SpecError, match="requests"):
        CallsTime(requests=0, time=work(1.0))


def test_of_two_timings_the_quicker_of_each_piece_of_work_counts() -> None:
    one = timing(0.1, memory=0.0, taken=0.2, subject="fraud")
    other = timing(0.0, memory=0.3, calls=0.2, subject="fraud")
    both = one.or_quicker(other)
    assert both == other.or_quicker(one)
    times = [time.time_ns for time in both.works().values()]
    assert times == [time.time_ns for time in timing(0.0, calls=0.1, subject="fraud").works().values()]
    assert both.cpu_taken == 0


def test_the_interval_of_two_timings_reaches_to_the_slower_one_unless_that_was_merely_disturbed() -> None:
    quick, slow = timing(), timing(0.1)
    assert quick.or_quicker(slow).arithmetic.high_ns == slow.arithmetic.low_ns
    disturbed = timing(0.3, error=0.2)
    assert quick.or_quicker(disturbed) == quick
    third = timing(0.01)
    assert quick.or_quicker(slow).or_quicker(third).arithmetic.high_ns == third.arithmetic.high_ns


@pytest.mark.parametrize("other", [timing(), timing(subject="another")])
def test_timings_of_other_work_are_not_compared(other: HostTiming) -> None:
    with pytest.raises(SpecError, match="is not what was timed before"):
        timing(subject="fraud").or_quicker(other)


def test_a_timing_is_read_back_as_it_was_kept() -> None:
    kept = timing(0.1, subject="fraud")
    assert msgspec.convert(msgspec.to_builtins(kept), HostTiming) == kept
