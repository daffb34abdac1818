"""Series of points for plots, one for each backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, TypeVar

from servefit.report.plot import ReferenceLine, Series, Value

if TYPE_CHECKING:
    from servefit.search.jobs.job import RecommendationJob

_Point = TypeVar("_Point")


def by_backend(
    points: Sequence[_Point], backend: Callable[[_Point], str], series: Callable[[str, Sequence[_Point]], Series]
) -> tuple[Series, ...]:
    """Return a series for each backend, in the order of their first points."""
    return tuple(
        series(name, [point for point in points if backend(point) == name])
        for name in dict.fromkeys(map(backend, points))
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
    predicted: bool = False,
) -> Series:
    """Return the series of the ``points`` that have both coordinates. Without ``colour``, its colour is that of
    ``name``."""
    shown = [point for point in points if _is_known(x(point)) and _is_known(y(point))]
    intervals = [None if interval is None else interval(point) for point in shown]
    return Series(
        name=name,
        x=[x(point) for point in shown],
        y=[y(point) for point in shown],
        labels=[label(point) for point in shown],
        low=[None if ends is None else ends[0] for ends in intervals] if any(intervals) else (),
        high=[None if ends is None else ends[1] for ends in intervals] if any(intervals) else (),
        drawn_as=drawn_as,
        symbol=symbol,
        colour=colour or name,
        predicted=predicted,
    )


def _is_known(value: Value) -> bool:
    """Return whether ``value`` can be drawn: a logarithmic axis cannot show zero."""
    return value is not None and (isinstance(value, str) or value > 0)


def limits(job: RecommendationJob, along: str) -> tuple[ReferenceLine, ...]:
    """Return lines at the SLA's limits on p95, or, if there are none, on other percentiles, with their labels."""
    thresholds = job.request.sla.thresholds
    drawn = [threshold for threshold in thresholds if threshold.percentile == "p95"] or thresholds
    return tuple(
        ReferenceLine(
            along="x" if along == "x" else "y",
            at=threshold.limit_ms,
            label=f"SLA {threshold.percentile} {threshold.limit_text}",
        )
        for threshold in drawn
    )
