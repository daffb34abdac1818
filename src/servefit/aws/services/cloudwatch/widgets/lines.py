"""The metrics of a widget: arrays of names, in which a dot stands for what the metric before has in the same place, and
three dots for all that it has between what is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from servefit.aws.services.cloudwatch.metrics import CloudWatchMetric
from servefit.aws.services.cloudwatch.periods import PERIODS, is_period
from servefit.aws.services.cloudwatch.statistics import statistic
from servefit.aws.services.cloudwatch.widgets.widget_object import WidgetObject, refused

if TYPE_CHECKING:
    from servefit.aws.services.cloudwatch.statistics import Statistic

MAX_LINES = 100
"""Of AWS."""

_MAX_NAMES = 62
"""Namespace, name, and 30 dimensions, which AWS allows."""

COLOR = "#(?:[0-9a-fA-F]{3}){1,2}"

_MAX_PERIOD_S = 2**31


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A metric to draw. ``label`` and ``color`` are empty where the picture chooses; ``axis`` is left or right."""

    metric: CloudWatchMetric
    statistic: Statistic
    period_s: int
    label: str
    color: str
    axis: str
    visible: bool


def lines_of(widget: WidgetObject) -> list[Line]:
    """Return the metrics of a widget. Raises ApiError, ValidationError."""
    if widget.values.get("metrics") is None:
        raise refused(widget.where, "Should have required property 'metrics'")
    lines, before = [], list[str]()
    for value, where in widget.items("metrics", most=MAX_LINES):
        names, options = _parts(value, where)
        before = _written_out(names, before, where)
        lines.append(_line(before, options, widget))
    if not lines:
        raise refused(widget.at("metrics"), "Should NOT have fewer than 1 items")
    return lines


def _parts(value: Any, where: str) -> tuple[Sequence[str], WidgetObject]:
    """Return the names of a metric, and its options."""
    if not isinstance(value, list):
        raise refused(where, "Should be array")
    has_options = bool(value) and isinstance(value[-1], dict)
    options = WidgetObject.of(value[-1] if has_options else {}, where)
    if "expression" in options.values:
        raise refused(where, f"Error in expression '{options.text('id')}': metric math is not computed here")
    names = value[:-1] if has_options else value
    for nth, name in enumerate(names):
        if not isinstance(name, str):
            raise refused(f"{where}/{nth}", "Should be string")
    return names, options


def _written_out(names: Sequence[str], before: Sequence[str], where: str) -> list[str]:
    """Return the names of a metric without dots."""
    if "..." in names:
        at = names.index("...")
        end = len(names) - at - 1
        names = [*names[:at], *before[at : max(at, len(before) - end)], *names[at + 1 :]]
    full = []
    for nth, name in enumerate(names):
        if name == "." and nth >= len(before):
            raise refused(f"{where}/{nth}", "There is no metric before that has something in this place")
        full.append(before[nth] if name == "." else name)
    if "..." in full or not 2 <= len(full) <= _MAX_NAMES or len(full) % 2:
        raise refused(where, "Should be a namespace, a metric name, and names and values of dimensions")
    return full


def _line(names: Sequence[str], options: WidgetObject, widget: WidgetObject) -> Line:
    namespace, name, *dimensions = names
    asked = options.text("stat", widget.text("stat", "Average"))
    stat = statistic(asked)
    if stat is None:
        raise refused(options.at("stat"), f"The value {asked} is not a valid statistic")
    period_s = options.whole("period", widget.whole("period", 300, most=_MAX_PERIOD_S), most=_MAX_PERIOD_S)
    if not is_period(period_s):
        raise refused(options.at("period"), f"Should be {PERIODS}")
    return Line(
        metric=CloudWatchMetric.of(namespace, name, zip(dimensions[::2], dimensions[1::2], strict=True)),
        statistic=stat,
        period_s=period_s,
        label=options.text("label"),
        color=options.text("color", pattern=COLOR),
        axis=options.choice("yAxis", ("left", "right")),
        visible=options.flag("visible", default=True),
    )


def labels(lines: Sequence[Line]) -> list[str]:
    """Return what lines are called: as they say, or by what others do not have too."""
    parts = [(line.metric.name, *(value for _, value in line.metric.dimensions), line.statistic.name) for line in lines]
    alike = set[str]().union(*parts[:1]).intersection(*parts)
    own = (" ".join(part for part in dict.fromkeys(words) if part not in alike) for words in parts)
    return [line.label or other or line.metric.name for line, other in zip(lines, own, strict=True)]
