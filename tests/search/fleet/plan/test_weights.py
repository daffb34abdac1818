"""Whole-number weights, against every loss of hosts where these are few."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servefit.errors import SpecError
from servefit.search.fleet.plan.balancers.kinds import BALANCERS
from servefit.search.fleet.plan.losses import must_fall_by
from servefit.search.fleet.plan.weights import LITTLE, MAX_OFF, carried_per_s, off_by, whole_weights


def highest_rate_per_s(weights: Sequence[int], rates: Sequence[float], hosts: Sequence[int], spare: int) -> float:
    """Try every loss of up to ``spare`` hosts, for every host that is left."""
    each = [(weight, rate) for weight, rate, count in zip(weights, rates, hosts, strict=True) for _ in range(count)]
    highest = float("inf")
    for lost in range(spare + 1):
        for left in combinations(each, len(each) - lost):
            total = sum(weight for weight, _ in left)
            highest = min([highest, *(rate * total / weight for weight, rate in left)])
    return highest


@st.composite
def fleets(draw: st.DrawFn) -> tuple[list[float], list[int], int]:
    classes = draw(st.integers(1, 4))
    rates = draw(st.lists(st.floats(1, 5000), min_size=classes, max_size=classes))
    hosts = draw(st.lists(st.integers(1, 3), min_size=classes, max_size=classes))
    return rates, hosts, draw(st.integers(0, min(3, sum(hosts) - 1)))


@given(fleet=fleets(), seed=st.integers(0, 1000))
def test_what_any_weights_carry_is_that_of_the_worst_of_all_losses(
    fleet: tuple[list[float], list[int], int], seed: int
) -> None:
    rates, hosts, spare = fleet
    # Weights that have nothing to do with the rates.
    weights = np.random.default_rng(seed).integers(1, 20, len(rates))
    found = carried_per_s(weights[None].astype(float), np.array(rates), np.array(hosts, dtype=float), spare)
    assert found[0] == pytest.approx(highest_rate_per_s(weights.tolist(), rates, hosts, spare))


@settings(max_examples=50)
@given(fleet=fleets(), most_weight=st.sampled_from([1, 5, 128, 256, 100_000]))
def test_whole_weights_overload_nobody_at_what_they_carry_and_somebody_above_it(
    fleet: tuple[list[float], list[int], int], most_weight: int
) -> None:
    rates, hosts, spare = fleet
    found = whole_weights(rates, hosts, spare=spare, most_weight=most_weight)
    assert all(1 <= weight <= most_weight for weight in found.weights)
    assert found.carries_per_s == pytest.approx(highest_rate_per_s(found.weights, rates, hosts, spare))
    assert sum(share * count for share, count in zip(found.shares, hosts, strict=True)) == pytest.approx(1)
    assert must_fall_by(found.carries_per_s, found.carries_per_s) == 0
    assert must_fall_by(found.carries_per_s * 2, found.carries_per_s) == pytest.approx(0.5)


@given(hosts=st.lists(st.integers(1, 3), min_size=1, max_size=3), spare=st.integers(0, 2), data=st.data())
def test_rates_in_whole_proportions_lose_nothing_to_rounding(hosts: list[int], spare: int, data: st.DataObject) -> None:
    if spare >= sum(hosts):
        return
    parts = data.draw(st.lists(st.integers(1, 40), min_size=len(hosts), max_size=len(hosts)))
    rates = [37.5 * part for part in parts]
    each = sorted(rate for rate, count in zip(rates, hosts, strict=True) for _ in range(count))
    found = whole_weights(rates, hosts, spare=spare, most_weight=BALANCERS["haproxy"].most_weight)
    assert found.carries_per_s == pytest.approx(sum(each[: len(each) - spare]))


@settings(max_examples=20, deadline=None)
@given(rates=st.lists(st.floats(1, 100), min_size=2, max_size=2))
def test_no_other_weights_of_two_classes_in_such_proportion_carry_more(rates: list[float]) -> None:
    hosts, most = [2, 1], 12
    found = whole_weights(rates, hosts, spare=1, most_weight=most)
    pairs = np.array([(one, other) for one in range(1, most + 1) for other in range(1, most + 1)], dtype=float)
    off = off_by(pairs, np.array(rates), np.array(hosts, dtype=float))
    assert (found.off_by <= MAX_OFF) == bool((off <= MAX_OFF).any())
    near = pairs[off <= MAX_OFF] if found.off_by <= MAX_OFF else pairs
    best = max(highest_rate_per_s(each.tolist(), rates, hosts, 1) for each in near)
    assert found.carries_per_s >= best * (1 - LITTLE)


@settings(max_examples=100)
@given(fleet=fleets(), most_weight=st.sampled_from([256, 100_000]))
def test_every_host_has_its_part_within_two_per_cent_or_it_is_said_how_far_off_one_is(
    fleet: tuple[list[float], list[int], int], most_weight: int
) -> None:
    rates, hosts, spare = fleet
    found = whole_weights(rates, hosts, spare=spare, most_weight=most_weight)
    parts = np.array(rates) / np.dot(rates, hosts)
    assert found.off_by == pytest.approx(np.abs(np.array(found.shares) / parts - 1).max())
    if most_weight * min(rates) / max(rates) >= 1 / MAX_OFF:
        # A weight of fifty is rounded by one part in a hundred at most.
        assert found.off_by <= MAX_OFF


@pytest.mark.parametrize("spare", [0, 1, 2])
def test_weights_that_carry_as_much_as_others_are_still_in_proportion(spare: int) -> None:
    rates, hosts = [967.7, 2242.1], [2, 1]
    found = whole_weights(rates, hosts, spare=spare, most_weight=100_000)
    assert found.weights[1] / found.weights[0] == pytest.approx(2242.1 / 967.7, rel=0.02)
    if spare == 1:
        assert highest_rate_per_s((1, 1), rates, hosts, spare) == pytest.approx(found.carries_per_s)


def test_the_nearest_whole_numbers_would_overload_a_host_that_better_ones_do_not() -> None:
    """The slow host is nearer to two tenths of the fast one than to one, and would get a third too much."""
    rates, hosts = [1000.0, 151.0], [1, 1]
    assert highest_rate_per_s((10, 2), rates, hosts, 0) == pytest.approx(906)
    found = whole_weights(rates, hosts, spare=0, most_weight=10)
    assert found.weights == (7, 1)
    assert found.carries_per_s == pytest.approx(1000 * 8 / 7)
    assert must_fall_by(1151, found.carries_per_s) == pytest.approx(1 - 1000 * 8 / 7 / 1151)


def test_a_thousand_classes_of_ten_thousand_hosts_are_carried_within_two_per_cent_by_the_smallest_limit() -> None:
    rng = np.random.default_rng(0)
    rates = sorted(rng.lognormal(6, 0.5, 1000).tolist(), reverse=True)
    hosts = [10] * 1000
    found = whole_weights(rates, hosts, spare=20, most_weight=256)
    assert found.carries_per_s > 0.98 * (10 * sum(rates) - 10 * rates[0] - 10 * rates[1])


@pytest.mark.parametrize(("hosts", "spare", "most"), [([], 0, 256), ([2], 2, 256), ([2], -1, 256), ([2], 0, 0)])
def test_weights_of_nobody_are_refused(hosts: list[int], spare: int, most: int) -> None:
    with pytest.raises(SpecError):
        whole_weights([100.0] * len(hosts), hosts, spare=spare, most_weight=most)
