"""From turns to ratios: how much a figure of the new version differs from the old one's, and how certain that is.

Turns come in rounds of four, old new new old or the other way round, in which a steady drift of the machine cancels. A
round gives one ratio, and the mean of their logarithms has an interval [``profiler.evidence.intervals``].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, isfinite, log
from random import Random
from statistics import fmean
from typing import Literal, TypeAlias

from servefit.profiler.evidence.intervals import mean_interval

Side: TypeAlias = Literal["old", "new"]
RatioVerdict: TypeAlias = Literal["within", "beyond", "undecided"]

LIMIT = 0.03
"""What a figure may move by before it counts."""

MIN_ROUNDS = 3
"""An interval takes so many."""


def turns(coin: Random) -> tuple[Side, Side, Side, Side]:
    """Toss ``coin`` for who is first and last in a round, and return its turns."""
    return ("old", "new", "new", "old") if coin.random() < 0.5 else ("new", "old", "old", "new")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """New over old, with its 95 % interval, which is None for fewer than ``MIN_ROUNDS`` rounds."""

    value: float
    ci95: tuple[float, float] | None

    @property
    def verdict(self) -> RatioVerdict:
        """Where the whole interval lies: within 3 % of one, beyond that, or neither."""
        if self.ci95 is None:
            return "undecided"
        low, high = self.ci95
        if low > 1 + LIMIT or high < 1 - LIMIT:
            return "beyond"
        return "within" if low >= 1 - LIMIT and high <= 1 + LIMIT else "undecided"


def ratio_of(rounds: Sequence[Sequence[tuple[Side, float]]]) -> Ratio:
    """Return the ratio of figures that were measured in ``rounds`` of two turns a side. Raises RuntimeError for a
    figure that has no logarithm."""
    logs = []
    for measured in rounds:
        if wrong := [value for _, value in measured if not (value > 0 and isfinite(value))]:
            raise RuntimeError(f"a measurement came to {wrong[0]}, which cannot be compared")
        logs.append(sum((1 if side == "new" else -1) * log(value) for side, value in measured) / 2)
    if len(logs) < MIN_ROUNDS:
        return Ratio(value=exp(fmean(logs)), ci95=None)
    low, high = mean_interval(logs)
    return Ratio(value=exp(fmean(logs)), ci95=(exp(low), exp(high)))
