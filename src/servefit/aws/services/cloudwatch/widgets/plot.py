"""The plot of a picture: curves over the time, axes, annotations, and a legend.

Margins are in pixels, and shrink in a picture that is too small for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from math import ceil
from typing import TYPE_CHECKING, Any

from servefit.aws.services.cloudwatch.widgets.curves import drawable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from servefit.aws.services.cloudwatch.widgets.curves import Curve
    from servefit.aws.services.cloudwatch.widgets.widget import Widget

_TICK_PIXELS = 90
"""Between two times on the axis."""

_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400)
_WEEK_S = 604_800

_LEGEND_PIXELS, _ROW_PIXELS = 200, 18
"""Of a label in the legend: its width and its height."""

_MAX_MARKED = 60
"""Points of a curve that are marked one by one."""


def draw_plot(figure: Figure, widget: Widget, curves: Sequence[Curve]) -> None:
    below_pixels, right_pixels = _draw_legend(figure, widget, curves)
    left = figure.add_axes(_area(widget, below_pixels, right_pixels))
    sides = {"left": left}
    if "right" in {*(curve.axis for curve in curves), *(annotation.axis for annotation in widget.horizontal)}:
        sides["right"] = left.twinx()
    for side, axes in sides.items():
        of_side = [curve for curve in curves if curve.axis == side]
        (_draw_stacked if widget.stacked else _draw_apart)(axes, of_side)
        _draw_values(axes, widget, side)
    left.grid(alpha=0.3)
    _draw_times(left, widget)
    left.set_title(drawable(widget.title), fontsize=10, parse_math=False)


def _draw_legend(figure: Figure, widget: Widget, curves: Sequence[Curve]) -> tuple[int, int]:
    """Draw the legend, as much of it as there is room for, and return the pixels that it takes below and at the
    right."""
    from matplotlib.lines import Line2D

    if widget.legend == "hidden" or not curves:
        return 0, 0
    is_below = widget.legend == "bottom"
    columns = max(1, widget.width // _LEGEND_PIXELS) if is_below else 1
    rows = max(1, min(ceil(len(curves) / columns), widget.height // (4 if is_below else 1) // _ROW_PIXELS))
    shown = curves[: rows * columns]
    legend = figure.legend(
        [Line2D([], [], color=curve.color) for curve in shown],
        ["-"] * len(shown),
        ncols=columns,
        fontsize=8,
        frameon=False,
        loc="lower center" if is_below else "center right",
    )
    for text, curve in zip(legend.get_texts(), shown, strict=True):
        # One that begins with an underscore would have been left out.
        text.set_parse_math(False)
        text.set_text(curve.label)
    return (rows * _ROW_PIXELS, 0) if is_below else (0, _LEGEND_PIXELS)


def _area(widget: Widget, below_pixels: int, right_pixels: int) -> tuple[float, float, float, float]:
    """Return where the axes are in the figure, as parts of its size: from the left, from below, width, height."""
    left, right = min(0.25, 60 / widget.width), min(0.35, (60 + right_pixels) / widget.width)
    top, bottom = min(0.2, 30 / widget.height), min(0.5, (35 + below_pixels) / widget.height)
    return left, bottom, 1 - left - right, 1 - top - bottom


def _draw_apart(axes: Axes, curves: Sequence[Curve]) -> None:
    for curve in curves:
        axes.plot(curve.at_s, curve.values, color=curve.color, linewidth=1.2, marker=_marker(curve.at_s))


def _draw_stacked(axes: Axes, curves: Sequence[Curve]) -> None:
    """Draw each curve on top of those before it, which count as zero where they have no point."""
    times = sorted({at_s for curve in curves for at_s in curve.at_s})
    below = [0.0] * len(times)
    for curve in curves:
        value_at = dict(zip(curve.at_s, curve.values, strict=True))
        above = [lower + value_at.get(at_s, 0.0) for at_s, lower in zip(times, below, strict=True)]
        axes.fill_between(times, below, above, color=curve.color, alpha=0.4, linewidth=0)
        axes.plot(times, above, color=curve.color, linewidth=1.2, marker=_marker(times))
        below = above


def _marker(times: Sequence[float]) -> str:
    return "." if len(times) <= _MAX_MARKED else ""


def _draw_values(axes: Axes, widget: Widget, side: str) -> None:
    """Draw an axis of values, and the annotations at its values."""
    asked = widget.axes[side]
    annotations = [annotation for annotation in widget.horizontal if annotation.axis == side]
    for annotation in annotations:
        for value in (annotation.at, annotation.until):
            if value is not None:
                axes.axhline(value, color=annotation.color, linewidth=1, linestyle="--")
    least, most = axes.get_ylim()
    least, most = least if asked.least is None else asked.least, most if asked.most is None else asked.most
    if least >= most:  # one end is asked for, and all samples are beyond it
        least, most = (least, least + 1) if asked.most is None else (most - 1, most)
    ends = {"above": most, "below": least}
    for annotation in annotations:
        end = ends.get(annotation.fill) if annotation.until is None else annotation.until
        if end is not None:
            axes.axhspan(annotation.at, end, color=annotation.color, alpha=0.15, linewidth=0)
        place = axes.get_yaxis_transform()
        axes.text(
            0.01, annotation.at, drawable(annotation.label), transform=place, fontsize=8, clip_on=True, parse_math=False
        )
    axes.set_ylim(least, most)
    axes.set_ylabel(drawable(asked.label), fontsize=8, parse_math=False)
    axes.tick_params(labelsize=8)


def _draw_times(axes: Axes, widget: Widget) -> None:
    """Draw the axis of times, and the annotations at times."""
    begin_s, end_s = widget.begin_s, widget.end_s
    axes.set_xlim(begin_s, end_s)
    ticks, form = _ticks(widget), _form(end_s - begin_s)
    axes.set_xticks(ticks, [datetime.fromtimestamp(tick, widget.timezone).strftime(form) for tick in ticks])
    ends = {"after": end_s, "before": begin_s}
    for annotation in widget.vertical:
        end = ends.get(annotation.fill) if annotation.until is None else annotation.until
        if end is not None:
            low, high = sorted(min(max(at_s, begin_s), end_s) for at_s in (annotation.at, end))
            axes.axvspan(low, high, color=annotation.color, alpha=0.15, linewidth=0)
        for at_s in (annotation.at, annotation.until):
            if at_s is not None and begin_s <= at_s <= end_s:
                axes.axvline(at_s, color=annotation.color, linewidth=1, linestyle="--")
        if begin_s <= annotation.at <= end_s:
            place = axes.get_xaxis_transform()
            style: dict[str, Any] = {"fontsize": 8, "va": "top", "rotation": 90, "clip_on": True}
            axes.text(annotation.at, 0.99, drawable(annotation.label), transform=place, parse_math=False, **style)


def _ticks(widget: Widget) -> list[int]:
    """Return times for the axis: whole steps that leave room for what is written."""
    span_s, most = widget.end_s - widget.begin_s, max(1, widget.width // _TICK_PIXELS)
    weeks = ceil(span_s / most / _WEEK_S)
    step_s = next((step_s for step_s in _STEPS_S if span_s / step_s <= most), weeks * _WEEK_S)
    return list(range(ceil(widget.begin_s / step_s) * step_s, int(widget.end_s) + 1, step_s))


def _form(span_s: float) -> str:
    """Return how times are written where so many seconds are shown."""
    if span_s < 600:
        return "%H:%M:%S"
    return "%H:%M" if span_s <= 86_400 else "%m/%d %H:%M"
