"""The Pareto front: what is beaten by nothing in the price of an inference, in latency and in throughput at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from servefit.search.results.price import Price
from servefit.search.results.ranking import recommendation
from servefit.search.results.standings import standings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servefit.search.request.space import Space
    from servefit.search.results.recommendation import Recommendation, Trial
    from servefit.search.results.standings import Standing

Point = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What was measured of a configuration, and the cheapest profile that has the memory for it."""

    standing: Standing
    price: Price
    recommendation: Recommendation


def candidates(space: Space, trials: Sequence[Trial]) -> tuple[Candidate, ...]:
    """Every configuration that was held against the SLA and that some profile of ``space`` has the memory for."""
    found: list[Candidate] = []
    for one in standings(trials):
        fitting = [
            profile
            for profile, members in space.profiles
            if one.configuration in members and one.trial.measurement.peak_memory_bytes <= profile.memory_bytes
        ]
        if fitting:
            prices = [(Price.of(profile.price_per_hour, profile.vcpus), profile) for profile in fitting]
            price, profile = min(prices, key=lambda pair: (pair[0].unpriced, pair[0].per_hour))
            found.append(Candidate(standing=one, price=price, recommendation=recommendation(profile, one.trial)))
    return tuple(found)


def pareto_front(space: Space, trials: Sequence[Trial]) -> tuple[Recommendation, ...]:
    """What nothing else that keeps the SLA beats in one of the three figures without losing in another, the cheapest
    first. Each configuration stands for the cheapest profile that has the memory for it; profiles without a price are
    compared by vCPUs, and only with each other."""
    points = [
        (one.price.unpriced, _point(one.standing, one.price), one.recommendation)
        for one in candidates(space, trials)
        if one.standing.trial.verdict == "PASS" and one.standing.capacity_per_s
    ]
    front = [
        (unpriced, point, found)
        for unpriced, point, found in points
        if not any(unpriced == other and _beats(rival, point) for other, rival, _ in points)
    ]
    return tuple(found for _, _, found in sorted(front, key=lambda one: one[:2]))


def _point(one: Standing, price: Price) -> Point:
    return price.per_hour / one.capacity_per_s, one.p95_ms, -one.capacity_per_s


def _beats(one: Point, other: Point) -> bool:
    return one != other and all(mine <= theirs for mine, theirs in zip(one, other, strict=True))
