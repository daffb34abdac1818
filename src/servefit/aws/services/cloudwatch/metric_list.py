"""ListMetrics: the metrics that have samples."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from servefit.aws.services.cloudwatch.pages import page

if TYPE_CHECKING:
    from servefit.aws.services.call import Call
    from servefit.aws.services.cloudwatch.metrics import CloudWatchMetric
    from servefit.aws.services.cloudwatch.sources import Source

MAX_METRICS = 500
"""Of AWS, in an answer."""

_RECENT_S = 3 * 3600
"""The meaning of RecentlyActive PT3H, its only value."""


def metric_list(call: Call, source: Source) -> dict[str, Any]:
    """Return the metrics that are asked for. Raises ApiError, InvalidParameterValue."""
    request = call.given
    since_s = time.time() - _RECENT_S if "RecentlyActive" in request else 0.0
    recent = {metric for metric, newest_s in source.metrics() if newest_s >= since_s and _is_asked_for(request, metric)}
    if request.get("OwningAccount", call.account) != call.account:
        recent = set()
    kept = sorted(recent, key=lambda metric: (metric.namespace, metric.dimensions, metric.name))
    metrics, token = page(request, "ListMetrics", kept, most=MAX_METRICS, code="InvalidParameterValue")
    return {"Metrics": [metric.document for metric in metrics], "NextToken": token}


def _is_asked_for(request: Mapping[str, Any], metric: CloudWatchMetric) -> bool:
    names = dict(metric.dimensions)
    return (
        request.get("Namespace", metric.namespace) == metric.namespace
        and request.get("MetricName", metric.name) == metric.name
        and all(
            dimension["Name"] in names and dimension.get("Value", names[dimension["Name"]]) == names[dimension["Name"]]
            for dimension in request.get("Dimensions", ())
        )
    )
