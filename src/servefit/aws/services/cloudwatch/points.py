"""Points: the statistics of the samples of each period that has some."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from servefit.aws.services.cloudwatch.periods import Periods
    from servefit.aws.services.cloudwatch.series import SampleSeries
    from servefit.aws.services.cloudwatch.statistics import Statistic


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
