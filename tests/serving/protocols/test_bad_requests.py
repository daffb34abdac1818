"""Requests that get no predictions: 4xx, and one sentence that names the field."""

from __future__ import annotations

import io
import json
import struct
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from servefit.serving.messages import Inference, Refused, Request
from servefit.serving.protocols import sagemaker

if TYPE_CHECKING:
    from servefit.serving.config import EndpointConfig

Decode = Callable[..., Inference]
Refusal = Callable[..., Refused]


@pytest.mark.parametrize(
    ("content", "expected", "got"),
    [
        ("", "expected JSON", "line 1"),
        ("[]", "at least one row", "none"),
        ('{"instances": []}', "at least one row", "none"),
        ("{}", "expected 3 columns", "got 0"),
        ("[[]]", "expected 3 columns", "got 0"),
        ("[1, 2]", "expected 3 columns", "got 2"),
        ("[[1, 2, 3, 4]]", "expected 3 columns", "got 4"),
        ("[[1, 2, 3], [1, 2]]", "3 columns in row 2", "got 2"),
        ('[[1, 2, "3"]]', "a number in row 1, column 3", "got '3'"),
        ('{"instances": [[1, 2, true]]}', "a number in row 1, column 3", "got True"),
        ('{"instances": [[1, 2, 3], [1, [2], 3]]}', "a number in row 2, column 2", "got [2]"),
        ('{"instances": [[1, 2, {"x": 1}]]}', "a number in row 1, column 3", "got {'x': 1}"),
        ('{"a": 1, "b": "x", "c": 3}', "a number in row 1, column 2 (b)", "got 'x'"),
        ('{"a": 1, "b": 2, "\\ud800": 3}', "feature names", "no column 'c'"),
        ('[{"a": 1, "\\ud800": "\\udfff"}]', "a number in row 1, column 2 (\\ud800)", "got '\\udfff'"),
        ('[{"a": 1, "b": 2}]', "feature names", "no column 'c'"),
        ('[{"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 2, "d": 3}]', "the names of row 1 in row 2", "difference"),
        ("[[1], {}]", "all lists or all objects", "mixture"),
        ("7", "a list or an object", "got 7"),
        ("7\n8\n{", "a list or an object", "got 7"),
        ('"a"', "a list or an object", "got 'a'"),
        ("null", "a list or an object", "got None"),
        ("[[1, 2, 3]", "expected JSON", "breaks off in line 1"),
        ("[[1, 2, 3]]]", "expected JSON", "breaks off in line 1"),
        ("[[1, 2, Infinity]]", "a finite number in row 1, column 3", "got inf"),
        ("[[1, 2, 1e400]]", "a finite number in row 1, column 3", "got inf"),
        ("[[1, 2, -1e39]]", "a number in row 1, column 3", "beyond float32"),
        ("[[1, 2, " + "9" * 400 + "]]", "a number in row 1, column 3", "999"),
        ("[[1, 2, " + "9" * 9999 + "]]", "expected JSON", "limit"),
        ("[1, 2, 3]\n[" + "9" * 9999 + ", 2, 3]", "expected JSON", "limit"),
        ("[" * 10**6, "table of numbers", "nested too deeply"),
        ('{"instances":' * 10**4, "table of numbers", "nested too deeply"),
        ('{"instances": [[1, 2, ' + "[" * 400 + "]" * 400 + "]]}", "a number in row 1, column 3", "got [[["),
        ('{"inputs": [{"shape": [2, 2], "data": [1]}]}', "shape [2, 2]", "got 1"),
        ('{"inputs": [{"data": [1]}]}', "a shape of whole numbers", "got None"),
        ("[[1, 2, 3]" + ",[1, 2, 3]" * 20 + "]", "a request may have 20", "has 21"),
        ("[[1" + ", 1" * 1003 + "]]", "at most 1003 columns", "got 1004"),
        ('{"inputs": [' + ", ".join(['{"shape": [1], "data": [1]}'] * 1004) + "]}", "at most 1003 columns", "got 1004"),
        ('{"inputs": [{"shape": [' + "1, " * 32 + '1], "data": [1]}]}', "a shape of at most 32 sizes", "got 33"),
        ('{"inputs": [{"shape": [1, 10000000000000000000], "data": [1]}]}', "a shape of whole numbers", "got [1, 1000"),
    ],
)
def test_json_that_does_not_fit(content: str, expected: str, got: str, invoke: Decode, refusal: Refusal) -> None:
    found = refusal(invoke, content)
    assert found.status == (413 if "may have" in expected else 400)
    assert expected in found.reason
    assert got in found.reason


