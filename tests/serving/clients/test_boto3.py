"""AWS's client of SageMaker endpoints, with this endpoint as its ``endpoint_url``."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import boto3
import numpy as np
import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.serving.clients.conftest import Served


@pytest.fixture(scope="module", autouse=True)
def _somebody() -> Iterator[None]:
    """Requests are signed by somebody who does not exist, whatever this machine is configured for."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            patch.setenv(name, "/nonexistent")
        patch.setenv("AWS_ACCESS_KEY_ID", "nobody")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
        patch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        yield


@pytest.fixture(scope="module")
def client(_somebody: None, fraud: Served) -> Any:
    return boto3.client("sagemaker-runtime", endpoint_url=fraud.url)


def csv(rows: np.ndarray) -> str:
    return "".join(",".join("" if np.isnan(value) else repr(float(value)) for value in row) + "\n" for row in rows)


@pytest.mark.integration
def test_csv_is_answered_with_a_prediction_a_line(client: Any, fraud: Served) -> None:
    answer = client.invoke_endpoint(EndpointName="fraud", ContentType="text/csv", Body=csv(fraud.rows))

    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert answer["ContentType"].startswith("text/csv")
    lines = answer["Body"].read().decode().splitlines()
    assert np.array_equal(np.array(lines, dtype=np.float32), fraud.predictions)


@pytest.mark.integration
def test_json_is_answered_with_json(client: Any, fraud: Served) -> None:
    # Missing values as Python writes them, NaN.
    body = json.dumps({"instances": fraud.rows.tolist()}).encode()

    answer = client.invoke_endpoint(EndpointName="fraud", ContentType="application/json", Body=body)

    assert answer["ContentType"] == "application/json"
    predictions = json.load(answer["Body"])["predictions"]
    assert np.array_equal(np.array(predictions, dtype=np.float32), fraud.predictions)


@pytest.mark.integration
def test_accept_chooses_the_form_of_the_answer(client: Any, fraud: Served) -> None:
    asked = {"EndpointName": "fraud", "ContentType": "text/csv", "Body": csv(fraud.rows)}

    as_json = client.invoke_endpoint(**asked, Accept="application/json")
    as_array = client.invoke_endpoint(**asked, Accept="application/x-npy")

    assert as_json["ContentType"] == "application/json"
    predictions = json.load(as_json["Body"])["predictions"]
    assert np.array_equal(np.array(predictions, dtype=np.float32), fraud.predictions)
    assert as_array["ContentType"] == "application/x-npy"
    assert np.array_equal(np.load(io.BytesIO(as_array["Body"].read())), fraud.predictions)


@pytest.mark.integration
def test_a_body_without_a_type_and_a_stream_are_read(client: Any, fraud: Served) -> None:
    answer = client.invoke_endpoint(EndpointName="fraud", Body=io.BytesIO(csv(fraud.rows).encode()))

    lines = answer["Body"].read().decode().splitlines()
    assert np.array_equal(np.array(lines, dtype=np.float32), fraud.predictions)


@pytest.mark.integration
def test_a_body_of_many_rows_is_taken(client: Any, fraud: Served) -> None:
    rows = np.tile(fraud.rows, (1000, 1))

    answer = client.invoke_endpoint(EndpointName="fraud", ContentType="text/csv", Body=csv(rows))

    predictions = np.array(answer["Body"].read().decode().splitlines(), dtype=np.float32)
    assert np.array_equal(predictions, np.tile(fraud.predictions, 1000))


@pytest.mark.integration
def test_each_class_has_its_column(species: Served) -> None:
    client = boto3.client("sagemaker-runtime", endpoint_url=species.url)

    answer = client.invoke_endpoint(EndpointName="species.v2", ContentType="text/csv", Body=csv(species.rows))

    lines = [line.split(",") for line in answer["Body"].read().decode().splitlines()]
    assert np.array_equal(np.array(lines, dtype=np.float32), species.predictions)
    client.close()


@pytest.mark.integration
@pytest.mark.parametrize(
    ("asked", "status", "sentence"),
    [
        ({"Body": "1,2\n"}, 400, "body: expected 5 columns, got 2"),
        ({"EndpointName": "other"}, 404, "model: 'other' is not served here, only 'fraud' is"),
        ({"ContentType": "image/png"}, 415, "content-type: 'image/png' is not read here, only application/json"),
        ({"Accept": "image/png"}, 406, "accept: 'image/png' has nothing that is written here: application/json"),
    ],
)
def test_what_is_refused_is_a_client_error_with_the_sentence(
    client: Any, fraud: Served, asked: dict[str, Any], status: int, sentence: str
) -> None:
    whole = {"EndpointName": "fraud", "ContentType": "text/csv", "Body": csv(fraud.rows)}

    with pytest.raises(ClientError) as caught:
        client.invoke_endpoint(**whole | asked)

    response = caught.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert response["ResponseMetadata"]["RetryAttempts"] == 0
    assert response["Error"]["Code"] == str(status)
    assert response["Error"]["Message"].startswith(sentence)
