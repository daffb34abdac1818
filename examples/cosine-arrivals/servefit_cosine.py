"""A traffic shape for servefit: a rate that begins at its peak and follows a cosine. docs/adding-arrivals.md
explains this file.
"""

from dataclasses import dataclass

import numpy as np

from servefit.profiler.arrivals.parameters import DURATION, SHARE, parameter
from servefit.profiler.arrivals.varying_rate import VaryingRate

__version__ = "1.0"


@dataclass(frozen=True, kw_only=True)
class Cosine(VaryingRate):
    """The rate begins ``amplitude`` above its mean, falls as far below it, and is back after ``period_s``."""

    name = "cosine"

    amplitude: float = parameter(SHARE, default=0.5)
    period_s: float = parameter(DURATION, default=2.0)

    @property
    def cycle_s(self) -> float:
        return self.period_s

    def relative_rate(self, phase: np.ndarray) -> np.ndarray:
        rate: np.ndarray = 1 + self.amplitude * np.cos(2 * np.pi * phase)
        return rate

    def describe(self) -> str:
        return f"at a rate that begins {self.amplitude:.0%} above its mean and comes back every {self.period_s:g} s"
