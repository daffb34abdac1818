"""Where the samples of metrics come from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from servefit.aws.services.cloudwatch.series import SampleSeries

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
