"""The runs of a search for the highest rate, as a fit sees them: where percentiles reach their limits (the root), and
how many requests a rate below it takes to be confirmed. The fit itself is in ``evidence.rate_fit``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from servefit.profiler.evidence.autocorrelation import MIN_SAMPLES, autocorrelation_time
from servefit.profiler.evidence.rate_fit import (
    MIN_RESPONSES,
    FitPoint,
    after_warm_up,
    fit_points,
    measured_point,
    root_interval,
    saturated_point,
)
from servefit.profiler.evidence.sequential_test import GROWTH_SEEN, PASS_LEVEL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servefit.profiler.evidence.limits import LatencyThreshold

_CLOSE_ENOUGH = 0.03
"""The width of the interval, in parts of the root, that is as much as a step."""

_RUNS_BEFORE_CLOSE = 3
"""A line goes through any two."""

_NEAR_CAPACITY = 0.95
"""Only a queue that has some 5 % too many arrivals grows unseen (see ``GROWTH_SEEN``)."""

_POWER_NATS = 2.0
"""Evidence beyond what the test takes, so that more than half of the runs pass. Chosen, not measured: it only decides
where to begin."""


class FittedRuns:
    """The runs between 0 and ``saturation_per_s``. Where arrivals are not ``steady``, nothing of a run is left out as
    its beginning. ``random`` draws what the intervals of percentiles rest on."""

    def __init__(
        self,
        saturation_per_s: float,
        thresholds: Sequence[LatencyThreshold],
        random: np.random.Generator,
        *,
        steady: bool,
    ) -> None:
        self._saturation_per_s = saturation_per_s
        self._thresholds = thresholds
        self._limits = [(threshold.rank, threshold.limit_ns) for threshold in thresholds]
        self._random = random
        self._steady = steady
        self._points: list[FitPoint] = []
        self._correlations: list[float] = []
        self._saturated_at: list[float] = []

    def add_saturated(self, rate_per_s: float, requests: int) -> None:
        """Keep a run of so many ``requests`` that saturated."""
        self._saturated_at.append(rate_per_s)
        self._points.append(saturated_point(rate_per_s, requests, self._limits))

    def add(self, rate_per_s: float, response_ns: np.ndarray) -> None:
        """Keep a run by its response times, shape (n,), unless there are too few of them."""
        if len(response_ns) < MIN_RESPONSES:
            return
        self._points.append(measured_point(rate_per_s, response_ns, self._limits, self._random, warms_up=self._steady))
        kept = self.settled(response_ns)
        if len(kept) >= MIN_SAMPLES:
            # Scaled to an idle queue
            time = min(autocorrelation_time(kept), len(kept))
            self._correlations.append(time * (1 - rate_per_s / self._saturation_per_s) ** 2)

    def settled(self, response_ns: np.ndarray) -> np.ndarray:
        """Return what percentiles are of: all but the beginning, unless that is a part of a cycle as any other."""
        return after_warm_up(response_ns) if self._steady else response_ns

    @property
    def any_run(self) -> bool:
        """Whether there is any run."""
        return bool(self._points)

    @property
    def any_served(self) -> bool:
        """Whether the percentiles of any run are known."""
        return any(np.isfinite(point.relative).all() for point in self._points)

    def capacity_per_s(self) -> float:
        """Return the rate at which nothing is served in time. One saturated run may be a hiccup, two are believed."""
        return min([self._saturation_per_s, *sorted(self._saturated_at)[1:2]])

    def root_per_s(self) -> float:
        """Return the rate at which the first limit is reached."""
        return float(fit_points(self._points, self.capacity_per_s()).roots(self.capacity_per_s()).min())

    def interval_per_s(self) -> tuple[float, float]:
        """Return between which rates the root lies, as far as the differences of the runs tell."""
        return root_interval(self._points, self.capacity_per_s())

    @property
    def is_close(self) -> bool:
        """Whether the root is known about as well as a step is wide."""
        if len(self._points) < _RUNS_BEFORE_CLOSE:
            return False
        low, high = self.interval_per_s()
        return high - low < _CLOSE_ENOUGH * self.root_per_s()

    def requests_to_see_growth(self, rate_per_s: float) -> float:
        """Return how many requests it takes for a queue that grows by 5 % of what arrives to reach the limits. Only
        close to capacity can it grow at all."""
        if rate_per_s < _NEAR_CAPACITY * self.capacity_per_s():
            return 0
        return rate_per_s * GROWTH_SEEN * max(threshold.limit_ns for threshold in self._thresholds) / 1e9

    def requests_to_pass(self, rate_per_s: float) -> float:
        """Return how many requests the test takes to pass at most, the fit being true: slow ones do not come together
        for longer than response times stay alike.

        The autocorrelation time rises with the square of 1 / capacity left, as in heavy traffic.
        """
        lines = fit_points(self._points, self.capacity_per_s())
        margins = lines.at(np.array([rate_per_s]))[:, 0].tolist()
        independent = max(map(_independent_to_pass, self._thresholds, margins))
        left = 1 - rate_per_s / self.capacity_per_s()
        correlated = float(np.median(self._correlations)) / left**2 if self._correlations and left > 0 else 1.0
        return max(1.0, correlated) * independent


def _independent_to_pass(threshold: LatencyThreshold, margin: float) -> float:
    """Return how many independent requests the test takes to pass where the percentile is 1 / ``margin`` of its limit.

    Response times beyond the percentile are taken to fall off exponentially, as they do in most queues.
    """
    if margin <= 1:
        return math.inf
    boundary = 1 - threshold.rank / 100
    beyond: float = boundary**margin
    information = beyond * (margin - 1) * math.log(boundary) + (1 - beyond) * math.log((1 - beyond) / (1 - boundary))
    return (math.log(1 / PASS_LEVEL) + _POWER_NATS) / information
