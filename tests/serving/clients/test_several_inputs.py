"""A model of three int64 inputs, asked by NVIDIA's client and by servefit's own load client."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.onnx_models import TOKENS, answers, encoder, sentences
from tritonclient.http import InferenceServerClient, InferenceServerException, InferInput, InferRequestedOutput

from servefit.backends.compilation import compile_model
from servefit.backends.model import Model
from servefit.profiler.drivers.hosted_endpoint import endpoint_config, hosted_endpoint
from servefit.profiler.drivers.http.bodies import Tensor
from servefit.profiler.drivers.http.single_requests import send_request
from servefit.profiler.procedures.target_endpoint import resolve_target
from servefit.profiler.record.types import Configuration

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration

NAMES = ("input_ids", "attention_mask", "token_type_ids")
Endpoint = tuple[str, Path]


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """The address of an endpoint of the encoder, and where the encoder is. Calls join up to four requests."""
    path = encoder(tmp_path_factory.mktemp("model") / "encoder.onnx")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERVEFIT_HOME", str(tmp_path_factory.mktemp("state")))
        model = Model.load(path)
        artifact = compile_model(model, "onnxruntime").artifact
    configuration = Configuration(vcpus=1, backend="onnxruntime", max_batch=4)
    config = endpoint_config(configuration, artifact, model.signature, name="encoder")
    with hosted_endpoint(config, cpus=os.sched_getaffinity(0)) as hosted:
        yield f"127.0.0.1:{hosted.port}", path
        hosted.check()


@pytest.mark.parametrize("binary", [True, pytest.param(False, marks=pytest.mark.thorough)])
def test_tritonclient_may_send_the_inputs_in_any_order(binary: bool, endpoint: Endpoint) -> None:
    address, path = endpoint
    feeds = sentences()
    inputs = [
        InferInput(name, list(values.shape), "INT64").set_data_from_numpy(values, binary_data=binary)
        for name, values in feeds.items()
    ]
    with InferenceServerClient(address) as client:
        described = client.get_model_metadata("encoder")["inputs"]
        assert described == [{"name": name, "datatype": "INT64", "shape": [-1, TOKENS]} for name in NAMES]
        for name, outputs in (("embedding", None), ("predictions", [InferRequestedOutput("predictions")])):
            found = client.infer("encoder", inputs, outputs=outputs).as_numpy(name)
            np.testing.assert_allclose(found, answers(path, feeds), atol=1e-6)
        with pytest.raises(InferenceServerException, match="'input_ids', 'attention_mask', 'token_type_ids'"):
            client.infer("encoder", [InferInput("a", [6, 4], "INT64").set_data_from_numpy(feeds["input_ids"])])


@pytest.mark.parametrize(
    "protocol",
    [
        "auto",
        *(
            pytest.param(name, marks=pytest.mark.thorough)
            for name in ("open-inference-binary", "sagemaker-csv", "sagemaker-json")
        ),
    ],
)
def test_the_load_client_sends_the_inputs_by_name(protocol: str, endpoint: Endpoint, tmp_path: Path) -> None:
    address, path = endpoint
    feeds = sentences()
    in_order = np.concatenate([feeds[name] for name in NAMES], axis=1)
    payload: Any = in_order
    if not protocol.startswith("sagemaker"):
        payload = tmp_path / "payload.json"
        inputs = [
            {"name": n, "shape": rows.shape, "datatype": "INT64", "data": rows.tolist()} for n, rows in feeds.items()
        ]
        payload.write_text(json.dumps({"inputs": inputs}))
    found = resolve_target(f"http://{address}", payload=payload, protocol=protocol)
    np.testing.assert_array_equal(found.rows, in_order)
    if not protocol.startswith("sagemaker"):
        assert found.rows.dtype == np.int64
        assert found.destination.tensors == tuple(Tensor(name, "INT64", (TOKENS,)) for name in NAMES)
    requests = found.destination.requests(found.rows, rows_per_request=6)
    answer = send_request(found.destination.address, requests[0], timeout_s=10)
    assert answer.is_success
    if protocol != "open-inference-binary":
        predicted = np.array(_numbers_in(answer.body.decode())).reshape(6, -1)
        np.testing.assert_allclose(predicted, answers(path, feeds), atol=1e-6)


def _numbers_in(text: str) -> Any:
    if text[:1] != "{":
        return [[float(cell) for cell in line.split(",")] for line in text.splitlines()]
    document = json.loads(text)
    return document["outputs"][0]["data"] if "outputs" in document else document["predictions"]


def test_without_a_payload_it_sends_words_that_every_vocabulary_has(endpoint: Endpoint) -> None:
    found = resolve_target(f"http://{endpoint[0]}")
    assert (found.rows.shape, found.rows.dtype, found.synthetic) == ((1000, 3 * TOKENS), np.dtype(np.int64), True)
    assert set(np.unique(found.rows).tolist()) == {0, 1}
