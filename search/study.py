"""The order in which configurations are tried: Optuna proposes, and nothing is measured twice.

Starting points come first. A space no larger than the number of tests is tried whole; beyond that the
tree-structured Parzen estimator (multivariate, constrained; Bergstra et al. 2011, Watanabe 2023) goes on from what was
learnt. Its proposals are fitted into the space, since not every combination of parameters is a configuration.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from servefit.search.space import starting_points

if TYPE_CHECKING:
    from optuna import Study, Trial

    from servefit.backends.types import KnobValue
    from servefit.profiler.types import Configuration

MOST_REPEATS = 30
"""Proposals in a row that were all measured already, before an unmeasured configuration is drawn at random."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a test told the study. ``objectives`` are minimised; ``violation`` is zero or below where the SLA holds."""

    objectives: tuple[float, ...]
    violation: float


def parameters(configuration: Configuration) -> dict[str, KnobValue]:
    """The configuration as the study sees it, from what matters most to what matters least."""
    return {
        "vcpus": configuration.vcpus,
        "backend": f"{configuration.backend}/{configuration.target.value}",
        **({} if configuration.gpu is None else {"gpu": configuration.gpu}),
        "threads": configuration.settings.threads,
        "workers": configuration.workers,
        "max_batch": configuration.max_batch,
        **{f"option {name}": value for name, value in configuration.settings.options},
        **{f"env {name}": value for name, value in configuration.environment},
    }


class Proposals:
    """Proposes configurations of ``grid`` until each was proposed once.

    Every proposal is answered by ``learn``, or by ``fail`` where it could not be measured, before the next.
    """

    def __init__(self, grid: Sequence[Configuration], *, objectives: int, seed: int, exhaustive: bool) -> None:
        self._parameters = {one: parameters(one) for one in grid}
        self._choices = _choices(list(self._parameters.values()))
        self._known: dict[Configuration, Outcome | None] = {}
        first = starting_points(grid)
        self._queue = [*first, *(one for one in grid if one not in first)] if exhaustive else first
        self._study = _create_study(objectives, seed)
        self._random = random.Random(seed)
        self._pending: tuple[Configuration, Trial] | None = None

    def next(self) -> Configuration | None:
        """The next configuration to measure, or None when all were."""
        if len(self._known) == len(self._parameters):
            return None
        if self._queue:
            return self._ask(self._queue.pop(0))
        for _ in range(MOST_REPEATS):
            proposed = self._ask()
            if proposed not in self._known:
                return proposed
            self._settle(self._known[proposed])
        return self._ask(self._random.choice([one for one in self._parameters if one not in self._known]))

    def learn(self, outcome: Outcome) -> None:
        """The last proposal was measured."""
        self._settle(outcome)

    def fail(self) -> None:
        """The last proposal could not be measured."""
        self._settle(None)

    def _ask(self, fixed: Configuration | None = None) -> Configuration:
        if fixed is not None:
            self._study.enqueue_trial({name: self._parameters[fixed].get(name) for name in self._choices})
        trial = self._study.ask()
        proposed = self._fit(trial)
        self._pending = (proposed, trial)
        return proposed

    def _settle(self, outcome: Outcome | None) -> None:
        from optuna.trial import TrialState

        if self._pending is None:
            raise RuntimeError("there is no proposal to answer")
        (configuration, trial), self._pending = self._pending, None
        self._known[configuration] = outcome
        if outcome is None:
            self._study.tell(trial, state=TrialState.FAIL)
        else:
            trial.set_constraint("sla", outcome.violation)
            self._study.tell(trial, outcome.objectives)

    def _fit(self, trial: Trial) -> Configuration:
        """Let the trial choose parameter after parameter, each time among what the space still holds."""
        remaining = list(self._parameters)
        for name, choices in self._choices.items():
            offered = {self._parameters[one].get(name) for one in remaining}
            if offered == {None}:
                continue
            suggested = cast("KnobValue | None", trial.suggest_categorical(name, choices))
            value = _nearest(suggested, offered)
            remaining = [one for one in remaining if self._parameters[one].get(name) == value]
        return remaining[0]


def _choices(points: Sequence[dict[str, KnobValue]]) -> dict[str, list[KnobValue | None]]:
    """Every parameter's values. Names keep their order of importance, options and variables of any backend last.

    What a point leaves alone, as a variable that only some profiles vary, is None there.
    """
    names = dict.fromkeys(name for point in points for name in point)
    return {name: list(dict.fromkeys(point.get(name) for point in points)) for name in names}


def _nearest(value: KnobValue | None, offered: set[KnobValue | None]) -> KnobValue | None:
    if value in offered:
        return value
    numbers = [one for one in offered if isinstance(one, int)]
    if isinstance(value, int) and numbers:
        return min(numbers, key=lambda one: (abs(one - value), one))
    return min(offered, key=str)


def _create_study(objectives: int, seed: int) -> Study:
    import optuna

    with _quiet():
        return optuna.create_study(
            directions=["minimize"] * objectives, sampler=optuna.samplers.TPESampler(multivariate=True, seed=seed)
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna announces every new study; its verbosity belongs to the user and is put back."""
    from optuna import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.WARNING)
    try:
        yield
    finally:
        logging.set_verbosity(before)
