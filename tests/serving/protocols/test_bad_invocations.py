"""Requests to /invocations that get no predictions: 4xx, and a sentence that names the place."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

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
        ('[{"\\ud800": "\\udfff"}]', "a number in row 1, column 1 (\\ud800)", "got '\\udfff'"),
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
        ("1,2,yes\n", "a number in row 1, column 3", "got 'yes'"),
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
