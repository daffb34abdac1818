"""A rate that changes steadily from one to another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from servefit.errors import SpecError
from servefit.profiler.arrivals.parameters import DURATION, RATE, parameter
from servefit.profiler.arrivals.varying_rate import VaryingRate
from servefit.quantities import given_duration_text, given_text

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, kw_only=True)
class Ramp(VaryingRate):
    """The rate goes from ``from_per_s`` to ``to_per_s`` within ``over_s``, and begins anew; without, it takes the run.

    At another mean rate than its own both ends are scaled.
    """

    name = "ramp"

    from_per_s: float = parameter(RATE)
    to_per_s: float = parameter(RATE)
    over_s: float | None = parameter(DURATION, default=None)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.from_per_s + self.to_per_s:
            raise SpecError("arrivals", str(self), "never arrive: both rates are zero")

    @property
    def own_rate_per_s(self) -> float:
        return (self.from_per_s + self.to_per_s) / 2

    @property
    def cycle_s(self) -> float:
        return self.over_s or 0.0

    def relative_rate(self, phase: np.ndarray) -> np.ndarray:
        rates: np.ndarray = self.from_per_s + (self.to_per_s - self.from_per_s) * phase
        return rates

    def describe(self) -> str:
        over = "over the run" if self.over_s is None else f"over {given_duration_text(self.over_s)}, again and again"
        ends = f"{given_text(self.from_per_s)} to {given_text(self.to_per_s)}"
        return f"at a rate that goes from {ends} requests/s, or in that proportion, {over}"
