"""What a goal asks for, as figures."""

from __future__ import annotations

from math import inf, isnan
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from servefit.profiler.machine.instance_profile import InstanceProfile
from servefit.profiler.record.types import Configuration
from servefit.search.request.job_request import GOALS
from servefit.search.request.space import Space
from servefit.search.results.objectives import Price, Score, cheapest, instance_counts, instances_for, score

if TYPE_CHECKING:
    from servefit.search.request.job_request import Goal

TEN_CENTS = Price(unpriced=False, per_hour=0.1)


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
    return score(
        goal,
        price=price,
        capacity_per_s=capacity_per_s,
        latency_ms=latency_ms,
        instances=instances,
        at_rate=at_rate,
        weight=weight,
    )


def test_at_a_rate_all_instances_are_paid_for_and_at_full_load_what_is_answered() -> None:
    assert scored("cost", at_rate=True).per_hour == pytest.approx(0.3)
    assert scored("cost").per_hour == 0
    assert scored("cost").figure == scored("cost", at_rate=True).figure == pytest.approx(0.001)


def test_latency_and_throughput_ask_nothing_about_the_price() -> None:
    for goal in ("latency", "throughput"):
        assert scored(goal, price=Price(unpriced=True, per_hour=9.0), at_rate=True) == scored(goal)
    assert scored("latency").figure == 4.0
    assert scored("throughput").figure == 0.01


def test_a_weight_goes_from_latency_alone_to_cost_alone() -> None:
    assert scored("balanced", weight=0.0).figure == pytest.approx(scored("latency").figure)
    assert scored("balanced", weight=1.0).figure == pytest.approx(scored("cost").figure)
    assert scored("balanced").figure == pytest.approx((0.001 * 4.0) ** 0.5)


def test_no_unit_matters_to_the_balance() -> None:
    dollars, cents = (Price(unpriced=False, per_hour=one) for one in (0.1, 10.0))
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
    for goal in GOALS:
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
    dear, unpriced = (scored("cost", price=Price.of(one, 1)) for one in (1000.0, None))
    assert dear < unpriced


@pytest.mark.parametrize(("rate", "instances"), [(1.0, 1), (80.0, 1), (80.1, 2), (800.0, 10)])
def test_no_instance_is_planned_above_four_fifths_of_its_capacity(rate: float, instances: int) -> None:
    assert instances_for(rate, 100.0) == instances


@given(st.floats(1e-3, 1e9), st.floats(1e-3, 1e9))
def test_more_and_more_instances_are_tried_down_to_a_fifth_of_their_capacity(rate: float, capacity: float) -> None:
    counts = instance_counts(rate, capacity)
    assert counts == sorted(set(counts))
    assert counts[0] == instances_for(rate, capacity)
    assert rate / counts[-1] <= 0.2 * capacity * (1 + 1e-9)


def test_a_configuration_costs_what_the_cheapest_profile_that_may_have_it_does() -> None:
    one = Configuration(vcpus=2, backend="a")

    def profile(name: str, price_per_hour: float | None) -> InstanceProfile:
        return InstanceProfile(name=name, vcpus=2, memory_bytes=2**30, price_per_hour=price_per_hour)

    profiles = [profile("unpriced", None), profile("dear", 2.0), profile("cheap", 1.0)]
    elsewhere = profile("elsewhere", 0.1)
    space = Space(profiles=(*((each, frozenset([one])) for each in profiles), (elsewhere, frozenset())), grid=(one,))
    assert cheapest(space, one) == Price(unpriced=False, per_hour=1.0)
