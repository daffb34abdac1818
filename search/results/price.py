"""The price of an instance, and its vCPUs where it has none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from servefit.profiler.record.types import Configuration
    from servefit.search.request.space import Space

INFERENCES = 1_000_000
"""Prices and energy are told for a million inferences: one of a small model costs a fraction of a cent, and takes less
than a millijoule."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Price:
    """The price of one instance, by the hour: in the currency of the job's prices, or, without prices, in
    vCPUs, which stand for it.

    Prices are ordered: what has none comes behind what has.
    """

    unpriced: bool
    per_hour: float

    @classmethod
    def of(cls, price_per_hour: float | None, vcpus: int) -> Price:
        return cls(unpriced=price_per_hour is None, per_hour=vcpus if price_per_hour is None else price_per_hour)

    @classmethod
    def in_vcpus(cls, vcpus: int) -> Price:
        """Return the price that ``vcpus`` stand for, whatever they cost in money."""
        return cls.of(None, vcpus)


def cheapest(space: Space, configuration: Configuration) -> Price:
    """Return the lowest price of a profile that may have ``configuration``."""
    return min(
        Price.of(profile.price_per_hour, profile.vcpus)
        for profile, fitting in space.profiles
        if configuration in fitting
    )
