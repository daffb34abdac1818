"""Descriptions of pictures that are refused, with the place and the words of what is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from servefit.aws.services.cloudwatch.widgets.widget import widget_of
from servefit.aws.wire.errors import ApiError

NOW_S = 1_796_000_000.0
LATENCY = ["AWS/SageMaker", "ModelLatency", "EndpointName", "fraud", "VariantName", "AllTraffic"]


@pytest.mark.parametrize(
    ("changes", "place", "words"),
    [
        ({"metrics": None}, "", "Should have required property 'metrics'"),
        ({"metrics": []}, "/metrics", "Should NOT have fewer than 1 items"),
        ({"metrics": "x"}, "/metrics", "Should be array"),
        ({"metrics": [LATENCY] * 101}, "/metrics", "Should NOT have more than 100 items"),
        ({"metrics": [{}]}, "/metrics/0", "Should be array"),
        ({"metrics": [["AWS/SageMaker"]]}, "/metrics/0", "Should be a namespace"),
        ({"metrics": [[*LATENCY, "odd"]]}, "/metrics/0", "Should be a namespace"),
        ({"metrics": [[*LATENCY, 1]]}, "/metrics/0/6", "Should be string"),
        ({"metrics": [[".", "."]]}, "/metrics/0/0", "There is no metric before"),
        ({"metrics": [["..."]]}, "/metrics/0", "Should be a namespace"),
        ({"metrics": [LATENCY, ["...", "...", "x"]]}, "/metrics/1", "Should be a namespace"),
        ({"metrics": [[{"expression": "m1 + m2", "id": "e1"}]]}, "/metrics/0", "Error in expression 'e1'"),
        ({"metrics": [[*LATENCY, {"stat": "p101"}]]}, "/metrics/0/stat", "is not a valid statistic"),
        ({"metrics": [[*LATENCY, {"period": 61}]]}, "/metrics/0/period", "a multiple of 60"),
        ({"metrics": [[*LATENCY, {"color": "red"}]]}, "/metrics/0/color", "Should match pattern"),
        ({"metrics": [[*LATENCY, {"yAxis": "middle"}]]}, "/metrics/0/yAxis", "one of the allowed values: left, right"),
        ({"metrics": [[*LATENCY, {"visible": 1}]]}, "/metrics/0/visible", "Should be boolean"),
        ({"metrics": [[*LATENCY, {"label": 1}]]}, "/metrics/0/label", "Should be string"),
        ({"width": 0}, "/width", "Should be >= 1"),
        ({"width": 2001}, "/width", "Should be <= 2000"),
        ({"height": 1.5}, "/height", "Should be integer"),
        ({"height": True}, "/height", "Should be number"),
        ({"view": "pie"}, "/view", "one of the allowed values: timeSeries, singleValue"),
        ({"stacked": "yes"}, "/stacked", "Should be boolean"),
        ({"start": "yesterday"}, "/start", "Should be a time of ISO 8601"),
        ({"start": "-P"}, "/start", "Should be a duration"),
        ({"start": "-PT99999999999999999999H"}, "/start", "1970"),
        ({"start": "-PT1H", "end": "-PT2H"}, "/start", "Should be before the end"),
        ({"end": "9999-12-31T23:59:59Z"}, "/end", "between the years 1970 and 3000"),
        ({"timezone": "CET"}, "/timezone", "Should match pattern"),
        ({"legend": {"position": "top"}}, "/legend/position", "one of the allowed values"),
        ({"yAxis": {"left": {"min": 5, "max": 5}}}, "/yAxis/left/min", "Should be below max"),
        ({"yAxis": {"left": {"min": "5"}}}, "/yAxis/left/min", "Should be number"),
        ({"yAxis": []}, "/yAxis", "Should be object"),
        ({"annotations": {"horizontal": [{}]}}, "/annotations/horizontal/0", "required property 'value'"),
        ({"annotations": {"horizontal": [[{"value": 1}]]}}, "/annotations/horizontal/0", "Should have 2 items"),
        ({"annotations": {"horizontal": [{"value": 2**400}]}}, "/annotations/horizontal/0/value", "2^360"),
        ({"annotations": {"vertical": [{"value": 5}]}}, "/annotations/vertical/0/value", "Should be string"),
        ({"annotations": {"vertical": [{"value": "P1D", "fill": "up"}]}}, "/annotations/vertical/0/fill", "before"),
        ({"annotations": {"vertical": [{"value": "-PT1M"}] * 101}}, "/annotations/vertical", "more than 100 items"),
    ],
)  # fmt: skip
def test_a_description_that_is_none_is_refused_with_its_place(changes: dict[str, Any], place: str, words: str) -> None:
    with pytest.raises(ApiError) as caught:
        widget_of(json.dumps({"metrics": [LATENCY], **changes}), now_s=NOW_S)
    assert (caught.value.code, caught.value.status) == ("ValidationError", 400)
    (problem,) = json.loads(caught.value.message.partition("errors: ")[2])
    assert problem["dataPath"] == place
    assert words in problem["message"]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "1", '"x"', "[" * 100_000, '{"metrics": ' + "9" * 5000 + "}", "{}" + " " * 200_000,
     '{"metrics": [["a", "b"]], "yAxis": {"left": {"min": NaN}}}',
     '{"metrics": [["a", "b"]], "yAxis": {"left": {"max": 1e999}}}'],
)  # fmt: skip
def test_what_is_no_description_is_refused(text: str) -> None:
    with pytest.raises(ApiError) as caught:
        widget_of(text, now_s=NOW_S)
    assert caught.value.code == "ValidationError"
    caught.value.message.encode()
