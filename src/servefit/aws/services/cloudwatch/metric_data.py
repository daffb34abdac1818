"""The sources of metrics, and GetMetricData: one statistic of each of several metrics, in pages. Metric math is not
computed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from servefit.aws.services.cloudwatch.errors import bad_request
from servefit.aws.services.cloudwatch.metrics import CloudWatchMetric
from servefit.aws.services.cloudwatch.periods import PERIODS, Periods, is_period, wrong_way_round
from servefit.aws.services.cloudwatch.series import SampleSeries
from servefit.aws.services.cloudwatch.statistics import points, statistic
from servefit.aws.services.pages import one_page
from servefit.aws.wire.errors import ApiError

if TYPE_CHECKING:
    from servefit.aws.services.call import Call
    from servefit.aws.services.cloudwatch.statistics import Statistic


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


_T = TypeVar("_T")


def page(
    request: Mapping[str, Any], operation: str, kept: list[_T], *, most: int, code: str
) -> tuple[list[_T], str | None]:
    """Return ``most`` things at most, and the token of the next page, None where there is none. Raises ApiError of that
    code for the token of another call."""
    try:
        return one_page({**request, "MaxResults": most}, operation, kept)
    except ApiError as error:
        raise ApiError(code, "Request parameter NextToken is invalid") from error


MAX_QUERIES = 500
"""Of AWS, in a call."""

MAX_POINTS = 100_800
"""Of AWS, in an answer."""

_ID = re.compile(r"[a-z][a-zA-Z0-9_]*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Query:
    """One query of a request. ``unit`` is the only one that it takes, None where it takes any."""

    id: str
    label: str
    metric: CloudWatchMetric
    statistic: Statistic
    period_s: int
    unit: str | None
    returned: bool

    def points(self, request: Mapping[str, Any], source: Source) -> Sequence[tuple[int, float]]:
        """Return times and values, in the order that is asked for."""
        if self.metric.unit is None or self.unit not in (None, self.metric.unit):
            return []
        periods = Periods.between(request["StartTime"], request["EndTime"], self.period_s)
        series = source.series(self.metric, periods.first_s, periods.last_s)
        in_time = [(at_s, values[0]) for at_s, values in points(series, periods, [self.statistic])]
        return in_time if request.get("ScanBy") == "TimestampAscending" else in_time[::-1]


class _Entry(NamedTuple):
    """A point of a query, None for the only entry of one that has none."""

    query: _Query
    point: tuple[int, float] | None
    is_last: bool


def metric_data(call: Call, source: Source) -> dict[str, Any]:
    """Return a page of the points that are asked for. Raises ApiError, ValidationError."""
    request = call.given
    most = request.get("MaxDatapoints", MAX_POINTS)
    if wrong := wrong_way_round(request["StartTime"], request["EndTime"]):
        raise bad_request(wrong)
    if not 1 <= most <= MAX_POINTS:
        raise bad_request(f"The parameter MaxDatapoints must be between 1 and {MAX_POINTS}.")
    queries = [query for query in _queries(request["MetricDataQueries"]) if query.returned]
    entries = [entry for query in queries for entry in _entries(query, query.points(request, source))]
    shown, token = page(request, "GetMetricData", entries, most=most, code="InvalidNextToken")
    results = [_result(query, [*of_query]) for query, of_query in groupby(shown, key=lambda entry: entry.query)]
    return {"MetricDataResults": results, "NextToken": token, "Messages": []}


def _entries(query: _Query, query_points: Sequence[tuple[int, float]]) -> Iterator[_Entry]:
    if not query_points:
        yield _Entry(query, None, is_last=True)
    for nth, point in enumerate(query_points, start=1):
        yield _Entry(query, point, is_last=nth == len(query_points))


def _result(query: _Query, entries: Sequence[_Entry]) -> dict[str, Any]:
    query_points = [entry.point for entry in entries if entry.point is not None]
    return {
        "Id": query.id,
        "Label": query.label,
        "Timestamps": [at_s for at_s, _ in query_points],
        "Values": [value for _, value in query_points],
        "StatusCode": "Complete" if entries[-1].is_last else "PartialData",
    }


def _queries(asked: Sequence[Mapping[str, Any]]) -> list[_Query]:
    """Return the queries of a call. Raises ApiError, with the words that AWS has."""
    if not 1 <= len(asked) <= MAX_QUERIES:
        raise bad_request(f"The collection MetricDataQueries must have between 1 and {MAX_QUERIES} members.")
    queries = [_query(member, f"MetricDataQueries.member.{nth}") for nth, member in enumerate(asked, start=1)]
    if len({query.id for query in queries}) < len(queries):
        raise bad_request("The values for parameter id in MetricDataQueries are not unique.")
    if not any(query.returned for query in queries):
        raise bad_request("At least one of the MetricDataQueries must have ReturnData true.")
    return queries


def _query(query: Mapping[str, Any], where: str) -> _Query:
    name, asked = query["Id"], query.get("MetricStat")
    if _ID.fullmatch(name) is None:
        pattern = f"^{_ID.pattern}$"
        raise bad_request(f"The value {name} for parameter {where}.Id is not matching the expected pattern {pattern}.")
    if "Expression" in query:
        if asked is not None:
            both = f"{where}.Expression and {where}.MetricStat"
            raise bad_request(f"The parameters {both} are mutually exclusive and you have specified both.")
        raise bad_request(f"Error in expression '{name}': metric math is not computed here.")
    if asked is None:
        raise bad_request(f"The parameter {where}.MetricStat is required.")
    for member in ("Namespace", "MetricName"):
        if member not in asked["Metric"]:
            raise bad_request(f"The parameter {where}.MetricStat.Metric.{member} is required.")
    stat = statistic(asked["Stat"])
    if stat is None:
        raise bad_request(f"The value {asked['Stat']} for parameter {where}.MetricStat.Stat is not a valid statistic.")
    if not is_period(asked["Period"]):
        raise bad_request(f"The parameter {where}.MetricStat.Period must be {PERIODS}.")
    metric = CloudWatchMetric.asked_for(asked["Metric"])
    return _Query(
        id=name,
        label=query.get("Label", metric.name),
        metric=metric,
        statistic=stat,
        period_s=asked["Period"],
        unit=asked.get("Unit"),
        returned=query.get("ReturnData", True),
    )
