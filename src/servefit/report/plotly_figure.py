"""A plot of a report as a figure of plotly, for notebooks. The script of a report's page draws the same plots, and does
not need the package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from servefit.errors import SpecError

if TYPE_CHECKING:
    from servefit.report.plot import Axis, Plot, ReferenceLine, Series

_SYMBOLS = {"filled": "circle", "hollow": "circle-open", "star": "star"}
_LINES = {"straight": "linear", "stairs": "vh"}


def plotly_figure(plot: Plot) -> Any:
    """Return ``plot`` as a ``plotly.graph_objects.Figure``. Raises SpecError where plotly is not installed."""
    try:
        import plotly.graph_objects as graph
    except ModuleNotFoundError as error:
        problem = "is drawn by plotly, which is not installed; reports need no such package"
        raise SpecError("plot", plot.name, problem, remedy="pip install 'servefit[plot]'") from error

    figure = graph.Figure(
        layout={
            "title": {"text": plot.title, "subtitle": {"text": plot.caption}},
            "xaxis": _axis(plot.y if plot.horizontal else plot.x),
            "yaxis": _axis(plot.x if plot.horizontal else plot.y),
            # Its button "Share chart" would send the figure to a server of plotly's makers.
            "modebar": {"remove": ["sendChartToCloud"]},
        }
    )
    colours = figure.layout.template.layout.colorway or ("#1f77b4",)
    names = list(dict.fromkeys(series.colour or series.name for series in plot.series))
    for series in plot.series:
        colour = colours[names.index(series.colour or series.name) % len(colours)]
        figure.add_trace(_trace(series, colour, horizontal=plot.horizontal))
    for band in plot.bands:
        figure.add_vrect(x0=band.low, x1=band.high, opacity=0.12, line_width=0, annotation_text=band.label)
    for guide in plot.guides:
        _add_guide(figure, guide)
    return figure


def _axis(axis: Axis) -> dict[str, Any]:
    layout: dict[str, Any] = {"title": {"text": axis.title}}
    if axis.log:
        layout["type"] = "log"
    if axis.whole:
        layout["tickformat"] = "d"
    return layout


def _trace(series: Series, colour: str, *, horizontal: bool) -> Any:
    import plotly.graph_objects as graph

    x, y = (series.y, series.x) if horizontal else (series.x, series.y)
    shared: dict[str, Any] = {"x": list(x), "y": list(y), "name": series.name}
    if series.labels:
        shared["hovertext"] = list(series.labels)
    if series.low:
        shared["error_x" if horizontal else "error_y"] = _intervals(series)
    if series.drawn_as == "bars":
        pattern = {"pattern": {"shape": "/"}} if series.predicted else {}
        return graph.Bar(**shared, orientation="h" if horizontal else "v", marker={"color": colour, **pattern})
    if series.drawn_as == "points":
        joined = {} if series.joined is None else {"line": {"shape": _LINES[series.joined], "color": colour}}
        mode = "lines+markers" if joined else "markers"
        return graph.Scatter(**shared, **joined, mode=mode, marker={"symbol": _SYMBOLS[series.symbol], "color": colour})
    shape = "hv" if series.drawn_as == "steps" else "linear"
    if series.predicted:
        marker = {"symbol": "diamond-open", "color": colour}
        return graph.Scatter(**shared, mode="lines+markers", line={"dash": "dot", "color": colour}, marker=marker)
    return graph.Scatter(**shared, mode="lines", line={"shape": shape, "color": colour})


def _intervals(series: Series) -> dict[str, Any]:
    """Return the ends of the intervals, as distances from the values."""
    ends = list(zip(series.y, series.low, series.high, strict=True))
    return {
        "type": "data",
        "symmetric": False,
        "array": [0 if high is None or not isinstance(y, int | float) else high - y for y, _, high in ends],
        "arrayminus": [0 if low is None or not isinstance(y, int | float) else y - low for y, low, _ in ends],
    }


def _add_guide(figure: Any, guide: ReferenceLine) -> None:
    if guide.along == "x":
        figure.add_vline(x=guide.at, line_dash="dash", annotation_text=guide.label)
    elif guide.along == "y":
        figure.add_hline(y=guide.at, line_dash="dash", annotation_text=guide.label)
    else:
        figure.add_shape(type="line", x0=0, y0=0, x1=guide.at, y1=guide.at, line={"dash": "dash"}, name=guide.label)
