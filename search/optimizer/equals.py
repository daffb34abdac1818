"""Configurations to test in place of a promising one, where latencies decide: those that the ranking would prefer to it
after a test of each, or after rounds of both, if their latencies differ by no more than luck may do, as is expected.

Joining requests, and more threads or workers, have to be shown to gain something, and of what is as simple that which
answers more is preferred. So these are tested first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from servefit.search.optimizer.expected_improvement import LIKELY
from servefit.search.results.ranking import MORE_CAPACITY, differs_by_luck, simplicity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servefit.profiler.record.types import Configuration
    from servefit.search.optimizer.predictions import Surrogate


def preferred_equal(promising: Configuration, left: Sequence[Configuration], surrogate: Surrogate) -> Configuration:
    """Return what to test of ``left`` first: ``promising``, or what is preferred to it of those that ``surrogate``
    expects to do as well."""
    return _roomiest_like(_simplest_like(promising, left, surrogate), left, surrogate)


def _simplest_like(promising: Configuration, left: Sequence[Configuration], surrogate: Surrogate) -> Configuration:
    """Return the simplest of those that have the backend and the size of ``promising``, and do as well."""
    alike = [other for other in left if _kind(other) == _kind(promising)]
    for simpler in sorted(alike, key=simplicity):
        if simplicity(simpler) >= simplicity(promising):
            break
        if _does_as_well(simpler, promising, surrogate):
            return simpler
    return promising


def _roomiest_like(promising: Configuration, left: Sequence[Configuration], surrogate: Surrogate) -> Configuration:
    """Return what is expected to answer most of those that are as simple as ``promising``, and do as well."""
    as_simple = [
        other for other in left if (other.vcpus, simplicity(other)) == (promising.vcpus, simplicity(promising))
    ]
    estimates = zip(as_simple, surrogate.capacities(as_simple), strict=True)
    capacities = {other: estimate.value for other, estimate in estimates if estimate is not None}
    least = MORE_CAPACITY * capacities.get(promising, float("inf"))
    roomier = [other for other in sorted(capacities, key=lambda other: -capacities[other]) if capacities[other] > least]
    return next((other for other in roomier if _does_as_well(other, promising, surrogate)), promising)


def _kind(configuration: Configuration) -> tuple[int, str, str, object]:
    return configuration.vcpus, configuration.backend, configuration.target, configuration.gpu


def _does_as_well(other: Configuration, promising: Configuration, surrogate: Surrogate) -> bool:
    best, expected = surrogate.expected_score(promising), surrogate.expected_score(other)
    if best is None or expected is None or expected.feasible < min(best.feasible, LIKELY):
        return False
    return differs_by_luck(best.score, expected.score)
