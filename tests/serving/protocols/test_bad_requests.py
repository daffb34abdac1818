"""Requests that both protocols refuse in the same way."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.serving.protocols.conftest import tensor

from servefit.serving.messages import Inference, Refused

Decode = Callable[..., Inference]
Refusal = Callable[..., Refused]


def test_missing_values_are_refused_where_the_model_takes_none(invoke: Decode, infer: Decode, refusal: Refusal) -> None:
    row = np.array([[4, np.nan, 6]], dtype=np.float32)
    binary = {"name": "x", "shape": [1, 3], "datatype": "FP32", "parameters": {"binary_data_size": 12}}
    calls: list[tuple[Any, ...]] = [
        (invoke, "[[4, null, 6]]"),
        (invoke, '{"a": 4, "b": null, "c": 6}'),
        (invoke, "4,,6", "text/csv"),
        (infer, {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [4, None, 6]}]}),
        (infer, {"inputs": [binary]}, row.tobytes()),
    ]
    for call in calls:
        assert "takes no missing values, in row 1, column 2" in refusal(*call, accepts_missing=False).reason


def test_fractions_are_refused_where_the_model_takes_whole_numbers(
    invoke: Decode, infer: Decode, refusal: Refusal
) -> None:
    whole = {"integer_features": (1,), "accepts_missing": False}
    row = np.array([[0.5, 2.5, 3]], dtype=np.float32)
    binary = {"name": "x", "shape": [1, 3], "datatype": "FP32", "parameters": {"binary_data_size": 12}}
    calls: list[tuple[Any, ...]] = [
        (invoke, "[[0.5, 2.5, 3]]"),
        (invoke, "0.5,2.5,3", "text/csv"),
        (infer, {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [0.5, 2.5, 3]}]}),
        (infer, {"inputs": [binary]}, row.tobytes()),
    ]
    for call in calls:
        assert "a whole number in row 1, column 2" in refusal(*call, **whole).reason
    assert invoke("[[0.5, 2, 3]]", **whole).rows.tolist() == [[0.5, 2, 3]]


def test_nesting_that_json_just_takes_is_refused_too(invoke: Decode, infer: Decode, refusal: Refusal) -> None:
    for depth in range(700, 1000, 20):
        nested = "[" * depth + "]" * depth
        assert refusal(invoke, f'{{"instances": [[1, 2, {nested}]]}}').status == 400
        assert refusal(infer, json.dumps({"inputs": [tensor(data=7)]}).replace("7", nested).encode()).status == 400
        assert refusal(infer, json.dumps({"inputs": [tensor(data=7)]}).replace("7", f'[{{"x":{nested}}}]').encode())


@pytest.mark.parametrize(
    ("begin", "repeated", "end", "content_type"),
    [
        ("[", "[],", "[]]", "application/json"),
        ("[", "1,", "1]", "application/json"),
        ('{"x":[', "[[[[[[]]]]]],", "0]}", "application/json"),
        ("", "{}\n", "", "application/jsonlines"),
        ("", "1\n", "", "text/csv"),
        ("", ";", "", "text/csv"),
        ("", "\r", "", "text/csv"),
        ("", "\r\n", "", "text/csv"),
        ("", "\n", "", "application/jsonlines"),
    ],
)
def test_a_body_crowded_with_values_is_413_before_it_is_read(
    begin: str, repeated: str, end: str, content_type: str, invoke: Decode, infer: Decode, refusal: Refusal
) -> None:
    content = (begin + repeated * (2**21 // len(repeated)) + end).encode()
    tracemalloc.start()
    try:
        assert refusal(invoke, content, content_type).status == 413
        assert tracemalloc.get_traced_memory()[1] < 2 * len(content), "read, it would be five times as large or more"
    finally:
        tracemalloc.stop()
    if content_type == "application/json":
        request = b'{"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": %b}]}' % content
        assert refusal(infer, request).status == 413
