"""Statistics of samples, by the names that CloudWatch has for them.

A percentile pNN is the smallest sample that at least so many per cent of the samples do not exceed: one that occurred,
as in all of servefit. CloudWatch does not say which definition it has. tmNN, tsNN, tcNN and wmNN are of the samples up
to that one: their mean, their sum, how many they are, and the mean of all with those above it put down to it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from servefit.aws.services.cloudwatch.periods import Periods
    from servefit.aws.services.cloudwatch.series import SampleSeries


def points(
    series: SampleSeries, periods: Periods, statistics: Sequence[Statistic]
) -> Iterator[tuple[int, list[float]]]:
    """Yield the beginning of each period that has samples, and the value of each statistic, the earliest first."""
    inside = series.between(periods.first_s, periods.last_s)
    if not len(inside.at_s):
        return
    numbers = np.floor(inside.at_s / periods.period_s).astype(np.int64)
    changes = np.flatnonzero(np.diff(numbers)) + 1
    for first, last in zip([0, *changes.tolist()], [*changes.tolist(), len(numbers)], strict=True):
        samples = np.sort(inside.values[first:last].astype(np.float64))
        yield int(numbers[first]) * periods.period_s, [stat.of(samples) for stat in statistics]


_BASIC: Mapping[str, Callable[[np.ndarray], float]] = {
    "SampleCount": lambda samples: float(len(samples)),
    "Average": lambda samples: float(samples.mean()),
    "Sum": lambda samples: float(samples.sum()),
    "Minimum": lambda samples: float(samples[0]),
    "Maximum": lambda samples: float(samples[-1]),
}

_EXTENDED = re.compile(r"(p|tm|ts|tc|wm)(\d{1,3}(?:\.\d{1,10})?)", re.ASCII)
"""Ten decimals, as CloudWatch has it."""


@dataclass(frozen=True, slots=True)
class Statistic:
    """``of`` gives it of samples, ascending and at least one, as float64. ``name`` is as it was asked for."""

    name: str
    of: Callable[[np.ndarray], float]


def statistic(name: str) -> Statistic | None:
    """Return the statistic of that name, None where there is none.

    Example:
        >>> import numpy as np
        >>> median = statistic("p50")
        >>> median.of(np.array([1.0, 2.0, 40.0]))
        2.0
    """
    if name in _BASIC:
        return Statistic(name, _BASIC[name])
    match = _EXTENDED.fullmatch(name)
    if match is None or float(match[2]) > 100 or (match[1] != "p" and not float(match[2])):
        return None
    return Statistic(name, _of_lowest(match[1], float(match[2])))


def is_extended(name: str) -> bool:
    """Return whether a name is that of a statistic that CloudWatch calls extended."""
    return name not in _BASIC and statistic(name) is not None


def _of_lowest(kind: str, percent: float) -> Callable[[np.ndarray], float]:
    def of(samples: np.ndarray) -> float:
        # 99.9 per cent of 1000 are 999.0000000000001 to a computer.
        count = max(1, ceil(round(len(samples) * percent / 100, 6)))
        lowest = samples[:count]
        match kind:
            case "p":
                return float(lowest[-1])
            case "tm":
                return float(lowest.mean())
            case "ts":
                return float(lowest.sum())
            case "tc":
                return float(count)
            case _:
                return float((lowest.sum() + lowest[-1] * (len(samples) - count)) / len(samples))

    return of
