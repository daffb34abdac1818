"""The expected duration of stages, and the expected number of rounds."""

from __future__ import annotations

from math import inf, log

import pytest

from servefit.backends.types import Settings
from servefit.profiler.record.types import Configuration
from servefit.search.optimizer.pace import Challenger, Pace, Projection, Round, expected_gaps, expected_rounds
from servefit.search.results.ratios import Ratio

FIRST, SECOND = (Configuration(vcpus=1, backend=name, settings=Settings(threads=1)) for name in ("first", "second"))


def pace(**usual_s: float) -> Pace:
    return Pace(
        {"test": 3.0} if usual_s else {}, {"test": 2.0, "round": 1.2}, {"timing": 0.3, "test": 0.6, "round": 0.7}
    )


def test_a_thing_takes_as_long_as_its_like_took() -> None:
    known = pace()
    assert known.expected_s("test") == 2.0
    known.record("test", 1.5, FIRST)
    known.record("test", 2.5, FIRST)
    assert known.expected_s("test") == 2.0
    assert known.expected_s("round") == pytest.approx(2.0 - 0.6 + 0.7)
    known.record("round", 0.9, FIRST)
    assert (known.round_s(FIRST), known.round_s(SECOND)) == (0.9, 0.9)


def test_what_earlier_jobs_took_counts_until_something_is_seen() -> None:
    known = pace(test=3.0)
    assert known.expected_s("test") == 3.0
    known.record("test", 1.0, FIRST)
    assert known.expected_s("test") == 1.0


def test_processes_that_start_slowly_are_noticed_while_calls_are_timed() -> None:
    known = pace()
    for seconds in (5.3, 5.5, 5.4):
        known.record("timing", seconds, FIRST, beside_s=0.4)
    assert known.expected_s("test") == pytest.approx(4.95 + 0.6)


@pytest.mark.parametrize(("gap", "rounds"), [(log(20), 1), (log(3), 3), (0.1, 3), (0.01, 4), (0.0, 5), (-0.3, 6)])
def test_the_further_behind_the_sooner_somebody_is_out(gap: float, rounds: int) -> None:
    assert Challenger(gap=gap, each_s=1.0).more_rounds(6) == rounds


def test_what_was_measured_says_when_somebody_is_out() -> None:
    certain = Ratio(metric="throughput", ratio=2.0, ci95=(1.8, 2.2), rounds=3)
    assert Challenger.of(certain, 0.0, 1.0).more_rounds(3) == 0
    unsure = Ratio(metric="throughput", ratio=1.0, ci95=(0.85, 1.18), rounds=3)
    assert Challenger.of(unsure, 0.0, 1.0).more_rounds(3) == 3
    once = Ratio(metric="throughput", ratio=20.0, ci95=None, rounds=1)
    assert Challenger.of(once, 3.0, 1.0).more_rounds(5) == 0
    near = Ratio(metric="throughput", ratio=1.5, ci95=None, rounds=1)
    assert Challenger.of(near, 0.5, 1.0).more_rounds(5) == 2


def test_the_nearest_take_part_or_where_nobody_is_near_the_next() -> None:
    assert expected_gaps([1.0, 3.0, 1.05, 1.1, 1.12]) == pytest.approx([log(1.05), log(1.1)])
    assert expected_gaps([2.0, 1.0, 4.0]) == pytest.approx([log(2)])
    assert expected_gaps([1.0, inf]) == []
    assert expected_gaps([]) == []


def test_rounds_shrink_and_end_when_one_is_left() -> None:
    near, far = Challenger(gap=0.01, each_s=1.0), Challenger(gap=3.0, each_s=2.0)
    assert expected_rounds(1.5, [near, far], 6) == [
        Round(tests=3, seconds=4.5, longest_s=2.0),
        *[Round(tests=2, seconds=2.5, longest_s=1.5)] * 3,
    ]
    assert expected_rounds(1.5, [], 6) == []


def test_tests_are_made_while_there_are_time_and_tests() -> None:
    projection = Projection(now_s=0.0, limit_s=40.0, tests_left=inf)
    projection.make_tests(20, 2.0, at_once=1, until_s=9.0, kept=0)
    assert projection.now_s == 10.0
    projection = Projection(now_s=0.0, limit_s=inf, tests_left=10)
    projection.make_tests(20, 2.0, at_once=2, until_s=inf, kept=3)
    assert (projection.now_s, projection.tests_left) == (8.0, 3)


def test_a_round_begins_only_where_there_is_room_behind_it() -> None:
    rounds = [Round(tests=2, seconds=3.0, longest_s=1.5)] * 4
    projection = Projection(now_s=0.0, limit_s=15.0, tests_left=inf, round_test_s=2.0)
    projection.run_rounds(rounds, after_s=5.0)
    assert projection.now_s == 6.0
    projection = Projection(now_s=0.0, limit_s=inf, tests_left=5)
    projection.run_rounds(rounds, after_s=4.0)
    assert projection.tests_left == 1


def test_the_first_round_needs_room_for_what_one_takes_before_anything_is_known() -> None:
    rounds = [Round(tests=2, seconds=2.0, longest_s=1.0)] * 4
    projection = Projection(now_s=0.0, limit_s=13.0, tests_left=inf, round_test_s=4.0)
    projection.run_rounds(rounds, after_s=2.0)
    assert projection.now_s == 0.0
    projection.round_test_s = 3.0
    projection.run_rounds(rounds, after_s=2.0)
    assert (projection.now_s, projection.round_test_s) == (8.0, 1.0)


def test_what_nobody_knows_yet_is_the_mean_of_what_may_happen() -> None:
    def takes_s(gap: float, gap_sd: float) -> float:
        projection = Projection(now_s=0.0, limit_s=inf, tests_left=inf)
        challenger = Challenger(gap=gap, each_s=1.0, gap_sd=gap_sd)
        projection.run_expected_rounds(1.0, [challenger], 6, after_s=0.0)
        return projection.now_s

    assert (takes_s(3.0, 0.08), takes_s(0.5, 0.08)) == (2.0, 6.0)
    assert takes_s(0.0, 0.0) == 10.0
    assert 6.0 < takes_s(0.0, 0.01) < 10.0


def test_calls_are_timed_until_their_share_is_over() -> None:
    projection = Projection(now_s=2.0, limit_s=inf, tests_left=inf)
    projection.time_calls(3, 1.0, until_s=inf)
    assert projection.now_s == 5.0
    projection.time_calls(30, 1.0, until_s=7.5)
    assert projection.now_s == 8.0
    projection.time_calls(30, 1.0, until_s=7.5)
    assert projection.now_s == 8.0
