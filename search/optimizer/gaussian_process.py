"""Estimates of one quantity for every configuration, before and after some of them were measured.

A queueing simulation on measured service times predicts capacity and latency. Where it is wrong it is wrong in the
same way for configurations that are alike, so the logarithms of measured over predicted are taken for a Gaussian
process over the space [Kennedy and O'Hagan 2000, Predicting the output from a complex computer code when fast
approximations are available]. What comes out is a mean and a standard deviation for each, from which ``proposer``
computes where measuring pays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, inf, log, log2
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from servefit.profiler.record.types import Configuration

_PRIOR = 0.12
"""The error of a prediction, as a standard deviation of logarithms, before anything was measured: 12 %. Chosen;
benchmarks/claims/simulation.py measures how far predictions really are off."""

_BELIEVED = 2.0
"""The prior counts as so many measurements: one that is far off may be so by chance. Chosen, not measured."""

_MAX_SCALE = 4.0
"""Times the prior that predictions are taken to be off at most: beyond half, they tell nothing anyway."""

_GUESSED = 0.4
"""The same where service times were guessed from those of fewer threads or workers. Chosen, not measured."""

CAPACITY_NOISE, LATENCY_NOISE = 0.04, 0.2
"""The noise of a measurement of capacity and of p95, as a standard deviation of logarithms: two of one configuration
differ by about as much. The former is chosen; the latter lies between a quiet day and a noisy one
(benchmarks/claims/endpoint_prediction.py, again)."""

_ELSEWHERE = 0.7
"""The part of an error that a configuration shares with itself on a host of another class: which libraries a simulation
flatters, and which knobs, is much the same on unlike machines, how fast they are is not. Chosen, not measured."""

_UNLIKE_BACKEND, _UNLIKE_SHAPE, _BATCH_LENGTH, _UNLIKE_DELAY, _UNLIKE_ENVELOPE = 0.15, 0.5, 2.0, 0.8, 0.8
"""The part of an error that configurations share which differ in the backend, in threads or workers or knobs, by so
many doublings of the batch (a factor 1/e), in the delay, and in the envelope. Chosen, not measured."""

_MIN_VARIANCE = 1e-8
"""Rounding can make the variance of what was measured zero or less: this is a standard deviation of 0.01 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LognormalEstimate:
    """A positive quantity: the mean of its logarithm and the standard deviation of that."""

    log_mean: float
    sd: float

    @property
    def value(self) -> float:
        """The median of the quantity."""
        return exp(self.log_mean)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """The errors of the predictions of ``configuration`` where it was measured: the logarithms of measured over
    predicted, None where there was nothing to compare."""

    configuration: Configuration
    capacity_error: float | None
    latency_error: float | None


