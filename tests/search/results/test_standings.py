"""What several measurements of a configuration amount to, and how sure a difference is."""

from __future__ import annotations

from dataclasses import replace
from math import exp, inf, log
from typing import TYPE_CHECKING

import numpy as np
import pytest

from servefit.profiler.record.types import Configuration
from servefit.search.results.standings import ratio, standings

if TYPE_CHECKING:
    from tests.search.conftest import MakeTrial

    from servefit.search.results.recommendation import Trial
    from servefit.search.results.standings import Standing

ONE = Configuration(vcpus=1, backend="one")
OTHER = Configuration(vcpus=1, backend="other")


def standing(*trials: Trial) -> Standing:
    (found,) = standings(trials)
    return found


def test_all_measurements_of_a_configuration_count_together(trial: MakeTrial) -> None:
    found = standing(
        trial(ONE, throughput_per_s=100.0, p95_ms=1.0),
        trial(ONE, throughput_per_s=400.0, p95_ms=4.0),
        trial(ONE, throughput_per_s=200.0, p95_ms=2.0, nth_round=0),
    )
    assert found.capacity_per_s == pytest.approx(200.0)
    assert found.p95_ms == pytest.approx(2.0)
    assert found.measurements == 3


def test_configurations_stand_in_the_order_in_which_they_were_first_measured(trial: MakeTrial) -> None:
    found = standings([trial(OTHER), trial(ONE), trial(OTHER)])
    assert [one.configuration for one in found] == [OTHER, ONE]
    assert standings([]) == ()


def test_the_last_measurement_that_was_held_against_the_sla_stands_for_the_configuration(trial: MakeTrial) -> None:
    screened, confirmed = trial(ONE, verdict="PASS"), trial(ONE, verdict="FAIL")
    in_turn = trial(ONE, verdict="PASS", nth_round=3)
    assert standing(screened, confirmed, in_turn).trial is confirmed
    assert standing(screened, in_turn).trial is screened


def test_what_was_only_measured_in_rounds_does_not_stand_since_they_hold_nothing_against_the_sla(
    trial: MakeTrial,
) -> None:
    assert standings([trial(ONE, verdict="PASS", nth_round=nth) for nth in range(3)]) == ()


def test_an_invalid_measurement_counts_only_where_there_is_nothing_else(trial: MakeTrial) -> None:
    disturbed = trial(ONE, throughput_per_s=1.0, verdict="INVALID")
    good = trial(ONE, throughput_per_s=100.0)
    for trials in ([disturbed, good], [good, disturbed]):
        found = standing(*trials)
        assert (found.trial, found.measurements) == (good, 1)
        assert found.capacity_per_s == pytest.approx(100.0)
    assert standing(disturbed).trial is disturbed
    assert standing(disturbed).capacity_per_s == pytest.approx(1.0)


def test_good_rounds_do_not_make_an_invalid_verdict_a_pass(trial: MakeTrial) -> None:
    disturbed = trial(ONE, throughput_per_s=1.0, verdict="INVALID")
    found = standing(disturbed, trial(ONE, throughput_per_s=100.0, nth_round=0))
    assert found.trial is disturbed
    assert found.capacity_per_s == pytest.approx(100.0)


def test_latency_is_only_averaged_over_the_same_load(trial: MakeTrial) -> None:
    judged = trial(ONE, p95_ms=2.0, instances=3)
    closed = trial(ONE, p95_ms=50.0, at_rate=False, nth_round=0)
    busier = trial(ONE, p95_ms=90.0, instances=1, nth_round=1)
    assert standing(judged, closed, busier).p95_ms == pytest.approx(2.0)


def test_a_latency_that_is_not_known_is_left_out_and_infinite_where_none_is(trial: MakeTrial) -> None:
    assert standing(trial(ONE, p95_ms=None), trial(ONE, p95_ms=3.0)).p95_ms == pytest.approx(3.0)
    assert standing(trial(ONE, p95_ms=None)).p95_ms == inf


def test_what_answered_nothing_has_no_capacity(trial: MakeTrial) -> None:
    assert standing(trial(ONE, throughput_per_s=0.0)).capacity_per_s == 0.0


def rounds(trial: MakeTrial, ones: list[float], others: list[float]) -> list[Trial]:
    """Throughput of both, round by round."""
    return [
        trial(configuration, throughput_per_s=per_s, p95_ms=1000 / per_s, nth_round=nth)
        for configuration, figures in ((ONE, ones), (OTHER, others))
        for nth, per_s in enumerate(figures)
    ]


