"""The ratio of two configurations, and its interval."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log
from typing import TYPE_CHECKING

import numpy as np
import pytest

from servefit.profiler.record.types import Configuration
from servefit.search.request.job_request import JobRequest
from servefit.search.results.ratios import ratio

if TYPE_CHECKING:
    from tests.search.conftest import MakeTrial

    from servefit.search.results.recommendation import Trial

FIRST = Configuration(vcpus=1, backend="first")
SECOND = Configuration(vcpus=1, backend="second")


def about(goal: str, weight: float = 0.5) -> JobRequest:
    return JobRequest(name="job", goal=goal, cost_weight=weight)


def rounds(trial: MakeTrial, first_figures: list[float], second_figures: list[float]) -> list[Trial]:
    """Throughput of both, round by round."""
    return [
        trial(configuration, throughput_per_s=per_s, p95_ms=1000 / per_s, nth_round=nth)
        for configuration, figures in ((FIRST, first_figures), (SECOND, second_figures))
        for nth, per_s in enumerate(figures)
    ]


def test_a_ratio_is_of_the_rounds_that_both_were_in(trial: MakeTrial) -> None:
    trials = rounds(trial, [110.0, 220.0, 110.0, 999.0], [100.0, 200.0, 100.0])
    found = ratio(trials, FIRST, SECOND, about("cost"))
    assert found is not None
    assert (found.metric, found.rounds) == ("throughput", 3)
    assert found.ratio == pytest.approx(1.1)
    assert found.ci95 == pytest.approx((1.1, 1.1))
    back = ratio(trials, SECOND, FIRST, about("cost"))
    assert back is not None
    assert back.ratio == pytest.approx(1 / 1.1)


def test_an_interval_is_students_and_takes_three_rounds(trial: MakeTrial) -> None:
    factors = [1.05, 1.2, 1.1, 1.15]
    found = ratio(rounds(trial, [100 * factor for factor in factors], [100.0] * 4), FIRST, SECOND, about("throughput"))
    assert found is not None
    logs = np.log(factors)
    half = 3.1824 * logs.std(ddof=1) / 2
    assert found.ci95 == pytest.approx((exp(logs.mean() - half), exp(logs.mean() + half)), rel=0.002)
    for count, known in ((1, False), (2, False), (3, True)):
        fewer = ratio(rounds(trial, [110.0] * count, [100.0] * count), FIRST, SECOND, about("cost"))
        assert fewer is not None
        assert (fewer.ci95 is not None) == known


def test_the_interval_covers_the_truth_as_often_as_it_says(trial: MakeTrial) -> None:
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        noise = np.exp(random.normal(0, 0.03, (2, 5)))
        found = ratio(rounds(trial, (104 * noise[0]).tolist(), (100 * noise[1]).tolist()), FIRST, SECOND, about("cost"))
        assert found is not None
        assert found.ci95 is not None
        covered += found.ci95[0] <= 1.04 <= found.ci95[1]
    assert 0.91 < covered / 300 < 0.985


def test_a_round_in_which_one_was_disturbed_is_left_out(trial: MakeTrial) -> None:
    trials = rounds(trial, [110.0, 110.0, 500.0], [100.0, 100.0, 100.0])
    trials[2] = replace(trials[2], verdict="INVALID")
    found = ratio(trials, FIRST, SECOND, about("cost"))
    assert found is not None
    assert found.rounds == 2
    assert found.ratio == pytest.approx(1.1)


def test_without_a_round_of_both_there_is_no_ratio(trial: MakeTrial) -> None:
    assert ratio([trial(FIRST), trial(SECOND)], FIRST, SECOND, about("cost")) is None
    assert ratio(rounds(trial, [100.0], []), FIRST, SECOND, about("cost")) is None
    silent = trial(FIRST, throughput_per_s=0.0, nth_round=0)
    assert ratio([silent, trial(SECOND, nth_round=0)], FIRST, SECOND, about("cost")) is None
    assert ratio([silent, trial(SECOND, nth_round=0)], SECOND, FIRST, about("cost")) is None


def test_latency_is_better_when_it_is_lower(trial: MakeTrial) -> None:
    trials = [
        trial(configuration, p95_ms=p95_ms, nth_round=nth)
        for nth in range(3)
        for configuration, p95_ms in ((FIRST, 2.0), (SECOND, 3.0))
    ]
    found = ratio(trials, FIRST, SECOND, about("latency"))
    assert found is not None
    assert found.metric == "p95 latency"
    assert found.ratio == pytest.approx(1.5)


def test_a_latency_that_is_not_known_makes_no_round(trial: MakeTrial) -> None:
    trials = [trial(FIRST, p95_ms=None, nth_round=0), trial(SECOND, p95_ms=1.0, nth_round=0)]
    assert ratio(trials, FIRST, SECOND, about("latency")) is None
    assert ratio(trials, SECOND, FIRST, about("latency")) is None
    assert ratio(trials, FIRST, SECOND, about("cost")) is not None


def test_what_takes_no_time_makes_no_round(trial: MakeTrial) -> None:
    trials = [trial(FIRST, p95_ms=0.0, nth_round=0), trial(SECOND, p95_ms=1.0, nth_round=0)]
    assert ratio(trials, FIRST, SECOND, about("latency")) is None
    assert ratio(trials, SECOND, FIRST, about("latency")) is None


@pytest.mark.parametrize(("weight", "better"), [(0.0, 2.0), (0.5, (2.0 * 0.8) ** 0.5), (1.0, 0.8)])
def test_a_balance_weighs_throughput_against_latency(trial: MakeTrial, weight: float, better: float) -> None:
    trials = [
        trial(FIRST, throughput_per_s=80.0, p95_ms=1.0, nth_round=0),
        trial(SECOND, throughput_per_s=100.0, p95_ms=2.0, nth_round=0),
    ]
    found = ratio(trials, FIRST, SECOND, about("balanced", weight))
    assert found is not None
    assert log(found.ratio) == pytest.approx(log(better))


@pytest.mark.parametrize(
    ("goal", "weight", "words"),
    [
        ("cost", 0.5, "times the throughput"),
        ("latency", 0.5, "times as fast by p95"),
        ("balanced", 0.5, "times as good by throughput and p95 together"),
        ("balanced", 0.0, "times as fast by p95"),
        ("balanced", 1.0, "times the throughput"),
    ],
)
def test_a_ratio_is_put_in_the_words_of_what_was_asked(trial: MakeTrial, goal: str, weight: float, words: str) -> None:
    found = ratio(rounds(trial, [110.0], [100.0]), FIRST, SECOND, about(goal, weight))
    assert found is not None
    assert found.words == words


def test_energy_is_compared_where_its_power_is_known(trial: MakeTrial) -> None:
    def drawing(configuration: Configuration, watts: float) -> Trial:
        tested = trial(configuration, nth_round=0)
        return replace(tested, at_rate=replace(tested.judged, package_power_w=watts))

    found = ratio([drawing(FIRST, 40.0), drawing(SECOND, 50.0)], FIRST, SECOND, about("energy"))
    assert found is not None
    assert (found.metric, found.words) == ("energy per inference", "times as good by energy per inference")
    assert found.ratio == pytest.approx(50 / 40)
    assert ratio([drawing(FIRST, 40.0), trial(SECOND, nth_round=0)], FIRST, SECOND, about("energy")) is None
