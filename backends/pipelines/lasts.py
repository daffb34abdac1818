"""Last steps that are sums: linear models, kinds of naive Bayes, networks of layers; and those that join or bend the
predictions of others. Each gives the prediction itself, (rows,) or (rows, outputs): of two classes the probability of
the second."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from servefit.backends.pipelines.numbers import NEAR_BOUND, check_finite
from servefit.backends.pipelines.values import PipelineStep, Value, count_of, dense, dot


def _logistic(scores: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-scores)) without overflow."""
    small = np.exp(-np.abs(scores))
    result: np.ndarray = np.where(scores >= 0, 1.0, small) / (1.0 + small)
    return result


def _softmax(scores: np.ndarray) -> np.ndarray:
    shares: np.ndarray = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    return shares


def _one_against_others(scores: np.ndarray) -> np.ndarray:
    return _shares(_logistic(scores))


def _shares(numbers: np.ndarray) -> np.ndarray:
    """Return the numbers of each row over their sum, or as they are where that is 0."""
    total = numbers.sum(axis=1, keepdims=True)
    total[total == 0] = 1.0
    result: np.ndarray = numbers / total
    return result


def _same(scores: np.ndarray) -> np.ndarray:
    return scores


FINISHES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "identity": _same,
    "logistic": _logistic,
    "softmax": _softmax,
    "one against others": _one_against_others,
    "exp": np.exp,
    "tanh": np.tanh,
    "relu": lambda scores: np.maximum(scores, 0),
}
"""The functions of sums, by the name that is kept with them."""


def _flat(predictions: np.ndarray) -> np.ndarray:
    return predictions[:, 0] if predictions.shape[1] == 1 else predictions


@dataclass(frozen=True)
class Linear:
    """Sums of numbers times ``weights`` (columns, outputs) and ``bases`` (outputs,), and what they become."""

    weights: np.ndarray
    bases: np.ndarray
    finish: str = "identity"

    def __call__(self, value: Value) -> np.ndarray:
        check_finite(value)
        return _flat(FINISHES[self.finish](dot(value, self.weights) + self.bases))


@dataclass(frozen=True)
class Layers:
    """A network: weights and bases of each layer, what the hidden ones become, and what the last one does."""

    layers: tuple[tuple[np.ndarray, np.ndarray], ...]
    hidden: str
    finish: str

    def __call__(self, value: Value) -> np.ndarray:
        check_finite(value)
        weights, bases = self.layers[0]
        numbers = dot(value, weights) + bases
        for weights, bases in self.layers[1:]:
            numbers = FINISHES[self.hidden](numbers) @ weights + bases
        return _flat(FINISHES[self.finish](numbers))


@dataclass(frozen=True)
class Labels:
    """The label of the class with the highest score, of several, or by the sign of the only one."""

    scores: PipelineStep
    labels: np.ndarray

    def __call__(self, value: Value) -> np.ndarray:
        scores = dense(self.scores(value))
        which = scores.argmax(axis=1) if scores.ndim == 2 else (scores > 0).astype(np.int64)
        result: np.ndarray = self.labels[which]
        return result


@dataclass(frozen=True)
class Vote:
    """The label that most estimators, weighed by ``weights``, predict; each says the number of one."""

    steps: tuple[PipelineStep, ...]
    weights: tuple[float, ...]
    labels: np.ndarray

    def __call__(self, value: Value) -> np.ndarray:
        votes = np.zeros((count_of(value), len(self.labels)))
        for step, weight in zip(self.steps, self.weights, strict=True):
            votes[np.arange(len(votes)), dense(step(value)).astype(np.int64)] += weight
        result: np.ndarray = self.labels[votes.argmax(axis=1)]
        return result


@dataclass(frozen=True)
class Second:
    """Of the probabilities of two classes the second."""

    probabilities: PipelineStep

    def __call__(self, value: Value) -> np.ndarray:
        return dense(self.probabilities(value))[:, 1]


@dataclass(frozen=True)
class Mean:
    """The mean of the predictions of several, weighed by ``weights``, which add up to 1."""

    steps: tuple[PipelineStep, ...]
    weights: tuple[float, ...]

    def __call__(self, value: Value) -> np.ndarray:
        total: np.ndarray | float = 0.0
        for step, weight in zip(self.steps, self.weights, strict=True):
            total = total + dense(step(value)) * weight
        return np.asarray(total)


