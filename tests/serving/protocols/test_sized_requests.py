"""Requests that have sizes of their own, and answers by the model's own names: in the Open Inference Protocol and at
/invocations."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from tests.onnx_models import HIDDEN, TEXT_INPUTS, of_all_outputs, text, texts
from tests.serving.asked_model import AskedModel

from servefit.serving.messages import Inference, Refused, Request
from servefit.serving.protocols import metadata, sagemaker

pytestmark = pytest.mark.integration

Refusal = Callable[..., Refused]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AskedModel]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERVEFIT_HOME", str(tmp_path_factory.mktemp("state")))
        yield AskedModel(texts(tmp_path_factory.mktemp("model") / "texts.onnx"))


@pytest.fixture(scope="module")
def pooled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AskedModel]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERVEFIT_HOME", str(tmp_path_factory.mktemp("state")))
        yield AskedModel(texts(tmp_path_factory.mktemp("model") / "pooled.onnx", states=False))


def body(feeds: dict[str, np.ndarray], **more: Any) -> bytes:
    inputs = [
        {"name": name, "shape": list(values.shape), "datatype": "INT64", "data": values.ravel().tolist()}
        for name, values in feeds.items()
    ]
    return json.dumps({"inputs": inputs, **more}).encode()


def answered(model: AskedModel, inference: Inference) -> Any:
    return json.loads(inference.encode(model.predictions(inference)).body)


def tensors(answer: Any) -> dict[str, np.ndarray]:
    return {each["name"]: np.reshape(each["data"], each["shape"]) for each in answer["outputs"]}


def invoked(model: AskedModel, document: Any, accept: str = "application/json") -> Any:
    headers = {b"content-type": b"application/json", b"accept": accept.encode()}
    request = Request(b"POST", b"/invocations", headers, json.dumps(document).encode())
    inference = sagemaker.decode(request, model.config.signature, model.config.limits)
    return inference.encode(model.predictions(inference))


@pytest.mark.parametrize("length", [1, 5, 40])
def test_every_output_comes_under_its_own_name_and_shape(length: int, served: AskedModel) -> None:
    feeds = text(length)
    found = tensors(answered(served, served.infer(body(dict(reversed(feeds.items()))))))
    for name, expected in of_all_outputs(served.path, feeds).items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-5, atol=1e-6)


def test_only_the_outputs_that_are_asked_for_come_in_their_order(served: AskedModel) -> None:
    wanted = [{"name": "embedding"}, {"name": "states"}]
    found = answered(served, served.infer(body(text(3), outputs=wanted)))
    assert [each["name"] for each in found["outputs"]] == ["embedding", "states"]
    found = answered(served, served.infer(body(text(3), outputs=wanted[:1])))
    assert [each["name"] for each in found["outputs"]] == ["embedding"]


def test_one_output_may_be_binary_and_another_not(served: AskedModel) -> None:
    wanted = [{"name": "embedding", "parameters": {"binary_data": True}}, {"name": "states"}]
    inference = served.infer(body(text(3), outputs=wanted))
    reply = inference.encode(served.predictions(inference))
    length = int(dict(reply.headers)[b"inference-header-content-length"])
    described = json.loads(reply.body[:length])["outputs"]
    assert [each.get("data") is None for each in described] == [True, False]
    values = np.frombuffer(reply.body[length:], "<f4").reshape(described[0]["shape"])
    np.testing.assert_allclose(values, of_all_outputs(served.path, text(3))["embedding"], rtol=1e-5)


def test_rows_of_one_request_are_one_tensor(served: AskedModel) -> None:
    feeds = {name: np.concatenate([values, text(4, 1)[name]]) for name, values in text(4).items()}
    found = tensors(answered(served, served.infer(body(feeds))))
    assert found["states"].shape == (2, 4, HIDDEN)
    np.testing.assert_allclose(found["embedding"], of_all_outputs(served.path, feeds)["embedding"], rtol=1e-5)


def test_metadata_say_which_sizes_are_the_requests_own(served: AskedModel) -> None:
    described = json.loads(metadata.model_metadata(served.config).body)
    assert described["inputs"] == [{"name": name, "datatype": "INT64", "shape": [-1, -1]} for name in TEXT_INPUTS]
    assert described["outputs"] == [
        {"name": "states", "datatype": "FP32", "shape": [-1, -1, HIDDEN]},
        {"name": "embedding", "datatype": "FP32", "shape": [-1, HIDDEN]},
    ]


def test_instances_may_have_different_sizes(served: AskedModel) -> None:
    requests = [text(2), text(5, 1)]
    instances = [{name: values[0].tolist() for name, values in each.items()} for each in requests]
    found = json.loads(invoked(served, {"instances": instances}).body)["predictions"]
    for request, answer in zip(requests, found, strict=True):
        for name, expected in of_all_outputs(served.path, request).items():
            np.testing.assert_allclose(answer[name], expected[0], rtol=1e-5, atol=1e-6)


def test_an_only_output_is_told_without_its_name(pooled: AskedModel) -> None:
    request = text(3)
    document = {"inputs": {name: values.tolist() for name, values in request.items()}}
    expected = of_all_outputs(pooled.path, request)["embedding"]
    found = json.loads(invoked(pooled, document).body)["predictions"]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    array = np.load(io.BytesIO(invoked(pooled, document, "application/x-npy").body))
    np.testing.assert_allclose(array, expected, rtol=1e-5)


def test_an_only_output_may_be_called_predictions(pooled: AskedModel) -> None:
    found = answered(pooled, pooled.infer(body(text(3), outputs=[{"name": "predictions"}])))
    assert [each["name"] for each in found["outputs"]] == ["predictions"]


def test_lines_of_json_are_requests_of_their_own_sizes(served: AskedModel) -> None:
    requests = [text(2), text(6, 3)]
    lines = "\n".join(json.dumps({name: values[0].tolist() for name, values in each.items()}) for each in requests)
    inference = served.invoke(lines.encode(), "application/jsonlines")
    told = inference.encode(served.predictions(inference)).body.split(b"\n")
    found = [json.loads(line)["prediction"] for line in told if line]
    assert [len(each["states"]) for each in found] == [2, 6]


def test_csv_has_the_values_of_a_row_in_a_line(served: AskedModel) -> None:
    request = text(2)
    instances = [{name: values[0].tolist() for name, values in request.items()}]
    line = invoked(served, {"instances": instances}, "text/csv").body.decode()
    outputs = of_all_outputs(served.path, request)
    expected = np.concatenate([outputs["states"].ravel(), outputs["embedding"].ravel()])
    np.testing.assert_allclose([float(cell) for cell in line.split(",")], expected, rtol=1e-5, atol=1e-6)


def test_an_array_cannot_hold_several_outputs(served: AskedModel) -> None:
    instances = [{name: values[0].tolist() for name, values in text(2).items()}]
    reply = invoked(served, {"instances": instances}, "application/x-npy")
    assert reply.status == 406
    assert b"ask for JSON" in reply.body


@pytest.mark.parametrize(
    ("inputs", "problem"),
    [
        ({**text(3), "attention_mask": np.ones((1, 2), int)}, "expected 3 for 'tokens' in 'attention_mask' too, got 2"),
        ({"input_ids": text(3)["input_ids"]}, "got no 'attention_mask'"),
        ({**text(3), "token_type_ids": np.ones((1, 3), int)}, "got 'token_type_ids'"),
        ({name: np.ones((1, 0), int) for name in TEXT_INPUTS}, "at least one value in 'input_ids'"),
        ({name: np.ones((0, 3), int) for name in TEXT_INPUTS}, "at least one row"),
        ({name: np.ones(3, int) for name in TEXT_INPUTS}, "of the shape (n, tokens), got (n)"),
        ({name: np.ones((1, 3, 1), int) for name in TEXT_INPUTS}, "of the shape (n, tokens), got (n, 3, 1)"),
    ],
)
def test_what_does_not_fit_is_refused(
    inputs: dict[str, np.ndarray], problem: str, served: AskedModel, refusal: Refusal
) -> None:
    found = refusal(served.infer, body(inputs))
    assert (found.status, problem in found.reason) == (400, True), found.reason


def test_a_doubled_name_and_a_shape_that_overflows_are_refused(served: AskedModel, refusal: Refusal) -> None:
    tensor = {"name": "input_ids", "shape": [1, 1], "datatype": "INT64", "data": [1]}
    assert (
        "'input_ids' is there twice" in refusal(served.infer, json.dumps({"inputs": [tensor, tensor]}).encode()).reason
    )
    none = [{**tensor, "name": name, "shape": [1, 0, 2**62, 2**62], "data": []} for name in TEXT_INPUTS]
    assert refusal(served.infer, json.dumps({"inputs": none}).encode()).status == 400
    huge = [{**tensor, "name": name, "shape": [1, 2**62, 8]} for name in TEXT_INPUTS]
    assert "expected at most" in refusal(served.infer, json.dumps({"inputs": huge}).encode()).reason


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'{"instances": [{"input_ids": [1], "attention_mask": [1], "input_ids": [2]}]}', "'input_ids' twice"),
        (b'{"inputs": {"input_ids": [[1, 2], [3]], "attention_mask": [[1, 1], [1, 1]]}}', "lists of one length (2)"),
        (b'{"instances": [{"input_ids": [NaN], "attention_mask": [1]}]}', "row 1, column 1, got nan"),
        (b'{"instances": [{"input_ids": [1], "\xff": [1]}]}', "not UTF-8"),
    ],
)
def test_objects_that_are_broken_are_refused_with_their_place(
    content: bytes, problem: str, served: AskedModel, refusal: Refusal
) -> None:
    found = refusal(served.invoke, content)
    assert (found.status, problem in found.reason) == (400, True), found.reason


def test_values_alone_and_tables_do_not_tell_sizes(served: AskedModel, refusal: Refusal) -> None:
    assert "tells its sizes (tokens)" in refusal(lambda: served.infer(b"12345678", header_length=0)).reason
    assert refusal(served.invoke, b"1,2,3", "text/csv").status == 415


def test_numbers_beyond_float32_reach_the_model_as_they_are(served: AskedModel) -> None:
    feeds = {"input_ids": np.array([[2**53 + 1]]), "attention_mask": np.ones((1, 1), int)}
    rows = served.infer(body(feeds)).rows
    assert rows.tolist() == [[1, 2**53 + 1, 1]]
