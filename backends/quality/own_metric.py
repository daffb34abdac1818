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


def own_score(name: str, labels: np.ndarray, predictions: np.ndarray) -> float:
    """Return what the function ``name`` says. Raises SpecError where it cannot be called, raises, or gives no finite
    number."""
    return float(_in_child("score_here", name, labels, predictions))


def own_bounds(
    name: str, labels: np.ndarray, reference: np.ndarray, candidates: list[np.ndarray]
) -> list[tuple[float, Bounds]]:
    """Return the metric of each of ``candidates``, and the bounds of its drop, as a share of what the reference has.
    Raises SpecError as ``own_score``."""
    found: list[tuple[float, Bounds]] = _in_child("bounds_here", name, labels, reference, candidates)
    return found


def score_here(folder: str, name: str, labels: np.ndarray, predictions: np.ndarray) -> float:
    """Return what the function says, in a child process."""
    return _scores(_function(folder, name), name)(labels, predictions)


def bounds_here(
    folder: str, name: str, labels: np.ndarray, reference: np.ndarray, candidates: list[np.ndarray]
) -> list[tuple[float, Bounds]]:
    """Return scores and bounds, in a child process."""
    score = _scores(_function(folder, name), name)
    found = []
    for candidate in candidates:

        def drops(weights: np.ndarray, candidate: np.ndarray = candidate) -> np.ndarray:
            drop = []
            for each in weights:
                rows = np.repeat(np.arange(len(each)), each)
                before = score(labels[rows], reference[rows])
                drop.append((before - score(labels[rows], candidate[rows])) / abs(before) if before else float("nan"))
            return np.array(drop)

        within = bounds(drops, len(labels), resamples=_RESAMPLES, groups=_GROUPS)
        found.append((score(labels, candidate), within))
    return found


def _in_child(step: str, name: str, *arguments: Any) -> Any:
    function = f"servefit.backends.quality.own_metric:{step}"
    try:
        return call_isolated(function, str(os.getcwd()), name, *arguments, timeout_s=TIMEOUT_S)  # noqa: PTH109
    except (WorkerCrashed, OutOfMemory, TimedOut) as error:
        raise SpecError("metric", name, f"could not be computed: {error.message}") from error


def _function(folder: str, name: str) -> Callable[..., Any]:
    module, _, attribute = name.partition(":")
    sys.path.insert(0, folder)
    try:
        found = getattr(import_module(module), attribute)
    except BaseException as error:
        told = f"{type(error).__name__}: {error}"
        raise SpecError("metric", name, f"cannot be imported: {told}") from error
    if not callable(found):
        raise SpecError("metric", name, f"is a {type(found).__name__}, and no function")
    function: Callable[..., Any] = found
    return function


def _scores(function: Callable[..., Any], name: str) -> Callable[[np.ndarray, np.ndarray], float]:
    def score(labels: np.ndarray, predictions: np.ndarray) -> float:
        try:
            value = function(labels.copy(), predictions.copy())
        except BaseException as error:
            raise SpecError("metric", name, f"raised {type(error).__name__}: {error}") from error
        try:
            number = float(value)
        except (TypeError, ValueError) as error:
            raise SpecError("metric", name, f"gave a {type(value).__name__}, and not a number") from error
        if not isfinite(number):
            raise SpecError("metric", name, f"gave {number}, and not a finite number")
        return number

    return score
