"""A metric widget: what a picture is to show, read from its description in JSON. What CloudWatch knows and a picture of
servefit does not show, such as themes, is left alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

from servefit.aws.services.cloudwatch.periods import MAX_POINTS, Periods
from servefit.aws.services.cloudwatch.widgets.annotations import Annotation, horizontal, vertical
from servefit.aws.services.cloudwatch.widgets.lines import Line, lines_of
from servefit.aws.services.cloudwatch.widgets.times import TIMEZONE, seconds_of, zone
from servefit.aws.services.cloudwatch.widgets.widget_object import WidgetObject, refused

if TYPE_CHECKING:
    from datetime import timezone

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
