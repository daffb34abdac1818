"""Timing of predictors that take a known time."""

from __future__ import annotations

import gc
import pickle
import time
from collections import Counter
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from servefit.errors import SpecError
from servefit.profiler.drivers.inprocess import timing
from servefit.profiler.drivers.inprocess.timing import SINGLE_CALLS_FROM, WorkerTimeCalls, clock_cost_ns, time_calls

if TYPE_CHECKING:
    from collections.abc import Callable

US = 1000
BRIEF = WorkerTimeCalls(duration_s=0.05, warm_up_s=0.05)


READING_NS = 50


class MadeUpClock:
    """Stands in for the module ``time``: reading it costs 50 ns, and only predictors take time besides."""

    def __init__(self) -> None:
        self.now_ns = 0

    def perf_counter_ns(self) -> int:
        self.now_ns += READING_NS
        return self.now_ns

    def predictor(self, call_ns: Callable[[int], int]) -> Callable[[np.ndarray], np.ndarray]:
        """Its call number ``nth``, counted from 0, takes ``call_ns(nth)``."""
        made = count()

        def predict(rows: np.ndarray) -> np.ndarray:
            self.now_ns += call_ns(next(made))
            return rows

        return predict


@pytest.fixture
def made_up_clock(monkeypatch: pytest.MonkeyPatch) -> MadeUpClock:
    clock = MadeUpClock()
    monkeypatch.setattr(timing, "time", clock)
    return clock


def batches(number: int = 7, rows: int = 1) -> list[np.ndarray]:
    return [np.full((rows, 3), nth, dtype=np.float32) for nth in range(number)]


def spin(us: float) -> None:
    end = time.perf_counter_ns() + US * us
    while time.perf_counter_ns() < end:
        pass


@pytest.mark.timed
def test_short_calls_are_timed_in_blocks_of_about_a_millisecond() -> None:
    times = time_calls(lambda rows: rows, batches(), BRIEF)
    assert times.calls_per_duration >= 256
    per_call = times.durations_ns() / times.calls_per_duration
    assert 0 < np.median(per_call) < SINGLE_CALLS_FROM * times.clock_ns
    assert 300 * US < np.median(times.durations_ns()) < 20_000 * US
    assert times.calls == len(times.durations_ns()) * times.calls_per_duration


@pytest.mark.timed
def test_long_calls_are_timed_one_by_one() -> None:
    def predict(rows: np.ndarray) -> np.ndarray:
        spin(200)
        return rows

    times = time_calls(predict, batches(rows=4), BRIEF)
    durations = times.durations_ns()
    assert times.calls_per_duration == 1
    assert times.rows_per_call == 4
    assert np.all(durations >= 200 * US)
    assert np.min(durations) < 1000 * US
    assert times.calls == len(durations) >= 20
    assert times.warm_up_calls >= 20


def test_every_batch_is_used_as_often_as_the_others() -> None:
    used: list[float] = []

    def predict(rows: np.ndarray) -> np.ndarray:
        used.append(float(rows[0, 0]))
        spin(50)
        return rows

    times = time_calls(predict, batches(7), BRIEF)
    assert used[:8] == [0, 1, 2, 3, 4, 5, 6, 0]
    assert set(np.diff(used)) == {1, -6}
    counts = Counter(used).values()
    assert max(counts) - min(counts) <= 1
    assert len(used) == times.warm_up_calls + times.calls


def test_garbage_is_not_collected_meanwhile_and_afterwards_as_before() -> None:
    seen: set[bool] = set()

    def predict(rows: np.ndarray) -> np.ndarray:
        seen.add(gc.isenabled())
        return rows

    time_calls(predict, batches(), BRIEF)
    assert seen == {False}
    assert gc.isenabled()


def test_garbage_collection_comes_back_after_an_error() -> None:
    def fail(rows: np.ndarray) -> np.ndarray:
        raise ValueError("these rows are not to my taste")

    with pytest.raises(ValueError, match="taste"):
        time_calls(fail, batches(), BRIEF)
    assert gc.isenabled()


@pytest.mark.parametrize(("call_ns", "singly"), [(980, False), (1100, True)])
def test_calls_over_twenty_times_the_clock_s_cost_are_timed_one_by_one(
    made_up_clock: MadeUpClock, call_ns: int, singly: bool
) -> None:
    times = time_calls(
        made_up_clock.predictor(lambda nth: call_ns), batches(), WorkerTimeCalls(duration_s=0.02, warm_up_s=0.02)
    )
    assert times.clock_ns == pytest.approx(READING_NS, rel=0.01)
    assert (times.calls_per_duration == 1) == singly
    per_call = times.durations_ns() / times.calls_per_duration
    assert np.median(per_call) == pytest.approx(call_ns + READING_NS / times.calls_per_duration)


def test_what_is_slow_at_first_is_over_before_anything_is_recorded(made_up_clock: MadeUpClock) -> None:
    falling = made_up_clock.predictor(lambda nth: max(400, 4000 - 100 * nth) * US)
    times = time_calls(falling, batches(), WorkerTimeCalls(duration_s=0.1, warm_up_s=10))
    assert times.warm_up_calls > 40
    assert np.all(times.durations_ns() == 400 * US + READING_NS)


def test_the_warm_up_ends_even_if_nothing_ever_settles(made_up_clock: MadeUpClock) -> None:
    climbing = made_up_clock.predictor(lambda nth: (1000 + 10 * nth) * US)
    began = made_up_clock.now_ns
    times = time_calls(climbing, batches(), WorkerTimeCalls(duration_s=1, warm_up_s=2))
    assert 2e9 < sum(range(1000, 1000 + 10 * times.warm_up_calls, 10)) * US < 2.1e9
    assert 3e9 < made_up_clock.now_ns - began < 3.2e9


def test_a_block_that_was_only_interrupted_does_not_pass_for_long(made_up_clock: MadeUpClock) -> None:
    interrupted = made_up_clock.predictor(lambda nth: 4_000_000 if nth in (3, 40) else 100)
    times = time_calls(interrupted, batches(), WorkerTimeCalls(duration_s=0.02, warm_up_s=0.02))
    assert times.calls_per_duration > 1


def test_a_least_number_of_calls_is_made_even_if_that_takes_longer() -> None:
    def predict(rows: np.ndarray) -> np.ndarray:
        spin(5000)
        return rows

    times = time_calls(predict, batches(), WorkerTimeCalls(duration_s=0.001, warm_up_s=0.001, least_calls=12))
    assert times.calls == 12


@pytest.mark.timed
def test_reading_the_clock_costs_something() -> None:
    assert 5 < clock_cost_ns() < 100 * US


def test_orders_and_times_cross_process_boundaries() -> None:
    times = time_calls(lambda rows: rows, batches(), WorkerTimeCalls(duration_s=0.01, warm_up_s=0.01))
    assert pickle.loads(pickle.dumps(times)) == times
    assert pickle.loads(pickle.dumps(BRIEF)) == BRIEF


@pytest.mark.parametrize("field", ["requests_per_call", "duration_s", "warm_up_s", "least_calls"])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_orders_of_nothing_are_refused(field: str, value: float) -> None:
    wrong: dict[str, Any] = {field: value}
    with pytest.raises(SpecError) as caught:
        WorkerTimeCalls(**wrong)
    assert caught.value.field == field