@pytest.mark.parametrize(
    ("content", "expected", "got"),
    [
        ("", "at least one row", "none"),
        ("\n \n", "at least one row", "none"),
        ("a,b,c\n", "at least one row", "none"),
        ("1,2\n", "expected 3 columns", "got 2"),
        ("1,2,3\n1,2\n", "3 columns in row 2", "got 2"),
        ("1,2,3],[4,5,6", "a number in row 1, column 3", "got '3]'"),
        ("a,b,c\n1,2,x\n", "a number in row 1, column 3 (c)", "got 'x'"),
        ("1,2,true\n", "a number in row 1, column 3", "got 'true'"),
        ("1,2,inf\n", "a finite number in row 1, column 3", "got inf"),
        ("1,2,1e39\n", "a number in row 1, column 3", "beyond float32"),
        ('1,2,"3', "expected CSV", "does not parse"),
        ("a\0b", "NPY or NPZ", "no known format"),
        ("1,2,3\n1,2,\0", "a number in row 2, column 3", "got '\\x00'"),
        ("1,2,3\n" * 21, "a request may have 20", "has 21"),
        ("1;2;3\n" * 21, "a request may have 20", "has 21"),
        ("1" + ";1" * 1003, "at most 1003 columns", "got 1004"),
        ("1,2,3\n1" + ",1" * 1003, "at most 1003 columns", "got 1004"),
    ],
)
def test_csv_that_does_not_fit(content: str, expected: str, got: str, invoke: Decode, refusal: Refusal) -> None:
    found = refusal(invoke, content, "text/csv")
    assert found.status == (413 if "may have" in expected else 400)
    assert expected in found.reason
    assert got in found.reason


@pytest.mark.parametrize("content_type", ["application/json", "application/jsonlines", "text/csv"])
def test_bytes_that_are_no_text_are_refused(content_type: str, invoke: Decode, refusal: Refusal) -> None:
    assert "not UTF-8 text" in refusal(invoke, b'[[1, 2, "\xff"]]', content_type).reason


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


@pytest.mark.parametrize("content_type", ["text/html", "application/x-www-form-urlencoded", "\xff", "json"])
def test_an_unknown_content_type_is_415_and_names_the_known(
    content_type: str, invoke: Decode, refusal: Refusal
) -> None:
    found = refusal(invoke, "[1, 2, 3]", content_type)
    assert found.status == 415
    assert "content-type" in found.reason
    assert "application/json, text/csv, application/jsonlines" in found.reason


def test_an_unknown_charset_is_415(invoke: Decode, refusal: Refusal) -> None:
    found = refusal(invoke, "1,2,3".encode("utf-16"), "text/csv; charset=utf-16")
    assert (found.status, "'utf-16'" in found.reason) == (415, True)


@pytest.mark.parametrize("accept", ["text/html", "image/*;q=0.8", "*/*;q=0", "application/json;q=0, text/xml"])
def test_an_answer_that_cannot_be_given_is_406(accept: str, invoke: Decode, refusal: Refusal) -> None:
    found = refusal(invoke, "1,2,3", "text/csv", accept)
    assert (found.status, found.reason[:7]) == (406, "accept:")


@pytest.mark.parametrize("name", ["accept", "content-type"])
def test_a_header_with_very_many_types_is_431(name: str, config: EndpointConfig) -> None:
    headers = {b"content-type": b"text/csv", name.encode(): b"text/csv; charset=utf-8, " + b"a/b;q=0.5, " * 6000}
    with pytest.raises(Refused) as caught:
        sagemaker.decode(Request(b"POST", b"", headers, b"1,2,3"), config.signature, config.limits)
    assert (caught.value.status, caught.value.reason) == (431, f"{name}: it may have 4096 bytes, this one has 66025")


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY",
        b"\x93NUMPY\x09\x00\x76\x00" + bytes(200),
        npy(np.ones((1, 3)))[:-1],
        npy(np.ones((1, 3))) + b"\0",
        npy(np.array([[1, "x", None]], dtype=object)),
        npy(np.array([["a", "b", "c"]])),
        npy(np.ones((1, 3), dtype=complex)),
        npy(np.ones((0, 3))),
        npy(np.ones((1, 4))),
        npy(np.full((1, 3), np.inf)),
        npy(np.ones((1, 3))).replace(b"(1, 3)", b"(1,-3)"),
        npy(np.ones((1, 3))).replace(b"(1, 3), }          ", b"(1, 9" + b"9" * 12 + b"), }"),
        b"\x93NUMPY\x01\0\x00\x27{'shape': " + b"(" * 9_990,
        b"\x93NUMPY\x01\0\x00\x20{'descr': '<f4', 'fortran_order': False, 'shape': (" + b"9, " * 2700 + b"), }\n",
    ],
)
def test_arrays_that_do_not_fit(content: bytes, invoke: Decode, refusal: Refusal) -> None:
    found = refusal(invoke, content, "application/x-npy")
    assert (found.status, found.reason[:5]) == (400, "body:")


def tensor(**changes: Any) -> dict[str, Any]:
    plain = {"name": "input-0", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}
    return {name: value for name, value in {**plain, **changes}.items() if value is not ...}


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


def test_nesting_that_json_just_takes_is_refused_too(invoke: Decode, infer: Decode, refusal: Refusal) -> None:
    for depth in range(700, 1000, 20):
        nested = "[" * depth + "]" * depth
        assert refusal(invoke, f'{{"instances": [[1, 2, {nested}]]}}').status == 400
        assert refusal(infer, json.dumps({"inputs": [tensor(data=7)]}).replace("7", nested).encode()).status == 400
        assert refusal(infer, json.dumps({"inputs": [tensor(data=7)]}).replace("7", f'[{{"x":{nested}}}]').encode())


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
    content = begin + repeated * (2**21 // len(repeated)) + end
    began = time.perf_counter()
    assert refusal(invoke, content, content_type).status == 413
    took_s = time.perf_counter() - began
    began = time.perf_counter()
    content.split(repeated[-1])
    assert took_s < 10 * (time.perf_counter() - began)
    if content_type == "application/json":
        request = f'{{"inputs": [{{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": {content}}}]}}'
        assert refusal(infer, request.encode()).status == 413
