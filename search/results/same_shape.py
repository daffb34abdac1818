"""Recommendations that are one measurement: profiles of one size that got the same configuration.

c5.large, c6i.large and c7i.large are two vCPUs of this host each. All are recommended, each with its price, and a table
for people has one row of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from servefit.search.results.price import Price

if TYPE_CHECKING:
    from servefit.profiler.machine.instance_profile import InstanceProfile
    from servefit.profiler.record.types import Configuration
    from servefit.search.results.recommendation import Recommendation


def with_same_as(recommendations: Sequence[Recommendation]) -> tuple[Recommendation, ...]:
    """Return the same recommendations, each with the names of the other profiles that share its measurement, the
    cheapest first."""
    sharing: dict[Configuration, list[InstanceProfile]] = defaultdict(list)
    for recommendation in recommendations:
        sharing[recommendation.trial.configuration].append(recommendation.profile)
    for profiles in sharing.values():
        profiles.sort(key=_price)
    return tuple(
        replace(
            recommendation,
            same_as=tuple(
                profile.name
                for profile in sharing[recommendation.trial.configuration]
                if profile.name != recommendation.profile.name
            ),
        )
        for recommendation in recommendations
    )


def folded(recommendations: Iterable[Recommendation]) -> tuple[Recommendation, ...]:
    """Return one of the recommendations that share a measurement, the cheapest, where the first of them stood.

    Args:
        recommendations: Those of a job, best first.

    Returns:
        The rows of a table; ``same_as`` of each names the profiles that are not among them.

    Example:
        ``[row.profile.name for row in folded(job.recommendations)]``
    """
    sharing: dict[Configuration, list[Recommendation]] = defaultdict(list)
    for recommendation in recommendations:
        sharing[recommendation.trial.configuration].append(recommendation)
    return tuple(min(alike, key=lambda row: _price(row.profile)) for alike in sharing.values())


def _price(profile: InstanceProfile) -> Price:
    return Price.of(profile.price_per_hour, profile.vcpus)
