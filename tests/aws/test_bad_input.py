"""Requests that no client of AWS sends: each is refused in its protocol, and none is the server's fault."""

from __future__ import annotations

import http.client
import json
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from tests.aws.conftest import ROLE, started

if TYPE_CHECKING:
    from pathlib import Path

    from tests.aws.conftest import Server

pytestmark = pytest.mark.integration

JSON_TYPE = "application/x-amz-json-1.1"


def send(
    server: Server, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    where = urlsplit(server.address)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=30)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def call(server: Server, operation: str, given: Any) -> tuple[int, dict[str, Any]]:
    body = given if isinstance(given, bytes) else json.dumps(given).encode()
    headers = {"X-Amz-Target": f"SageMaker.{operation}", "Content-Type": JSON_TYPE}
    status, content = send(server, "POST", "/", body, headers)
    return status, json.loads(content or b"{}")


@pytest.fixture(scope="module", autouse=True)
def objects(server: Server) -> None:
    send(server, "PUT", "/bucket")
    send(server, "PUT", "/bucket/file", b"x")
    (server.home / "api" / "s3" / "plain").write_text("no bucket")
    (server.home / "api" / "s3" / "bucket" / "\udcff").write_text("no text")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/bucket/%ff", b""),
        ("PUT", "/plain", b""),
        ("GET", "/bucket?list-type=2&max-keys=" + "9" * 5000, b""),
        ("GET", "/bucket?list-type=2&continuation-token=%25", b""),
        ("PUT", "/bucket/k?partNumber=" + "9" * 5000 + "&uploadId=abc", b""),
        ("PUT", "/bucket/k?partNumber=1&uploadId=..%2f..", b""),
        ("POST", "/bucket?delete", b'<?xml version="1.0" encoding="nope"?><Delete/>'),
        ("POST", "/bucket?delete", b"<Delete/>"),
        ("POST", "/bucket/k?uploadId=" + "0" * 32, b"<CompleteMultipartUpload/>"),
        ("PATCH", "/bucket/file", b""),
        ("GET", "/bucket?policy", b""),
    ],
)
def test_s3_refuses(server: Server, method: str, path: str, body: bytes) -> None:
    status, content = send(server, method, path, body)
    assert 400 <= status < 500, content
    assert content.startswith(b"<?xml")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/bucket/file/below"),
        ("GET", "/bucket?list-type=2"),
        ("GET", "/bucket?list-type=2&prefix=" + "a" * 256 + "/"),
        ("GET", "/bucket?list-type=2&prefix=/etc/"),
    ],
)
def test_s3_answers_what_is_odd_and_not_wrong(server: Server, method: str, path: str) -> None:
    status, content = send(server, method, path)
    assert status in (200, 204), content


def test_a_range_of_thousands_of_digits_is_none(server: Server) -> None:
    status, content = send(server, "GET", "/bucket/file", headers={"Range": "bytes=" + "9" * 5000 + "-"})
    assert (status, content) == (200, b"x")


def test_a_body_of_the_type_that_curl_sends_is_an_object(server: Server) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert send(server, "PUT", "/bucket/curl", b"a=b", headers)[0] == 200
    assert send(server, "GET", "/bucket/curl")[1] == b"a=b"


def job(**config: Any) -> dict[str, Any]:
    asked = {"ModelName": "m", "EndpointConfigurations": [{"InstanceType": "ml.m5.large"}], **config}
    return {"JobName": "bad", "JobType": "Advanced", "RoleArn": ROLE, "InputConfig": asked}


def limits(**given: Any) -> dict[str, Any]:
    return {**job(), "StoppingConditions": {"ModelLatencyThresholds": [given]}}


