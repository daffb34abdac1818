"""A metric widget: what a picture is to show, read from its description in JSON. What CloudWatch knows and a picture of
servefit does not show, such as themes, is left alone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from math import ceil
from typing import Any

from servefit.aws.services.cloudwatch.periods import MAX_POINTS, Periods
from servefit.aws.services.cloudwatch.widgets.lines import COLOR, Line, lines_of
from servefit.aws.services.cloudwatch.widgets.widget_object import WidgetObject, refused

_DAY_S = 86_400

_DURATION = re.compile(r"-?P(?:(\d+)W)?(?:(\d+)M)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?", re.ASCII)
_SECONDS = (7 * _DAY_S, 30 * _DAY_S, _DAY_S, 3600, 60, 1)
"""The seconds of its parts; a month has 30 days."""

_MAX_TIME_S = 32_503_680_000
"""The year 3000, in seconds since 1970."""

TIMEZONE = r"[+-](?:0\d|1[0-4])[0-5]\d"
"""An offset from UTC, such as +0130."""


def seconds_of(text: str, now_s: float, where: str) -> float:
    """Return a time in seconds since 1970. Raises ApiError.

    Example:
        >>> seconds_of("-PT1H", 7200.0, "/start"), seconds_of("1970-01-01T00:00:10Z", 7200.0, "/start")
        (3600.0, 10.0)
    """
    if text.startswith(("-P", "P")):
        at_s = now_s - _duration_s(text, where)
    else:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError as error:
            raise refused(where, "Should be a time of ISO 8601, or a duration such as -PT3H") from error
        at_s = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not 0 <= at_s <= _MAX_TIME_S:
        raise refused(where, "Should be between the years 1970 and 3000")
    return at_s


def zone(offset: str) -> timezone:
    """Return the time zone of an offset such as +0130, that of UTC where it is empty."""
    if not offset:
        return UTC
    minutes = int(offset[1:3]) * 60 + int(offset[3:])
    return timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes))


def _duration_s(text: str, where: str) -> float:
    match = _DURATION.fullmatch(text)
    if match is None or len(text) > 40 or not any(match.groups()):
        raise refused(where, "Should be a duration such as -PT3H")
    return float(sum(int(number or 0) * each_s for number, each_s in zip(match.groups(), _SECONDS, strict=True)))


_MAX_ANNOTATIONS = 100
"""Of each kind. Chosen, not measured."""

_DEFAULT_COLOR = "#d62728"


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """A line ``at`` a value, or at a time in seconds since 1970; with ``until`` a band. ``fill`` is "none", or the side
    of the line that is filled: "above", "below", "after" or "before". ``axis`` is left or right."""

    at: float
    until: float | None
    label: str
    color: str
    fill: str
    axis: str


def horizontal(container: WidgetObject) -> list[Annotation]:
    """Return the lines at values. Raises ApiError, ValidationError."""

    def value(line: WidgetObject) -> float:
        number = line.number("value")
        if number is None:
            raise refused(line.where, "Should have required property 'value'")
        return number

    return _annotations(container, "horizontal", value, fills=("none", "above", "below"))


def vertical(container: WidgetObject, seconds_of: Callable[[str, str], float]) -> list[Annotation]:
    """Return the lines at times, which ``seconds_of`` reads. Raises ApiError, ValidationError."""

    def time(line: WidgetObject) -> float:
        if line.values.get("value") is None:
            raise refused(line.where, "Should have required property 'value'")
        return seconds_of(line.text("value"), line.at("value"))

    return _annotations(container, "vertical", time, fills=("none", "before", "after"))


def _annotations(
    container: WidgetObject, name: str, value: Callable[[WidgetObject], float], *, fills: tuple[str, ...]
) -> list[Annotation]:
    lines = []
    for member, where in container.items(name, most=_MAX_ANNOTATIONS):
        first, second = _ends(member, where)
        if not first.flag("visible", default=True):
            continue
        lines.append(
            Annotation(
                at=value(first),
                until=None if second is None else value(second),
                label=first.text("label"),
                color=first.text("color", pattern=COLOR) or _DEFAULT_COLOR,
                fill=first.choice("fill", fills),
                axis=first.choice("yAxis", ("left", "right")),
            )
        )
    return lines


def _ends(member: Any, where: str) -> tuple[WidgetObject, WidgetObject | None]:
    """Return the line of an annotation, and the other end of a band."""
    if not isinstance(member, list):
        return WidgetObject.of(member, where), None
    if len(member) != 2:
        raise refused(where, "Should have 2 items")
    first, second = (WidgetObject.of(end, f"{where}/{nth}") for nth, end in enumerate(member))
    return first, second


MAX_CHARACTERS = 100 * 1024
"""Of AWS, in a description."""

_MAX_PIXELS = 2000
_USUAL_PIXELS = (600, 400)
_USUAL_START = "-PT3H"
_USUAL_END = "P0D"
"""Of AWS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WidgetAxis:
    """A vertical axis; None leaves an end to the picture."""

    least: float | None
    most: float | None
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Widget:
    """Times are in seconds since 1970, sizes in pixels; ``axes`` has left and right."""

    lines: tuple[Line, ...]
    begin_s: float
    end_s: float
    width: int
    height: int
    title: str
    view: str
    stacked: bool
    legend: str
    axes: dict[str, WidgetAxis]
    horizontal: tuple[Annotation, ...]
    vertical: tuple[Annotation, ...]
    timezone: timezone

    def periods(self, line: Line) -> Periods:
        """Return the periods of a line: longer ones than it says where these would be too many, as CloudWatch does."""
        least_s = (self.end_s - self.begin_s) / MAX_POINTS
        period_s = line.period_s if line.period_s >= least_s else ceil(least_s / 60) * 60
        return Periods(period_s=period_s, begin_s=self.begin_s, end_s=self.end_s)


def widget_of(text: str, *, now_s: float) -> Widget:
    """Read a description. Raises ApiError, ValidationError, for whatever is wrong with it."""
    description = WidgetObject.of(_document(text), "")
    begin_s = seconds_of(description.text("start", _USUAL_START), now_s, description.at("start"))
    end_s = seconds_of(description.text("end", _USUAL_END), now_s, description.at("end"))
    if begin_s >= end_s:
        raise refused(description.at("start"), "Should be before the end")
    annotations = description.inner("annotations")
    width, height = _USUAL_PIXELS
    return Widget(
        lines=tuple(lines_of(description)),
        begin_s=begin_s,
        end_s=end_s,
        width=description.whole("width", width, most=_MAX_PIXELS),
        height=description.whole("height", height, most=_MAX_PIXELS),
        title=description.text("title"),
        view=description.choice("view", ("timeSeries", "singleValue")),
        stacked=description.flag("stacked", default=False),
        legend=description.inner("legend").choice("position", ("bottom", "right", "hidden")),
        axes={side: _axis(description.inner("yAxis").inner(side)) for side in ("left", "right")},
        horizontal=tuple(horizontal(annotations)),
        vertical=tuple(vertical(annotations, lambda value, where: seconds_of(value, now_s, where))),
        timezone=zone(description.text("timezone", pattern=TIMEZONE)),
    )


def _axis(axis: WidgetObject) -> WidgetAxis:
    least, most = axis.number("min"), axis.number("max")
    if least is not None and most is not None and least >= most:
        raise refused(axis.at("min"), "Should be below max")
    return WidgetAxis(least=least, most=most, label=axis.text("label"))


def _document(text: str) -> Any:
    if len(text) > MAX_CHARACTERS:
        raise refused("", f"Should NOT be longer than {MAX_CHARACTERS} characters")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise refused("", "Should be JSON") from error
