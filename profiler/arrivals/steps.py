"""Rates one after the other, each for as long as the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from servefit.errors import SpecError
from servefit.profiler.arrivals.parameters import DURATION, RATES, parameter
from servefit.profiler.arrivals.varying_rate import CELLS, VaryingRate
from servefit.quantities import given_duration_text, given_text

MAX_STEPS = CELLS // 16
"""Each step has 16 of the parts that a cycle is drawn in, so that its ends are off by a sixteenth of it at most."""


@dataclass(frozen=True, kw_only=True)
class Steps(VaryingRate):
    """Each of ``rates_per_s`` holds for ``each_s``, again and again; without that all of them together take the run.

    At another mean rate than their own all are scaled.
    """

    name = "steps"

    rates_per_s: tuple[float, ...] = parameter(RATES)
    each_s: float | None = parameter(DURATION, default=None)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not sum(self.rates_per_s):
            raise SpecError("arrivals", str(self), "never arrive: all rates are zero")
        if len(self.rates_per_s) > MAX_STEPS:
            raise SpecError("arrivals.rates", len(self.rates_per_s), f"are more than {MAX_STEPS} steps")

    @property
    def own_rate_per_s(self) -> float:
        return sum(self.rates_per_s) / len(self.rates_per_s)

    @property
    def cycle_s(self) -> float:
        return 0.0 if self.each_s is None else self.each_s * len(self.rates_per_s)

    def relative_rate(self, phase: np.ndarray) -> np.ndarray:
        rates: np.ndarray = np.array(self.rates_per_s)[(phase * len(self.rates_per_s)).astype(np.int64)]
        return rates

    def describe(self) -> str:
        spacing = "over the run" if self.each_s is None else f"each for {given_duration_text(self.each_s)}"
        rates = ", ".join(map(given_text, self.rates_per_s))
        return f"in steps of {rates} requests/s, or in that proportion, {spacing}"
