"""Properties of both protocols on any request."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from tests.example_counts import examples

from servefit.backends.model.types import Signature, Task
from servefit.backends.payload.delimited import delimited_table
from servefit.backends.payload.json_rows import json_table
from servefit.backends.payload.table import rows_for
from servefit.errors import PayloadMismatch
from servefit.serving.messages import Inference, Refused, Reply
from servefit.serving.protocols.datatypes import datatype_of

Decode = Callable[..., Inference]
TensorOf = Callable[[Reply], np.ndarray]

NAMES = ("a", "b", "c")
SIGNATURE = Signature(task=Task.BINARY, features=3, outputs=1, feature_names=NAMES)
FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
SHAPES = st.tuples(st.integers(1, 4), st.just(3))
FLOAT64 = st.floats(allow_nan=False, allow_infinity=False) | st.decimals(-1000, 1000, places=1).map(float)
ROWS = st.one_of(
    arrays(np.float32, SHAPES, elements=FINITE | st.just(math.nan)),
    arrays(np.float64, SHAPES, elements=FLOAT64 | st.just(math.nan)),
)
"""Of a table of either datatype."""
PREDICTIONS = arrays(np.float32, array_shapes(max_dims=2, max_side=4), elements=FINITE)


def cells(rows: np.ndarray) -> list[list[float | None]]:
    return [[None if math.isnan(cell) else cell for cell in row] for row in rows.tolist()]


def as_csv(rows: np.ndarray, *, header: bool = False) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    if header:
        writer.writerow(NAMES)
    writer.writerows([["" if cell is None else repr(cell) for cell in row] for row in cells(rows)])
    return text.getvalue().encode()


def as_lines(documents: list[Any]) -> bytes:
    return b"\n".join(json.dumps(each).encode() for each in documents)


def as_npy(rows: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, rows)
    return stream.getvalue()


def named(rows: np.ndarray) -> list[dict[str, float | None]]:
    return [dict(zip(NAMES, row, strict=True)) for row in cells(rows)]


WRITERS: dict[str, tuple[str, Callable[[np.ndarray], bytes]]] = {
    "instances": ("application/json", lambda rows: json.dumps({"instances": cells(rows)}).encode()),
    "rows": ("application/json", lambda rows: json.dumps(cells(rows)).encode()),
    "objects": ("application/json", lambda rows: json.dumps(named(rows)).encode()),
    "table": ("application/json", lambda rows: json.dumps({"columns": NAMES, "data": cells(rows)}).encode()),
    "python": ("application/json", lambda rows: json.dumps(rows.tolist()).encode()),
    "lines": ("application/jsonlines", lambda rows: as_lines(cells(rows))),
    "lines of features": ("application/jsonlines", lambda rows: as_lines([{"features": row} for row in cells(rows)])),
    "lines of objects": ("application/jsonlines", lambda rows: as_lines(named(rows))),
    "csv": ("text/csv", as_csv),
    "csv with header": ("text/csv", lambda rows: as_csv(rows, header=True)),
    "npy": ("application/x-npy", as_npy),
}


def as_tensor(rows: np.ndarray, *, nested: bool) -> bytes:
    data = cells(rows) if nested else [cell for row in cells(rows) for cell in row]
    tensor = {"name": "x", "shape": rows.shape, "datatype": datatype_of(rows.dtype.name), "data": data}
    return json.dumps({"id": "7", "inputs": [tensor], "outputs": [{"name": "predictions"}]}).encode()


def as_columns(rows: np.ndarray) -> bytes:
    columns = zip(NAMES, zip(*cells(rows), strict=True), strict=True)
    tensors = [{"name": name, "shape": [len(rows)], "datatype": "FP64", "data": column} for name, column in columns]
    return json.dumps({"inputs": tensors[::-1], "parameters": {"content_type": "pd"}}).encode()


def as_binary(rows: np.ndarray) -> tuple[bytes, bytes]:
    sized = {"parameters": {"binary_data_size": rows.nbytes}}
    tensor = {"name": "x", "shape": rows.shape, "datatype": datatype_of(rows.dtype.name), **sized}
    return json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode(), rows.tobytes()


TENSORS: dict[str, Callable[[np.ndarray], tuple[bytes, ...]]] = {
    "flat": lambda rows: (as_tensor(rows, nested=False),),
    "nested": lambda rows: (as_tensor(rows, nested=True),),
    "columns": lambda rows: (as_columns(rows),),
    "binary": as_binary,
}


def same_bits(found: np.ndarray, wanted: np.ndarray) -> None:
    missing = np.isnan(wanted)
    np.testing.assert_array_equal(np.isnan(found), missing)
    assert found.dtype == wanted.dtype
    bits = f"u{wanted.itemsize}"
    np.testing.assert_array_equal(found.view(bits)[~missing], wanted.view(bits)[~missing])


@pytest.mark.parametrize("form", WRITERS)
@given(rows=ROWS)
@settings(max_examples=examples(12, drawn=25), deadline=None)
def test_every_number_gets_into_the_rows_bit_for_bit(form: str, rows: np.ndarray, invoke: Decode) -> None:
    content_type, write = WRITERS[form]
    same_bits(invoke(write(rows), content_type, table_datatype=rows.dtype.name).rows, rows)


@pytest.mark.parametrize("form", TENSORS)
@given(rows=ROWS)
@settings(max_examples=examples(12, drawn=25), deadline=None)
def test_every_number_gets_into_a_tensors_rows_bit_for_bit(form: str, rows: np.ndarray, infer: Decode) -> None:
    same_bits(infer(*TENSORS[form](rows), table_datatype=rows.dtype.name).rows, rows)


@given(rows=ROWS)
@settings(max_examples=examples(12, drawn=25), deadline=None)
def test_binary_values_of_the_other_datatype_are_converted(rows: np.ndarray, infer: Decode, invoke: Decode) -> None:
    other = "float64" if rows.dtype == np.float32 else "float32"
    with np.errstate(over="ignore"):
        wanted = rows.astype(other)
    assume(not np.isinf(wanted).any())
    same_bits(infer(*as_binary(rows), table_datatype=other).rows, wanted)
    same_bits(invoke(as_npy(rows), "application/x-npy", table_datatype=other).rows, wanted)


def values_of(reply: Reply) -> list[Any]:
    if reply.content_type == b"application/x-npy":
        listed: list[Any] = np.load(io.BytesIO(reply.body)).tolist()
        return listed
    if reply.content_type.startswith(b"text/csv"):
        lines = [[float(cell) for cell in line.split(",")] for line in reply.body.decode().splitlines()]
        return [line[0] for line in lines] if all(len(line) == 1 for line in lines) else lines
    if reply.content_type == b"application/jsonlines":
        return [json.loads(line)["prediction"] for line in reply.body.splitlines()]
    predictions: list[Any] = json.loads(reply.body)["predictions"]
    return predictions


@pytest.mark.parametrize("accept", ["application/json", "application/jsonlines", "text/csv", "application/x-npy"])
@given(predictions=PREDICTIONS)
@settings(max_examples=examples(12, drawn=25), deadline=None)
def test_every_prediction_comes_back_bit_for_bit(accept: str, predictions: np.ndarray, invoke: Decode) -> None:
    found = np.array(values_of(invoke("[1, 2, 3]", accept=accept).encode(predictions)), dtype=np.float32)
    same_bits(found.reshape(predictions.shape), predictions)


@pytest.mark.parametrize("form", ["flat", "binary"])
@given(predictions=PREDICTIONS)
@settings(max_examples=examples(12, drawn=25), deadline=None)
def test_every_prediction_comes_back_in_a_tensor(
    form: str, predictions: np.ndarray, infer: Decode, tensor_of: TensorOf
) -> None:
    found = tensor_of(infer(*TENSORS[form](np.ones((1, 3), dtype=np.float32))).encode(predictions))
    assert found.shape == (len(predictions), predictions[0].size)
    same_bits(np.ascontiguousarray(found), predictions.reshape(found.shape))


def refusal_or_none(decode: Callable[[], Inference]) -> Refused | None:
    try:
        decode()
    except Refused as error:
        return error
    return None


def rows_or_refusal(decode: Callable[[], Inference]) -> np.ndarray | Refused:
    """Nothing else may happen, and both must be fit to be used."""
    refusal = refusal_or_none(decode)
    if refusal is not None:
        assert 400 <= refusal.status < 500
        assert refusal.reason
        assert "\n" not in refusal.reason
        msgspec.json.encode({"error": refusal.reason})
        return refusal
    inference = decode()
    rows = inference.rows
    assert rows.dtype == np.float32
    assert rows.flags.c_contiguous
    assert 1 <= len(rows) <= 20
    assert rows.shape[1] == 3
    assert not np.isinf(rows).any()
    assert inference.encode(np.ones(len(rows), dtype=np.float32)).status == 200
    return rows


HEADER = st.none() | st.text(st.characters(max_codepoint=255), max_size=12)
CONTENT_TYPES = st.sampled_from([content_type for content_type, _ in WRITERS.values()]) | HEADER
BEGINNINGS = st.sampled_from(
    [
        b"",
        b"[",
        b"{",
        b"[[1,2,",
        b'{"instances":[[1,',
        b'{"inputs":[',
        b"\x93NUMPY\x01\0\x10\0{",
        b"1,2,",
        b"\xef\xbb\xbf",
    ]
)


@given(begin=BEGINNINGS, content=st.binary(max_size=60), content_type=CONTENT_TYPES, accept=HEADER)
@settings(max_examples=examples(20, drawn=200), deadline=None)
def test_junk_is_understood_or_refused_and_nothing_else(
    begin: bytes, content: bytes, content_type: str | None, accept: str | None, invoke: Decode
) -> None:
    rows_or_refusal(lambda: invoke(begin + content, content_type, accept))


@given(begin=BEGINNINGS, content=st.binary(max_size=60), length=st.none() | st.binary(max_size=3) | st.just(b"0"))
@settings(max_examples=examples(20, drawn=200), deadline=None)
def test_junk_for_tensors_is_understood_or_refused_and_nothing_else(
    begin: bytes, content: bytes, length: bytes | None, infer: Decode
) -> None:
    rows_or_refusal(lambda: infer(begin + content, header_length=length))


EDITS = st.lists(
    st.tuples(
        st.integers(0, 400),
        st.integers(0, 2),
        st.sampled_from(
            [b"[", b"]", b"{", b"}", b",", b"\n", b'"', b"-", b"9", b"e9", b".", b"0", b"null", b"true", b" "]
        )
        | st.binary(min_size=1, max_size=1),
    ),
    min_size=1,
    max_size=3,
)


def edited(content: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    """``content`` with pieces put in place of some bytes."""
    for position, removed, piece in edits:
        at = position % (len(content) + 1)
        content = content[:at] + piece + content[at + removed :]
    return content


@pytest.mark.integration
@pytest.mark.parametrize("form", WRITERS)
@given(rows=ROWS, edits=EDITS)
@settings(max_examples=examples(12, drawn=60), deadline=None)
def test_a_damaged_request_is_read_as_the_payload_reader_would(
    form: str, rows: np.ndarray, edits: list[tuple[int, int, bytes]], invoke: Decode
) -> None:
    content_type, write = WRITERS[form]
    content = edited(write(rows), edits)
    found = rows_or_refusal(lambda: invoke(content, content_type))
    if form == "npy":
        return
    wanted = as_the_payload_reader_has_it(content, content_type)
    if wanted is None:
        assert isinstance(found, Refused)
    else:
        assert isinstance(found, np.ndarray)
        np.testing.assert_array_equal(found, wanted)


def as_the_payload_reader_has_it(content: bytes, content_type: str) -> np.ndarray | None:
    try:
        text = content.decode("utf-8-sig")
        if content_type == "text/csv":
            table = delimited_table(io.StringIO(text, newline=""), "body", NAMES)
        else:
            table = json_table(text, "body", booleans=False)
        return rows_for(table, SIGNATURE, "body")
    except (UnicodeDecodeError, PayloadMismatch):
        return None


@pytest.mark.parametrize("form", TENSORS)
@given(rows=ROWS, edits=EDITS, length_off_by=st.sampled_from([0, 0, 0, 1, -1, 12]), cut=st.integers(0, 4))
@settings(max_examples=examples(12, drawn=60), deadline=None)
def test_a_damaged_tensor_is_read_or_refused_and_nothing_else(
    form: str, rows: np.ndarray, edits: list[tuple[int, int, bytes]], length_off_by: int, cut: int, infer: Decode
) -> None:
    document, *binary = TENSORS[form](rows)
    document = edited(document, edits)
    if binary:
        length = b"%d" % (len(document) + length_off_by)
        rows_or_refusal(lambda: infer(document, binary[0][cut:], header_length=length))
    else:
        rows_or_refusal(lambda: infer(document))


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.just("\ud800")
KEYS = ["instances", "inputs", "data", "features", "shape", "columns", "name", "datatype", "parameters", "a", "b", "c"]
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.integration
@given(document=DOCUMENTS, content_type=st.sampled_from(["application/json", "application/jsonlines", "text/csv"]))
@settings(max_examples=examples(20, drawn=200), deadline=None)
def test_json_of_any_shape_is_read_as_the_payload_reader_would(
    document: Any, content_type: str, invoke: Decode
) -> None:
    content = json.dumps(document).encode()
    found = rows_or_refusal(lambda: invoke(content, content_type))
    wanted = as_the_payload_reader_has_it(content, content_type)
    assert (wanted is None) == isinstance(found, Refused)
    if isinstance(found, np.ndarray):
        np.testing.assert_array_equal(found, wanted)


FIELDS = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["a", "b", "c", "x"]) | DOCUMENTS,
        "shape": st.lists(st.integers(-1, 4), max_size=3) | st.just([1, 3]) | DOCUMENTS,
        "datatype": st.sampled_from(["FP32", "FP64", "INT8", "UINT64", "BOOL", "BYTES"]) | DOCUMENTS,
    },
    optional={
        "data": st.lists(st.integers(0, 1) | SCALARS, max_size=6) | DOCUMENTS,
        "parameters": st.fixed_dictionaries({}, optional={"binary_data_size": st.integers(-1, 40) | SCALARS}),
    },
)


@pytest.mark.integration
@given(inputs=st.lists(FIELDS, max_size=3), others=st.dictionaries(st.sampled_from(["id", "outputs"]), DOCUMENTS))
@settings(max_examples=examples(20, drawn=200), deadline=None)
def test_tensors_of_any_shape_are_understood_or_refused_and_nothing_else(
    inputs: list[Any], others: dict[str, Any], infer: Decode
) -> None:
    content = json.dumps({"inputs": inputs, **others}).encode()
    rows_or_refusal(lambda: infer(content))
    rows_or_refusal(lambda: infer(content, b"\0" * 12))
