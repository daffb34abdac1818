"""The annotations of a widget: lines at a value or at a time, and bands between two of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from servefit.aws.services.cloudwatch.widgets.lines import COLOR
from servefit.aws.services.cloudwatch.widgets.widget_object import WidgetObject, refused

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
