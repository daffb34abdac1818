"""The Pareto front of price, latency and throughput."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servefit.profiler.machine.instance_profile import InstanceProfile
from servefit.profiler.record.types import Configuration
from servefit.search.request.space import Space
from servefit.search.results.pareto import pareto_front

if TYPE_CHECKING:
    from tests.search.conftest import MakeTrial

    from servefit.profiler.evidence.limits import Verdict
    from servefit.search.results.recommendation import Recommendation, Trial

CHEAP = InstanceProfile(name="cheap", vcpus=1, memory_bytes=2**30, price_per_hour=0.1)
DEAR = InstanceProfile(name="dear", vcpus=1, memory_bytes=2**34, price_per_hour=0.4)
UNPRICED = InstanceProfile(name="unpriced", vcpus=2, memory_bytes=2**30)

ONES = [Configuration(vcpus=1, backend="a", workers=nth) for nth in range(1, 13)]
TWOS = [Configuration(vcpus=2, backend="a", workers=nth) for nth in range(1, 7)]
SPACE = Space(
    profiles=((CHEAP, frozenset(ONES)), (DEAR, frozenset(ONES)), (UNPRICED, frozenset(TWOS))), grid=(*ONES, *TWOS)
)

Point = tuple[float, float, float]


def point(recommendation: Recommendation) -> Point:
    per_hour = (
        recommendation.profile.vcpus
        if recommendation.profile.price_per_hour is None
        else recommendation.profile.price_per_hour
    )
    per_s = recommendation.trial.capacity.throughput_per_s
    p95_ms = recommendation.trial.judged.latency_ms["p95"]
    assert p95_ms is not None
    return per_hour / per_s, p95_ms, -per_s


def dominates(first: Point, second: Point) -> bool:
    return first != second and all(mine <= theirs for mine, theirs in zip(first, second, strict=True))


def test_what_is_better_in_nothing_is_not_on_the_front(trial: MakeTrial) -> None:
    quick = trial(ONES[0], throughput_per_s=100.0, p95_ms=1.0)
    much = trial(ONES[1], throughput_per_s=500.0, p95_ms=9.0)
    poor = trial(ONES[2], throughput_per_s=90.0, p95_ms=1.5)
    front = pareto_front(SPACE, [poor, quick, much])
    assert [recommendation.trial for recommendation in front] == [much, quick]
    assert {recommendation.profile.name for recommendation in front} == {"cheap"}


@pytest.mark.parametrize("verdict", ["FAIL", "UNDECIDED", "INVALID"])
def test_only_what_keeps_the_sla_is_on_the_front(trial: MakeTrial, verdict: Verdict) -> None:
    assert pareto_front(SPACE, [trial(ONES[0], verdict=verdict)]) == ()
    assert pareto_front(SPACE, []) == ()


def test_what_answered_nothing_is_not_on_the_front(trial: MakeTrial) -> None:
    assert pareto_front(SPACE, [trial(ONES[0], throughput_per_s=0.0)]) == ()


def test_what_was_only_measured_in_rounds_is_not_on_the_front(trial: MakeTrial) -> None:
    assert pareto_front(SPACE, [trial(ONES[0], nth_round=0)]) == ()


def test_a_configuration_that_needs_more_memory_stands_for_the_cheapest_profile_that_has_it(trial: MakeTrial) -> None:
    (found,) = pareto_front(SPACE, [trial(ONES[0], memory_bytes=2**32)])
    assert found.profile.name == "dear"
    assert pareto_front(SPACE, [trial(ONES[0], memory_bytes=2**40)]) == ()


def test_equals_are_both_on_the_front(trial: MakeTrial) -> None:
    assert len(pareto_front(SPACE, [trial(ONES[0]), trial(ONES[1])])) == 2


def test_profiles_without_a_price_are_only_held_against_each_other(trial: MakeTrial) -> None:
    priced = trial(ONES[0], throughput_per_s=1000.0, p95_ms=1.0)
    worse = trial(TWOS[0], throughput_per_s=10.0, p95_ms=5.0)
    better = trial(TWOS[1], throughput_per_s=20.0, p95_ms=5.0)
    front = pareto_front(SPACE, [worse, better, priced])
    assert [recommendation.trial for recommendation in front] == [priced, better]


def test_an_unknown_latency_is_beaten_by_any(trial: MakeTrial) -> None:
    unknown = trial(ONES[0], throughput_per_s=100.0, p95_ms=None)
    assert [recommendation.trial for recommendation in pareto_front(SPACE, [unknown])] == [unknown]
    assert unknown not in [
        recommendation.trial
        for recommendation in pareto_front(SPACE, [unknown, trial(ONES[1], throughput_per_s=100.0)])
    ]


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=18))
def test_nothing_on_the_front_is_dominated_and_everything_off_it_is(
    trial: MakeTrial, figures: list[tuple[int, int]]
) -> None:
    trials: list[Trial] = [
        trial(configuration, throughput_per_s=100.0 * per_s, p95_ms=float(p95_ms))
        for configuration, (per_s, p95_ms) in zip(SPACE.grid, figures, strict=False)
    ]
    front = pareto_front(SPACE, trials)
    alone = {tested.configuration: found for tested in trials for found in pareto_front(SPACE, [tested])}
    on_front = {recommendation.trial.configuration for recommendation in front}
    assert front
    for configuration, mine in alone.items():
        rivals = [
            point(recommendation)
            for recommendation in front
            if (recommendation.profile.price_per_hour is None) == (mine.profile.price_per_hour is None)
        ]
        assert any(dominates(rival, point(mine)) for rival in rivals) == (configuration not in on_front)
    priced = [point(recommendation) for recommendation in front if recommendation.profile.price_per_hour is not None]
    assert priced == sorted(priced)
