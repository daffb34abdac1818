"""Requests to models that do not take float32: every number arrives exactly, or is refused."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tests.example_counts import examples
from tests.onnx_models import BOOL, DOUBLE, FLOAT, INT64, LARGE_IDS, answers, hashed, node, save
from tests.serving.asked_model import AskedModel

from servefit.serving.messages import Inference, Refused
from servefit.serving.protocols import metadata

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration

Refusal = Callable[..., Refused]
OUTPUTS = {"int64": (INT64, "INT64"), "float64": (DOUBLE, "FP64"), "float32": (FLOAT, "FP32")}
ROWS = arrays(np.int64, st.tuples(st.integers(1, 4), st.just(4)))


def npy(rows: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, rows)
    return stream.getvalue()


def tensor(rows: np.ndarray, *, nested: bool = False) -> bytes:
    data = rows.tolist() if nested else rows.ravel().tolist()
    return json.dumps({"inputs": [{"name": "x", "shape": rows.shape, "datatype": "INT64", "data": data}]}).encode()


def lines(documents: list[Any]) -> bytes:
    return b"\n".join(json.dumps(document).encode() for document in documents)


def csv(rows: np.ndarray) -> bytes:
    return "".join(",".join(map(str, row)) + "\n" for row in rows).encode()


WRITERS: dict[str, tuple[str | None, Callable[[np.ndarray], bytes]]] = {
    "instances": ("application/json", lambda rows: json.dumps({"instances": rows.tolist()}).encode()),
    "rows": ("application/json", lambda rows: json.dumps(rows.tolist()).encode()),
    "tensor in json": ("application/json", tensor),
    "lines": ("application/jsonlines", lambda rows: lines(rows.tolist())),
    "lines of features": (
        "application/jsonlines",
        lambda rows: lines([{"features": row} for row in rows.tolist()]),
    ),
    "csv": ("text/csv", csv),
    "npy": ("application/x-npy", npy),
    "infer": (None, tensor),
    "infer, nested": (None, lambda rows: tensor(rows, nested=True)),
}


def asked(served: AskedModel, form: str, rows: np.ndarray) -> Inference:
    content_type, write = WRITERS[form]
    return served.infer(write(rows)) if content_type is None else served.invoke(write(rows), content_type)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AskedModel]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERVEFIT_HOME", str(tmp_path_factory.mktemp("state")))
        yield AskedModel(hashed(tmp_path_factory.mktemp("model") / "hashed.onnx"))


def test_ids_beyond_float32_are_predicted_as_onnxruntime_does(served: AskedModel, tmp_path: Path) -> None:
    rows = np.array([LARGE_IDS])
    assert answers(hashed(tmp_path / "hashed.onnx"), {"ids": rows}).tolist() == [10.75]
    for form in WRITERS:
        assert served.predictions(asked(served, form, rows)).tolist() == [10.75]
    binary = {"name": "x", "shape": [1, 4], "datatype": "INT64", "parameters": {"binary_data_size": 32}}
    header = json.dumps({"inputs": [binary]}).encode()
    content = rows.astype("<i8").tobytes()
    for inference in (
        served.infer(header + content, header_length=len(header)),
        served.infer(content, header_length=0),
    ):
        assert served.predictions(inference).tolist() == [10.75]


@pytest.mark.parametrize("form", WRITERS)
@given(rows=ROWS)
@settings(max_examples=examples(8, drawn=25), deadline=None)
def test_every_int64_gets_into_the_rows(form: str, rows: np.ndarray, served: AskedModel) -> None:
    found = asked(served, form, rows).rows
    assert found.dtype == np.int64
    assert found.flags.c_contiguous
    assert found.flags.writeable
    np.testing.assert_array_equal(found, rows)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("[[1, 2, 3, 9223372036854775808]]", "int64, the datatype of rows, holds exactly in row 1, column 4"),
        ("[[1, 2, 3, 9007199254740993.0]]", "a whole number without a point or an exponent in row 1, column 4"),
        ("[[1, 2, 3, 0.5]]", "a whole number in row 1, column 4"),
        ("[[1, 2, 3, null]]", "takes no missing values, in row 1, column 4"),
        ("[[9007199254740993, 2, 3, null]]", "takes no missing values, in row 1, column 4"),
        ("[[1, 2, 3, 1e300]]", "a whole number without a point or an exponent in row 1, column 4"),
        ("[[1, 2, 3]]", "expected 4 columns, got 3"),
    ],
)
def test_what_int64_does_not_hold_is_refused(body: str, words: str, served: AskedModel, refusal: Refusal) -> None:
    assert words in refusal(served.invoke, body.encode()).reason
    row = json.loads(body)[0]
    for datatype in ("FP64", "INT64"):
        document = {"inputs": [{"name": "x", "shape": [1, len(row)], "datatype": datatype, "data": row}]}
        reason = refusal(served.infer, json.dumps(document).encode()).reason
        assert words in reason or f"expected {datatype} in row 1, column 4" in reason


@pytest.mark.parametrize("datatype", ["INT8", "UINT8", "INT64", "UINT64"])
def test_a_number_that_is_not_of_the_datatype_that_the_request_names_is_refused(
    datatype: str, served: AskedModel, refusal: Refusal
) -> None:
    beyond = 2**64 if datatype.endswith("64") else 300
    document = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": datatype, "data": [1, 2, 3, beyond]}]}
    found = refusal(served.infer, json.dumps(document).encode())
    assert f"expected {datatype} in row 1, column 4" in found.reason


def test_floats_that_are_whole_numbers_are_taken_in_binary(served: AskedModel) -> None:
    rows = np.array([[2.0**60, -(2.0**53), 7, 0]])
    described = {"name": "x", "shape": [1, 4], "datatype": "FP64", "parameters": {"binary_data_size": rows.nbytes}}
    header = json.dumps({"inputs": [described]}).encode()
    found = served.infer(header + rows.tobytes(), header_length=len(header))
    assert found.rows.tolist() == [[2**60, -(2**53), 7, 0]]


def test_an_array_of_three_dimensions_is_refused_where_the_model_takes_rows(
    served: AskedModel, refusal: Refusal
) -> None:
    found = refusal(served.invoke, npy(np.ones((1, 2, 2), dtype=np.int64)), "application/x-npy")
    assert "expected rows of the shape (4), got an array of (1, 2, 2)" in found.reason
    document = {"inputs": [{"name": "x", "shape": [1, 2, 2], "datatype": "INT64", "data": [1, 2, 3, 4]}]}
    found = refusal(served.infer, json.dumps(document).encode())
    assert "expected rows of the shape (n, 4), got (n, 2, 2)" in found.reason


@pytest.mark.parametrize("datatype", OUTPUTS)
def test_predictions_keep_the_datatype_that_the_model_gives(
    datatype: str, tmp_path: Path, tensor_of: Callable[..., np.ndarray]
) -> None:
    kind, told = OUTPUTS[datatype]
    nodes = [node("Identity", ["x"], ["y"])]
    model = AskedModel(save(tmp_path / "same.onnx", {"x": (kind, [None, 2])}, nodes, {"y": kind}))
    rows = np.array([[16_777_217, 1], [2**53 - 1, -3]]).astype(datatype)
    data = rows.ravel().tolist()
    for binary in (False, True):
        document = {
            "inputs": [{"name": "x", "shape": rows.shape, "datatype": told, "data": data}],
            "parameters": {"binary_data_output": binary},
        }
        inference = model.infer(json.dumps(document).encode())
        reply = inference.encode(model.predictions(inference))
        np.testing.assert_array_equal(tensor_of(reply, told), rows)
    assert json.loads(metadata.model_metadata(model.config).body)["outputs"] == [
        {"name": "y", "datatype": told, "shape": [-1, 2]}
    ]
    configured = json.loads(metadata.model_config(model.config).body)["output"]
    assert configured == [{"name": "y", "data_type": f"TYPE_{told}", "dims": [2]}]
    assert model.predictions(inference).dtype == datatype


def test_a_label_is_told_as_a_whole_number_and_a_truth_as_0_or_1(tmp_path: Path) -> None:
    table = {"x": (FLOAT, [None, 3])}
    label = AskedModel(
        save(tmp_path / "label.onnx", table, [node("ArgMax", ["x"], ["y"], axis=1, keepdims=0)], {"y": INT64})
    )
    inference = label.invoke(b"1,3,2\n9,3,2\n", "text/csv")
    assert inference.encode(label.predictions(inference)).body == b"1\n0\n"
    truth = AskedModel(save(tmp_path / "truth.onnx", table, [node("IsNaN", ["x"], ["y"])], {"y": BOOL}))
    inference = truth.invoke(b"1,3,2\n", "text/csv")
    assert inference.encode(truth.predictions(inference)).body == b"0.0,0.0,0.0\n"