@pytest.mark.parametrize(
    ("operation", "given"),
    [
        ("CreateInferenceRecommendationsJob", limits(ValueInMilliseconds=100)),
        ("CreateInferenceRecommendationsJob", limits(Percentile="P95")),
        ("CreateInferenceRecommendationsJob", job(TrafficPattern={"TrafficType": "PHASES", "Phases": [{}]})),
        ("CreateInferenceRecommendationsJob", job(TrafficPattern={"TrafficType": "STAIRS", "Stairs": {}})),
        ("CreateInferenceRecommendationsJob", job(JobDurationInSeconds=10**400)),
        (
            "CreateInferenceRecommendationsJob",
            job(
                TrafficPattern={
                    "Phases": [{"InitialNumberOfUsers": 100_000, "SpawnRate": 0, "DurationInSeconds": 1}] * 1000
                }
            ),
        ),
        (
            "CreateInferenceRecommendationsJob",
            job(
                EndpointConfigurations=[
                    {
                        "InstanceType": "ml.m5.large",
                        "EnvironmentParameterRanges": {
                            "CategoricalParameterRanges": [{"Name": "OPENSSL_CONF", "Value": ["/tmp/x.cnf"]}]
                        },
                    }
                ]
            ),
        ),
        ("CreateInferenceRecommendationsJob", {**job(), "JobName": "a" * 64}),
        (
            "Search",
            b'{"Resource": "Endpoint", "SearchExpression": ' + b'{"SubExpressions": [' * 400 + b"]}" * 400 + b"}",
        ),
        (
            "CreateModel",
            b'{"ModelName": "s", "PrimaryContainer": {"Image": "i", "Environment": {"A": "\\ud800"}}}',
        ),
        ("DescribeModel", b'{"ModelName": "' + b"a" * 10_000 + b'"}'),
    ],
)
def test_sagemaker_refuses(server: Server, operation: str, given: Any) -> None:
    status, answer = call(server, operation, given)
    assert 400 <= status < 500, answer
    assert answer["__type"] in ("ValidationException", "SerializationException")


PHASES = [{"InitialNumberOfUsers": 1, "SpawnRate": 1, "DurationInSeconds": 120}]
STAIRS = {"DurationInSeconds": 120, "NumberOfSteps": 2, "UsersPerStep": 1}


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ({"TrafficType": "STAIRS"}, "must have Stairs alone for the traffic type STAIRS; it has neither"),
        ({"TrafficType": "PHASES"}, "must have Phases alone for the traffic type PHASES; it has neither"),
        ({"TrafficType": "STAIRS", "Phases": PHASES}, "alone for the traffic type STAIRS; it has Phases"),
        ({"TrafficType": "PHASES", "Stairs": STAIRS}, "alone for the traffic type PHASES; it has Stairs"),
        ({"TrafficType": "STAIRS", "Phases": PHASES, "Stairs": STAIRS}, "it has Phases and Stairs"),
        ({"TrafficType": "PHASES", "Phases": PHASES, "Stairs": STAIRS}, "it has Phases and Stairs"),
        ({"Phases": PHASES, "Stairs": STAIRS}, "must have either Phases or Stairs; it has Phases and Stairs"),
        ({"TrafficType": "PHASES", "Phases": []}, "length greater than or equal to 1"),
        ({}, "must have either Phases or Stairs; it has neither"),
    ],
)
def test_a_traffic_pattern_whose_content_is_not_that_of_its_type_is_refused(
    server: Server, pattern: dict[str, Any], words: str
) -> None:
    status, answer = call(server, "CreateInferenceRecommendationsJob", job(TrafficPattern=pattern))
    assert (status, answer["__type"]) == (400, "ValidationException")
    assert words in answer["message"]


@pytest.mark.parametrize(
    "pattern",
    [
        {"TrafficType": "STAIRS", "Stairs": STAIRS},
        {"TrafficType": "PHASES", "Phases": PHASES},
        {"Stairs": STAIRS},
        {"Phases": PHASES},
    ],
)
def test_a_traffic_pattern_that_fits_its_type_is_not_what_a_job_is_refused_for(
    server: Server, pattern: dict[str, Any]
) -> None:
    _, answer = call(server, "CreateInferenceRecommendationsJob", job(TrafficPattern=pattern))
    assert answer["message"].startswith("Could not find model")


