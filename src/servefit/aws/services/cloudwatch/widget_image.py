"""GetMetricWidgetImage: a picture of metrics."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from servefit.aws.services.cloudwatch.errors import bad_value
from servefit.aws.services.cloudwatch.points import points
from servefit.aws.services.cloudwatch.widgets.widget import widget_of

if TYPE_CHECKING:
    from servefit.aws.services.call import Call
    from servefit.aws.services.cloudwatch.sources import Source

_FORMAT = "png"
"""image/png, with which AWS answers the bare picture, is for clients without an SDK."""


def widget_image(call: Call, source: Source) -> dict[str, Any]:
    """Return a picture. Raises ApiError, ValidationError for a description that is none, InvalidParameterValue for
    another format."""
    if (form := call.given.get("OutputFormat", _FORMAT)) != _FORMAT:
        raise bad_value(f"The value {form} for parameter OutputFormat is not supported.")
    widget = widget_of(call.given["MetricWidget"], now_s=time.time())
    drawn = []
    for line in widget.lines:
        if line.visible:
            periods = widget.periods(line)
            series = source.series(line.metric, periods.first_s, periods.last_s)
            curve = [(at_s, values[0]) for at_s, values in points(series, periods, [line.statistic])]
            drawn.append((line, curve))
    from servefit.aws.services.cloudwatch.widgets.picture import picture

    return {"MetricWidgetImage": picture(widget, drawn)}
