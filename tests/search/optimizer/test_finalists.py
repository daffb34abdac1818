"""The finalists that are measured in turns, and those that drop out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from servefit.profiler.machine.instance_profile import InstanceProfile
from servefit.profiler.record.types import Configuration
from servefit.search.optimizer.expected_improvement import ExpectedScore
from servefit.search.optimizer.finalists import MAX_FINALISTS, finalists, remaining_finalists
from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla
from servefit.search.request.space import Space
from servefit.search.results.objectives.score import Score
from servefit.search.results.ranking import recommend

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.search.conftest import MakeTrial

    from servefit.search.request.job_request import Goal
    from servefit.search.results.recommendation import Trial

PROFILE = InstanceProfile(name="a", vcpus=2, memory_bytes=2**30)
OTHER_PROFILE = InstanceProfile(name="b", vcpus=4, memory_bytes=2**30)

A, B, C, D = (Configuration(vcpus=2, backend=name, max_batch=8) for name in "abcd")
PLAIN = Configuration(vcpus=2, backend="e")
ELSEWHERE = Configuration(vcpus=4, backend="a", max_batch=8)
NAIVE = Configuration(vcpus=2, backend="reference")


EXPECTED: dict[Configuration, ExpectedScore] = {}
"""Nothing but what was measured."""


def chosen(
    trials: list[Trial],
    goal: Goal = "throughput",
    *,
    expected: Mapping[Configuration, ExpectedScore] = EXPECTED,
    most: int = MAX_FINALISTS,
) -> list[Configuration]:
    mine = frozenset([A, B, C, D, PLAIN])
    space = Space(profiles=((PROFILE, mine), (OTHER_PROFILE, frozenset([ELSEWHERE]))), grid=(*mine, ELSEWHERE))
    request = JobRequest(name="job", goal=goal)
    return finalists(recommend(space, trials, request), space, trials, request, expected=expected.get, most=most)


def expecting(configuration: Configuration, per_s: float, sd: float) -> ExpectedScore:
    score = Score(unpriced=False, per_hour=0.0, figure=1 / per_s)
    return ExpectedScore(configuration=configuration, score=score, sd=sd)


def rounds(trial: MakeTrial, figures: dict[Configuration, list[float]]) -> list[Trial]:
    """Throughput, round by round."""
    return [
        trial(configuration, throughput_per_s=per_s, nth_round=nth)
        for configuration, values in figures.items()
        for nth, per_s in enumerate(values)
    ]


def remaining(
    trials: list[Trial], *, naive: Configuration | None = NAIVE, failed: tuple[Configuration, ...] = ()
) -> tuple[list[Configuration], Configuration | None]:
    return remaining_finalists([A, B, C], naive, trials, JobRequest(name="job"), set(failed))


def test_finalists_are_what_is_close_to_the_best(trial: MakeTrial) -> None:
    trials = [
        trial(configuration, throughput_per_s=per_s) for configuration, per_s in ((A, 1000.0), (B, 1100.0), (C, 800.0))
    ]
    assert chosen(trials) == [B, A]


def test_what_is_close_to_it_on_another_profile_is_a_finalist_unless_the_price_counts(trial: MakeTrial) -> None:
    trials = [trial(A, throughput_per_s=1000.0), trial(B, throughput_per_s=1100.0)]
    assert chosen([*trials, trial(ELSEWHERE, throughput_per_s=1090.0)]) == [B, ELSEWHERE]
    for per_s in (2190.0, 2210.0):
        assert chosen([*trials, trial(ELSEWHERE, throughput_per_s=per_s)], "cost") == [B, A]


@pytest.mark.parametrize(("most", "found"), [(5, 4), (3, 3), (2, 2), (0, 2)])
def test_there_are_as_many_finalists_as_there_is_time_for_and_two_at_least(
    trial: MakeTrial, most: int, found: int
) -> None:
    trials = [trial(configuration, throughput_per_s=1000.0 + nth) for nth, configuration in enumerate((A, B, C, D))]
    assert len(chosen(trials, most=most)) == found


def test_finalists_are_what_is_likely_to_be_the_best_by_all_that_is_expected(trial: MakeTrial) -> None:
    trials = [trial(A, throughput_per_s=1000.0), trial(B, throughput_per_s=1050.0), trial(C, throughput_per_s=1100.0)]
    # C was lucky, and what is known of B is that it is slower.
    known = {A: expecting(A, 1050.0, 0.03), B: expecting(B, 900.0, 0.03), C: expecting(C, 1050.0, 0.03)}
    assert chosen(trials, expected=known) == [C, A]


def test_what_scatters_widely_has_more_finalists(trial: MakeTrial) -> None:
    def within(goal: Goal) -> list[Configuration]:
        behind = 1.2
        return chosen(
            [
                trial(each, throughput_per_s=1000 / behind**nth, p95_ms=behind**nth)
                for nth, each in enumerate((A, B, C))
            ],
            goal,
        )

    assert within("throughput") == [A, B]
    assert within("latency") == [A, B, C]


def test_the_one_that_is_recommended_for_being_simple_is_among_them(trial: MakeTrial) -> None:
    trials = [trial(configuration, throughput_per_s=1015.0 + nth) for nth, configuration in enumerate((A, B, C, D))]
    found = chosen([*trials, trial(PLAIN, throughput_per_s=1000.0)])
    assert (found[0], set(found)) == (PLAIN, {PLAIN, A, B, C, D})


def test_what_only_may_meet_the_sla_is_no_finalist_beside_what_does(trial: MakeTrial) -> None:
    trials = [trial(A, throughput_per_s=900.0), trial(B, throughput_per_s=1000.0, verdict="UNDECIDED")]
    assert chosen(trials) == [A]
    assert chosen(trials[1:]) == [B]


def test_of_what_did_the_same_at_the_rate_one_is_a_finalist(trial: MakeTrial) -> None:
    def joining(configuration: Configuration, largest_call: int, p95_ms: float) -> Trial:
        tested = trial(configuration, p95_ms=p95_ms)
        assert tested.at_rate is not None
        return replace(tested, at_rate=replace(tested.at_rate, largest_call=largest_call))

    larger, alone = replace(A, max_batch=64), replace(A, max_batch=1)
    trials = [joining(A, 3, 1.01), joining(larger, 2, 1.0), joining(alone, 1, 1.05), joining(B, 1, 1.1)]
    space = Space(profiles=((PROFILE, frozenset([A, B, alone, larger])),), grid=(A, B, alone, larger))
    request = JobRequest(name="job", goal="latency", sla=Sla(rate_per_s=100.0))
    found = finalists(recommend(space, trials, request), space, trials, request, expected=EXPECTED.get)
    assert (found, len({each.max_batch for each in found[:2]})) == ([A, alone, B], 2)


def test_at_a_rate_the_simplest_that_may_only_have_had_bad_luck_is_a_finalist(trial: MakeTrial) -> None:
    def among(*trials: Trial) -> list[Configuration]:
        grid = tuple(each.configuration for each in trials)
        space = Space(profiles=((PROFILE, frozenset(grid)),), grid=grid)
        request = JobRequest(name="job", sla=Sla(rate_per_s=100.0))
        return finalists(recommend(space, trials, request), space, trials, request, expected=EXPECTED.get)

    ahead = [trial(A, p95_ms=1.0), trial(B, p95_ms=1.06), trial(C, p95_ms=1.07)]
    assert among(*ahead, trial(PLAIN, p95_ms=1.4)) == [PLAIN, A, B, C]
    assert among(*ahead, trial(PLAIN, p95_ms=1.6)) == [A, B, C]
    assert among(*ahead, trial(PLAIN, p95_ms=1.4, instances=2)) == [A, B, C]


def test_what_does_not_fit_the_memory_is_no_finalist(trial: MakeTrial) -> None:
    assert chosen([trial(A), trial(B, memory_bytes=2**31)]) == [A]


def test_without_a_recommendation_there_are_none() -> None:
    assert chosen([]) == []


def test_a_finalist_that_is_beaten_for_certain_is_out_and_so_is_the_naive_default(trial: MakeTrial) -> None:
    trials = rounds(
        trial,
        {A: [100.0, 101.0, 99.0], B: [103.0, 96.0, 104.0], C: [80.0, 81.0, 79.0], NAIVE: [20.0, 20.1, 19.9]},
    )
    left, naive = remaining(trials)
    assert set(left) == {A, B}
    assert naive is None


def test_before_the_third_round_only_who_is_behind_beyond_luck_is_out(trial: MakeTrial) -> None:
    trials = rounds(trial, {A: [100.0, 100.0], B: [80.0, 84.0], C: [20.0, 24.0], NAIVE: [1.0, 1.0]})
    assert remaining(trials) == ([A, B], NAIVE)


def test_who_is_at_best_a_little_better_is_out_after_the_third(trial: MakeTrial) -> None:
    trials = rounds(trial, {A: [100.0, 101.0, 99.0], B: [99.0, 100.0, 98.0], C: [99.0, 112.0, 87.0]})
    assert remaining(trials, naive=None) == ([A, C], None)


@pytest.mark.parametrize(
    ("plain_ms", "joining_ms", "stays"),
    [
        ([0.2, 0.25, 0.18], [0.15, 0.2, 0.17], True),
        ([0.3, 0.3, 0.3], [0.15, 0.15, 0.15], False),
        ([0.2] * 10, [0.2] * 9 + [0.199], False),
    ],
    ids=["may be a tie", "surely slower", "as good"],
)
def test_where_latency_decides_who_is_simpler_stays_until_it_is_told_whether_there_is_a_tie(
    trial: MakeTrial, plain_ms: list[float], joining_ms: list[float], *, stays: bool
) -> None:
    trials = [
        trial(configuration, p95_ms=p95_ms, nth_round=nth)
        for configuration, all_ms in ((PLAIN, plain_ms), (A, joining_ms))
        for nth, p95_ms in enumerate(all_ms)
    ]
    asked = JobRequest(name="job", goal="latency")
    assert remaining_finalists([PLAIN, A], None, trials, asked, set()) == ([A, PLAIN] if stays else [A], None)


def test_where_latency_decides_who_has_fewer_cpus_stays_however_many_requests_it_joins(trial: MakeTrial) -> None:
    smaller = replace(A, vcpus=1, max_batch=16)
    trials = [
        trial(configuration, p95_ms=p95_ms, nth_round=nth)
        for configuration, all_ms in ((smaller, [0.2, 0.25, 0.18]), (A, [0.15, 0.2, 0.17]))
        for nth, p95_ms in enumerate(all_ms)
    ]
    asked = JobRequest(name="job", goal="latency")
    assert remaining_finalists([smaller, A], None, trials, asked, set()) == ([A, smaller], None)


def test_the_leader_is_who_was_best_in_the_rounds(trial: MakeTrial) -> None:
    left, _ = remaining(rounds(trial, {A: [100.0] * 3, B: [100.0] * 3, C: [120.0] * 3}))
    assert left == [C]


def test_who_fails_in_a_round_is_out(trial: MakeTrial) -> None:
    trials = rounds(trial, {B: [100.0], C: [101.0]})
    assert remaining(trials, failed=(A, NAIVE)) == ([C, B], None)
    assert remaining(trials, failed=(A, B, C)) == ([], None)


def test_without_a_naive_default_there_is_none_later(trial: MakeTrial) -> None:
    assert remaining([], naive=None) == ([A, B, C], None)


def test_a_balance_is_not_lost_on_throughput_alone(trial: MakeTrial) -> None:
    trials = [
        trial(configuration, throughput_per_s=per_s, p95_ms=p95_ms, nth_round=nth)
        for nth in range(3)
        for configuration, per_s, p95_ms in ((A, 1000.0, 10.0), (B, 900.0, 5.0))
    ]
    left, _ = remaining_finalists([A, B], None, trials, JobRequest(name="job", goal="balanced"), set())
    assert left == [B]
