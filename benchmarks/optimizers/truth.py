"""What is right: which choice is best on a grid, and by how much another one is worse.

Where there are more repeats of what may be the best, made by other processes than those that are played back, the truth
is of them. Configurations that did the same at the rate, as the recorded calls say, share their latency there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from math import exp, fsum, log
from typing import TYPE_CHECKING, TypeAlias

from benchmarks.data.grid import believed
from benchmarks.models.fraud import demo_request
from benchmarks.optimizers.replay import trial_of
from servefit.profiler.evidence.intervals import MIN_VALUES, mean_interval
from servefit.search.results.pooled_trials import pool_trials
from servefit.search.results.ranking import ranking_key

if TYPE_CHECKING:
    from benchmarks.data.grid import Figures, Grid
    from benchmarks.optimizers.replay import Choice, Rank
    from servefit.profiler.record.types import Configuration
    from servefit.search.request.job_request import Goal, JobRequest

GOALS: tuple[Goal, ...] = ("cost", "latency", "throughput")

WRONG = 1.0
"""The least regret of a choice that keeps the SLA less well than the best, or whose price is not known."""

NEAR = 1.0
"""By which part what may be the best is worse, at most, than what two repeats call the best: these differ by a
fifth."""

_ONE_SIDED = 0.9
"""The lower end of such an interval is below what it is of in 95 of 100 cases."""

_Repeats: TypeAlias = Mapping[int, "Figures"]
"""By their number: what was measured in the same one follows each other closely."""


class Truth:
    """What is best for ``request`` on ``grid``, by the means of all repeats; where ``repeated`` has some of a
    configuration, of those alone."""

    def __init__(self, grid: Grid, request: JobRequest, repeated: Grid | None = None) -> None:
        self._request = request
        tests = {**grid.tests, **({} if repeated is None else repeated.tests)}
        self._repeats = _with_latency_of_arms(
            {
                configuration: {nth: each for nth, each in enumerate(repeats) if each in believed(repeats)}
                for configuration, repeats in tests.items()
            }
        )
        pooled = {configuration: tuple(repeats.values()) for configuration, repeats in self._repeats.items()}
        known = replace(grid, tests=pooled)
        self._figures = {configuration: known.truth(configuration) for configuration in grid.tests}
        self._ranks: dict[Choice, Rank] = {
            (profile, configuration): self._rank((profile, configuration), figures)
            for profile, members in grid.space().profiles
            for configuration, figures in self._figures.items()
            if configuration in members and figures.failed is None and figures.memory_bytes <= profile.memory_bytes
        }
        self.best: Choice = min(self._ranks, key=lambda choice: self._ranks[choice])

    def _rank(self, choice: Choice, figures: Figures) -> Rank:
        profile, configuration = choice
        (pooled,) = pool_trials([trial_of(configuration, figures)])
        return ranking_key(pooled, profile, self._request)

    @property
    def choices(self) -> tuple[Choice, ...]:
        """Everything that could be measured, and fits."""
        return tuple(self._ranks)

    def regret(self, choice: Choice) -> float:
        """Return by which part ``choice`` costs more than the best (or takes longer, or serves less): by the hour if
        that differs, else by the figure of the goal."""
        (best_verdict, best), (verdict, mine) = self._ranks[self.best], self._ranks[choice]
        by_the_hour = best.per_hour > 0 and mine.per_hour != best.per_hour
        ratio = mine.per_hour / best.per_hour if by_the_hour else mine.figure / best.figure
        if (verdict, mine.unpriced) != (best_verdict, best.unpriced):
            return max(WRONG, ratio - 1)
        return ratio - 1

    def sure_regret(self, choice: Choice) -> float:
        """Return how much of the regret is more than chance, with 95 % confidence by Student: over the repeats, of what
        the figures of the two differ by in each. All of it where they differ in rank or price, or repeats are few."""
        (best_verdict, best), (verdict, mine) = self._ranks[self.best], self._ranks[choice]
        differs = (verdict, mine.unpriced, mine.per_hour) != (best_verdict, best.unpriced, best.per_hour)
        ours, theirs = self._repeats[choice[1]], self._repeats[self.best[1]]
        both = sorted(ours.keys() & theirs.keys())
        if differs or len(both) < MIN_VALUES:
            return self.regret(choice)
        logs = [self._log_figure(choice, ours[nth]) - self._log_figure(self.best, theirs[nth]) for nth in both]
        low, _ = mean_interval(logs, confidence=_ONE_SIDED)
        return max(0.0, exp(low) - 1)

    def _log_figure(self, choice: Choice, figures: Figures) -> float:
        return log(self._rank(choice, figures)[1].figure)


def near_the_best(grid: Grid) -> tuple[Configuration, ...]:
    """Return the configurations of ``grid`` that may be the best by any goal, with those that differ from them in how
    many requests may be joined alone: they may do the same."""
    near = {
        replace(choice[1], max_batch=1)
        for truth in (Truth(grid, demo_request(goal)) for goal in GOALS)
        for choice in truth.choices
        if truth.regret(choice) < NEAR
    }
    return tuple(configuration for configuration in grid.tests if replace(configuration, max_batch=1) in near)


def _with_latency_of_arms(tests: Mapping[Configuration, _Repeats]) -> dict[Configuration, _Repeats]:
    """Return ``tests`` in which all configurations of an arm have the p95 of all of them in each repeat."""
    trials = [
        trial_of(configuration, each)
        for configuration, repeats in tests.items()
        for each in repeats.values()
        if each.failed is None
    ]
    arms = {pooled.configuration: pooled.arm for pooled in pool_trials(trials)}
    logs: dict[tuple[Configuration, int], list[float]] = defaultdict(list)
    for configuration, arm in arms.items():
        for nth, each in tests[configuration].items():
            if each.p95_ms:
                logs[arm, nth].append(log(each.p95_ms))
    means = {key: exp(fsum(values) / len(values)) for key, values in logs.items()}
    return {
        configuration: {
            nth: replace(each, p95_ms=means.get((arms.get(configuration, configuration), nth), each.p95_ms))
            for nth, each in repeats.items()
        }
        for configuration, repeats in tests.items()
    }
