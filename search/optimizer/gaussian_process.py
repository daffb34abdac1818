"""What every configuration is expected to do, before and after some of them were measured.

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
"""How far a prediction is off, as a standard deviation of logarithms: 12 %."""

_GUESSED = 0.4
"""The same where service times were guessed from those of fewer threads or workers."""

_NOISE = 0.04
"""How far two measurements of one configuration are apart, as a standard deviation of logarithms."""

_UNLIKE_BACKEND, _UNLIKE_SHAPE, _BATCH_LENGTH, _UNLIKE_DELAY, _UNLIKE_ENVELOPE = 0.15, 0.5, 2.0, 0.8, 0.8
"""How much of an error configurations share that differ in the backend, in threads or workers or knobs, by so many
doublings of the batch (a factor 1/e), in the delay, and in the envelope."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A positive quantity: the mean of its logarithm and the standard deviation of that."""

    log_mean: float
    sd: float

    @property
    def value(self) -> float:
        return exp(self.log_mean)


class Corrected:
    """Predictions of one positive quantity, corrected by what was measured.

    ``predict`` gives the prediction of a configuration and whether it rests on a guess; None where there is none.
    """

    def __init__(self, predict: Callable[[Configuration], tuple[float, bool] | None]) -> None:
        self._predict = predict
        self._measured: list[Configuration] = []
        self._errors: list[float] = []
        self._noise: list[float] = []
        self._solved: tuple[np.ndarray, np.ndarray] | None = None

    def copy(self, predict: Callable[[Configuration], tuple[float, bool] | None]) -> Corrected:
        """Another that has learnt the same, with the same predictions from elsewhere."""
        other = Corrected(predict)
        other._measured, other._errors, other._noise = [*self._measured], [*self._errors], [*self._noise]
        other._solved = self._solved
        return other

    def learn(self, configuration: Configuration, value: float, *, noise: float = _NOISE) -> None:
        """``value`` was measured; measuring it again would give something else by ``noise`` (of logarithms).

        What is zero or infinite was not measured.
        """
        predicted = self._predict(configuration)
        if predicted is None or not 0 < value < inf:
            return
        self._measured.append(configuration)
        self._errors.append(log(value / predicted[0]))
        self._noise.append(noise)
        self._solved = None

    def estimates(self, configurations: Sequence[Configuration]) -> list[Estimate | None]:
        """What each of ``configurations`` is expected to do, None where nothing is known of it."""
        known = [(nth, found) for nth, one in enumerate(configurations) if (found := self._predict(one)) is not None]
        estimates: list[Estimate | None] = [None] * len(configurations)
        if not known:
            return estimates
        asked = [configurations[nth] for nth, _ in known]
        own = np.array([self._sd(one) ** 2 for one in asked])
        mean, variance = np.zeros(len(known)), own
        if self._measured:
            inverse, weights = self._solve()
            shared = self._covariance(asked, self._measured)
            mean = shared @ weights
            variance = np.maximum(own - np.einsum("ij,jk,ik->i", shared, inverse, shared), 1e-8)
        for (nth, prediction), error, spread in zip(known, mean.tolist(), variance.tolist(), strict=True):
            estimates[nth] = Estimate(log_mean=log(prediction[0]) + error, sd=spread**0.5)
        return estimates

    def _solve(self) -> tuple[np.ndarray, np.ndarray]:
        if self._solved is None:
            covariance = self._covariance(self._measured, self._measured) + np.diag(np.square(self._noise))
            inverse: np.ndarray = np.linalg.inv(covariance)
            self._solved = inverse, inverse @ np.array(self._errors)
        return self._solved

    def _sd(self, configuration: Configuration) -> float:
        predicted = self._predict(configuration)
        return _GUESSED if predicted is not None and predicted[1] else _PRIOR

    def _covariance(self, rows: Sequence[Configuration], columns: Sequence[Configuration]) -> np.ndarray:
        sd_rows = np.array([self._sd(one) for one in rows])
        sd_columns = np.array([self._sd(one) for one in columns])
        covariance: np.ndarray = similarity(rows, columns) * sd_rows[:, None] * sd_columns[None, :]
        return covariance


def similarity(rows: Sequence[Configuration], columns: Sequence[Configuration]) -> np.ndarray:
    """How much of its error each of ``rows`` shares with each of ``columns``, 0 to 1: a product of kernels, for the
    backend, for threads, workers, knobs and variables, for the batch size, the delay and the envelope."""

    def unlike(feature: Callable[[Configuration], object], factor: float) -> np.ndarray:
        names = {name: nth for nth, name in enumerate({feature(one) for one in (*rows, *columns)})}
        left = np.array([names[feature(one)] for one in rows])
        right = np.array([names[feature(one)] for one in columns])
        return np.where(left[:, None] == right[None, :], 1.0, factor)

    batches = np.abs(
        np.array([log2(one.max_batch) for one in rows])[:, None]
        - np.array([log2(one.max_batch) for one in columns])[None, :]
    )
    shaped: np.ndarray = (
        unlike(lambda one: (one.backend, one.target, one.gpu), _UNLIKE_BACKEND)
        * unlike(lambda one: (one.settings, one.workers, one.environment), _UNLIKE_SHAPE)
        * np.exp(-batches / _BATCH_LENGTH)
        * unlike(lambda one: one.batch_delay_us, _UNLIKE_DELAY)
        * unlike(lambda one: one.vcpus, _UNLIKE_ENVELOPE)
    )
    return shaped
