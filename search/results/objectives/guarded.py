"""Figures that can be ranked, or an error that names whose they are.

An objective of another package may raise, or give what is no number: NaN compares as smaller with nothing and larger
with nothing, so a ranking by it would be whatever the order of the tests was. The job ends then instead, and says why.
"""

from __future__ import annotations

from contextlib import contextmanager
from math import isnan
from typing import TYPE_CHECKING, Any

from servefit.errors import ObjectiveError, ServefitError, SpecError
from servefit.search.request.goals import OBJECTIVES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from servefit.search.results.objectives.contract import Context, Objective, Prediction
    from servefit.search.results.pooled_trials import PooledTrials
    from servefit.search.results.recommendation import Trial


def figure_of_trial(objective: Objective, trial: Trial, context: Context) -> float | None:
    """Return the figure of ``trial``. Raises ObjectiveError."""
    with _named(objective, "of_trial"):
        found = objective.of_trial(trial, context)
    return _rankable(objective, "of_trial", found)


def figure_of_pooled_trials(objective: Objective, pooled: PooledTrials, context: Context) -> float | None:
    """Return the figure that all measurements of a configuration amount to. Raises ObjectiveError."""
    with _named(objective, "of_trial"):
        found = objective.of_pooled_trials(pooled, context)
    return _rankable(objective, "of_trial", found)


def predicted_figure(objective: Objective, prediction: Prediction, context: Context) -> float | None:
    """Return the figure that is expected, None where nobody can tell. Raises ObjectiveError."""
    # The search asks for thousands in a row, so there is no context manager here.
    try:
        found = objective.predicted(prediction, context)
    except (Exception, SystemExit) as error:
        raise _failed(objective, "predicted", error) from error
    return found if found is None else _rankable(objective, "predicted", found)


def learnt(objective: Objective, trials: Sequence[Trial]) -> object:
    """Return what predictions may use of ``trials``. Raises ObjectiveError."""
    with _named(objective, "learn"):
        return objective.learn(trials)


def explored(objective: Objective, trial: Trial, context: Context) -> tuple[float | None, ...]:
    """Return what the Parzen estimator is told of ``trial``. Raises ObjectiveError."""
    with _named(objective, "explored"):
        figures = tuple(objective.explored(trial, context))
    if len(figures) != objective.explored_by:
        problem = f"explored() gave {len(figures)} figures, and explored_by says {objective.explored_by}"
        raise ObjectiveError(objective.name, _package(objective), problem)
    return tuple(_rankable(objective, "explored", figure) for figure in figures)


def _rankable(objective: Objective, method: str, found: Any) -> float | None:
    # NaN is not above anything.
    if found is None or (type(found) is float and found >= 0):
        return found
    if not isinstance(found, (int, float)) or isinstance(found, bool):
        raise ObjectiveError(objective.name, _package(objective), f"{method}() gave {found!r:.80}, which is no number")
    if isnan(found) or found < 0:
        raise ObjectiveError(objective.name, _package(objective), f"{method}() gave {found}, which cannot be ranked")
    return float(found)


@contextmanager
def _named(objective: Objective, method: str) -> Iterator[None]:
    """Say whose ``method`` it was that raised something within the block."""
    try:
        yield
    except (Exception, SystemExit) as error:
        raise _failed(objective, method, error) from error


def _failed(objective: Objective, method: str, error: Exception | SystemExit) -> ServefitError:
    if isinstance(error, ServefitError):
        return error
    problem = f"{method}() raised {type(error).__name__}: {error}"
    return ObjectiveError(objective.name, _package(objective), problem)


def _package(objective: Objective) -> str:
    """Return the package that offers it; where none does, as in a test of its own, the module that it is from."""
    try:
        return OBJECTIVES.package_of(objective.name)
    except SpecError:
        return type(objective).__module__
