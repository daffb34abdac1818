"""A metric of the user's own: a function of labels and predictions, by name, called in a child process alone.

To name it is the consent to run it. It is looked for where Python looks, and in the current folder. It is given the
labels, (rows,), and the predictions, (rows, outputs), both float64, and returns a number, of which more is better.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from math import isfinite
from typing import Any

import numpy as np

from servefit.backends.quality.bootstrap import Bounds, bounds
from servefit.errors import OutOfMemory, SpecError, TimedOut, WorkerCrashed
from servefit.isolation import call_isolated

TIMEOUT_S = 300.0
"""A metric is called a few thousand times. Chosen, not measured."""

_RESAMPLES, _GROUPS = 1000, 100
"""Fewer than of metrics that are computed of many resamples at once."""

_MAX_UNTOLD_SHARE = 0.1
"""A bound is that of the resamples of which the metric is a number. Where more of them have none, it tells little."""

_OF_A_RESAMPLE = "of rows drawn again from yours, some of them several times, as its bound takes"


def own_score(name: str, labels: np.ndarray, predictions: np.ndarray) -> float:
    """Return what the function ``name`` says. Raises SpecError where it cannot be called, raises, or gives no finite
    number."""
    return float(_in_child("score_here", name, labels, predictions))


def own_bounds(
    name: str, labels: np.ndarray, reference: np.ndarray, candidates: list[np.ndarray]
) -> list[tuple[float, Bounds]]:
    """Return the metric of each of ``candidates``, and the bounds of its drop as a share of the reference's metric.
    Raises SpecError as ``own_score``."""
    results: list[tuple[float, Bounds]] = _in_child("bounds_here", name, labels, reference, candidates)
    return results


def score_here(folder: str, name: str, labels: np.ndarray, predictions: np.ndarray) -> float:
    """Return what the function says, in a child process."""
    return _scores(_function(folder, name), name)(labels, predictions)


def bounds_here(
    folder: str, name: str, labels: np.ndarray, reference: np.ndarray, candidates: list[np.ndarray]
) -> list[tuple[float, Bounds]]:
    """Return scores and bounds, in a child process."""
    function = _function(folder, name)
    score, again = _scores(function, name), _scores(function, name, of_a_resample=True)
    results = []
    for candidate in candidates:
        untold: list[int] = []

        def drops(weights: np.ndarray, candidate: np.ndarray = candidate, untold: list[int] = untold) -> np.ndarray:
            drop = []
            for copies in weights:
                rows = np.repeat(np.arange(len(copies)), copies)
                before, after = again(labels[rows], reference[rows]), again(labels[rows], candidate[rows])
                drop.append((before - after) / abs(before) if before else float("nan"))
            untold.append(int((~np.isfinite(drop)).sum()))
            return np.array(drop)

        score_of_candidate = score(labels, candidate)
        within = bounds(drops, len(labels), resamples=_RESAMPLES, groups=_GROUPS)
        if sum(untold) > _MAX_UNTOLD_SHARE * _RESAMPLES:
            problem = f"is no number, or 0, {_OF_A_RESAMPLE}, {sum(untold):,} times in {_RESAMPLES + _GROUPS + 1:,}"
            raise SpecError("metric", name, problem, remedy=_GIVE_MORE)
        results.append((score_of_candidate, within))
    return results


_GIVE_MORE = "give more rows of what is rare among them, or a metric that is a number of any rows"


def _in_child(step: str, name: str, *arguments: Any) -> Any:
    function = f"servefit.backends.quality.own_metric:{step}"
    try:
        return call_isolated(function, str(os.getcwd()), name, *arguments, timeout_s=TIMEOUT_S)  # noqa: PTH109
    except TimedOut as error:
        raise error.called(f"computing the metric {name}") from error
    except (WorkerCrashed, OutOfMemory) as error:
        raise SpecError("metric", name, f"could not be computed: {error.message}") from error


def _function(folder: str, name: str) -> Callable[..., Any]:
    module, _, attribute = name.partition(":")
    sys.path.insert(0, folder)
    try:
        loaded = getattr(import_module(module), attribute)
    except BaseException as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        remedy = "it is looked for in the current folder, and where Python looks"
        raise SpecError("metric", name, f"cannot be imported: {reason}", remedy=remedy) from error
    if not callable(loaded):
        raise SpecError("metric", name, f"is a {type(loaded).__name__}, and no function")
    function: Callable[..., Any] = loaded
    return function


def _scores(
    function: Callable[..., Any], name: str, *, of_a_resample: bool = False
) -> Callable[[np.ndarray, np.ndarray], float]:
    """Return ``function`` with errors that say what is wrong with it. Of a resample it may be no number, as of rows
    that are all of one class."""
    where, remedy = (f" {_OF_A_RESAMPLE}", "have it return nan where it is none") if of_a_resample else ("", None)

    def score(labels: np.ndarray, predictions: np.ndarray) -> float:
        try:
            value = function(labels.copy(), predictions.copy())
        except BaseException as error:
            problem = f"raised {type(error).__name__}{where}: {' '.join(str(error).split())}"
            raise SpecError("metric", name, problem, remedy=remedy) from error
        try:
            number = float(value)
        except (TypeError, ValueError) as error:
            raise SpecError("metric", name, f"gave a {type(value).__name__}, and not a number") from error
        if not isfinite(number) and not of_a_resample:
            raise SpecError("metric", name, f"gave {number}, and not a finite number")
        return number

    return score
