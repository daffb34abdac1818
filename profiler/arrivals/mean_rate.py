"""A check that a shape of another package keeps to the rate that is asked: a figure "at 200/s" is not of 20/s.

servefit's own shapes are not asked: the contract suite tries them.
"""

from __future__ import annotations

from math import ceil, sqrt
from typing import TYPE_CHECKING

import numpy as np

from servefit.profiler.arrivals.guarded import GuardedShape
from servefit.profiler.arrivals.schedule import draw_arrivals_ns
from servefit.quantities import percent_text

if TYPE_CHECKING:
    from servefit.profiler.arrivals.contract import Arrivals

DRAWS = 10
"""Runs that are drawn, each from a seed of its own. Chosen, not measured."""

EXPECTED, MAX_EXPECTED = 1_000, 100_000
"""Arrivals that a drawn run has at least, and about the most of them. Chosen, not measured."""

MAX_ERRORS = 8
"""Standard errors of the mean of DRAWS runs: a shape that keeps to the rate is further off once in 40,000 times at
most [Student's t, 9 degrees of freedom], where the counts of its runs are about normally distributed."""


def check_mean_rate(shape: Arrivals, *, rate_per_s: float) -> None:
    """Raise SpecError if ``shape`` is of another package, and its mean rate over whole cycles differs from
    ``rate_per_s`` by more than random arrivals can explain."""
    if not isinstance(shape, GuardedShape):
        return
    cycle_s = shape.cycle_s
    if cycle_s:
        # A cycle of many arrivals is tried at a lower rate: the shape is the same at every rate.
        rate_per_s = min(rate_per_s, MAX_EXPECTED / cycle_s)
    duration_s = EXPECTED / rate_per_s
    if cycle_s:
        duration_s = ceil(duration_s / cycle_s) * cycle_s
    if duration_s > shape.longest_s:
        duration_s = shape.longest_s
        if duration_s < cycle_s:
            return  # it never shows a whole cycle, over which the mean is defined
    counts = np.array(
        [len(draw_arrivals_ns(shape, rate_per_s=rate_per_s, duration_s=duration_s, seed=seed)) for seed in range(DRAWS)]
    )
    expected, mean = rate_per_s * duration_s, float(counts.mean())
    # Evenly spaced arrivals vary by less than those of a Poisson process, bursts by more.
    error = sqrt(max(expected, float(counts.var(ddof=1))) / DRAWS)
    if abs(mean - expected) > MAX_ERRORS * error + 1:
        raise shape.error(f"come at {percent_text(mean / expected)} of the rate that is asked")
