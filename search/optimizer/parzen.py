"""The space as Optuna sees it, and the proposals of its tree-structured Parzen estimator.

The estimator is multivariate and constrained [Bergstra et al. 2011, Watanabe 2023]. Its proposals are fitted into the
space, since not every combination of parameters is a configuration. ``proposer`` decides when it is asked.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from servefit.search.storage.database import quiet

if TYPE_CHECKING:
    from optuna import Study, Trial

    from servefit.backends.types import KnobValue
    from servefit.profiler.record.types import Configuration

MAX_REPEATS = 30
"""Proposals in a row that were all measured already, before an unmeasured configuration is drawn at random. Chosen, not
measured: a proposal takes milliseconds, a test seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of a test, for the study. ``objectives`` are minimised; ``violation`` is zero or below where the SLA
    holds."""

    objectives: tuple[float, ...]
    violation: float


def parameters(configuration: Configuration) -> dict[str, KnobValue]:
    """Return the configuration as the study sees it, from what matters most to what matters least."""
    return {
        "vcpus": configuration.vcpus,
        "backend": f"{configuration.backend}/{configuration.target.value}",
        **({} if configuration.gpu is None else {"gpu": configuration.gpu}),
        "threads": configuration.settings.threads,
        "workers": configuration.workers,
        "max_batch": configuration.max_batch,
        "batch_delay_us": configuration.batch_delay_us,
        **{f"option {name}": value for name, value in configuration.settings.options},
        **{f"env {name}": value for name, value in configuration.environment},
    }


class ParzenEstimator:
    """Optuna's Parzen estimator over ``grid``; it learns from every test, and proposes what to try next."""

    def __init__(self, grid: Sequence[Configuration], *, objectives: int, seed: int) -> None:
        self._parameters = {configuration: parameters(configuration) for configuration in grid}
        self._choices = choices(list(self._parameters.values()))
        self._study = _create_study(objectives, seed)
        self._random = random.Random(seed)

    def next(self, left: Collection[Configuration]) -> Configuration:
        """Propose one of the configurations that are ``left``, of which there is one at least."""
        from optuna.trial import TrialState

        for _ in range(MAX_REPEATS):
            trial = self._study.ask()
            proposed = self._fit(trial)
            # Its outcome comes with ``learn``, as a trial of its own: several may be out at once.
            self._study.tell(trial, state=TrialState.FAIL)
            if proposed in left:
                return proposed
        return self._random.choice([configuration for configuration in self._parameters if configuration in left])

    def learn(self, configuration: Configuration, outcome: Outcome | None) -> None:
        """Take the ``outcome`` of measuring ``configuration`` into account, None where it could not be measured."""
        from optuna.trial import TrialState

        values_of_knobs = self._parameters[configuration]
        self._study.enqueue_trial({name: values_of_knobs.get(name) for name in self._choices})
        trial = self._study.ask()
        for name, values in self._choices.items():
            trial.suggest_categorical(name, values)
        if outcome is None:
            self._study.tell(trial, state=TrialState.FAIL)
        else:
            trial.set_constraint("sla", outcome.violation)
            self._study.tell(trial, outcome.objectives)

    def _fit(self, trial: Trial) -> Configuration:
        """Let the trial choose parameter after parameter, each time among what the space still holds."""
        remaining = list(self._parameters)
        for name, choices in self._choices.items():
            offered = {self._parameters[configuration].get(name) for configuration in remaining}
            if offered == {None}:
                continue
            suggested = cast("KnobValue | None", trial.suggest_categorical(name, choices))
            value = _nearest(suggested, offered)
            remaining = [
                configuration for configuration in remaining if self._parameters[configuration].get(name) == value
            ]
        return remaining[0]


def choices(points: Sequence[dict[str, KnobValue]]) -> dict[str, list[KnobValue | None]]:
    """Return every parameter's values. Names keep their order of importance, options and variables of any backend last.

    What a point leaves alone, as a variable that only some profiles vary, is None there.
    """
    names = dict.fromkeys(name for point in points for name in point)
    return {name: list(dict.fromkeys(point.get(name) for point in points)) for name in names}


def _nearest(value: KnobValue | None, offered: set[KnobValue | None]) -> KnobValue | None:
    """Return ``value`` if it is ``offered``, else the nearest number, else any that is."""
    if value in offered:
        return value
    numbers = [number for number in offered if isinstance(number, int)]
    if isinstance(value, int) and numbers:
        return min(numbers, key=lambda number: (abs(number - value), number))
    return min(offered, key=str)


def _create_study(objectives: int, seed: int) -> Study:
    """Return a new study in memory, which minimises so many ``objectives``."""
    with quiet():
        import optuna

        return optuna.create_study(
            directions=["minimize"] * objectives, sampler=optuna.samplers.TPESampler(multivariate=True, seed=seed)
        )
