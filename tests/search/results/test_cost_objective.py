"""What a million inferences cost, in money and in vCPUs."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import pytest
from tests.search.results.ranking_cases import FAST, profile, request_of

from servefit.search.results.objectives.cost import (
    Cost,
    CostAtRate,
    price_or_rate,
    price_per_million,
    rate,
    vcpu_s_per_million,
)
from servefit.search.results.objectives.registry import context_of
from servefit.search.results.price import Price
from servefit.search.results.ranking import recommendation, score_of

if TYPE_CHECKING:
    from tests.search.conftest import MakeTrial


def test_a_million_inferences_cost_as_many_seconds_of_the_price_as_they_take_at_full_load() -> None:
    # A million at 100 a second are 10,000 s.
    assert price_per_million(100.0, Price.of(0.36, 2)) == pytest.approx(1.0)
    assert price_per_million(100.0, Price.of(None, 2)) == 20_000.0
    assert price_per_million(0.0, Price.of(0.36, 2)) == inf


def test_vcpus_stand_for_a_price_whatever_the_instance_costs(trial: MakeTrial) -> None:
    assert vcpu_s_per_million(trial(FAST, throughput_per_s=100.0)) == 20_000.0
    assert vcpu_s_per_million(trial(FAST, throughput_per_s=0.0)) is None


@pytest.mark.parametrize("at_rate", [False, True])
def test_a_score_says_that_nobody_stated_a_price(trial: MakeTrial, *, at_rate: bool) -> None:
    prices = Price.of(0.36, 2), Price.of(None, 2)
    scores = [score_of(trial(FAST), price, request_of(at_rate=at_rate)) for price in prices]
    assert [score.unpriced for score in scores] == [False, True]


def test_at_full_load_neither_the_load_at_a_rate_nor_the_latency_is_needed(trial: MakeTrial) -> None:
    assert not Cost.needs_rate
    assert not Cost.needs_latency
    scores = [score_of(trial(FAST, p95_ms=p95_ms), Price.of(0.36, 2), request_of()) for p95_ms in (1.0, None)]
    assert scores[0] == scores[1]


def test_latencies_that_differ_by_20_us_tie_at_a_rate() -> None:
    assert CostAtRate().ties(0.25, 0.27)
    assert not CostAtRate().ties(0.25, 0.2701)


def test_the_cost_is_told_in_money_else_in_vcpus_and_else_there_is_the_rate(trial: MakeTrial) -> None:
    tested, silent = trial(FAST, throughput_per_s=100.0), trial(FAST, throughput_per_s=0.0)
    assert price_or_rate(recommendation(profile("a", price_per_hour=0.36), tested)) == "$1.00 a million"
    assert price_or_rate(recommendation(profile("a"), tested)) == "20,000 vCPU-s a million"
    assert price_or_rate(recommendation(profile("a"), silent)) == "0 a minute"
    assert rate(recommendation(profile("a"), trial(FAST, throughput_per_s=100.0, instances=2))) == "12,000 a minute"


def test_at_a_rate_the_cost_is_that_of_all_instances_by_the_hour_or_in_vcpus(trial: MakeTrial) -> None:
    tested = trial(FAST, instances=2)
    context = context_of(request_of(at_rate=True), Price.of(None, 2))
    assert (
        CostAtRate().figure_text(recommendation(profile("a", price_per_hour=0.36), tested), context) == "$0.72 an hour"
    )
    unpriced = recommendation(profile("a"), tested)
    assert CostAtRate().figure_text(unpriced, context) == f"takes {2 * unpriced.profile.vcpus} vCPUs"
