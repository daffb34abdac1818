"""The Pareto front: the configurations that none beats in the price of an inference, in latency and in throughput at
once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from servefit.search.results.pooled_trials import pool_trials
from servefit.search.results.price import Price
from servefit.search.results.ranking import recommendation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servefit.search.request.space import Space
    from servefit.search.results.pooled_trials import PooledTrials
    from servefit.search.results.recommendation import Recommendation, Trial

Point = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A configuration as it was measured, with the cheapest profile that has the memory for it."""

    pooled: PooledTrials
    price: Price
    recommendation: Recommendation


def candidates(space: Space, trials: Sequence[Trial]) -> tuple[Candidate, ...]:
    """Return every configuration that was held against the SLA and that some profile of ``space`` has the memory
    for."""
    measured: list[Candidate] = []
    for pooled in pool_trials(trials):
        needed_bytes = pooled.trial.measurement.peak_memory_bytes
        fitting = [
            profile
            for profile, members in space.profiles
            if pooled.configuration in members and needed_bytes <= profile.memory_bytes
        ]
        if fitting:
            prices = [(Price.of(profile.price_per_hour, profile.vcpus), profile) for profile in fitting]
            price, profile = min(prices, key=lambda pair: pair[0])
            chosen = recommendation(profile, pooled.trial)
            measured.append(Candidate(pooled=pooled, price=price, recommendation=chosen))
    return tuple(measured)


def pareto_front(space: Space, trials: Sequence[Trial]) -> tuple[Recommendation, ...]:
    """Return the recommendations that meet the SLA and that no other such one dominates in the three figures, the
    cheapest first. Each configuration stands for the cheapest profile that has the memory for it; profiles without a
    price are compared by vCPUs, and only with each other."""
    points = [
        (candidate.price.unpriced, _point(candidate.pooled, candidate.price), candidate.recommendation)
        for candidate in candidates(space, trials)
        if candidate.pooled.trial.verdict == "PASS" and candidate.pooled.capacity_per_s
    ]
    front = [
        (unpriced, point, member)
        for unpriced, point, member in points
        if not any(unpriced == other and _beats(rival, point) for other, rival, _ in points)
    ]
    return tuple(member for _, _, member in sorted(front, key=lambda member: member[:2]))


def _point(pooled: PooledTrials, price: Price) -> Point:
    return price.per_hour / pooled.capacity_per_s, pooled.p95_ms, -pooled.capacity_per_s


def _beats(point: Point, other: Point) -> bool:
    return point != other and all(mine <= theirs for mine, theirs in zip(point, other, strict=True))
