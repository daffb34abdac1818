"""Destinations of requests: URLs, formats, and rows that arrive unchanged."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import httptools
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from servefit.backends.model.opaque import OpaqueRequest, request_row
from servefit.backends.model.packing import join
from servefit.errors import SpecError
from servefit.profiler.drivers.http.address import Address
from servefit.profiler.drivers.http.bodies import FORMS, Tensor, bodies, mean_body_bytes
from servefit.profiler.drivers.http.destination import Destination

if TYPE_CHECKING:
    from servefit.profiler.drivers.http.bodies import Form

pytestmark = pytest.mark.integration

ROWS = arrays(
    np.float32,
    st.tuples(st.integers(1, 7), st.integers(1, 4)),
    elements=st.floats(width=32, allow_infinity=False, allow_nan=True),
)


OF_ROWS = tuple(form for form in FORMS if form != "sagemaker-opaque")
"""Forms that say numbers. The other one sends what a script takes as it is."""


class Parsed:
    """A request as a server sees it."""

    def __init__(self, content: bytes) -> None:
        self.path = self.body = b""
        self.headers: dict[str, str] = {}
        self.complete = 0
        parser = httptools.HttpRequestParser(self)
        parser.feed_data(content)
        self.method = parser.get_method()

    def on_url(self, url: bytes) -> None:
        self.path = url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete += 1


def rows_of(form: Form, request: Parsed, features: int) -> np.ndarray:
    """The rows of a request, read by other means than they were written by."""
    if form == "sagemaker-csv":
        lines = list(csv.reader(io.StringIO(request.body.decode())))
        cells = [[cell or "nan" for cell in (line or [""])] for line in lines]
        return np.array(cells, dtype=np.float64).astype(np.float32)
    if form == "open-inference-binary":
        length = int(request.headers["inference-header-content-length"])
        (tensor,) = json.loads(request.body[:length])["inputs"]
        content = request.body[length:]
        assert tensor["parameters"]["binary_data_size"] == len(content)
        return np.frombuffer(content, dtype="<f4").reshape(tensor["shape"])
    document = json.loads(request.body)
    if form == "open-inference":
        (tensor,) = document["inputs"]
        assert (tensor["name"], tensor["datatype"]) == ("input-0", "FP32")
        return np.array(tensor["data"], dtype=np.float64).astype(np.float32).reshape(tensor["shape"])
    rows = document["instances"] if form == "sagemaker-json" else document
    return np.array(rows, dtype=np.float64).astype(np.float32).reshape(-1, features)


@given(rows=ROWS, form=st.sampled_from(OF_ROWS), rows_per_request=st.integers(1, 9))
def test_rows_arrive_as_they_were_and_rotate_through_the_payload(
    rows: np.ndarray, form: Form, rows_per_request: int
) -> None:
    requests = Destination.of("http://127.0.0.1:80/", form, model="m").requests(rows, rows_per_request=rows_per_request)
    parsed = [Parsed(request) for request in requests]
    assert {(request.method, request.complete) for request in parsed} == {(b"POST", 1)}
    sent = np.concatenate([rows_of(form, request, rows.shape[1]) for request in parsed])
    assert len(sent) == len(requests) * rows_per_request
    expected = rows[np.arange(len(sent)) % len(rows)]
    assert np.array_equal(sent, expected, equal_nan=True)
    assert len(sent) % len(rows) == 0  # the next request is the first again


TENSORS = (Tensor("ids", "INT64", (2,)), Tensor("flag", "BOOL", ()), Tensor("x", "FP64", (2, 1)), Tensor("y", "FP32"))
DATATYPES = {"INT64": "<i8", "BOOL": "?", "FP64": "<f8", "FP32": "<f4"}


@settings(deadline=None)
@given(
    rows=arrays(np.int64, st.tuples(st.integers(1, 3), st.just(6)), elements=st.integers(-(2**53), 2**53)),
    binary=st.booleans(),
)
def test_several_tensors_share_the_columns_in_their_order(rows: np.ndarray, binary: bool) -> None:
    rows[:, 2] %= 2
    form: Form = "open-inference-binary" if binary else "open-inference"
    destination = replace(Destination.of("http://h", form, model="m"), tensors=TENSORS)
    parsed = Parsed(destination.requests(rows.astype(np.float64), rows_per_request=len(rows))[0])
    length = int(parsed.headers.get("inference-header-content-length", len(parsed.body)))
    inputs, content = json.loads(parsed.body[:length])["inputs"], parsed.body[length:]
    assert [described["shape"] for described in inputs] == [
        [len(rows), 2],
        [len(rows)],
        [len(rows), 2, 1],
        [len(rows), 1],
    ]
    columns = (slice(0, 2), slice(2, 3), slice(3, 5), slice(5, 6))
    for tensor, described, of in zip(TENSORS, inputs, columns, strict=True):
        assert (described["name"], described["datatype"]) == (tensor.name, tensor.datatype)
        expected = rows[:, of].astype(DATATYPES[tensor.datatype]).ravel()
        if binary:
            size = described["parameters"]["binary_data_size"]
            found, content = np.frombuffer(content[:size], DATATYPES[tensor.datatype]), content[size:]
        else:
            found = np.array(described["data"]).astype(DATATYPES[tensor.datatype])
            assert all(type(value) is bool for value in described["data"]) == (tensor.datatype == "BOOL")
        np.testing.assert_array_equal(found, expected)
    assert not content


@settings(deadline=None)
@given(rows=arrays(np.int64, st.tuples(st.integers(1, 3), st.integers(1, 3))), form=st.sampled_from(OF_ROWS))
def test_every_int64_is_sent_as_it_is(rows: np.ndarray, form: Form) -> None:
    destination = replace(Destination.of("http://h", form, model="m"), tensors=(Tensor(datatype="INT64"),))
    parsed = Parsed(destination.requests(rows, rows_per_request=len(rows))[0])
    if form == "open-inference-binary":
        found = np.frombuffer(parsed.body[int(parsed.headers["inference-header-content-length"]) :], "<i8")
    else:
        found = np.array([int(text) for text in re.findall(r"(?<![A-Z])-?[0-9]+", _data(form, parsed))])
    np.testing.assert_array_equal(found.reshape(rows.shape), rows)


def _data(form: Form, request: Parsed) -> str:
    """The part of a request that holds its numbers."""
    text = request.body.decode()
    return text.partition('"data":')[2] if form == "open-inference" else text


@pytest.mark.parametrize(
    ("form", "path"),
    [
        ("sagemaker-json", "/invocations"),
        ("sagemaker-csv", "/invocations"),
        ("open-inference", "/v2/models/m/infer"),
        ("open-inference-binary", "/v2/models/m/infer"),
        ("json", "/"),
    ],
)
def test_a_form_has_its_usual_path_and_a_path_that_is_given_stands(form: Form, path: str) -> None:
    assert Destination.of("http://h", form, model="m").address.path == path
    assert Destination.of("http://h/else?x=1", form).address.path == "/else?x=1"


def test_headers_of_the_user_are_sent_with_every_request() -> None:
    destination = Destination(address=Address.parse("http://h:81/p"), form="json", headers=(("authorization", "x y"),))
    parsed = Parsed(destination.requests(np.zeros((1, 2), dtype=np.float32))[0])
    assert parsed.headers["authorization"] == "x y"
    assert parsed.headers["host"] == "h:81"
    assert (parsed.path, parsed.body) == (b"/p", b"[[0.0,0.0]]")


def test_a_large_payload_is_not_all_turned_into_requests() -> None:
    rows = np.full((5000, 1000), -1.5, dtype=np.float32)
    requests = Destination.of("http://h", "json").requests(rows, rows_per_request=50)
    assert 8 * 2**20 < sum(map(len, requests)) < 9 * 2**20


def test_all_files_of_a_payload_are_sent_however_large_they_are() -> None:
    rows = join([request_row(OpaqueRequest(body=bytes([nth]) * 5_000_000))[None] for nth in range(4)])
    sent = [body[0] for _, body in bodies("sagemaker-opaque", rows, rows_per_request=1)]
    assert sent == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        ("http://127.0.0.1:8080/x", "127.0.0.1:8080"),
        ("http://LOCALHOST", "localhost"),
        ("http://[::1]:9", "[::1]:9"),
        ("https://example.org:443/a?b", "example.org"),
    ],
)
def test_an_address_names_its_port_only_where_it_is_not_the_usual_one(url: str, authority: str) -> None:
    address = Address.parse(url)
    assert address.authority == authority
    assert Address.parse(address.url) == address


@pytest.mark.parametrize(
    "url",
    ["", "localhost:8080", "ftp://h/", "http://", "http://h:port", "http://h:99999", "http://u:p@h/", "http://h/a b",
     "http://h/\r\nx: y", "http://h/é", "http://[::1"],
)  # fmt: skip
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(SpecError):
        Address.parse(url)


def test_the_open_inference_protocol_needs_a_model() -> None:
    with pytest.raises(SpecError, match="model"):
        Destination.of("http://h", "open-inference")


@pytest.mark.parametrize("form", OF_ROWS)
def test_the_mean_length_of_a_body_is_that_of_what_is_sent(form: Form) -> None:
    rows = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    lengths = [len(body) for _, body in bodies(form, rows, rows_per_request=2)]
    assert mean_body_bytes(form, rows, rows_per_request=2) == round(sum(lengths) / len(lengths)) > 0
