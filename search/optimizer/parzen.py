"""The space as Optuna sees it, and what its tree-structured Parzen estimator would try next.

The estimator is multivariate and constrained [Bergstra et al. 2011, Watanabe 2023]. Its proposals are fitted into the
space, since not every combination of parameters is a configuration. When it is asked, is for ``proposer`` to say.
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
        "batch_delay_us": configuration.batch_delay_us,
        **{f"option {name}": value for name, value in configuration.settings.options},
        **{f"env {name}": value for name, value in configuration.environment},
    }


class Proposals:
    """What Optuna's Parzen estimator would try next of ``grid``, given what it was told."""

    def __init__(self, grid: Sequence[Configuration], *, objectives: int, seed: int) -> None:
        self._parameters = {one: parameters(one) for one in grid}
        self._choices = choices(list(self._parameters.values()))
        self._study = _create_study(objectives, seed)
        self._random = random.Random(seed)

    def next(self, left: Collection[Configuration]) -> Configuration:
        """One of the configurations that are ``left``, of which there is one at least."""
        from optuna.trial import TrialState

        for _ in range(MAX_REPEATS):
            trial = self._study.ask()
            proposed = self._fit(trial)
            # Its outcome comes with ``learn``, as a trial of its own: several may be out at once.
            self._study.tell(trial, state=TrialState.FAIL)
            if proposed in left:
                return proposed
        return self._random.choice([one for one in self._parameters if one in left])

    def learn(self, configuration: Configuration, outcome: Outcome | None) -> None:
        """``configuration`` was measured; None where it could not be."""
        from optuna.trial import TrialState

        known = self._parameters[configuration]
        self._study.enqueue_trial({name: known.get(name) for name in self._choices})
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
            offered = {self._parameters[one].get(name) for one in remaining}
            if offered == {None}:
                continue
            suggested = cast("KnobValue | None", trial.suggest_categorical(name, choices))
            value = _nearest(suggested, offered)
            remaining = [one for one in remaining if self._parameters[one].get(name) == value]
        return remaining[0]


def choices(points: Sequence[dict[str, KnobValue]]) -> dict[str, list[KnobValue | None]]:
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
    with quiet():
        import optuna

        return optuna.create_study(
            directions=["minimize"] * objectives, sampler=optuna.samplers.TPESampler(multivariate=True, seed=seed)
        )