def test_a_ratio_is_of_the_rounds_that_both_were_in(trial: MakeTrial) -> None:
    trials = rounds(trial, [110.0, 220.0, 110.0, 999.0], [100.0, 200.0, 100.0])
    found = ratio(trials, ONE, OTHER, "cost")
    assert found is not None
    assert (found.metric, found.rounds) == ("throughput", 3)
    assert found.ratio == pytest.approx(1.1)
    assert found.ci95 == pytest.approx((1.1, 1.1))
    back = ratio(trials, OTHER, ONE, "cost")
    assert back is not None
    assert back.ratio == pytest.approx(1 / 1.1)


def test_an_interval_is_students_and_takes_three_rounds(trial: MakeTrial) -> None:
    factors = [1.05, 1.2, 1.1, 1.15]
    found = ratio(rounds(trial, [100 * one for one in factors], [100.0] * 4), ONE, OTHER, "throughput")
    assert found is not None
    logs = np.log(factors)
    half = 3.1824 * logs.std(ddof=1) / 2
    assert found.ci95 == pytest.approx((exp(logs.mean() - half), exp(logs.mean() + half)), rel=0.002)
    for count, known in ((1, False), (2, False), (3, True)):
        fewer = ratio(rounds(trial, [110.0] * count, [100.0] * count), ONE, OTHER, "cost")
        assert fewer is not None
        assert (fewer.ci95 is not None) == known


def test_the_interval_covers_the_truth_as_often_as_it_says(trial: MakeTrial) -> None:
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        noise = np.exp(random.normal(0, 0.03, (2, 5)))
        found = ratio(rounds(trial, (104 * noise[0]).tolist(), (100 * noise[1]).tolist()), ONE, OTHER, "cost")
        assert found is not None
        assert found.ci95 is not None
        covered += found.ci95[0] <= 1.04 <= found.ci95[1]
    assert 0.91 < covered / 300 < 0.985


def test_a_round_in_which_one_was_disturbed_is_left_out(trial: MakeTrial) -> None:
    trials = rounds(trial, [110.0, 110.0, 500.0], [100.0, 100.0, 100.0])
    trials[2] = replace(trials[2], verdict="INVALID")
    found = ratio(trials, ONE, OTHER, "cost")
    assert found is not None
    assert found.rounds == 2
    assert found.ratio == pytest.approx(1.1)


def test_without_a_round_of_both_there_is_no_ratio(trial: MakeTrial) -> None:
    assert ratio([trial(ONE), trial(OTHER)], ONE, OTHER, "cost") is None
    assert ratio(rounds(trial, [100.0], []), ONE, OTHER, "cost") is None
    silent = trial(ONE, throughput_per_s=0.0, nth_round=0)
    assert ratio([silent, trial(OTHER, nth_round=0)], ONE, OTHER, "cost") is None
    assert ratio([silent, trial(OTHER, nth_round=0)], OTHER, ONE, "cost") is None


def test_latency_is_better_when_it_is_lower(trial: MakeTrial) -> None:
    trials = [
        trial(one, p95_ms=p95_ms, nth_round=nth) for nth in range(3) for one, p95_ms in ((ONE, 2.0), (OTHER, 3.0))
    ]
    found = ratio(trials, ONE, OTHER, "latency")
    assert found is not None
    assert found.metric == "p95 latency"
    assert found.ratio == pytest.approx(1.5)


def test_a_latency_that_is_not_known_makes_no_round(trial: MakeTrial) -> None:
    trials = [trial(ONE, p95_ms=None, nth_round=0), trial(OTHER, p95_ms=1.0, nth_round=0)]
    assert ratio(trials, ONE, OTHER, "latency") is None
    assert ratio(trials, OTHER, ONE, "latency") is None
    assert ratio(trials, ONE, OTHER, "cost") is not None


@pytest.mark.parametrize(("weight", "better"), [(0.0, 2.0), (0.5, (2.0 * 0.8) ** 0.5), (1.0, 0.8)])
def test_a_balance_weighs_throughput_against_latency(trial: MakeTrial, weight: float, better: float) -> None:
    trials = [
        trial(ONE, throughput_per_s=80.0, p95_ms=1.0, nth_round=0),
        trial(OTHER, throughput_per_s=100.0, p95_ms=2.0, nth_round=0),
    ]
    found = ratio(trials, ONE, OTHER, "balanced", weight=weight)
    assert found is not None
    assert log(found.ratio) == pytest.approx(log(better))
