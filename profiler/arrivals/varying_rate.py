"""Poisson arrivals whose rate goes through a cycle: all that a shape has to say is how high it is at each part of it.

Drawn by inversion: a Poisson process of rate 1, given its count, runs on the expected number of arrivals so far in
place of the time [Cinlar 1975, Introduction to Stochastic Processes, section 4.7].
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from servefit.errors import SpecError
from servefit.profiler.arrivals.contract import Arrivals, count_of, whole_ns

CELLS = 4096
"""Parts of a cycle in which the rate is taken for constant: a step is off by 0.02 % of a cycle."""


@dataclass(frozen=True, kw_only=True)
class VaryingRate(Arrivals):
    """A shape with a cycle. Where ``cycle_s`` is 0 the whole run is one."""

    @abstractmethod
    def relative_rate(self, phase: np.ndarray) -> np.ndarray:
        """Return how high the rate is at parts of a cycle, ``phase`` (n,) from 0 to 1: float64 (n,), zero or more, in
        any unit. The mean over a cycle becomes the rate that is asked for."""

    def times_ns(self, *, rate_per_s: float, duration_s: float, seed: int) -> np.ndarray:
        cycle_s = self.cycle_s or duration_s
        phase = (np.arange(CELLS) + 0.5) / CELLS
        relative = np.asarray(self.relative_rate(phase), dtype=np.float64)
        if relative.shape != phase.shape or not (np.isfinite(relative).all() and relative.min() >= 0):
            raise SpecError("arrivals", str(self), "have a rate that is below zero, or no number")
        if not relative.any():
            raise SpecError("arrivals", str(self), "never arrive: their rate is zero at all times")
        edges = np.linspace(0, 1, CELLS + 1)
        done = np.append(0.0, np.cumsum(relative) / relative.sum())  # the part of a cycle's arrivals by each edge
        cycles, rest = divmod(duration_s / cycle_s, 1.0)
        a_cycle = rate_per_s * cycle_s
        expected = a_cycle * (cycles + float(np.interp(rest, edges, done)))
        random = np.random.default_rng(seed)
        units = np.sort(random.uniform(0, expected, count_of(expected, random))) / a_cycle
        whole = np.floor(units)
        return whole_ns((whole + np.interp(units - whole, done, edges)) * cycle_s, duration_s=duration_s)
