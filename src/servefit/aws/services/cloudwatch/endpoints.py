"""The metrics of endpoints that were invoked, also of those that are gone.

ModelLatency is what the endpoint says of itself: how long a request waited for the predictor, and how long the call
took. Where it says nothing, as with an error, it is the whole exchange with its process. OverheadLatency is the rest
of the time that the server had the request: reading and writing HTTP, at both of them. What the client's own connection
takes is in neither, as at AWS.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from servefit.aws.services.cloudwatch.metrics import OF_INVOCATIONS, UNITS, CloudWatchMetric, of_invocations
from servefit.aws.services.cloudwatch.series import SampleSeries

if TYPE_CHECKING:
    from servefit.aws.endpoints.invocations import InvocationLogs


class EndpointMetrics:
    """Those of the invocations in ``logs``."""

    def __init__(self, logs: InvocationLogs) -> None:
        self._logs = logs

    def metrics(self) -> Iterator[tuple[CloudWatchMetric, float]]:
        for variant, last_s in self._logs.variants():
            for name in UNITS[OF_INVOCATIONS]:
                yield CloudWatchMetric.of_variant(OF_INVOCATIONS, name, variant), last_s

    def series(self, metric: CloudWatchMetric, begin_s: float, end_s: float) -> SampleSeries:
        variant = metric.variant
        if metric.namespace != OF_INVOCATIONS or metric.unit is None or variant is None:
            return SampleSeries.joined([])
        return of_invocations(metric.name, self._logs.read(variant)).between(begin_s, end_s)
