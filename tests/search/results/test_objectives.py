"""The figures of the built-in objectives."""

from __future__ import annotations

from dataclasses import replace
from math import inf, isnan
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.search.results.ranking_cases import FAST, profile

from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla
from servefit.search.results.objectives.contract import Context
from servefit.search.results.objectives.cost import CostAtRate
from servefit.search.results.objectives.latency import p95
from servefit.search.results.objectives.performance import PerformanceObjective
from servefit.search.results.objectives.registry import objective, objective_of
from servefit.search.results.objectives.score import Score, score_of_figure
from servefit.search.results.price import Price
from servefit.search.results.ranking import recommendation

if TYPE_CHECKING:
    from tests.search.conftest import MakeTrial

    from servefit.search.request.job_request import Goal

BY_PERFORMANCE = ("cost", "latency", "throughput", "balanced")
TEN_CENTS = Price(unpriced=False, per_hour=0.1)
DOLLARS_PER_MILLION = 1e6 * 0.1 / 3600 / 100
"""Of an instance for ten cents that answers a hundred a second."""


def scored(
    goal: Goal,
    *,
    price: Price = TEN_CENTS,
    capacity_per_s: float = 100.0,
    latency_ms: float = 4.0,
    instances: int = 3,
    at_rate: bool = False,
    weight: float = 0.5,
) -> Score:
    asked = objective(goal)
    assert isinstance(asked, PerformanceObjective)
    context = Context(price=price, rate_per_s=100.0 if at_rate else None, cost_weight=weight)
    return score_of_figure(asked, asked.figure(capacity_per_s, latency_ms, context), context, instances=instances)


def test_at_a_rate_all_instances_are_paid_for_and_at_full_load_what_is_answered() -> None:
    assert scored("cost", at_rate=True).per_hour == pytest.approx(0.3)
    assert scored("cost").per_hour == 0
    assert scored("cost").figure == scored("cost", at_rate=True).figure == pytest.approx(DOLLARS_PER_MILLION)


def test_latency_and_throughput_ask_nothing_about_the_price() -> None:
    for goal in ("latency", "throughput"):
        assert scored(goal, price=Price(unpriced=True, per_hour=9.0), at_rate=True) == scored(goal)
    assert scored("latency").figure == 4.0
    assert scored("throughput").figure == 1e6 / 100


def test_a_p95_that_is_hardly_known_is_told_by_the_ends_of_its_interval(trial: MakeTrial) -> None:
    tested = trial(FAST, p95_ms=3.0)
    assert tested.at_rate is not None
    for ends_ms, text in (((2.9, 3.1), "p95 3 ms"), ((1.0, 9.0), "p95 between 1 ms and 9 ms")):
        known = replace(tested, at_rate=replace(tested.at_rate, latency_ms_ci95={"p95": ends_ms}))
        assert p95(recommendation(profile("a"), known)) == text


def test_a_weight_goes_from_latency_alone_to_cost_alone() -> None:
    assert scored("balanced", weight=0.0).figure == pytest.approx(scored("latency").figure)
    assert scored("balanced", weight=1.0).figure == pytest.approx(scored("cost").figure)
    assert scored("balanced").figure == pytest.approx((DOLLARS_PER_MILLION * 4.0) ** 0.5)


def test_no_unit_matters_to_the_balance() -> None:
    dollars, cents = (Price(unpriced=False, per_hour=per_hour) for per_hour in (0.1, 10.0))
    ratios = {
        round(scored("balanced", price=price, latency_ms=4.0).figure / scored("balanced", price=price).figure, 9)
        for price in (dollars, cents)
    }
    assert len(ratios) == 1


