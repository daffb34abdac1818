"""Why the winner is the winner: against the runner-up, against what one would deploy without thinking, and which
parameters mattered."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import TYPE_CHECKING

from servefit.search.optimizer.parzen import parameters
from servefit.search.results.ratios import Ratio, ratio
from servefit.showing import shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from servefit.profiler.record.types import Configuration
    from servefit.search.request.job_request import JobRequest
    from servefit.search.results.recommendation import Recommendation, Trial

_MIN_DIFFERENCE = 1e-6
"""What differs by less is equal but for rounding."""


@shown()
@dataclass(frozen=True, slots=True, kw_only=True)
class Against:
    """How much better the winner is than ``configuration``, measured in turns with it."""

    configuration: Configuration
    ratio: Ratio


@shown()
@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """``runner_up`` is the next best that was measured in turns with the winner, ``naive`` the naive default of the
    job's space (:func:`naive_default`); None where there were no such rounds, or where that is the winner itself.
    ``importance`` and ``changes`` are as in the state of the job."""

    runner_up: Against | None
    naive: Against | None
    importance: Mapping[str, float]
    changes: tuple[str, ...]


def naive_default(grid: Iterable[Configuration], vcpus: int, reference: str) -> Configuration | None:
    """What somebody deploys without measuring: one worker of the model's own library with a thread a vCPU, and one
    request a call. None where the space has nothing like it."""
    plain = [
        one
        for one in grid
        if one.backend == reference
        and one.vcpus == vcpus
        and one.max_batch == 1
        and one.workers == 1
        and one.gpu is None
    ]
    return max(plain, key=lambda one: one.settings.threads, default=None)


def why(
    best: Recommendation | None,
    trials: Sequence[Trial],
    request: JobRequest,
    naive: Configuration | None,
    importance: Mapping[str, float],
    changes: tuple[str, ...],
) -> Why:
    """The reasons for ``best``, from all ``trials`` of the job. ``naive`` is the naive default of its space, None where
    that has none."""
    if best is None:
        return Why(runner_up=None, naive=None, importance=importance, changes=changes)
    winner = best.trial.configuration
    rivals = dict.fromkeys(one.configuration for one in trials if one.round is not None and one.configuration != winner)
    against = [
        Against(configuration=one, ratio=found)
        for one in rivals
        if (found := ratio(trials, winner, one, request)) is not None
    ]
    return Why(
        runner_up=min(
            (one for one in against if one.configuration != naive), key=lambda one: one.ratio.ratio, default=None
        ),
        naive=next((one for one in against if one.configuration == naive), None),
        importance=importance,
        changes=changes,
    )


def importance(figures: Mapping[Configuration, float]) -> dict[str, float]:
    """The part of the variance of ``figures`` (logarithms, one a configuration) that each parameter explains by itself,
    the largest first: first-order functional ANOVA [Sobol 1993; Hutter, Hoos and Leyton-Brown 2014], on all points of
    the space. Where the space has all combinations, what is left of 1 is due to them."""
    if not figures:
        return {}
    mean = fsum(figures.values()) / len(figures)
    total = fsum((value - mean) ** 2 for value in figures.values())
    if total <= len(figures) * _MIN_DIFFERENCE**2:
        return {}
    points = {one: parameters(one) for one in figures}
    found = {}
    for name in dict.fromkeys(name for point in points.values() for name in point):
        groups: dict[object, list[float]] = defaultdict(list)
        for one, point in points.items():
            groups[point.get(name)].append(figures[one])
        explained = fsum(len(group) * (fsum(group) / len(group) - mean) ** 2 for group in groups.values())
        if len(groups) > 1:
            found[name] = explained / total
    return dict(sorted(found.items(), key=lambda one: -one[1]))