@pytest.mark.parametrize(
    "header", [("Origin", "http://example.com"), ("Host", "example.com:8181"), ("Sec-Fetch-Site", "x")]
)
def test_what_a_web_page_sends_is_refused(server: Server, header: tuple[str, str]) -> None:
    headers = {"X-Amz-Target": "SageMaker.ListModels", "Content-Type": JSON_TYPE, header[0]: header[1]}
    assert send(server, "POST", "/", b"{}", headers)[0] == 403


def test_a_form_is_none_of_sagemakers_requests(server: Server) -> None:
    scope = "Credential=a/20260101/us-east-1/sagemaker/aws4_request"
    headers = {
        "Authorization": f"AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    status, content = send(server, "POST", "/", b"Action=ListModels&Version=2017-07-24", headers)
    assert (status, json.loads(content)["__type"]) == (400, "SerializationException")


def test_tags_that_are_added_at_once_are_all_kept(server: Server) -> None:
    client = server.client("sagemaker")
    arn = "arn:aws:sagemaker:us-east-1:123456789012:model/many"
    clients = [server.client("sagemaker") for _ in range(8)]
    threads = [
        threading.Thread(
            target=lambda one=one, nth=nth: one.add_tags(ResourceArn=arn, Tags=[{"Key": f"k{nth}", "Value": "v"}])
        )
        for nth, one in enumerate(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(client.list_tags(ResourceArn=arn)["Tags"]) == 8


def test_with_a_secret_only_those_are_answered_who_have_it(tmp_path: Path) -> None:
    from botocore.exceptions import ClientError

    with started(tmp_path, "--secret-env", "TEST_SECRET", environment={"TEST_SECRET": "deep"}) as server:
        server.client("sagemaker", secret="deep").list_models()
        server.client("s3", secret="deep").create_bucket(Bucket="bucket")
        server.client("s3", secret="deep").put_object(Bucket="bucket", Key="a b", Body=b"content")
        assert server.client("sts", secret="deep").get_caller_identity()["Account"]
        for service, operation in (
            ("sagemaker", "list_models"),
            ("s3", "list_buckets"),
            ("sts", "get_caller_identity"),
        ):
            with pytest.raises(ClientError) as caught:
                getattr(server.client(service, secret="guess"), operation)()
            assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
        assert send(server, "GET", "/")[0] == 403


@pytest.mark.parametrize("size", [70_000, 3 * 2**20, 2**24 + 2**20, 2**26])
def test_a_body_that_nobody_wants_does_not_spoil_the_next_request_on_its_connection(server: Server, size: int) -> None:
    s3 = server.client("s3", read_timeout=10)
    for _ in range(3):
        with pytest.raises(s3.exceptions.ClientError, match="NoSuchBucket"):
            s3.put_object(Bucket="no-such-bucket", Key="k", Body=bytes(size))
        assert s3.head_object(Bucket="bucket", Key="file")["ContentLength"] == 1
    where = urlsplit(server.address)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=10)
    connection.request("PUT", "/no-such-bucket/k", bytes(size))
    assert connection.getresponse().read().startswith(b"<?xml")
    connection.request("GET", "/bucket/file")
    assert connection.getresponse().read() == b"x"
    connection.close()


@pytest.mark.parametrize("service", ["ecr", "codebuild", "ec2", "sns"])
def test_a_service_that_is_not_answered_says_so(server: Server, service: str) -> None:
    client = server.client(service)
    operation = {
        "ecr": "describe_repositories",
        "codebuild": "list_builds",
        "ec2": "describe_regions",
        "sns": "list_topics",
    }[service]
    with pytest.raises(client.exceptions.ClientError) as caught:
        getattr(client, operation)()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    if service != "ec2":  # whose errors have a form of their own
        assert caught.value.response["Error"]["Code"] == "UnknownOperationException"
