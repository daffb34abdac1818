"""Bursts: a Poisson process that changes between a high and a low rate at random.

A Markov-modulated Poisson process of two states, which stay for times that are exponentially distributed [Fischer and
Meier-Hellstern 1993, The Markov-modulated Poisson process (MMPP) cookbook].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from servefit.errors import SpecError
from servefit.profiler.arrivals.contract import MAX_ARRIVALS, NS_PER_S, Arrivals
from servefit.profiler.arrivals.parameters import DURATION, FACTOR, parameter
from servefit.quantities import given_duration_text, given_text

BURSTS_IN_A_RUN = 10
"""A run shows what bursts do when there were about so many. The chance that it has none at all is e^-10 at most.
Chosen, not measured."""

_DEVIATIONS = 6
"""So many standard deviations more changes are drawn than are expected: that they do not suffice is rare, and then more
are drawn. Chosen, not measured."""


@dataclass(frozen=True, kw_only=True)
class Bursts(Arrivals):
    """The rate is ``factor`` times as high for ``burst_s`` on average as it is for ``quiet_s`` between."""

    name = "bursts"

    factor: float = parameter(FACTOR, default=4.0)
    burst_s: float = parameter(DURATION, default=0.1)
    quiet_s: float = parameter(DURATION, default=0.3)

    @property
    def cycle_s(self) -> float:
        return BURSTS_IN_A_RUN * (self.burst_s + self.quiet_s)

    def times_ns(self, *, rate_per_s: float, duration_s: float, seed: int) -> np.ndarray:
        random = np.random.default_rng(seed)
        both_s = self.burst_s + self.quiet_s
        quiet_per_s = rate_per_s * both_s / (self.factor * self.burst_s + self.quiet_s)
        rates = np.array([quiet_per_s, self.factor * quiet_per_s])
        means_s = np.array([self.quiet_s, self.burst_s])
        pairs = duration_s / both_s
        if pairs > MAX_ARRIVALS:
            raise SpecError("arrivals", str(self), f"change more than {MAX_ARRIVALS:,} times in {duration_s:g} s")
        # Times are exponentially distributed, so what is left of the first one is as well.
        first = int(random.random() < self.burst_s / both_s)
        ends_s = np.zeros(1)
        states = np.array([], dtype=np.int64)
        while ends_s[-1] < duration_s:
            more = 2 * int(pairs + _DEVIATIONS * pairs**0.5 + 10)
            new = (first + len(states) + np.arange(more)) % 2
            states = np.concatenate([states, new])
            ends_s = np.concatenate([ends_s, ends_s[-1] + np.cumsum(random.exponential(means_s[new]))])
        # Expected arrivals up to each change, on which a Poisson process of rate 1 runs.
        done = np.append(0.0, np.cumsum(np.diff(ends_s) * rates[states]))
        expected = float(np.interp(duration_s, ends_s, done))
        units = np.sort(random.uniform(0, expected, random.poisson(expected)))
        times_ns = (np.interp(units, done, ends_s) * NS_PER_S).astype(np.int64)
        return times_ns[times_ns < duration_s * NS_PER_S]

    def describe(self) -> str:
        times = f"{given_duration_text(self.burst_s)} on average, {given_duration_text(self.quiet_s)} apart"
        return f"in bursts of {given_text(self.factor)} times the rate between them, which last for {times}"
