"""Signatures as botocore makes them."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from servefit.aws.wire.errors import ApiError
from servefit.aws.wire.messages import HttpRequest
from servefit.aws.wire.signatures import SigningSecret

SECRET = SigningSecret("key", "secret")


def signed(
    url: str, *, body: bytes = b"{}", service: str = "sagemaker", method: str = "POST", secret: str = "secret"
) -> HttpRequest:
    kind: Any = S3SigV4Auth if service == "s3" else SigV4Auth
    parts = urlsplit(url)
    request = AWSRequest(method=method, url=url, data=body, headers={"Host": parts.netloc, "X-Amz-Target": "a.B"})
    kind(Credentials("key", secret), service, "us-east-1").add_auth(request)
    headers = {name.lower(): value for name, value in request.headers.items()}
    return HttpRequest(method=method, path=parts.path or "/", query=parts.query, headers=headers, body=body)


@pytest.mark.parametrize(
    ("url", "service"),
    [
        ("http://127.0.0.1:8181/", "sagemaker"),
        ("http://127.0.0.1:8181/endpoints/fraud/invocations", "sagemaker"),
        ("http://127.0.0.1:8181/endpoints/a%20b/invocations?a%2Fb=c%2Fd&empty=", "sagemaker"),
        ("http://127.0.0.1:8181/bucket/a%20key/b%2Bc", "s3"),
        ("http://127.0.0.1:8181/bucket?list-type=2&prefix=a%2Fb&delimiter=%2F", "s3"),
    ],
)
def test_what_botocore_signs_is_taken(url: str, service: str) -> None:
    SECRET.check(signed(url, service=service), service)


def code_of(request: HttpRequest, **options: Any) -> str:
    with pytest.raises(ApiError) as caught:
        SECRET.check(request, "sagemaker", **options)
    assert caught.value.status == 403
    return caught.value.code


def test_anything_that_was_changed_since_is_refused() -> None:
    request = signed("http://127.0.0.1:8181/?a=b")
    assert code_of(replace(request, body=b'{"other": 1}')) == "InvalidSignatureException"
    assert code_of(replace(request, path="/other")) == "InvalidSignatureException"
    assert code_of(replace(request, query="a=c")) == "InvalidSignatureException"
    assert code_of(replace(request, method="GET")) == "InvalidSignatureException"
    assert code_of(replace(request, headers={**request.headers, "x-amz-target": "a.C"})) == "InvalidSignatureException"


def test_a_body_cannot_be_exchanged_by_sending_the_digest_of_another() -> None:
    request = signed("http://127.0.0.1:8181/")
    headers = {**request.headers, "x-amz-content-sha256": sha256(request.body).hexdigest()}
    assert code_of(replace(request, headers=headers, body=b"other")) == "InvalidSignatureException"


def test_another_secret_another_key_and_none_are_refused() -> None:
    assert code_of(signed("http://127.0.0.1:8181/", secret="guess")) == "InvalidSignatureException"
    request = signed("http://127.0.0.1:8181/")
    other = request.headers["authorization"].replace("Credential=key/", "Credential=other/")
    assert (
        code_of(replace(request, headers={**request.headers, "authorization": other})) == "UnrecognizedClientException"
    )
    assert code_of(replace(request, headers={})) == "MissingAuthenticationTokenException"
    assert code_of(replace(request, headers={"authorization": "Basic abc"})) == "InvalidSignatureException"


def test_a_signature_of_one_service_is_none_of_another() -> None:
    request = signed("http://127.0.0.1:8181/bucket/key", service="s3", method="GET", body=b"")
    SECRET.check(request, "s3")
    assert code_of(request) == "InvalidSignatureException"


def test_a_header_that_is_to_be_signed_thousands_of_times_costs_nothing() -> None:
    request = signed("http://127.0.0.1:8181/")
    told = request.headers["authorization"].replace("SignedHeaders=", "SignedHeaders=" + "x-long;" * 5000)
    headers = {**request.headers, "authorization": told, "x-long": "a" * 20_000}
    tracemalloc.start()
    try:
        assert code_of(replace(request, headers=headers)) == "InvalidSignatureException"
        assert tracemalloc.get_traced_memory()[1] < 5_000_000, "written out it would be 100 MB"
    finally:
        tracemalloc.stop()


def test_the_head_alone_shows_what_cannot_be_signed() -> None:
    request = signed("http://127.0.0.1:8181/")
    SECRET.check(replace(request, body=b"not here yet"), "sagemaker", head_alone=True)
    assert code_of(replace(request, headers={}), head_alone=True) == "MissingAuthenticationTokenException"
    assert code_of(replace(request, headers={**request.headers, "x-amz-added": "1"}), head_alone=True)
    assert code_of(request, head_alone=True, now=datetime.now(UTC) + timedelta(hours=1))


def test_headers_that_aws_reads_cannot_be_added() -> None:
    request = signed("http://127.0.0.1:8181/bucket/key", service="s3", method="PUT", body=b"")
    added = replace(request, headers={**request.headers, "x-amz-copy-source": "other/key"})
    with pytest.raises(ApiError, match="have to be signed"):
        SECRET.check(added, "s3")


@pytest.mark.parametrize("stamp", ["yesterday", "", "20261301T000000Z"])
def test_what_was_signed_at_no_time_is_refused(stamp: str) -> None:
    request = signed("http://127.0.0.1:8181/")
    assert code_of(replace(request, headers={**request.headers, "x-amz-date": stamp})) == "InvalidSignatureException"


def test_a_signature_is_good_for_a_quarter_of_an_hour() -> None:
    request = signed("http://127.0.0.1:8181/")
    at = datetime.strptime(request.headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    for minutes in (-15, 15):
        SECRET.check(request, "sagemaker", now=at + timedelta(minutes=minutes))
        assert code_of(request, now=at + timedelta(minutes=1.001 * minutes)) == "InvalidSignatureException"
