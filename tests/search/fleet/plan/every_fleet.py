"""Small fleets, and the cheapest of them by trying all."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product

from hypothesis import strategies as st
from tests.search.fleet.plan.conftest import make_offer

from servefit.search.fleet.plan.cheapest import Demand


def survives(rates: Sequence[float], hosts: Sequence[int], rate_per_s: float, spare: int) -> bool:
    """Try every loss of ``spare`` hosts."""
    each = [rate for rate, count in zip(rates, hosts, strict=True) for _ in range(count)]
    if len(each) <= spare:
        return False
    return all(sum(each) - sum(lost) >= rate_per_s * (1 - 1e-9) for lost in combinations(each, spare))


def cheapest_cost(demand: Demand) -> float | None:
    """Try every fleet."""
    most = sum(demand.available) if demand.most_hosts is None else demand.most_hosts
    costs = [
        demand.cost(hosts)
        for hosts in product(*(range(count + 1) for count in demand.available))
        if 0 < sum(hosts) <= most and survives(demand.rates_per_s, hosts, demand.rate_per_s, demand.spare)
    ]
    return min(costs, default=None)


@st.composite
def demands(draw: st.DrawFn) -> Demand:
    classes = draw(st.integers(1, 3))
    # Round rates, so that fleets often carry exactly what is asked; and costs of which some are alike or nothing.
    rates, costs = st.sampled_from([100.0, 250.0, 333.3, 700.0, 5000.0]), st.sampled_from([0.0, 1.0, 3.7, 10.0])
    offers = []
    for nth in range(classes):
        prices = tuple(draw(st.lists(costs, min_size=1, max_size=3)))
        offers.append(
            make_offer(
                f"class-{nth}",
                hosts=len(prices),
                rate_per_s=draw(rates),
                cost_idle=max(prices),
                costs_idle=prices if len(set(prices)) > 1 else (),
            )
        )
    spare = draw(st.integers(0, min(2, sum(offer.hosts for offer in offers) - 1)))
    return Demand(
        offers=tuple(offers),
        rate_per_s=draw(st.sampled_from([50.0, 100.0, 350.0, 683.3, 950.0, 2100.0])),
        spare=spare,
        most_hosts=draw(st.none() | st.integers(spare + 1, 8)),
        limit_s=60.0,
    )
