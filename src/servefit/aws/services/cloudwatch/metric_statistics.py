"""GetMetricStatistics: all statistics of one metric."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from servefit.aws.services.cloudwatch.errors import bad_combination, bad_value
from servefit.aws.services.cloudwatch.metrics import CloudWatchMetric
from servefit.aws.services.cloudwatch.periods import MAX_POINTS, PERIODS, Periods, is_period, wrong_way_round
from servefit.aws.services.cloudwatch.points import points
from servefit.aws.services.cloudwatch.statistics import is_extended, statistic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from servefit.aws.services.call import Call
    from servefit.aws.services.cloudwatch.sources import Source
    from servefit.aws.services.cloudwatch.statistics import Statistic


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
