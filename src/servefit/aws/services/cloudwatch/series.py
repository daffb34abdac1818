"""The samples of a metric, and the sources that they come from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from servefit.aws.services.cloudwatch.metrics import CloudWatchMetric


class Source(Protocol):
    """Has metrics and their samples."""

    def metrics(self) -> Iterable[tuple[CloudWatchMetric, float]]:
        """Return the metrics that there are, each with the time of its newest sample, in seconds since 1970."""
        ...

    def series(self, metric: CloudWatchMetric, begin_s: float, end_s: float) -> SampleSeries:
        """Return the samples of a metric between two times, and maybe others: none where there are none."""
        ...


class Sources:
    """Several sources as one."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources

    def metrics(self) -> Iterator[tuple[CloudWatchMetric, float]]:
        for source in self._sources:
            yield from source.metrics()

    def series(self, metric: CloudWatchMetric, begin_s: float, end_s: float) -> SampleSeries:
        return SampleSeries.joined([source.series(metric, begin_s, end_s) for source in self._sources])


@dataclass(frozen=True, slots=True)
class SampleSeries:
    """Samples by the time at which they were taken, ascending: ``at_s`` in seconds since 1970, float64, and
    ``values``, numbers, an entry each."""

    at_s: np.ndarray
    values: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence[SampleSeries]) -> SampleSeries:
        """Return the samples of all parts."""
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return cls(np.array([]), np.array([]))
        at_s = np.concatenate([part.at_s for part in parts])
        order = np.argsort(at_s, kind="stable")
        return cls(at_s[order], np.concatenate([part.values for part in parts])[order])

    def between(self, begin_s: float, end_s: float) -> SampleSeries:
        """Return the samples from ``begin_s`` on and before ``end_s``."""
        first, last = np.searchsorted(self.at_s, [begin_s, end_s])
        return SampleSeries(self.at_s[first:last], self.values[first:last])
