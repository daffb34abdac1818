"""How much longer than on an idle machine this process takes to compute."""

from __future__ import annotations

import pytest

from servefit.search.optimizer.slowness import MAX_TIMES, Slowness


class Computing:
    """A thread on a machine that gives it a CPU for one second in ``times``."""

    def __init__(self, *, seen: float = 1.0) -> None:
        self.passed_s = self.cpu_s = 0.0
        self.slowness = Slowness(seen, now=lambda: self.passed_s, cpu=lambda: self.cpu_s)

    def compute(self, cpu_s: float, *, times: float) -> float:
        with self.slowness.computing():
            self.cpu_s += cpu_s
            self.passed_s += times * cpu_s
        return self.slowness.times


def test_an_idle_machine_takes_no_longer() -> None:
    computing = Computing()
    assert computing.slowness.times == 1
    assert computing.compute(0.05, times=1.0) == 1


def test_a_busy_machine_is_noticed_after_a_fifth_of_a_second_of_computing() -> None:
    computing = Computing()
    for _ in range(4):
        computing.compute(0.05, times=3.0)
    assert computing.slowness.times == pytest.approx(3, rel=0.3)


def test_what_was_seen_long_ago_is_forgotten() -> None:
    computing = Computing(seen=5.0)
    assert computing.slowness.times == 5
    for _ in range(20):
        computing.compute(0.05, times=1.0)
    assert computing.slowness.times == pytest.approx(1, rel=0.05)


def test_a_moment_says_little_and_no_more_is_believed_than_a_limit() -> None:
    computing = Computing()
    assert computing.compute(0.0001, times=100.0) < 1.2
    assert computing.compute(10.0, times=1000.0) == MAX_TIMES


def test_a_thread_that_really_computes_is_seen_to_take_as_long_as_it_uses_a_cpu() -> None:
    slowness = Slowness()
    with slowness.computing():
        sum(range(2_000_000))
    assert 1 <= slowness.times <= MAX_TIMES
