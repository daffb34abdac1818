"""A report as one HTML file that fetches nothing: it has its styles, its figures and the basic bundle of plotly.js.

plotly.js draws the plots from the figures in the page. The layout is in ``page.html.j2``, ``page.css`` and ``page.js``.
All content of a job is treated as text: the template escapes it, and figures are JSON in scripts.
"""

from __future__ import annotations

import dataclasses
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from servefit.report.exports import table_name
from servefit.report.table import is_number
from servefit.showing import printable

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

    from servefit.report.contents import Report
    from servefit.report.plot import Plot
    from servefit.report.table import Table

_DIGITS = 5
"""Significant digits of a figure in a plot: finer than a screen can show. Tables have all digits."""

_LONG = 48
"""Longest text of a cell that is not wrapped. Chosen, not measured: longer lines would make a table too wide."""


def to_html(report: Report) -> str:
    """Return the report as one HTML page."""
    from servefit.version import __version__

    # These are put into a style or a script, where only the closing tag has to be escaped.
    css, js, plotly = (_inside_tag(_resource(name)) for name in ("page.css", "page.js", "plotly-basic.min.js"))
    page: str = (
        _environment()
        .from_string(_resource("page.html.j2"))
        .render(
            report=report,
            shown=next((timeline for timeline in report.timelines if timeline.step == report.shown_step), None),
            version=__version__,
            css=css,
            js=js,
            plotly=plotly,
            plots=_plots(report),
            timelines=_timelines(report),
        )
    )
    return page


def _environment() -> Environment:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, finalize=shown_value)
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    environment.filters.update(table_name=table_name, numeric_columns=_numeric_columns, attributes=_attributes)
    return environment


def shown_value(value: Any) -> Any:
    """Return what a template puts in the place of ``value``, before it is escaped."""
    return printable(value) if type(value) is str else value


def _resource(name: str) -> str:
    return files(__package__).joinpath(name).read_text()


def _inside_tag(text: str) -> str:
    return text.replace("</script", r"<\/script").replace("</style", r"<\/style")


def _numeric_columns(table: Table) -> list[bool]:
    """Return for each column whether all its known cells are numbers."""
    columns = [[row[nth] for row in table.rows if row[nth] is not None] for nth in range(len(table.columns))]
    return [bool(cells) and all(map(is_number, cells)) for cells in columns]


def _attributes(cell: object, numeric: bool) -> Markup:
    """Return the HTML attributes of a cell: the value of a number, for sorting, and a class for long texts, which are
    wrapped, and for cells that are aligned otherwise than their kind: numbers are to the right, all else to the
    left."""
    from markupsafe import Markup

    if is_number(cell):
        return (Markup("") if numeric else Markup(' class="left"')) + Markup(' data-value="{}"').format(cell)
    if numeric:
        return Markup(' class="number"')
    return Markup(' class="long"') if isinstance(cell, str) and len(cell) > _LONG else Markup("")


def _plots(report: Report) -> dict[str, Any]:
    plots = [plot for section in (report.glance, *report.sections) for plot in section.plots]
    coloured = dict.fromkeys(
        series.colour for plot in plots for series in plot.series if series.colour not in (None, *_NAMED)
    )
    return {"colours": list(coloured), "plots": [_plot(plot) for plot in plots]}


_NAMED = ("line", "quiet", "best", "main")
"""Colours that are not those of a backend."""


def _plot(plot: Plot) -> dict[str, Any]:
    return {
        "name": plot.name,
        "x": dataclasses.asdict(plot.x),
        "y": dataclasses.asdict(plot.y),
        "horizontal": plot.horizontal,
        "small": plot.small,
        "guides": [dataclasses.asdict(guide) for guide in plot.guides],
        "bands": [dataclasses.asdict(band) for band in plot.bands],
        "series": [
            {
                "name": series.name,
                "x": [_rounded(value) for value in series.x],
                "y": [_rounded(value) for value in series.y],
                "low": [_rounded(value) for value in series.low],
                "high": [_rounded(value) for value in series.high],
                "labels": list(series.labels),
                "drawn_as": series.drawn_as,
                "joined": series.joined,
                "symbol": series.symbol,
                "colour": series.colour,
                "predicted": series.predicted,
            }
            for series in plot.series
            if len(series.x)
        ],
    }


def _timelines(report: Report) -> dict[str, Any]:
    return {
        "columns": list(report.timelines[0].table.columns) if report.timelines else [],
        "limits_ms": [{"ms": limit_ms, "label": label} for label, limit_ms in report.limits_ms],
        "tests": [
            {
                "table_title": timeline.table.title,
                "runs": [{"at_s": run.at_s, "label": run.label} for run in timeline.runs],
                "rows": [list(row) for row in timeline.table.rows],
            }
            for timeline in report.timelines
        ],
    }


def _rounded(value: object) -> object:
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value
