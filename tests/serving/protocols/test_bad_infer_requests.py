"""Requests to /v2/models/NAME/infer that get no predictions: 4xx, and a sentence that names the field."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

import pytest
from tests.serving.protocols.conftest import tensor

from servefit.serving.messages import Inference, Refused

Decode = Callable[..., Inference]
Refusal = Callable[..., Refused]


@pytest.mark.parametrize(
    ("request_", "field", "words"),
    [
        ({}, "body:", "missing required field `inputs`"),
        ([], "body:", "expected `object`"),
        ({"inputs": []}, "inputs:", "at least 1 tensor"),
        ({"inputs": [tensor()] * 1004}, "inputs:", "at most 1003, got 1004"),
        ({"inputs": {}}, "inputs:", "expected `array`"),
        ({"inputs": [tensor(name=...)]}, "inputs[0]:", "missing required field `name`"),
        ({"inputs": [tensor(name=7)]}, "inputs[0].name:", "expected `str`"),
        ({"inputs": [tensor(shape=...)]}, "inputs[0]:", "missing required field `shape`"),
        ({"inputs": [tensor(shape=[1, "3"])]}, "inputs[0].shape[1]:", "expected `int`"),
        ({"inputs": [tensor(shape=[-1, 3])]}, "inputs[0].shape[0]:", ">= 0"),
        ({"inputs": [tensor(shape=[])]}, "inputs[0].shape:", "at least one row"),
        ({"inputs": [tensor(shape=[0, 3], data=[])]}, "inputs[0].shape:", "at least one row"),
        ({"inputs": [tensor(shape=[1, 2])]}, "inputs[0].data:", "expected 2 values, as in shape, got 3"),
        ({"inputs": [tensor(shape=[1, 2], data=[1, 2])]}, "inputs:", "expected 3 columns, got 2"),
        ({"inputs": [tensor(shape=[1, 10**30])]}, "inputs[0].shape[1]:", "<= 9223372036854775807"),
        ({"inputs": [tensor(shape=[10**18, 3])]}, "rows:", "may have 20"),
        ({"inputs": [tensor(shape=[1, 2**62, 2])]}, "inputs[0].shape:", "at most 9223372036854775807 values"),
        ({"inputs": [tensor(shape=[1] * 32)]}, "inputs[0].data:", "expected 1 values, as in shape, got 3"),
        ({"inputs": [tensor(shape=[1] * 33)]}, "inputs[0].shape:", "length <= 32"),
        ({"inputs": [tensor(shape=[21, 3], data=[1] * 63)]}, "rows:", "may have 20, this one has 21"),
        ({"inputs": [tensor(shape=[2, 3], data=[[1, 2, 3], [1, 2]])]}, "inputs[0].data:", "expected 6 values"),
        ({"inputs": [tensor(datatype="BYTES", data=["1", "2", "3"])]}, "inputs[0].datatype:", "got 'BYTES'"),
        ({"inputs": [tensor(datatype="fp32")]}, "inputs[0].datatype:", "got 'fp32'"),
        ({"inputs": [tensor(data=...)]}, "inputs[0]:", "either data or parameters.binary_data_size"),
        ({"inputs": [tensor(data="1,2,3")]}, "inputs[0].data:", "expected a list"),
        ({"inputs": [tensor(data=[1, "2", 3])]}, "inputs[0].data:", "a number in row 1, column 2, got '2'"),
        ({"inputs": [tensor(data=[[1, 2, True]])]}, "inputs[0].data:", "a number in row 1, column 3, got True"),
        ({"inputs": [tensor(data=[1, {"x": 2}, 3])]}, "inputs[0].data:", "a number in row 1, column 2"),
        ({"inputs": [tensor(data=[1, 2, 10**400])]}, "inputs[0].data:", "a number in row 1, column 3, got 1000"),
        ({"inputs": [tensor(data=[1, 2, 1e39])]}, "inputs:", "beyond float32"),
        ({"inputs": [tensor(data=[1, 2, float("-inf")])]}, "inputs:", "a finite number in row 1, column 3"),
        ({"inputs": [tensor(datatype="INT32", data=[1, 2.5, 3])]}, "inputs[0].data:", "INT32 in row 1, column 2"),
        ({"inputs": [tensor(datatype="UINT8", data=[1, 256, 3])]}, "inputs[0].data:", "UINT8 in row 1, column 2"),
        ({"inputs": [tensor(datatype="BOOL", data=[1, 0, 2])]}, "inputs[0].data:", "BOOL in row 1, column 3"),
        ({"inputs": [tensor(), tensor(shape=[3, 1])]}, "inputs[1].shape:", "expected 1 rows, as in inputs[0], got 3"),
        ({"inputs": [tensor(), tensor()]}, "inputs:", "one tensor of 3 columns, as the model has one input"),
        ({"inputs": [tensor(name=n, shape=[1], data=[1]) for n in "abd"]}, "inputs:", "'a', 'b', 'c', got no 'c'"),
        ({"inputs": [tensor(name=n, shape=[1], data=[1]) for n in "abca"]}, "inputs:", "'a', 'b', 'c', got 'a' twice"),
        (
            {"inputs": [tensor(name=n, shape=[1], data=[1]) for n in "xyz"]},
            "inputs:",
            "'a', 'b', 'c', got no 'a', nor 2",
        ),
        ({"inputs": [tensor(shape=[1, 2, 2], data=[1, 2, 3, 4])]}, "inputs:", "expected 3 columns, got 4"),
        ({"inputs": [tensor()], "id": 5}, "id:", "expected `str"),
        ({"inputs": [tensor()], "id": "\ud800"}, "id:", "expected text"),
        ({"inputs": [tensor()], "id": "7" * 5000}, "id:", "at most 4096 characters, got 5000"),
        ({"inputs": [tensor()], "outputs": [{"name": "predict"}]}, "outputs[0].name:", "expected 'predictions'"),
        ({"inputs": [tensor()], "outputs": [{"name": "\ud800"}]}, "outputs[0].name:", "expected 'predictions'"),
        ({"inputs": [tensor()], "outputs": "predictions"}, "outputs:", "expected `array"),
        (
            {"inputs": [tensor()], "outputs": [{"name": "predictions", "parameters": {"classification": 1}}]},
            "outputs[0].parameters.classification:",
            "not supported",
        ),
        (
            {"inputs": [tensor()], "outputs": [{"name": "predictions", "parameters": {"binary_data": 1}}]},
            "outputs[0].parameters.binary_data:",
            "expected `bool",
        ),
        ({"inputs": [tensor()], "parameters": {"binary_data_output": "yes"}}, "parameters.binary_data_output:", "bool"),
        ({"inputs": [tensor(data=..., parameters={"shared_memory_region": "r"})]}, "inputs[0]:", "either data or"),
    ],
)
def test_an_infer_request_that_does_not_fit(
    request_: Any, field: str, words: str, infer: Decode, refusal: Refusal
) -> None:
    found = refusal(infer, request_)
    assert found.status == (413 if field == "rows:" else 400)
    assert found.reason.startswith(field)
    assert words in found.reason


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "body: expected JSON"),
        (b"{", "body: expected JSON"),
        (b'{"inputs": "\xff"}', "not UTF-8 text"),
        (b"[" * 10**6, "nested too deeply"),
        (b'{"inputs":' * 10**5, "nested too deeply"),
        (b'{"x":' + b"[" * 10**6, "nested too deeply"),
        (json.dumps({"inputs": [tensor(data=7)]}).encode().replace(b"7", b"[" * 10**5), "nested too deeply"),
        (json.dumps({"inputs": [tensor(data=7)]}).encode().replace(b"7", b"9" * 9999), "limit"),
    ],
)
def test_a_document_that_cannot_be_read(content: bytes, words: str, infer: Decode, refusal: Refusal) -> None:
    assert words in refusal(infer, content).reason


ONES = struct.pack("<3f", 1, 1, 1)


def binary(size: Any = 12, **changes: Any) -> dict[str, Any]:
    return {"inputs": [tensor(data=..., parameters={"binary_data_size": size}, **changes)]}


@pytest.mark.parametrize(
    ("request_", "content", "header_length", "words"),
    [
        (binary(), ONES, b"-1", "inference-header-content-length: expected a length within"),
        (binary(), ONES, b"x", "inference-header-content-length: expected a length within"),
        (binary(), ONES, b"", "inference-header-content-length: expected a length within"),
        (binary(), ONES, b"1e2", "inference-header-content-length: expected a length within"),
        (binary(), ONES, b"9" * 5000, "inference-header-content-length: expected a length within"),
        (binary(), ONES, b"100000", "inference-header-content-length: expected a length within"),
        (binary(), ONES, b"7", "body: expected JSON"),
        (binary(), ONES, b"0", "body: expected 3 values of 4 bytes a row"),
        (b"", b"", b"0", "body: expected 3 values of 4 bytes a row, got 0 bytes"),
        (binary(), b"", None, "inputs[0]: expected 12 bytes of binary data, got 0"),
        (binary(), ONES[:-1], None, "inputs[0]: expected 12 bytes of binary data, got 11"),
        (binary(), ONES + b"\0", None, "body: 13 bytes follow the JSON, and the inputs name 12"),
        (
            binary(8),
            ONES,
            None,
            "inputs[0].parameters.binary_data_size: expected 12, as shape and datatype have it, got 8",
        ),
        (binary(12, datatype="FP64"), ONES, None, "inputs[0].parameters.binary_data_size: expected 24"),
        (binary(-12), ONES, None, "inputs[0].parameters.binary_data_size: expected `int` >= 0"),
        (binary("12"), ONES, None, "inputs[0].parameters.binary_data_size: expected `int"),
        (binary(10**18), ONES, None, "inputs[0].parameters.binary_data_size: expected 12"),
        (binary(10**30), ONES, None, "inputs[0].parameters.binary_data_size: expected `int` <= 9223372036854775807"),
        (binary(12, shape=[1, 10**18]), ONES, None, "inputs[0].parameters.binary_data_size: expected 4"),
        (binary(12, datatype="BYTES"), ONES, None, "inputs[0].datatype: expected one of"),
        (binary(0, shape=[1, 0]), b"", None, "inputs: expected 3 columns, got 0"),
        (binary(), struct.pack("<3f", 1, float("inf"), 1), None, "inputs: expected a finite number in row 1, column 2"),
        (
            binary(24, datatype="FP64"),
            struct.pack("<3d", 1, 1e300, 1),
            None,
            "inputs: expected a number in row 1, column 2",
        ),
        ({"inputs": [tensor()]}, ONES, None, "body: 12 bytes follow the JSON, and the inputs name 0"),
        ({"inputs": [tensor(parameters={"binary_data_size": 12})]}, ONES, None, "inputs[0]: expected either data or"),
    ],
)
def test_binary_tensors_that_do_not_fit(
    request_: Any, content: bytes, header_length: bytes | None, words: str, infer: Decode, refusal: Refusal
) -> None:
    found = refusal(infer, request_, content, header_length=header_length)
    assert found.status == 400
    assert words in found.reason


def test_more_rows_than_the_limit_are_413_before_they_are_read(infer: Decode, refusal: Refusal) -> None:
    assert refusal(infer, binary(12 * 21, shape=[21, 3]), ONES * 21).status == 413
    assert refusal(infer, b"", ONES * 21, header_length=b"0").status == 413
