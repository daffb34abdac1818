"""Hosts that two models share: what is on offer, and what a plan takes of it.

Whether two models hold their SLAs beside each other is measured elsewhere; only a pair that did may be offered here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from servefit.checks import check_at_least
from servefit.errors import SpecError
from servefit.search.fleet.plan.offer import MAX_NUMBER, MIN_RATE_PER_S
from servefit.showing import shown

if TYPE_CHECKING:
    from servefit.search.fleet.plan.offer import HostOffer


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedOffer:
    """A host of ``host_class`` serves both ``models`` at once, each at its one of ``rates_per_s``, within both SLAs.
    How many such hosts there are, and what one costs, is in what the class offers to each model alone.

    Raises SpecError for a model beside itself, and for rates that are none.
    """

    host_class: str
    models: tuple[str, str]
    rates_per_s: tuple[float, float]

    def __post_init__(self) -> None:
        if self.models[0] == self.models[1]:
            raise SpecError("model", self.models[0], "cannot share a host with itself")
        for model, rate_per_s in zip(self.models, self.rates_per_s, strict=True):
            of = f"rate of {model} on a shared host of class {self.host_class}"
            check_at_least(of, rate_per_s, MIN_RATE_PER_S, most=MAX_NUMBER)


@shown("host_class", "models", "hosts")
@dataclass(frozen=True, slots=True, kw_only=True)
class SharedHosts:
    """``hosts`` hosts of a class, each of which serves both ``models``: up to ``rates_per_s`` of each."""

    host_class: str
    models: tuple[str, str]
    rates_per_s: tuple[float, float]
    hosts: int


def parts_of(
    shared: SharedOffer, models: Sequence[str], offers: Sequence[Mapping[str, HostOffer]]
) -> tuple[HostOffer, HostOffer]:
    """Return what a shared host offers to each of its models, for half of its cost. ``offers`` are by class, for each
    of ``models``. Raises SpecError where the class is not offered to a model alone."""
    parts = []
    for model, rate_per_s in zip(shared.models, shared.rates_per_s, strict=True):
        if model not in models:
            raise SpecError.unknown("model", model, list(models))
        alone = offers[models.index(model)].get(shared.host_class)
        if alone is None:
            raise SpecError("host class", shared.host_class, f"is not offered to {model} alone")
        other = next(name for name in shared.models if name != model)
        parts.append(
            replace(
                alone,
                rate_per_s=rate_per_s,
                cost_idle=alone.cost_idle / 2,
                configuration=f"{alone.configuration}, beside {other}",
            )
        )
    return parts[0], parts[1]


def check_once(shared: Sequence[SharedOffer]) -> None:
    """Raise SpecError where two models are offered hosts of one class together twice."""
    seen: set[tuple[str, frozenset[str]]] = set()
    for offer in shared:
        key = offer.host_class, frozenset(offer.models)
        if key in seen:
            raise SpecError(
                "host class", offer.host_class, f"is offered twice to {' and '.join(offer.models)} together"
            )
        seen.add(key)
