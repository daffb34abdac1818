"""The operations of CloudWatch, on all metrics that there are, and all of them but GetMetricData themselves."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from servefit.aws.services.cloudwatch.endpoint_loads import EndpointLoadMetrics
from servefit.aws.services.cloudwatch.endpoints import EndpointMetrics
from servefit.aws.services.cloudwatch.errors import bad_combination, bad_value
from servefit.aws.services.cloudwatch.load_tests import LoadTestMetrics
from servefit.aws.services.cloudwatch.metric_data import Source, Sources, metric_data, page
from servefit.aws.services.cloudwatch.metrics import CloudWatchMetric
from servefit.aws.services.cloudwatch.periods import MAX_POINTS, PERIODS, Periods, is_period, wrong_way_round
from servefit.aws.services.cloudwatch.recorded import Recordings
from servefit.aws.services.cloudwatch.statistics import is_extended, points, statistic
from servefit.aws.services.cloudwatch.widgets.widget import widget_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from servefit.aws.endpoints.invocations import InvocationLogs
    from servefit.aws.jobs.own_job import OwnJobs
    from servefit.aws.jobs.queue import JobQueue
    from servefit.aws.services.call import Call, Operation, Operations
    from servefit.aws.services.cloudwatch.statistics import Statistic
    from servefit.aws.state.resources import Resources


_FORMAT = "png"
"""image/png, with which AWS answers the bare picture, is for clients without an SDK."""


def widget_image(call: Call, source: Source) -> dict[str, Any]:
    """Return a picture. Raises ApiError, ValidationError for a description that is none, InvalidParameterValue for
    another format."""
    if (form := call.given.get("OutputFormat", _FORMAT)) != _FORMAT:
        raise bad_value(f"The value {form} for parameter OutputFormat is not supported.")
    widget = widget_of(call.given["MetricWidget"], now_s=time.time())
    drawn = []
    for line in widget.lines:
        if line.visible:
            periods = widget.periods(line)
            series = source.series(line.metric, periods.first_s, periods.last_s)
            curve = [(at_s, values[0]) for at_s, values in points(series, periods, [line.statistic])]
            drawn.append((line, curve))
    from servefit.aws.services.cloudwatch.widgets.picture import picture

    return {"MetricWidgetImage": picture(widget, drawn)}


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


def metric_statistics(call: Call, source: Source) -> dict[str, Any]:
    """Return the points of a metric. Raises ApiError, InvalidParameterValue and InvalidParameterCombination."""
    request = call.given
    basic, extended = _statistics(request)
    periods = _periods(request)
    metric = CloudWatchMetric.asked_for(request)
    answer: dict[str, Any] = {"Label": metric.name, "Datapoints": []}
    if metric.unit is None or request.get("Unit", metric.unit) != metric.unit:
        return answer
    series = source.series(metric, periods.first_s, periods.last_s)
    for at_s, values in points(series, periods, [*basic, *extended]):
        point: dict[str, Any] = {stat.name: value for stat, value in zip(basic, values, strict=False)}
        others = {stat.name: value for stat, value in zip(extended, values[len(basic) :], strict=True)}
        if others:
            point["ExtendedStatistics"] = others
        answer["Datapoints"].append({"Timestamp": at_s, "Unit": metric.unit, **point})
    return answer


def _statistics(request: Mapping[str, Any]) -> tuple[Sequence[Statistic], Sequence[Statistic]]:
    """Return the basic statistics that are asked for, which the service model has checked, and the extended ones."""
    basic, extended = request.get("Statistics", ()), request.get("ExtendedStatistics", ())
    if not basic and not extended:
        raise bad_combination("Must specify either Statistics or ExtendedStatistics")
    for name in extended:
        if not is_extended(name):
            raise bad_value(f"The value {name} for parameter ExtendedStatistics is not supported.")
    first, second = (
        [stat for name in dict.fromkeys(names) if (stat := statistic(name)) is not None] for names in (basic, extended)
    )
    return first, second


def _periods(request: Mapping[str, Any]) -> Periods:
    begin, end, period_s = request["StartTime"], request["EndTime"], request["Period"]
    if wrong := wrong_way_round(begin, end):
        raise bad_value(wrong)
    if not is_period(period_s):
        raise bad_value(f"The parameter Period must be {PERIODS}.")
    periods = Periods.between(begin, end, period_s)
    if periods.count > MAX_POINTS:
        raise bad_combination(
            f"You have requested up to {periods.count} datapoints, which exceeds the limit of {MAX_POINTS}. "
            "You may reduce the datapoints requested by increasing Period, or decreasing the time range."
        )
    return periods


class CloudWatch:
    """The metrics of the jobs of ``queue``, which are kept in ``resources`` and loaded by ``own_jobs``, and of the
    invocations in ``logs``."""

    def __init__(self, resources: Resources, queue: JobQueue, logs: InvocationLogs, own_jobs: OwnJobs) -> None:
        recordings = Recordings()
        self._source = Sources(
            [
                LoadTestMetrics(resources, queue, recordings, own_jobs),
                EndpointLoadMetrics(resources, queue, recordings),
                EndpointMetrics(logs),
            ]
        )

    @property
    def operations(self) -> Operations:
        return {
            "GetMetricStatistics": self._on_metrics(metric_statistics),
            "GetMetricData": self._on_metrics(metric_data),
            "ListMetrics": self._on_metrics(metric_list),
            "GetMetricWidgetImage": self._on_metrics(widget_image),
        }

    def _on_metrics(self, operation: Callable[[Call, Source], Mapping[str, Any]]) -> Operation:
        return lambda call: operation(call, self._source)
