"""Metric widgets: what is read of a description, and what is to be seen in the picture. To draw one is integration:
matplotlib asks fc-list for the fonts where it does not know them yet."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest

from servefit.aws.services.cloudwatch.widgets.lines import Line, labels
from servefit.aws.services.cloudwatch.widgets.picture import picture
from servefit.aws.services.cloudwatch.widgets.widget import Widget, widget_of

NOW_S = 1_796_000_000.0
LATENCY = ["AWS/SageMaker", "ModelLatency", "EndpointName", "fraud", "VariantName", "AllTraffic"]
RED = (255, 0, 0)


def read(*metrics: Any, **others: Any) -> Widget:
    description = {"metrics": [LATENCY] if not metrics else list(metrics), **others}
    return widget_of(json.dumps(description), now_s=NOW_S)


def drawn(widget: Widget, *values: float) -> np.ndarray:
    """The picture of lines that all have these values, a minute each: height, width, and colors."""
    from matplotlib.image import imread

    points = [(int(widget.begin_s) + 60 * nth, value) for nth, value in enumerate(values)]
    image = imread(io.BytesIO(picture(widget, [(line, points) for line in widget.lines])))
    return np.asarray(image[:, :, :3] * 255).round().astype(int)


def pixels(image: np.ndarray, color: tuple[int, int, int]) -> int:
    return int((image == color).all(axis=2).sum())


def named(line: Line) -> list[str]:
    return [line.metric.namespace, line.metric.name, *dict(line.metric.dimensions).values()]


def test_what_is_not_said_is_as_at_aws() -> None:
    widget = read()
    assert (widget.width, widget.height, widget.view, widget.stacked) == (600, 400, "timeSeries", False)
    assert (widget.end_s, widget.end_s - widget.begin_s) == (NOW_S, 3 * 3600)
    (line,) = widget.lines
    assert (line.statistic.name, line.period_s, line.axis, line.visible) == ("Average", 300, "left", True)


def test_dots_stand_for_what_the_metric_before_has() -> None:
    widget = read(
        LATENCY,
        [".", "OverheadLatency", ".", ".", ".", ".", {"stat": "p99", "period": 60}],
        ["...", {"stat": "Sum", "label": "all"}],
        ["...", "other"],
        ["/aws/sagemaker/Endpoints", "CPUUtilization", "...", {"yAxis": "right"}],
    )
    assert [named(line) for line in widget.lines] == [
        ["AWS/SageMaker", "ModelLatency", "fraud", "AllTraffic"],
        ["AWS/SageMaker", "OverheadLatency", "fraud", "AllTraffic"],
        ["AWS/SageMaker", "OverheadLatency", "fraud", "AllTraffic"],
        ["AWS/SageMaker", "OverheadLatency", "fraud", "other"],
        ["/aws/sagemaker/Endpoints", "CPUUtilization", "fraud", "other"],
    ]
    assert [line.statistic.name for line in widget.lines] == ["Average", "p99", "Sum", "Average", "Average"]
    assert [line.period_s for line in widget.lines] == [300, 60, 300, 300, 300]


def test_lines_are_called_by_what_they_do_not_share() -> None:
    assert labels(read().lines) == ["ModelLatency"]
    assert labels(read(LATENCY, ["...", {"stat": "p99"}], ["...", {"stat": "p50", "label": "half"}]).lines) == [
        "Average", "p99", "half"
    ]  # fmt: skip
    assert labels(read(LATENCY, ["...", "other"]).lines) == ["AllTraffic", "other"]


def test_times_are_of_iso_8601_or_before_now() -> None:
    widget = read(start="2026-11-29T20:00:00Z", end="2026-11-29T22:30:00+01:00")
    assert widget.end_s - widget.begin_s == 90 * 60
    assert NOW_S - read(start="-PT1H").begin_s == 3600
    assert NOW_S - read(start="-P1DT1M", end="-PT30S").begin_s == 86_460
    assert NOW_S - read(start="-P2W", end="P0D").end_s == 0


def test_a_period_that_makes_too_many_points_is_longer() -> None:
    widget = read(start="-P30D", period=60)
    periods = widget.periods(widget.lines[0])
    assert (periods.period_s, periods.count) == (1800, 1440)
    assert read(start="-PT1H", period=30).periods(read(period=30).lines[0]).period_s == 30


@pytest.mark.integration
@pytest.mark.parametrize(("width", "height"), [(1, 1), (29, 57), (600, 400), (2000, 3), (3, 2000)])
def test_a_picture_has_exactly_the_size_that_is_asked_for(width: int, height: int) -> None:
    assert drawn(read(width=width, height=height, title="title"), 1, 2).shape[:2] == (height, width)


@pytest.mark.integration
@pytest.mark.parametrize("stacked", [False, True])
def test_a_line_is_drawn_in_its_color_where_its_values_are(stacked: bool) -> None:
    line = [*LATENCY, {"color": "#ff0000"}]
    one = {"legend": {"position": "hidden"}, "start": "-PT10M", "yAxis": {"left": {"min": 0, "max": 10}}}
    low = drawn(read(line, stacked=stacked, **one), 1, 1, 1, 1)
    high = drawn(read(line, stacked=stacked, **one), 9, 9, 9, 9)
    rows = [np.flatnonzero((image == RED).all(axis=2).any(axis=1)).mean() for image in (low, high)]
    assert rows[0] > rows[1] + 150
    assert not pixels(drawn(read(**one), 1, 1, 1, 1), RED)


@pytest.mark.integration
def test_stacked_lines_are_on_top_of_each_other() -> None:
    both = [[*LATENCY, {"color": "#00ff00"}], ["...", {"color": "#ff0000"}]]
    one = {"legend": {"position": "hidden"}, "start": "-PT10M", "yAxis": {"left": {"min": 0, "max": 10}}}
    image = drawn(read(*both, stacked=True, **one), 4, 4, 4)
    green, red = (np.flatnonzero((image == c).all(axis=2).any(axis=1)).mean() for c in ((0, 255, 0), RED))
    assert green > red + 80


@pytest.mark.integration
def test_a_legend_has_the_color_of_the_line_also_where_it_has_no_points() -> None:
    line = [*LATENCY, {"color": "#ff0000", "label": "_of $x^{ no_ formula"}]
    for position in ("bottom", "right"):
        assert pixels(drawn(read(line, legend={"position": position})), RED) > 5
    assert not pixels(drawn(read(line, legend={"position": "hidden"})), RED)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("kind", "annotation"),
    [
        ("horizontal", {"value": 5, "label": "limit"}),
        ("horizontal", {"value": 5, "fill": "above", "yAxis": "right"}),
        ("horizontal", [{"value": 2}, {"value": 5}]),
        ("vertical", {"value": "-PT30M", "label": "deployed"}),
        ("vertical", [{"value": "-PT30M"}, {"value": "2026-11-29T20:00:00Z"}]),
    ],
)
def test_annotations_are_drawn(kind: str, annotation: Any) -> None:
    first = annotation[0] if isinstance(annotation, list) else annotation
    first["color"] = "#ff0000"
    assert pixels(drawn(read(annotations={kind: [annotation]}), 1, 9), RED) > 50
    first["visible"] = False
    assert not pixels(drawn(read(annotations={kind: [annotation]}), 1, 9), RED)


@pytest.mark.integration
def test_a_single_value_is_the_newest() -> None:
    line = [*LATENCY, {"color": "#ff0000"}]
    first, same, other = (drawn(read(line, view="singleValue"), *values) for values in ((1, 7), (3, 7), (7, 1)))
    assert pixels(first, RED) > 20
    assert (first == same).all()
    assert (first != other).any()


@pytest.mark.integration
@pytest.mark.parametrize("extreme", [0.0, 1e-300, 2.0**359, -(2.0**359)])
def test_any_values_can_be_drawn(extreme: float) -> None:
    both = [LATENCY, ["...", {"yAxis": "right"}]]
    for view in ("timeSeries", "singleValue"):
        for stacked in (False, True):
            assert drawn(read(*both, view=view, stacked=stacked), extreme, 1.0, extreme).size