@dataclass(frozen=True)
class SideBySide:
    """The predictions of several in order; ``as_shares`` says that those of a row are made to add up to 1."""

    steps: tuple[PipelineStep, ...]
    as_shares: bool

    def __call__(self, value: Value) -> np.ndarray:
        predictions = np.column_stack([dense(step(value)) for step in self.steps])
        return _shares(predictions) if self.as_shares else predictions


@dataclass(frozen=True)
class Bells:
    """The probabilities of classes of which the numbers of each column are distributed normally: ``means`` and
    ``variances`` (classes, columns), and the logarithms of the classes' shares, ``priors``."""

    means: np.ndarray
    variances: np.ndarray
    priors: np.ndarray

    def __call__(self, value: Value) -> np.ndarray:
        numbers = dense(value)
        check_finite(numbers)
        bases = self.priors - 0.5 * np.log(2 * np.pi * self.variances).sum(axis=1)
        distances = (numbers[:, np.newaxis] - self.means) ** 2 / self.variances
        return _softmax(bases - 0.5 * distances.sum(axis=2))


@dataclass(frozen=True)
class Calibrated:
    """Scores of two classes, or of each of several, made probabilities: by a logistic curve with ``curves`` of slope
    and base, or by straight lines between ``curves`` of points."""

    scores: PipelineStep
    curves: tuple[tuple[np.ndarray, np.ndarray], ...]
    logistic: bool

    def __call__(self, value: Value) -> np.ndarray:
        scores = dense(self.scores(value))
        entry = scores[:, np.newaxis] if scores.ndim == 1 else scores
        shares = np.stack(
            [
                _logistic(-(first * column + second)) if self.logistic else np.interp(column, first, second)
                for column, (first, second) in zip(entry.T, self.curves, strict=True)
            ],
            axis=1,
        )
        if shares.shape[1] == 1:
            return shares[:, 0]
        total = shares.sum(axis=1, keepdims=True)
        result: np.ndarray = np.divide(shares, total, out=np.full_like(shares, 1 / shares.shape[1]), where=total != 0)
        return result


@dataclass(frozen=True)
class Stacked:
    """The prediction of ``last`` for the predictions of others, and for the numbers themselves where ``passed``."""

    steps: tuple[PipelineStep, ...]
    last: PipelineStep
    passed: bool

    def __call__(self, value: Value) -> np.ndarray:
        parts = [dense(step(value)).reshape(count_of(value), -1) for step in self.steps]
        if self.passed:
            parts.append(dense(value))
        return dense(self.last(np.concatenate(parts, axis=1)))


@dataclass(frozen=True)
class Undone:
    """Predictions of a target that was transformed before the fit, taken back."""

    step: PipelineStep
    back: PipelineStep

    def __call__(self, value: Value) -> np.ndarray:
        return dense(self.back(dense(self.step(value)).reshape(-1, 1)))[:, 0]


@dataclass(frozen=True)
class PowersUndone:
    """Yeo and Johnson's ``power``, taken back as scikit-learn does. Where there is no such number it is not one."""

    power: float

    def __call__(self, value: Value) -> np.ndarray:
        numbers = dense(value)
        up, down = _root(np.maximum(numbers, 0), self.power), _root(-np.minimum(numbers, 0), 2 - self.power)
        return np.where(numbers >= 0, up, -down)


def _root(numbers: np.ndarray, power: float) -> np.ndarray:
    return (np.exp(numbers) if abs(power) <= _TINY else np.power(numbers * power + 1, 1 / power)) - 1


_TINY = float(np.spacing(1.0))


@dataclass(frozen=True)
class QuantilesUndone:
    """The values that have a share of the training's below them: ``quantiles`` at the shares ``references``. ``shares``
    is SciPy's function that gives the share of a value of a normal distribution, or None."""

    quantiles: np.ndarray
    references: np.ndarray
    shares: np.ufunc | None

    def __call__(self, value: Value) -> np.ndarray:
        numbers = dense(value)
        shares = numbers if self.shares is None else self.shares(numbers)
        result = np.asarray(np.interp(shares, self.references, self.quantiles))
        if self.shares is not None:
            result[shares + NEAR_BOUND > 1] = self.quantiles[-1]
            result[shares - NEAR_BOUND < 0] = self.quantiles[0]
        return result
