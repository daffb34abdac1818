"""The ranking of recommendations from measurements."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.search.results.ranking_cases import (
    BATCHED,
    FAST,
    SLOW,
    THREADED,
    best,
    names,
    profile,
    request_of,
)

from servefit.backends.types import Settings
from servefit.profiler.record.types import Configuration
from servefit.search.request.sla import parse_sla
from servefit.search.request.space import Space
from servefit.search.results.objectives.score import Score
from servefit.search.results.pooled_trials import pool_trials
from servefit.search.results.price import Price
from servefit.search.results.ranking import (
    ranking_key,
    recommend,
    recommendation,
    score_of,
    simplicity,
)

if TYPE_CHECKING:
    from tests.search.conftest import MakeTrial

    from servefit.profiler.evidence.limits import Verdict
    from servefit.search.request.job_request import Goal
    from servefit.search.results.recommendation import Basis


def test_the_price_of_an_inference_is_that_of_sagemaker(trial: MakeTrial) -> None:
    found = recommendation(profile("a", price_per_hour=0.36), trial(FAST, throughput_per_s=100.0, instances=2))
    assert found.max_invocations == 2 * 60 * 100
    assert found.cost_per_hour == pytest.approx(0.72)
    assert found.cost_per_inference == pytest.approx(0.72 / (60 * 12000))


def test_what_answered_nothing_has_no_price_an_inference(trial: MakeTrial) -> None:
    found = recommendation(profile("a", price_per_hour=0.36), trial(FAST, throughput_per_s=0.0))
    assert (found.max_invocations, found.cost_per_inference) == (0.0, None)


def test_what_costs_nothing_has_a_price_and_comes_before_what_has_none(trial: MakeTrial) -> None:
    free = recommendation(profile("free", price_per_hour=0.0), trial(FAST))
    assert free.cost_per_inference == 0.0
    assert names([profile("unpriced"), profile("free", price_per_hour=0.0)], [trial(FAST)]) == ["free", "unpriced"]


def test_what_meets_the_sla_comes_before_what_may_and_that_before_what_does_not(trial: MakeTrial) -> None:
    trials = [
        trial(SLOW, throughput_per_s=10.0, verdict="PASS"),
        trial(FAST, throughput_per_s=1000.0, verdict="UNDECIDED"),
        trial(BATCHED, throughput_per_s=9000.0, verdict="FAIL", violation=0.1),
    ]
    for expected in (SLOW, FAST, BATCHED):
        assert best(trials) == expected
        trials = [trial for trial in trials if trial.configuration != expected]


def test_when_nothing_meets_the_sla_the_nearest_comes_first(trial: MakeTrial) -> None:
    trials = [trial(FAST, verdict="FAIL", violation=0.9), trial(SLOW, verdict="FAIL", violation=0.2)]
    assert best(trials) == SLOW


def test_what_was_measured_badly_comes_after_what_is_undecided_and_before_what_fails(trial: MakeTrial) -> None:
    verdicts: list[Verdict] = ["FAIL", "INVALID", "UNDECIDED", "PASS"]
    ranked = sorted(
        (pooled for verdict in verdicts for pooled in pool_trials([trial(FAST, verdict=verdict)])),
        key=lambda pooled: ranking_key(pooled, profile("a"), request_of()),
    )
    assert [pooled.trial.verdict for pooled in ranked] == verdicts[::-1]


@pytest.mark.parametrize(
    ("goal", "expected"), [("cost", FAST), ("throughput", FAST), ("latency", SLOW), ("balanced", FAST)]
)
def test_every_goal_has_its_own_best(trial: MakeTrial, goal: Goal, expected: Configuration) -> None:
    trials = [trial(FAST, throughput_per_s=5000.0, p95_ms=9.0), trial(SLOW, throughput_per_s=1000.0, p95_ms=3.0)]
    assert best(trials, request_of(goal)) == expected


def test_the_balance_shifts_with_the_weight(trial: MakeTrial) -> None:
    trials = [trial(FAST, throughput_per_s=5000.0, p95_ms=9.0), trial(SLOW, throughput_per_s=1000.0, p95_ms=3.0)]
    assert best(trials, request_of("balanced", cost_weight=0.2)) == SLOW
    assert best(trials, request_of("balanced", cost_weight=0.9)) == FAST


def test_the_mean_of_all_measurements_decides_and_not_the_luckiest_of_them(trial: MakeTrial) -> None:
    lucky = [trial(BATCHED, throughput_per_s=1300.0), trial(BATCHED, throughput_per_s=900.0)]
    steady = [trial(FAST, throughput_per_s=1150.0), trial(FAST, throughput_per_s=1150.0)]
    assert best([*lucky, *steady]) == FAST


@pytest.mark.parametrize(
    ("simpler", "less_simple"),
    [
        (FAST, BATCHED),
        (BATCHED, replace(BATCHED, batch_delay_us=1000)),
        (BATCHED, replace(BATCHED, max_batch=2, batch_delay_us=1000)),
        (replace(FAST, workers=1), FAST),
        (FAST, THREADED),
        (replace(FAST, workers=5), replace(FAST, settings=Settings(threads=3))),
        (FAST, replace(FAST, environment=(("FLAG", "on"),))),
    ],
)
def test_simpler_is_what_has_less_to_it(simpler: Configuration, less_simple: Configuration) -> None:
    assert simplicity(simpler) < simplicity(less_simple)


def test_a_profile_without_the_memory_is_not_recommended(trial: MakeTrial) -> None:
    assert best([trial(FAST, memory_bytes=2**31)]) is None
    assert best([]) is None
    assert names([profile("a")], [trial(FAST, memory_bytes=2**31)]) == []


def test_the_cheaper_profile_comes_first_and_those_without_a_price_last(trial: MakeTrial) -> None:
    profiles = [profile("unpriced"), profile("dear", price_per_hour=1.0), profile("cheap", price_per_hour=0.1)]
    for at_rate in (False, True):
        assert names(profiles, [trial(FAST)], at_rate=at_rate) == ["cheap", "dear", "unpriced"]


def test_a_tie_between_profiles_goes_to_the_cheaper_then_to_the_simpler(trial: MakeTrial) -> None:
    profiles = [profile("dear", price_per_hour=1.0), profile("unpriced"), profile("cheap", price_per_hour=0.1)]
    for goal in ("latency", "throughput"):
        assert names(profiles, [trial(FAST)], goal) == ["cheap", "dear", "unpriced"]
    small, large = profile("small", 2, price_per_hour=0.1), profile("large", 4, price_per_hour=0.1)
    on_large = replace(FAST, vcpus=4, workers=4)
    trials = [trial(on_large, p95_ms=1.0), trial(FAST, p95_ms=1.01)]
    space = Space(profiles=((large, frozenset([on_large])), (small, frozenset([FAST]))), grid=(FAST, on_large))
    assert [recommended.profile.name for recommended in recommend(space, trials, request_of("latency"))] == [
        "small",
        "large",
    ]


def test_a_profile_that_is_clearly_better_is_first_whatever_it_costs(trial: MakeTrial) -> None:
    small, large = profile("small", 2, price_per_hour=0.1), profile("large", 4, price_per_hour=9.0)
    on_large = replace(FAST, vcpus=4, workers=4)
    trials = [trial(on_large, p95_ms=1.0), trial(FAST, p95_ms=1.5)]
    space = Space(profiles=((small, frozenset([FAST])), (large, frozenset([on_large]))), grid=(FAST, on_large))
    assert [recommended.profile.name for recommended in recommend(space, trials, request_of("latency"))] == [
        "large",
        "small",
    ]


def test_at_a_given_rate_the_hourly_price_counts_and_at_full_load_that_of_an_inference(trial: MakeTrial) -> None:
    small, large = profile("small", 1, price_per_hour=0.1), profile("large", 4, price_per_hour=0.2)
    on_small = Configuration(vcpus=1, backend="fast")
    on_large = Configuration(vcpus=4, backend="fast", workers=4)
    trials = [trial(on_small, throughput_per_s=100.0), trial(on_large, throughput_per_s=1000.0)]
    space = Space(profiles=((small, frozenset([on_small])), (large, frozenset([on_large]))), grid=(on_small, on_large))
    at_rate = recommend(space, trials, request_of(at_rate=True))
    full_load = recommend(space, trials, request_of())
    assert [recommended.profile.name for recommended in at_rate] == ["small", "large"]
    assert [recommended.profile.name for recommended in full_load] == ["large", "small"]


def test_all_instances_that_a_rate_takes_are_paid_for(trial: MakeTrial) -> None:
    small, large = profile("small", 1, price_per_hour=0.1), profile("large", 4, price_per_hour=0.25)
    on_small = Configuration(vcpus=1, backend="fast")
    on_large = Configuration(vcpus=4, backend="fast", workers=4)
    trials = [trial(on_small, instances=3), trial(on_large, instances=1)]
    space = Space(profiles=((small, frozenset([on_small])), (large, frozenset([on_large]))), grid=(on_small, on_large))
    first, second = recommend(space, trials, request_of(at_rate=True))
    assert (first.profile.name, first.cost_per_hour) == ("large", 0.25)
    assert second.cost_per_hour == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("basis", "verdict", "violation", "goal", "expected"),
    [
        ("predicted", "UNDECIDED", 0.0, "cost", ["small", "large"]),
        ("measured", "UNDECIDED", 0.0, "cost", ["large", "small"]),
        ("predicted", "UNDECIDED", 0.2, "cost", ["large", "small"]),
        ("predicted", "INVALID", 0.0, "cost", ["large", "small"]),
        ("predicted", "UNDECIDED", 0.0, "latency", ["large", "small"]),
        ("predicted", "UNDECIDED", 0.0, "balanced", ["large", "small"]),
    ],
)
def test_a_prediction_is_not_paid_for_where_what_costs_less_kept_the_limits_as_far_as_it_was_measured(
    trial: MakeTrial, basis: Basis, verdict: Verdict, violation: float, goal: Goal, expected: list[str]
) -> None:
    small, large = profile("small", 1), profile("large", 2)
    on_small, on_large = Configuration(vcpus=1, backend="fast"), Configuration(vcpus=2, backend="fast", workers=2)
    space = Space(profiles=((small, frozenset([on_small])), (large, frozenset([on_large]))), grid=(on_small, on_large))
    trials = [trial(on_small, verdict=verdict, violation=violation), replace(trial(on_large), basis=basis)]
    ranked = recommend(space, trials, request_of(goal, at_rate=True))
    assert [recommended.profile.name for recommended in ranked] == expected


def test_a_test_too_short_for_the_percentile_is_not_put_before_a_prediction(trial: MakeTrial) -> None:
    small, large = profile("small", 1), profile("large", 2)
    on_small, on_large = Configuration(vcpus=1, backend="fast"), Configuration(vcpus=2, backend="fast", workers=2)
    space = Space(profiles=((small, frozenset([on_small])), (large, frozenset([on_large]))), grid=(on_small, on_large))
    short = trial(on_small, verdict="UNDECIDED", violation=0.0)
    unknown = replace(short.judged, latency_ms={**short.judged.latency_ms, "p95": None})
    short = replace(short, at_rate=unknown) if short.at_rate is not None else replace(short, capacity=unknown)
    asked = request_of("cost", at_rate=True)
    asked = replace(asked, sla=replace(asked.sla, thresholds=parse_sla("p95=10ms")))
    ranked = recommend(space, [short, replace(trial(on_large), basis="predicted")], asked)
    assert [recommended.profile.name for recommended in ranked] == ["large", "small"]


def test_what_is_predicted_stays_first_where_something_was_measured_to_meet_the_sla(trial: MakeTrial) -> None:
    small, large, dear = profile("small", 1), profile("large", 2), profile("dear", 4)
    plain = {vcpus: Configuration(vcpus=vcpus, backend="fast") for vcpus in (1, 2, 4)}
    space = Space(
        profiles=tuple((each, frozenset([plain[each.vcpus]])) for each in (small, large, dear)),
        grid=tuple(plain.values()),
    )
    predicted = replace(trial(plain[2]), basis="predicted")
    trials = [trial(plain[1], verdict="UNDECIDED", violation=0.0), predicted, trial(plain[4])]
    ranked = recommend(space, trials, request_of("cost", at_rate=True))
    assert [recommended.profile.name for recommended in ranked] == ["large", "dear", "small"]


def test_where_no_latency_is_known_and_that_is_the_goal_the_simplest_is_taken(trial: MakeTrial) -> None:
    trials = [trial(BATCHED, p95_ms=None), trial(FAST, p95_ms=None)]
    assert best(trials, request_of("latency")) == FAST
    assert best([*trials, trial(SLOW, p95_ms=500.0)], request_of("latency")) == SLOW


def test_the_score_of_a_single_measurement_is_that_of_its_own_figures(trial: MakeTrial) -> None:
    tested = trial(FAST, throughput_per_s=100.0, p95_ms=4.0, instances=2)
    price = Price(unpriced=False, per_hour=0.5)
    at_full_load = score_of(tested, price, request_of())
    assert (at_full_load.unpriced, at_full_load.per_hour) == (False, 0.0)
    assert at_full_load.figure == pytest.approx(1e6 * 0.005 / 3600)
    # At a rate all instances are paid for, and what they would answer at full load was not asked.
    at_rate = score_of(tested, price, request_of(at_rate=True))
    assert at_rate == Score(unpriced=False, per_hour=1.0, figure=4.0)
    before = score_of(tested, price, request_of(at_rate=True, decided_at="capacity"))
    assert (before.unpriced, before.per_hour) == (False, 1.0)
    assert before.figure == pytest.approx(1e6 * 0.005 / 3600)
    assert score_of(tested, price, request_of("latency")) == Score(unpriced=False, per_hour=0.0, figure=4.0)


def test_an_id_stands_for_a_profile_and_a_configuration(trial: MakeTrial) -> None:
    ids = {
        recommendation(offered, trial(configuration)).id
        for offered in (profile("a"), profile("b"))
        for configuration in (FAST, THREADED)
    }
    assert len(ids) == 4
    assert recommendation(profile("a"), trial(FAST)).id in ids
