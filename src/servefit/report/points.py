"""Series of points for plots: what is known of them, under the names of backends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, TypeVar

from servefit.report.plot import Guide, Series, Value

if TYPE_CHECKING:
    from servefit.search.jobs.job import RecommendationJob

_Point = TypeVar("_Point")


def by_backend(
    points: Sequence[_Point], backend: Callable[[_Point], str], series: Callable[[str, Sequence[_Point]], Series]
) -> tuple[Series, ...]:
    """A series for each backend, in the order in which they come."""
    return tuple(
        series(name, [one for one in points if backend(one) == name]) for name in dict.fromkeys(map(backend, points))
    )


def series_of(
    name: str,
    points: Sequence[_Point],
    *,
    x: Callable[[_Point], Value],
    y: Callable[[_Point], Value],
    label: Callable[[_Point], str],
    interval: Callable[[_Point], tuple[float, float] | None] | None = None,
    drawn_as: Literal["points", "line"] = "points",
    symbol: Literal["filled", "hollow", "star"] = "filled",
    colour: str | None = None,
) -> Series:
    """Those of ``points`` that are known. Colours go by name."""
    shown = [one for one in points if _is_known(x(one)) and _is_known(y(one))]
    intervals = [None if interval is None else interval(one) for one in shown]
    return Series(
        name=name,
        x=[x(one) for one in shown],
        y=[y(one) for one in shown],
        labels=[label(one) for one in shown],
        low=[None if one is None else one[0] for one in intervals] if any(intervals) else (),
        high=[None if one is None else one[1] for one in intervals] if any(intervals) else (),
        drawn_as=drawn_as,
        symbol=symbol,
        colour=colour or name,
    )


def _is_known(value: Value) -> bool:
    """A logarithmic axis has no place for zero."""
    return value is not None and (isinstance(value, str) or value > 0)


def limits(job: RecommendationJob, along: str) -> tuple[Guide, ...]:
    """The SLA's limits on p95, or, where there are none, on other percentiles, which say what they are of."""
    thresholds = job.request.sla.thresholds
    of_p95 = [one for one in thresholds if one.percentile == "p95"] or thresholds
    return tuple(
        Guide(along="x" if along == "x" else "y", at=one.limit_ms, label=f"SLA {one.percentile} {one.limit_text}")
        for one in of_p95
    )
