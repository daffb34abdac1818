"""Offers of host classes: what is refused where they come in."""

from __future__ import annotations

from math import inf, nan
from typing import TYPE_CHECKING, Any

import pytest

from servefit.errors import SpecError
from servefit.search.fleet.plan.offer import check_demand, check_offers

if TYPE_CHECKING:
    from tests.search.fleet.plan.conftest import MakeOffer


@pytest.mark.parametrize("bad", [nan, inf, -inf, -1.0, 0.0, 1e300, 1e-300, 10**400, "500", None, True])
def test_a_rate_that_is_none_is_refused(offer: MakeOffer, bad: Any) -> None:
    with pytest.raises(SpecError, match="rate of host class old"):
        offer(rate_per_s=bad)


@pytest.mark.parametrize("bad", [nan, inf, -0.01, 1e300, "1"])
def test_a_cost_that_is_none_or_below_zero_is_refused(offer: MakeOffer, bad: Any) -> None:
    with pytest.raises(SpecError, match="cost"):
        offer(cost_idle=bad)


@pytest.mark.parametrize("bad", [0, -1, 1.5, 10**9, True, "3"])
def test_a_number_of_hosts_that_is_none_is_refused(offer: MakeOffer, bad: Any) -> None:
    with pytest.raises(SpecError, match="hosts of host class old"):
        offer(hosts=bad)


@pytest.mark.parametrize("bad", ["", "  ", None, 3])
def test_a_class_without_a_name_is_refused(offer: MakeOffer, bad: Any) -> None:
    with pytest.raises(SpecError, match="host class"):
        offer(bad)


def test_load_does_not_add_to_what_a_host_costs(offer: MakeOffer) -> None:
    assert offer(cost_idle=0).cost_full == 0
    assert offer(cost_idle=40).cost_full == 40


def test_a_fleet_without_hosts_and_a_class_offered_twice_are_refused(offer: MakeOffer) -> None:
    with pytest.raises(SpecError, match="has no host"):
        check_offers([])
    with pytest.raises(SpecError, match="'old' is offered twice"):
        check_offers([offer("old"), offer("new"), offer("old")])


@pytest.mark.parametrize(
    ("spare", "most_hosts"), [(4, None), (5, None), (10**9, None), (2, 2), (3, 2), (-1, None), (1.0, None), (0, 0)]
)
def test_one_host_at_least_must_be_left_to_serve(offer: MakeOffer, spare: Any, most_hosts: Any) -> None:
    with pytest.raises(SpecError):
        check_demand([offer(hosts=4)], rate_per_s=1, spare=spare, most_hosts=most_hosts)


def test_as_many_spare_as_hosts_is_told_with_the_number_of_hosts(offer: MakeOffer) -> None:
    with pytest.raises(SpecError, match="spare: 4 leaves no host to serve: there are 4 hosts in all") as refused:
        check_demand([offer(hosts=3), offer("new", hosts=1)], rate_per_s=1, spare=4, most_hosts=None)
    assert refused.value.field == "spare"


@pytest.mark.parametrize("bad", [nan, inf, 0, -5, 1e300, "1"])
def test_a_rate_asked_that_is_none_is_refused(offer: MakeOffer, bad: Any) -> None:
    with pytest.raises(SpecError, match="rate"):
        check_demand([offer()], rate_per_s=bad, spare=0, most_hosts=None)
