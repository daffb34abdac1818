"""The base class of traffic shapes. One is a frozen dataclass in a file of its own, whose fields are its parameters.

A shape says how a mean rate is spread over time, and not what the rate is: the same shape serves every rate, so that
the highest one can be searched for, and a rate be shared out over instances. Its times on the clock stay what they are:
a share of a sine of ten seconds is a sine of ten seconds. How parameters are spelled is in ``parameters``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import ceil, inf
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from servefit.profiler.arrivals.parameters import check_parameters, spell_parameters

if TYPE_CHECKING:
    from pathlib import Path

NS_PER_S = 1_000_000_000  # of the clock, which counts whole nanoseconds

STEADY = ("poisson", "constant")
"""The shapes whose rate is the same at all times, as they are spelled. Any other one is taken for one that varies:
tests that end as soon as they are decided, and intervals from blocks of time, rest on a rate that does not."""

MAX_ARRIVALS = 50_000_000
"""Arrivals of one run: due, started and ended of each are 24 bytes in shared memory, 1.2 GB in all. Nothing that is
measured on one host comes near them."""


@dataclass(frozen=True, kw_only=True)
class Arrivals(ABC):
    """A traffic shape, found by its ``name``; ``str`` gives its text, from which an equal one can be parsed.

    Example:
        >>> from servefit.profiler.arrivals.registry import arrivals_named
        >>> shape = arrivals_named("sine:amplitude=50%,period=2s")
        >>> len(shape.times_ns(rate_per_s=100, duration_s=2, seed=0)) > 150
        True
    """

    name: ClassVar[str]

    def __post_init__(self) -> None:
        check_parameters(self)

    @abstractmethod
    def times_ns(self, *, rate_per_s: float, duration_s: float, seed: int) -> np.ndarray:
        """Draw the arrivals of a run.

        Args:
            rate_per_s: The mean rate, over many cycles and many seeds. ``count_of`` says how many requests that is
                where nothing but their times is random.
            duration_s: The length of the run.
            seed: The seed of everything random: the same one gives the same arrivals.

        Returns:
            Times within the run in nanoseconds from its start, int64, ascending.

        Raises:
            SpecError: the shape cannot be drawn so: what it is made from is gone, or it ends before the run does.
        """

    @abstractmethod
    def describe(self) -> str:
        """Return what arrives in words that follow "arrivals: ", without a rate."""

    @property
    def own_rate_per_s(self) -> float | None:
        """The mean rate that the shape has by itself, which counts where no other is asked for; None where it has none.

        Raises SpecError where what says so cannot be read.
        """
        return None

    @property
    def cycle_s(self) -> float:
        """The seconds that a run takes to show all that the shape does; 0 where any run does. Raises as
        ``own_rate_per_s``."""
        return 0.0

    @property
    def longest_s(self) -> float:
        """The seconds that the shape goes on for. Raises as ``own_rate_per_s``."""
        return inf

    def typed(self, *, folder: Path | None = None) -> str:
        """Return its text as a person types it: without parameters that have their defaults, and with paths below
        ``folder`` relative to that."""
        if type(self).__str__ is not Arrivals.__str__:
            return str(self)
        parameters = spell_parameters(self, with_defaults=False, folder=folder)
        return f"{self.name}:{parameters}" if parameters else self.name

    def __str__(self) -> str:
        parameters = spell_parameters(self)
        return f"{self.name}:{parameters}" if parameters else self.name


def count_of(expected: float, random: np.random.Generator) -> int:
    """Return how many requests arrive where ``expected`` are asked for: as many, and of a fraction of a request one
    with that probability.

    The number in a Poisson process is random too, with a standard deviation of the root of what is expected: a run of
    500 requests would be of a load that is 4 % off, and its figures would not be those of the rate beside them. Given
    how many there are, its arrivals are independent and uniformly distributed [Cinlar 1975, section 4.5].
    """
    whole = int(expected)
    return whole + int(random.random() < expected - whole)


def whole_ns(times_s: np.ndarray, *, duration_s: float) -> np.ndarray:
    """Return times within a run in whole nanoseconds. Rounding leads none of them to its very end."""
    times_ns: np.ndarray = np.minimum((times_s * NS_PER_S).astype(np.int64), ceil(duration_s * NS_PER_S) - 1)
    return times_ns
