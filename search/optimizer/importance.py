"""The reasons why the winner is the winner: the comparison with the runner-up and with the naive default, and the
parameters that mattered."""

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
    from servefit.search.results.choices import Preference
    from servefit.search.results.recommendation import Recommendation, Trial

_MIN_DIFFERENCE = 1e-6
"""Logarithms of figures that differ by less are equal but for rounding."""


@shown()
@dataclass(frozen=True, slots=True, kw_only=True)
class PairedComparison:
    """The winner compared with ``configuration`` in rounds of both: by how many times it is better.

    ``answered_per_s`` is how many requests a second ``configuration`` answered where it did not keep up with the rate,
    None where it did: then response times say for how long it was measured, and so does a ratio of them.
    """

    configuration: Configuration
    ratio: Ratio
    answered_per_s: float | None = None


@shown()
@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The reasons for a recommendation.

    ``runner_up`` is the next best that was measured in turns with the winner, ``naive`` the naive default of the
    job's space (:func:`naive_default`); None where there were no such rounds, or where that is the winner itself.
    ``importance`` and ``changes`` are as in the state of the job, and ``choices`` say what decided between the winner
    and its nearest rivals.
    """

    runner_up: PairedComparison | None
    naive: PairedComparison | None
    importance: Mapping[str, float]
    changes: tuple[str, ...]
    choices: tuple[Preference, ...] = ()


def naive_default(grid: Iterable[Configuration], vcpus: int, reference: str) -> Configuration | None:
    """Return the configuration that is deployed without measuring: one worker of the model's own library with a thread
    a vCPU, and one request a call. None where the space has nothing like it."""
    plain = [
        configuration
        for configuration in grid
        if configuration.backend == reference
        and configuration.vcpus == vcpus
        and configuration.max_batch == 1
        and configuration.workers == 1
        and configuration.gpu is None
    ]
    return max(plain, key=lambda configuration: configuration.settings.threads, default=None)


def explain(
    best: Recommendation | None,
    trials: Sequence[Trial],
    request: JobRequest,
    naive: Configuration | None,
    importance: Mapping[str, float],
    changes: tuple[str, ...],
) -> Explanation:
    """Return the reasons for ``best``, from all ``trials`` of the job. ``naive`` is the naive default of its space,
    None where that has none."""
    if best is None:
        return Explanation(runner_up=None, naive=None, importance=importance, changes=changes)
    winner = best.trial.configuration
    in_rounds = dict.fromkeys(trial.configuration for trial in trials if trial.round is not None)
    comparisons = [
        PairedComparison(configuration=rival, ratio=paired_ratio, answered_per_s=_answered_per_s(trials, rival))
        for rival in in_rounds
        if rival != winner and (paired_ratio := ratio(trials, winner, rival, request)) is not None
    ]
    return Explanation(
        runner_up=min(
            (comparison for comparison in comparisons if comparison.configuration != naive),
            key=lambda comparison: comparison.ratio.ratio,
            default=None,
        ),
        naive=next((comparison for comparison in comparisons if comparison.configuration == naive), None),
        importance=importance,
        changes=changes,
    )


def _answered_per_s(trials: Sequence[Trial], configuration: Configuration) -> float | None:
    """Return the fewest requests a second that ``configuration`` answered in a round that asked for more; None where it
    kept up with all."""
    loads = [
        (trial.at_rate, trial.instance_count)
        for trial in trials
        if trial.configuration == configuration and trial.round is not None and trial.at_rate is not None
    ]
    return min((load.throughput_per_s * instances for load, instances in loads if load.saturated), default=None)


def importance(figures: Mapping[Configuration, float]) -> dict[str, float]:
    """Return the part of the variance of ``figures`` (logarithms, one a configuration) that each parameter explains by
    itself, the largest first: first-order functional ANOVA [Sobol 1993; Hutter, Hoos and Leyton-Brown 2014], on all
    points of the space. Where the space has all combinations, what is left of 1 is due to them."""
    if not figures:
        return {}
    mean = fsum(figures.values()) / len(figures)
    total = fsum((value - mean) ** 2 for value in figures.values())
    if total <= len(figures) * _MIN_DIFFERENCE**2:
        return {}
    points = {configuration: parameters(configuration) for configuration in figures}
    shares = {}
    for name in dict.fromkeys(name for point in points.values() for name in point):
        groups: dict[object, list[float]] = defaultdict(list)
        for configuration, point in points.items():
            groups[point.get(name)].append(figures[configuration])
        explained = fsum(len(group) * (fsum(group) / len(group) - mean) ** 2 for group in groups.values())
        if len(groups) > 1:
            shares[name] = explained / total
    return dict(sorted(shares.items(), key=lambda item: -item[1]))