class CorrectedPredictions:
    """Predictions of one positive quantity, corrected by what was measured.

    ``predict`` gives the prediction of a configuration and whether it rests on a guess; None where there is none.
    Measurements have a standard deviation of ``noise`` (of logarithms). How far predictions are off is learnt from
    those that were measured: the prior is a part of that.
    """

    def __init__(
        self, predict: Callable[[Configuration], tuple[float, bool] | None], *, noise: float = CAPACITY_NOISE
    ) -> None:
        self._predict = predict
        self._usual_noise = noise
        self._measured: list[Configuration] = []
        self._errors: list[float] = []
        self._noise: list[float] = []
        self._places: list[str] = []
        self._solved: tuple[np.ndarray, np.ndarray] | None = None
        self._learnt_scale: float | None = None

    def copy(self, predict: Callable[[Configuration], tuple[float, bool] | None]) -> CorrectedPredictions:
        """Return a copy that has learnt the same, and takes the same predictions from ``predict``."""
        other = CorrectedPredictions(predict, noise=self._usual_noise)
        other._measured, other._errors, other._noise = [*self._measured], [*self._errors], [*self._noise]
        other._places = [*self._places]
        other._solved, other._learnt_scale = self._solved, self._learnt_scale
        return other

    def learn(self, configuration: Configuration, value: float, *, noise: float | None = None) -> None:
        """Take ``value`` into account, which was measured, with a standard deviation of ``noise`` (of logarithms) if
        that is not the usual one.

        A value of zero or infinity is no measurement, and is left out.
        """
        error = self.error_of(configuration, value)
        if error is not None:
            self._learn(configuration, error, self._usual_noise if noise is None else noise, place="")

    def learn_error(self, configuration: Configuration, error: float, *, place: str) -> None:
        """Take into account that on hosts of another class, ``place``, the prediction was off by ``error``, a
        logarithm: they share a part of their errors with those here, and with each other."""
        self._learn(configuration, error, self._usual_noise, place)

    def error_of(self, configuration: Configuration, value: float) -> float | None:
        """Return by how much, as a logarithm, ``value`` is off what is predicted before anything was measured; None
        where nothing is, or the value is no measurement."""
        predicted = self._predict(configuration)
        return None if predicted is None or not 0 < value < inf else log(value / predicted[0])

    def _learn(self, configuration: Configuration, error: float, noise: float, place: str) -> None:
        self._measured.append(configuration)
        self._errors.append(error)
        self._noise.append(noise)
        self._places.append(place)
        self._solved = self._learnt_scale = None

    def estimates(self, configurations: Sequence[Configuration]) -> list[LognormalEstimate | None]:
        """Return the estimate for each of ``configurations``, None where there is no prediction."""
        predictions = map(self._predict, configurations)
        predicted = [(nth, prediction) for nth, prediction in enumerate(predictions) if prediction is not None]
        estimates: list[LognormalEstimate | None] = [None] * len(configurations)
        if not predicted:
            return estimates
        asked = [configurations[nth] for nth, _ in predicted]
        own = self._learnt_sds(asked) ** 2
        mean, variance = np.zeros(len(predicted)), own
        if self._measured:
            inverse, weights = self._solve()
            shared = self._covariance(asked, self._measured) * _same_place([""] * len(asked), self._places)
            mean = shared @ weights
            variance = np.maximum(own - np.einsum("ij,jk,ik->i", shared, inverse, shared), _MIN_VARIANCE)
        for (nth, prediction), error, spread in zip(predicted, mean.tolist(), variance.tolist(), strict=True):
            estimates[nth] = LognormalEstimate(log_mean=log(prediction[0]) + error, sd=spread**0.5)
        return estimates

    def _solve(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the inverse of the covariance of what was measured, n x n, and the weights of its errors, n."""
        if self._solved is None:
            covariance = self._covariance(self._measured, self._measured) * _same_place(self._places, self._places)
            covariance += np.diag(np.square(self._noise))
            inverse: np.ndarray = np.linalg.inv(covariance)
            self._solved = inverse, inverse @ np.array(self._errors)
        return self._solved

    def _scale(self) -> float:
        """Return how many times further predictions are off than was believed before any was measured, 1 at least: by
        the mean square of their errors beyond noise, and beyond what a guess is off, in parts of what was believed."""
        if self._learnt_scale is None:
            errors, noise = np.array(self._errors), np.array(self._noise)
            believed = np.array([self._sd(configuration) for configuration in self._measured])
            squares = np.maximum(errors**2 - noise**2 - believed**2 + _PRIOR**2, 0) / _PRIOR**2
            scale = ((_BELIEVED + squares.sum()) / (_BELIEVED + len(squares))) ** 0.5
            self._learnt_scale = float(np.clip(scale, 1.0, _MAX_SCALE))
        return self._learnt_scale

    def _sd(self, configuration: Configuration) -> float:
        """Return the error of the prediction of ``configuration``, before anything was measured."""
        predicted = self._predict(configuration)
        return _GUESSED if predicted is not None and predicted[1] else _PRIOR

    def _learnt_sds(self, configurations: Sequence[Configuration]) -> np.ndarray:
        """Return the errors of predictions, now that something was measured: what they are further off than was
        believed comes on top of what a guess is off."""
        believed = np.array([self._sd(configuration) for configuration in configurations])
        learnt: np.ndarray = np.sqrt(believed**2 + (self._scale() ** 2 - 1) * _PRIOR**2)
        return learnt

    def _covariance(self, rows: Sequence[Configuration], columns: Sequence[Configuration]) -> np.ndarray:
        """Return the covariances of errors, rows x columns, without noise."""
        sds = self._learnt_sds(rows)[:, None] * self._learnt_sds(columns)[None, :]
        covariance: np.ndarray = similarity(rows, columns) * sds
        return covariance


def _same_place(rows: Sequence[str], columns: Sequence[str]) -> np.ndarray:
    """Return the part of an error that what was measured at one place shares with what is at another."""
    same: np.ndarray = np.array(rows)[:, None] == np.array(columns)[None, :]
    return np.where(same, 1.0, _ELSEWHERE)


def similarity(rows: Sequence[Configuration], columns: Sequence[Configuration]) -> np.ndarray:
    """Return the part of its error that each of ``rows`` shares with each of ``columns``, 0 to 1: a product of kernels,
    for the backend, for threads, workers, knobs and variables, for the batch size, the delay and the envelope."""

    def unlike(feature: Callable[[Configuration], object], factor: float) -> np.ndarray:
        names = {name: nth for nth, name in enumerate({feature(point) for point in (*rows, *columns)})}
        left = np.array([names[feature(row)] for row in rows])
        right = np.array([names[feature(column)] for column in columns])
        return np.where(left[:, None] == right[None, :], 1.0, factor)

    batches = np.abs(
        np.array([log2(row.max_batch) for row in rows])[:, None]
        - np.array([log2(column.max_batch) for column in columns])[None, :]
    )
    shaped: np.ndarray = (
        unlike(lambda point: (point.backend, point.target, point.gpu), _UNLIKE_BACKEND)
        * unlike(lambda point: (point.settings, point.workers, point.environment), _UNLIKE_SHAPE)
        * np.exp(-batches / _BATCH_LENGTH)
        * unlike(lambda point: point.batch_delay_us, _UNLIKE_DELAY)
        * unlike(lambda point: point.vcpus, _UNLIKE_ENVELOPE)
    )
    return shaped