@given(
    price=st.one_of(st.none(), st.floats(0, 1e3)),
    capacity_per_s=st.one_of(st.just(0.0), st.floats(1e-3, 1e9)),
    latency_ms=st.one_of(st.just(inf), st.floats(1e-6, 1e9)),
    weight=st.floats(0, 1),
    at_rate=st.booleans(),
)
@example(price=0.0, capacity_per_s=1.0, latency_ms=inf, weight=0.5, at_rate=False)
@example(price=1.0, capacity_per_s=0.0, latency_ms=inf, weight=1.0, at_rate=True)
def test_every_score_can_be_compared(
    price: float | None, capacity_per_s: float, latency_ms: float, weight: float, at_rate: bool
) -> None:
    for goal in BY_PERFORMANCE:
        found = scored(
            goal,
            price=Price.of(price, 2),
            capacity_per_s=capacity_per_s,
            latency_ms=latency_ms,
            weight=weight,
            at_rate=at_rate,
        )
        assert not isnan(found.figure)
        assert found.figure >= 0


def test_what_answers_nothing_is_worst() -> None:
    for goal in ("cost", "throughput", "balanced"):
        assert scored(goal, capacity_per_s=0.0).figure == inf


def test_what_has_no_price_comes_behind_what_has_one_and_vcpus_stand_for_it() -> None:
    assert Price.of(None, 4) == Price(unpriced=True, per_hour=4)
    assert Price.of(0.0, 4) == Price(unpriced=False, per_hour=0.0)
    dear, unpriced = (scored("cost", price=Price.of(per_hour, 1)) for per_hour in (1000.0, None))
    assert dear < unpriced


def test_cost_is_that_of_carrying_a_rate_where_one_is_asked() -> None:
    at_rate, at_full_load = JobRequest(name="job", sla=Sla(rate_per_s=10.0)), JobRequest(name="job")
    assert isinstance(objective_of(at_rate), CostAtRate)
    for request in (
        at_full_load,
        JobRequest(name="job", sla=Sla(rate_per_s=10.0), goal="latency"),
        JobRequest(name="job", sla=Sla(rate_per_s=10.0), decided_at="capacity"),
    ):
        assert not isinstance(objective_of(request), CostAtRate)


def test_what_carries_the_rate_at_the_same_price_is_told_apart_by_its_latency_there() -> None:
    context = Context(price=TEN_CENTS, rate_per_s=100.0, cost_weight=0.5)

    def at_rate(capacity_per_s: float, p95_ms: float, instances: int) -> Score:
        figure = CostAtRate().figure(capacity_per_s, p95_ms, context)
        return score_of_figure(CostAtRate(), figure, context, instances=instances)

    assert at_rate(100.0, 9.0, 1) < at_rate(9000.0, 1.0, 2), "one instance is cheaper than two"
    assert at_rate(100.0, 1.0, 1) < at_rate(9000.0, 2.0, 1), "nobody asked what else it would answer"
    assert at_rate(100.0, 1.0, 1) == at_rate(9000.0, 1.0, 1)


def test_a_balance_at_a_rate_weighs_what_carries_it_and_not_what_else_would_be_answered() -> None:
    balanced = objective("balanced")
    assert isinstance(balanced, PerformanceObjective)
    rated, loaded = (
        Context(price=TEN_CENTS, rate_per_s=100.0, cost_weight=0.5, carries_rate=carries) for carries in (True, False)
    )
    assert balanced.paid_per_s(9000.0, 1, rated) == balanced.paid_per_s(200.0, 1, rated) == 100.0
    assert balanced.paid_per_s(200.0, 2, rated) == 50.0, "two instances are paid for half of it each"
    assert balanced.paid_per_s(200.0, 2, loaded) == 200.0


@pytest.mark.parametrize(
    ("best_ms", "other_ms", "ties"),
    [(0.01, 0.0299, True), (0.01, 0.0301, False), (1.0, 1.049, True), (1.0, 1.051, False), (0.3, 0.3199, True)],
)
def test_latencies_at_the_rate_tie_within_five_percent_or_20_us(best_ms: float, other_ms: float, ties: bool) -> None:
    assert CostAtRate().ties(best_ms, other_ms) == ties
    assert CostAtRate().ties(best_ms, best_ms)


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e6))
def test_what_is_no_worse_than_what_ties_with_the_best_ties_too(best: float, other: float, less: float) -> None:
    for asked in (CostAtRate(), *map(objective, BY_PERFORMANCE)):
        if asked.ties(best, best + other):
            assert asked.ties(best, best + min(other, less))
