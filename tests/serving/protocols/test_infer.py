"""POST /v2/models/{model}/infer: the Open Inference Protocol, in JSON and with binary tensors."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from servefit.serving.messages import Inference, Reply

Decode = Callable[..., Inference]
Rows = Callable[[Inference], list[list[float]]]
TensorOf = Callable[[Reply], np.ndarray]

NAN = float("nan")
WANTED = [[1, 2, 3], [4, 5, 6]]
HALVES = np.array([0.5, 0.25], dtype=np.float32)


def tensor(data: Any, shape: list[int], datatype: str = "FP32", name: str = "input-0") -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}


def binary_tensor(array: np.ndarray, datatype: str = "FP32", name: str = "input-0") -> dict[str, Any]:
    parameters = {"binary_data_size": array.nbytes}
    return {"name": name, "shape": list(array.shape), "datatype": datatype, "parameters": parameters}


@pytest.mark.parametrize(
    "inputs",
    [
        [tensor([1, 2, 3, 4, 5, 6], [2, 3])],
        [tensor([[1, 2, 3], [4, 5, 6]], [2, 3])],
        [tensor([1.0, 2, 3e0, 4, 5, 6], [2, 3], "FP64", name="whatever a client calls it")],
        [tensor([[[1], [2], [3]], [[4], [5], [6]]], [2, 3, 1])],
        [tensor([1, 2, 3, 4, 5, 6], [2, 3], "INT8")],
        [tensor([1, 2, 3, 4, 5, 6], [2, 3], "UINT64")],
        [tensor([3, 6], [2], name="c"), tensor([1, 4], [2], "INT32", name="a"), tensor([2, 5], [2, 1], name="b")],
        [tensor([0, 0], [2], name="d"), *(tensor([n, n + 3], [2], name=" abc"[n]) for n in (1, 2, 3))],
    ],
)
def test_tensors_in_json(inputs: list[Any], infer: Decode, rows_of: Rows) -> None:
    assert rows_of(infer({"inputs": inputs})) == WANTED


def test_one_dimension_is_a_row_or_the_column_of_a_model_with_one_feature(infer: Decode, rows_of: Rows) -> None:
    assert rows_of(infer({"inputs": [tensor([1, 2, 3], [3])]})) == [[1, 2, 3]]
    alone = {"features": 1, "feature_names": ()}
    assert rows_of(infer({"inputs": [tensor([1, 2, 3], [3])]}, **alone)) == [[1], [2], [3]]


def test_missing_values_are_null_or_nan(infer: Decode, rows_of: Rows) -> None:
    for data in ([1, None, 3], [[1, None, 3]], [1, NAN, 3]):
        np.testing.assert_array_equal(rows_of(infer({"inputs": [tensor(data, [1, 3])]})), [[1, NAN, 3]])
    row = np.array([[1, NAN, 3]], dtype=np.float32)
    np.testing.assert_array_equal(rows_of(infer({"inputs": [binary_tensor(row)]}, row.tobytes())), row)


def test_booleans_are_numbers_in_a_tensor_of_them(infer: Decode, rows_of: Rows) -> None:
    assert rows_of(infer({"inputs": [tensor([True, False, 1], [1, 3], "BOOL")]})) == [[1, 0, 1]]
    array = np.array([[True, False, True]])
    assert rows_of(infer({"inputs": [binary_tensor(array, "BOOL")]}, b"\x01\x00\x07")) == [[1, 0, 1]]


@pytest.mark.parametrize(
    ("datatype", "dtype"),
    [
        ("FP16", "<f2"),
        ("FP32", "<f4"),
        ("FP64", "<f8"),
        *((f"INT{bits}", f"<i{bits // 8}") for bits in (8, 16, 32, 64)),
        *((f"UINT{bits}", f"<u{bits // 8}") for bits in (8, 16, 32, 64)),
    ],
)
def test_binary_tensors_of_every_datatype(datatype: str, dtype: str, infer: Decode, rows_of: Rows) -> None:
    array = np.array(WANTED).astype(dtype)
    assert rows_of(infer({"inputs": [binary_tensor(array, datatype)]}, array.tobytes())) == WANTED


def test_integers_are_rounded_to_float32(infer: Decode, rows_of: Rows) -> None:
    assert rows_of(infer({"inputs": [tensor([2**24 + 1, 2**63, 0], [1, 3], "UINT64")]})) == [[2**24, 2**63, 0]]


def test_binary_and_json_tensors_are_read_side_by_side(infer: Decode, rows_of: Rows) -> None:
    c, a = np.array([3, 6], dtype="<i8"), np.array([[1], [4]], dtype="<f4")
    inputs = [binary_tensor(c, "INT64", "c"), tensor([2, 5], [2], name="b"), binary_tensor(a, "FP32", "a")]
    assert rows_of(infer({"inputs": inputs}, c.tobytes() + a.tobytes())) == WANTED


def test_a_body_of_nothing_but_values_is_read_where_the_header_is_none(
    infer: Decode, rows_of: Rows, tensor_of: TensorOf
) -> None:
    values = np.array(WANTED, dtype="<f4").tobytes()
    inference = infer(b"", values, header_length=b"0")
    assert rows_of(inference) == WANTED
    assert tensor_of(inference.encode(HALVES)).tolist() == [[0.5], [0.25]]


def test_the_answer_names_the_model_and_echoes_the_id(infer: Decode) -> None:
    reply = infer({"id": "q-\u00e9", "inputs": [tensor([1, 2, 3], [1, 3])]}).encode(HALVES)
    assert (reply.status, reply.content_type, reply.headers) == (200, b"application/json", ())
    assert json.loads(reply.body) == {
        "model_name": "fraud",
        "model_version": "1",
        "id": "q-\u00e9",
        "outputs": [{"name": "predictions", "datatype": "FP32", "shape": [2, 1], "data": [0.5, 0.25]}],
    }
    without = json.loads(infer({"id": "", "inputs": [tensor([1, 2, 3], [1, 3])]}).encode(HALVES).body)
    assert "id" not in without


@pytest.mark.parametrize(
    ("parameters", "outputs", "binary"),
    [
        ({}, None, False),
        ({}, [], False),
        ({}, [{"name": "predictions"}], False),
        ({"binary_data_output": True}, None, True),
        ({"binary_data_output": True}, [{"name": "predictions"}], True),
        ({"binary_data_output": True}, [{"name": "predictions", "parameters": {"binary_data": False}}], False),
        ({"binary_data_output": False}, [{"name": "predictions", "parameters": {"binary_data": True}}], True),
        ({"priority": 3, "timeout": "soon"}, [{"name": "predictions", "parameters": {"content_type": "np"}}], False),
    ],
)
def test_the_answer_is_binary_where_that_is_asked(
    parameters: Any, outputs: Any, binary: bool, infer: Decode, tensor_of: TensorOf
) -> None:
    request = {"inputs": [tensor([1, 2, 3], [1, 3])], "outputs": outputs, "parameters": parameters}
    reply = infer(request).encode(HALVES)
    assert (reply.content_type == b"application/octet-stream") == bool(reply.headers) == binary
    assert tensor_of(reply).tolist() == [[0.5], [0.25]]


def test_several_values_a_row_are_the_second_dimension(infer: Decode, tensor_of: TensorOf) -> None:
    predictions = np.array([[0.5, 0.25, 0.125], [1, 2, 3]])
    for binary in (False, True):
        request = {"inputs": [tensor([1, 2, 3], [1, 3])], "parameters": {"binary_data_output": binary}}
        np.testing.assert_array_equal(tensor_of(infer(request).encode(predictions)), predictions)


def test_predictions_that_are_no_finite_numbers_leave_the_answer_readable(infer: Decode, tensor_of: TensorOf) -> None:
    predictions = np.array([NAN, np.inf, -np.inf, 1])
    request = {"inputs": [tensor([1, 2, 3], [1, 3])]}
    assert json.loads(infer(request).encode(predictions).body)["outputs"][0]["data"] == [None, None, None, 1]
    binary = infer({**request, "parameters": {"binary_data_output": True}}).encode(predictions)
    np.testing.assert_array_equal(tensor_of(binary).ravel(), predictions)


def test_a_prediction_beyond_the_datatype_of_the_answer_is_a_number_in_json_and_refused_in_binary(
    infer: Decode,
) -> None:
    request = {"inputs": [tensor([1, 2, 3], [1, 3])]}
    assert json.loads(infer(request).encode(np.array([-5e96])).body)["outputs"][0]["data"] == [-5e96]
    binary = infer({**request, "parameters": {"binary_data_output": True}}).encode(np.array([1, -5e96]))
    assert (binary.status, json.loads(binary.body)["error"]) == (
        400,
        "outputs: a prediction is beyond FP32: ask for it in JSON",
    )
