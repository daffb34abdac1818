"""Pictures of widgets, drawn by matplotlib: without pyplot, whose figures are for one thread, and without a display.
What texts say is not interpreted."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from servefit.aws.services.cloudwatch.widgets.curves import curves_of, drawable
from servefit.aws.services.cloudwatch.widgets.plot import draw_plot

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from servefit.aws.services.cloudwatch.widgets.curves import Curve, Points
    from servefit.aws.services.cloudwatch.widgets.lines import Line
    from servefit.aws.services.cloudwatch.widgets.widget import Widget

_drawing = threading.Lock()
"""matplotlib's fonts and settings are shared by all threads."""

_DPI = 100


def picture(widget: Widget, drawn: Sequence[tuple[Line, Points]]) -> bytes:
    """Return a PNG of lines and their points."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    curves = curves_of(drawn)
    with _drawing, mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()  # the user who runs the server may have settings of their own
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # it is drawn as a box
        # A hundredth of a pixel more, since inches are cut to whole pixels.
        figure = Figure(figsize=((widget.width + 0.01) / _DPI, (widget.height + 0.01) / _DPI), dpi=_DPI)
        canvas = FigureCanvasAgg(figure)
        if widget.view == "singleValue":
            _draw_values(figure, widget, curves)
        else:
            draw_plot(figure, widget, curves)
        content = io.BytesIO()
        canvas.print_png(content)  # type: ignore[no-untyped-call]
    return content.getvalue()


def _draw_values(figure: Figure, widget: Widget, curves: Sequence[Curve]) -> None:
    """Draw the newest value of each line."""
    figure.text(0.5, 0.98, drawable(widget.title), ha="center", va="top", parse_math=False)
    for nth, curve in enumerate(curves):
        x = (nth + 0.5) / len(curves)
        value = f"{curve.values[-1]:.4g}" if curve.values else "--"
        figure.text(x, 0.5, value, ha="center", va="bottom", fontsize=22, color=curve.color)
        figure.text(x, 0.45, curve.label, ha="center", va="top", fontsize=9, parse_math=False)
