"""The finalists that are measured in turns, and those that drop out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from servefit.profiler.machine.instance_profile import InstanceProfile
from servefit.profiler.record.types import Configuration
from servefit.search.optimizer.finalists import finalists, remaining_finalists
from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla
from servefit.search.request.space import Space
from servefit.search.results.ranking import recommend

if TYPE_CHECKING:
    from tests.search.conftest import MakeTrial

    from servefit.search.request.job_request import Goal
    from servefit.search.results.recommendation import Trial

PROFILE = InstanceProfile(name="a", vcpus=2, memory_bytes=2**30)
OTHER_PROFILE = InstanceProfile(name="b", vcpus=4, memory_bytes=2**30)

A, B, C, D = (Configuration(vcpus=2, backend=name, max_batch=8) for name in "abcd")
PLAIN = Configuration(vcpus=2, backend="e")
ELSEWHERE = Configuration(vcpus=4, backend="a", max_batch=8)
NAIVE = Configuration(vcpus=2, backend="reference")


def chosen(trials: list[Trial], goal: Goal = "throughput") -> list[Configuration]:
    mine = frozenset([A, B, C, D, PLAIN])
    space = Space(profiles=((PROFILE, mine), (OTHER_PROFILE, frozenset([ELSEWHERE]))), grid=(*mine, ELSEWHERE))
    request = JobRequest(name="job", goal=goal)
    return finalists(recommend(space, trials, request), space, trials, request)


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


def test_finalists_are_what_is_close_to_the_best_of_the_first_profile(trial: MakeTrial) -> None:
    trials = [
        trial(configuration, throughput_per_s=per_s) for configuration, per_s in ((A, 1000.0), (B, 1100.0), (C, 800.0))
    ]
    assert chosen([*trials, trial(ELSEWHERE, throughput_per_s=1060.0)]) == [B, A]


def test_there_are_three_finalists_at_most(trial: MakeTrial) -> None:
    trials = [trial(configuration, throughput_per_s=1000.0 + nth) for nth, configuration in enumerate((A, B, C, D))]
    assert len(chosen(trials)) == 3


def test_the_one_that_is_recommended_for_being_simple_is_among_them(trial: MakeTrial) -> None:
    trials = [trial(configuration, throughput_per_s=1015.0 + nth) for nth, configuration in enumerate((A, B, C, D))]
    assert chosen([*trials, trial(PLAIN, throughput_per_s=1000.0)]) == [PLAIN, D, C]


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
    found = finalists(recommend(space, trials, request), space, trials, request)
    assert (found, len({each.max_batch for each in found[:2]})) == ([A, alone, B], 2)


def test_at_a_rate_the_simplest_that_may_only_have_had_bad_luck_is_a_finalist(trial: MakeTrial) -> None:
    def among(*trials: Trial) -> list[Configuration]:
        grid = tuple(each.configuration for each in trials)
        space = Space(profiles=((PROFILE, frozenset(grid)),), grid=grid)
        request = JobRequest(name="job", sla=Sla(rate_per_s=100.0))
        return finalists(recommend(space, trials, request), space, trials, request)

    ahead = [trial(A, p95_ms=1.0), trial(B, p95_ms=1.06), trial(C, p95_ms=1.07)]
    assert among(*ahead, trial(PLAIN, p95_ms=1.4)) == [PLAIN, A, B]
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


def test_nobody_is_out_before_the_third_round(trial: MakeTrial) -> None:
    trials = rounds(trial, {A: [100.0, 100.0], B: [50.0, 50.0], C: [40.0, 40.0], NAIVE: [1.0, 1.0]})
    assert remaining(trials) == ([A, B, C], NAIVE)


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
