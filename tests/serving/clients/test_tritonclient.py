"""NVIDIA's Python client of the Open Inference Protocol, blocking and asyncio."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tritonclient.http
import tritonclient.http.aio
from tritonclient.http import InferenceServerClient, InferenceServerException, InferInput, InferRequestedOutput

import servefit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.serving.clients.conftest import Served

FORMS = pytest.mark.parametrize(
    ("binary_in", "binary_out"), [(False, False), (False, True), (True, False), (True, True)]
)


@pytest.fixture(scope="module")
def client(fraud: Served) -> Iterator[Any]:
    with InferenceServerClient(fraud.address, concurrency=4) as client:
        yield client


@pytest.fixture(scope="module")
def client_of_species(species: Served) -> Iterator[Any]:
    with InferenceServerClient(species.address) as client:
        yield client


def tensor(rows: np.ndarray, *, binary: bool = True, name: str = "input-0", datatype: str = "FP32") -> Any:
    return InferInput(name, list(rows.shape), datatype).set_data_from_numpy(rows, binary_data=binary)


def predictions_in(result: Any) -> np.ndarray:
    predictions = result.as_numpy("predictions")
    assert isinstance(predictions, np.ndarray)
    assert predictions.dtype == np.float32
    return predictions


@pytest.mark.integration
@FORMS
def test_rows_are_predicted_as_xgboost_does_in_json_and_in_binary(
    client: Any, fraud: Served, binary_in: bool, binary_out: bool
) -> None:
    wanted = InferRequestedOutput("predictions", binary_data=binary_out)

    result = client.infer(fraud.name, [tensor(fraud.rows, binary=binary_in)], outputs=[wanted], request_id="first/7")

    assert np.isnan(fraud.rows).any()
    assert np.array_equal(predictions_in(result), fraud.predictions[:, None])
    assert ("data" in result.get_output("predictions")) is not binary_out
    response = result.get_response()
    assert (response["id"], response["model_name"], response["model_version"]) == ("first/7", "fraud", "1")


@pytest.mark.integration
@FORMS
def test_each_class_has_its_column(client_of_species: Any, species: Served, binary_in: bool, binary_out: bool) -> None:
    wanted = InferRequestedOutput("predictions", binary_data=binary_out)

    result = client_of_species.infer(species.name, [tensor(species.rows, binary=binary_in)], "1", [wanted])

    assert species.predictions.shape == (20, 3)
    assert np.array_equal(predictions_in(result), species.predictions)


@pytest.mark.integration
def test_all_outputs_are_given_where_none_is_named(client: Any, fraud: Served) -> None:
    result = client.infer(fraud.name, [tensor(fraud.rows[:1])])

    assert [output["name"] for output in result.get_response()["outputs"]] == ["predictions"]
    assert predictions_in(result).tolist() == [[fraud.predictions[0]]]


@pytest.mark.integration
def test_numbers_of_other_types_are_taken(client: Any, fraud: Served) -> None:
    wide = tensor(fraud.rows.astype(np.float64), datatype="FP64")

    assert np.array_equal(predictions_in(client.infer(fraud.name, [wide])), fraud.predictions[:, None])


@pytest.mark.integration
def test_options_that_change_no_prediction_are_taken(client: Any, fraud: Served) -> None:
    result = client.infer(
        fraud.name,
        [tensor(fraud.rows)],
        priority=1,
        timeout=1_000_000,
        parameters={"customer": "seven"},
        response_compression_algorithm="gzip",
        headers={"X-Request-Id": "7"},
        query_params={"trace": "yes"},
    )

    assert np.array_equal(predictions_in(result), fraud.predictions[:, None])


@pytest.mark.integration
def test_requests_under_way_together_get_their_own_answers(client: Any, fraud: Served) -> None:
    asked = [client.async_infer(fraud.name, [tensor(row[None])], request_id=f"{n}") for n, row in enumerate(fraud.rows)]

    results = [answering.get_result(timeout=10) for answering in asked]

    assert [result.get_response()["id"] for result in results] == [f"{n}" for n in range(20)]
    assert np.array_equal([predictions_in(result)[0, 0] for result in results], fraud.predictions)


@pytest.mark.integration
def test_the_client_makes_requests_that_others_send_and_reads_their_answers(fraud: Served) -> None:
    import urllib.request

    body, length = InferenceServerClient.generate_request_body([tensor(fraud.rows)])
    request = urllib.request.Request(f"{fraud.url}/v2/models/fraud/infer", body)
    request.add_header("Inference-Header-Content-Length", str(length))
    with urllib.request.urlopen(request, timeout=10) as answer:
        told = int(answer.headers["Inference-Header-Content-Length"])
        result = InferenceServerClient.parse_response_body(answer.read(), header_length=told)

    assert np.array_equal(predictions_in(result), fraud.predictions[:, None])


@pytest.mark.integration
def test_health_is_told(client: Any, fraud: Served) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(fraud.name)
    assert client.is_model_ready(fraud.name, "1")
    assert not client.is_model_ready("other")
    assert not client.is_model_ready(fraud.name, "2")


@pytest.mark.integration
def test_the_server_tells_what_it_is(client: Any, fraud: Served) -> None:
    told = client.get_server_metadata()
    assert (told["name"], told["version"]) == ("servefit", servefit.__version__)


@pytest.mark.integration
def test_metadata_and_configuration_describe_what_is_taken_and_given(client_of_species: Any, species: Served) -> None:
    (listed,) = client_of_species.get_model_repository_index()
    assert (listed["name"], listed["state"]) == (species.name, "READY")
    metadata = client_of_species.get_model_metadata(species.name)
    assert metadata["inputs"] == [{"name": "input-0", "datatype": "FP32", "shape": [-1, 5]}]
    assert metadata["outputs"] == [{"name": "predictions", "datatype": "FP32", "shape": [-1, 3]}]
    config = client_of_species.get_model_config(species.name, metadata["versions"][0])
    assert (config["name"], config["backend"]) == (species.name, "xgboost")
    assert (config["input"][0]["dims"], config["output"][0]["dims"]) == ([5], [3])
    assert config["instance_group"] == [{"kind": "KIND_CPU", "count": 2}]
    assert config["max_batch_size"] >= len(species.rows)


@pytest.mark.integration
def test_statistics_count_what_all_workers_did(client_of_species: Any, species: Served) -> None:
    def counted() -> tuple[int, int, int]:
        (stats,) = client_of_species.get_inference_statistics(species.name)["model_stats"]
        success = stats["inference_stats"]["success"]
        return success["count"], stats["inference_count"], success["ns"]

    requests, rows, busy_ns = counted()
    for _ in range(4):
        # A connection each, so that both workers are asked.
        with InferenceServerClient(species.address) as second_client:
            second_client.infer(species.name, [tensor(species.rows[:3])])

    requests_then, rows_then, busy_ns_then = counted()
    assert (requests_then - requests, rows_then - rows) == (4, 12)
    assert busy_ns_then > busy_ns


@pytest.mark.integration
@pytest.mark.parametrize("binary", [False, True])
def test_rows_of_another_width_are_refused(client: Any, fraud: Served, binary: bool) -> None:
    with pytest.raises(InferenceServerException, match="expected 5 columns") as caught:
        client.infer(fraud.name, [tensor(fraud.rows[:, :4], binary=binary)])

    assert caught.value.status() == "400"


@pytest.mark.integration
@pytest.mark.parametrize(
    ("asked", "status", "sentence"),
    [
        ({"model_name": "other"}, "404", "model: 'other' is not served here, only 'fraud' is"),
        ({"model_version": "2"}, "404", "version: model 'fraud' has no version '2', only '1'"),
        (
            {"outputs": [InferRequestedOutput("label")]},
            "400",
            "outputs[0].name: expected 'predictions', got 'label'",
        ),
        (
            {"outputs": [InferRequestedOutput("predictions", class_count=2)]},
            "400",
            "outputs[0].parameters.classification: is not supported here",
        ),
        (
            {"request_compression_algorithm": "gzip"},
            "415",
            "content-encoding: 'gzip' is not read here, only a body as it is",
        ),
    ],
)
def test_what_is_not_served_is_refused_in_a_sentence(
    client: Any, fraud: Served, asked: dict[str, Any], status: str, sentence: str
) -> None:
    with pytest.raises(InferenceServerException) as caught:
        client.infer(**{"model_name": fraud.name, "inputs": [tensor(fraud.rows)]} | asked)

    assert (caught.value.status(), caught.value.message()) == (status, sentence)
    assert client.is_server_live()


@pytest.mark.integration
def test_text_is_no_number(client: Any, fraud: Served) -> None:
    words = tensor(np.full((1, 5), b"many", dtype=object), datatype="BYTES")

    with pytest.raises(InferenceServerException, match=r"inputs\[0\].datatype: expected one of FP16, .* got 'BYTES'"):
        client.infer(fraud.name, [words])


@pytest.mark.integration
def test_the_asyncio_client_is_served_too(fraud: Served) -> None:
    async def ask() -> tuple[bool, list[np.ndarray], str]:
        async with tritonclient.http.aio.InferenceServerClient(fraud.address) as client:
            live = await client.is_server_live()
            asked = [
                client.infer(
                    fraud.name,
                    [tensor(fraud.rows, binary=binary)],
                    outputs=[InferRequestedOutput("predictions", binary_data=binary)],
                )
                for binary in (False, True)
            ]
            results = await asyncio.gather(*asked)
            with pytest.raises(InferenceServerException) as caught:
                await client.infer(fraud.name, [tensor(fraud.rows[:, :4])])
            return live, [predictions_in(result) for result in results], caught.value.message()

    live, predictions, refusal = asyncio.run(ask())

    assert live
    for each in predictions:
        assert np.array_equal(each, fraud.predictions[:, None])
    assert "expected 5 columns" in refusal
