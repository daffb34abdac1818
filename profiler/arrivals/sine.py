"""A rate that swings up and down: the day of a service in short."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import numpy as np

from servefit.profiler.arrivals.parameters import DURATION, SHARE, parameter
from servefit.profiler.arrivals.varying_rate import VaryingRate
from servefit.quantities import given_duration_text, percent_text


@dataclass(frozen=True, kw_only=True)
class Sine(VaryingRate):
    """The rate begins at its mean, rises by ``amplitude`` of it, falls below by as much and comes back, every
    ``period_s``."""

    name = "sine"

    amplitude: float = parameter(SHARE, default=0.5)
    period_s: float = parameter(DURATION, default=4.0)

    @property
    def cycle_s(self) -> float:
        return self.period_s

    def relative_rate(self, phase: np.ndarray) -> np.ndarray:
        swing: np.ndarray = 1 + self.amplitude * np.sin(2 * pi * phase)
        return swing

    def describe(self) -> str:
        return f"at a rate that swings by {percent_text(self.amplitude)} every {given_duration_text(self.period_s)}"
