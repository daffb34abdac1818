from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from servefit.backends.types import Settings
from servefit.profiler.types import Configuration, InstanceProfile
from servefit.search.ranking import best_for, order, recommend, recommendation
from servefit.search.space import Space

if TYPE_CHECKING:
    from tests.search.conftest import MakeTrial

    from servefit.search.recommendation import Trial, Verdict
    from servefit.search.request import Goal

FAST = Configuration(vcpus=2, backend="fast", workers=2)
SLOW = Configuration(vcpus=2, backend="slow", workers=2)
BATCHED = Configuration(vcpus=2, backend="fast", workers=2, max_batch=8)
THREADED = Configuration(vcpus=2, backend="fast", settings=Settings(threads=2))


def profile(name: str, vcpus: int = 2, price_per_hour: float | None = None) -> InstanceProfile:
    return InstanceProfile(name=name, vcpus=vcpus, memory_bytes=2**30, price_per_hour=price_per_hour)


def names(profiles: list[InstanceProfile], trials: list[Trial], goal: Goal, *, at_rate: bool = False) -> list[str]:
    everything = frozenset(one.configuration for one in trials)
    space = Space(profiles=tuple((one, everything) for one in profiles), grid=tuple(everything))
    return [one.profile.name for one in recommend(space, trials, goal, at_rate=at_rate)]


def test_the_price_of_an_inference_is_that_of_sagemaker(trial: MakeTrial) -> None:
    found = recommendation(profile("a", price_per_hour=0.36), trial(FAST, throughput_per_s=100.0, instances=2))
    assert found.max_invocations == 2 * 60 * 100
    assert found.cost_per_hour == pytest.approx(0.72)
    assert found.cost_per_inference == pytest.approx(0.72 / (60 * 12000))


def test_what_costs_nothing_has_a_price_and_comes_before_what_has_none(trial: MakeTrial) -> None:
    free = recommendation(profile("free", price_per_hour=0.0), trial(FAST))
    assert free.cost_per_inference == 0.0
    assert names([profile("unpriced"), profile("free", price_per_hour=0.0)], [trial(FAST)], "cost") == [
        "free",
        "unpriced",
    ]


def test_what_meets_the_sla_comes_before_what_may_and_that_before_what_does_not(trial: MakeTrial) -> None:
    trials = [
        trial(SLOW, throughput_per_s=10.0, verdict="PASS"),
        trial(FAST, throughput_per_s=1000.0, verdict="UNDECIDED"),
        trial(BATCHED, throughput_per_s=9000.0, verdict="FAIL", violation=0.1),
    ]
    for expected in ("slow", "fast"):
        best = best_for(profile("a"), trials, "cost", at_rate=False)
        assert best is not None
        assert best.trial.configuration.backend == expected
        trials = [one for one in trials if one is not best.trial]


def test_when_nothing_meets_the_sla_the_nearest_comes_first(trial: MakeTrial) -> None:
    trials = [trial(FAST, verdict="FAIL", violation=0.9), trial(SLOW, verdict="FAIL", violation=0.2)]
    best = best_for(profile("a"), trials, "cost", at_rate=False)
    assert best is not None
    assert best.trial.configuration == SLOW


def test_what_was_measured_badly_comes_after_what_is_undecided_and_before_what_fails(trial: MakeTrial) -> None:
    verdicts: list[Verdict] = ["FAIL", "INVALID", "UNDECIDED", "PASS"]
    ranked = sorted(
        (recommendation(profile("a"), trial(FAST, verdict=verdict)) for verdict in verdicts),
        key=lambda one: order(one, "cost", at_rate=False),
    )
    assert [one.trial.verdict for one in ranked] == verdicts[::-1]


@pytest.mark.parametrize(("goal", "expected"), [("cost", FAST), ("throughput", FAST), ("latency", SLOW)])
def test_every_goal_has_its_own_best(trial: MakeTrial, goal: Goal, expected: Configuration) -> None:
    trials = [trial(FAST, throughput_per_s=5000.0, p95_ms=9.0), trial(SLOW, throughput_per_s=1000.0, p95_ms=3.0)]
    best = best_for(profile("a"), trials, goal, at_rate=False)
    assert best is not None
    assert best.trial.configuration == expected


def test_a_tie_goes_to_the_simpler_configuration(trial: MakeTrial) -> None:
    trials = [trial(BATCHED, throughput_per_s=1010.0), trial(FAST, throughput_per_s=1000.0)]
    best = best_for(profile("a"), trials, "cost", at_rate=False)
    assert best is not None
    assert best.trial.configuration == FAST


def test_a_profile_without_the_memory_is_not_recommended(trial: MakeTrial) -> None:
    assert best_for(profile("a"), [trial(FAST, memory_bytes=2**31)], "cost", at_rate=False) is None


def test_the_cheaper_profile_comes_first_and_those_without_a_price_last(trial: MakeTrial) -> None:
    profiles = [profile("unpriced"), profile("dear", price_per_hour=1.0), profile("cheap", price_per_hour=0.1)]
    trials = [trial(FAST)]
    assert names(profiles, trials, "cost") == ["cheap", "dear", "unpriced"]
    assert names(profiles, trials, "cost", at_rate=True) == ["cheap", "dear", "unpriced"]


def test_at_a_given_rate_the_hourly_price_counts_and_at_full_load_that_of_an_inference(trial: MakeTrial) -> None:
    small, large = profile("small", 1, price_per_hour=0.1), profile("large", 4, price_per_hour=0.2)
    on_small = Configuration(vcpus=1, backend="fast")
    on_large = Configuration(vcpus=4, backend="fast", workers=4)
    slower, faster = trial(on_small, throughput_per_s=100.0), trial(on_large, throughput_per_s=1000.0)
    space = Space(profiles=((small, frozenset([on_small])), (large, frozenset([on_large]))), grid=(on_small, on_large))
    at_rate = recommend(space, [slower, faster], "cost", at_rate=True)
    full_load = recommend(space, [slower, faster], "cost", at_rate=False)
    assert [one.profile.name for one in at_rate] == ["small", "large"]
    assert [one.profile.name for one in full_load] == ["large", "small"]


def test_an_id_stands_for_a_profile_and_a_configuration(trial: MakeTrial) -> None:
    ids = {
        recommendation(one, trial(configuration)).id
        for one in (profile("a"), profile("b"))
        for configuration in (FAST, THREADED)
    }
    assert len(ids) == 4
    assert recommendation(profile("a"), trial(FAST)).id in ids
