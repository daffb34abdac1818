"""Presigned URLs as botocore makes them, in both versions of the signatures."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import HmacV1QueryAuth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from servefit.aws.wire.destination import destination
from servefit.aws.wire.errors import ApiError
from servefit.aws.wire.messages import HttpRequest
from servefit.aws.wire.presigned import presigned
from servefit.aws.wire.signatures import SigningSecret

SECRET = SigningSecret("key", "secret")
URL = "http://127.0.0.1:8181/bucket/a%20key/b%2Bc?response-content-type=text%2Fcsv"
OTHERS = {"x-amz-meta-k": "v w", "content-type": "text/csv"}


def signed(
    version: int, *, method: str = "GET", secret: str = "secret", expires_s: int = 60, token: str | None = None
) -> HttpRequest:
    """The request of whoever has the URL and sends the headers that it is for."""
    request = AWSRequest(method=method, url=URL, headers=OTHERS if method == "PUT" else {})
    credentials = Credentials("key", secret, token)
    if version == 4:
        signer: Any = S3SigV4QueryAuth(credentials, "s3", "eu-west-1", expires=expires_s)
    else:
        signer = HmacV1QueryAuth(credentials, expires=expires_s)
    signer.add_auth(request)
    parts = urlsplit(request.url)
    headers = {"host": parts.netloc, **(OTHERS if method == "PUT" and version == 4 else {})}
    return HttpRequest(method=method, path=parts.path, query=parts.query, headers=headers)


def refused(request: HttpRequest, now: datetime | None = None, service: str = "s3") -> str:
    with pytest.raises(ApiError) as caught:
        SECRET.check(request, service, now=now)
    malformed = caught.value.code in {"AuthorizationQueryParametersError", "InvalidArgument"}
    assert caught.value.status == (400 if malformed else 403)
    return caught.value.code


@pytest.mark.parametrize("version", [2, 4])
@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.parametrize("token", [None, "token/+="])
def test_what_botocore_presigns_is_taken(version: int, method: str, token: str | None) -> None:
    request = signed(version, method=method, token=token)
    assert destination(request).service == "s3"
    SECRET.check(request, "s3")
    url = presigned(request)
    assert url is not None
    assert url.request.query == "response-content-type=text%2Fcsv"
    if method == "PUT":
        assert {name: url.request.headers[name] for name in OTHERS} == OTHERS


@pytest.mark.parametrize("version", [2, 4])
def test_a_presigned_url_is_for_what_it_says_alone(version: int) -> None:
    request = signed(version)
    assert refused(replace(request, method="PUT")) == "SignatureDoesNotMatch"
    assert refused(replace(request, path="/bucket/other")) == "SignatureDoesNotMatch"
    assert refused(replace(request, query=request.query.replace("csv", "xml"))) == "SignatureDoesNotMatch"
    assert refused(replace(request, query=f"{request.query}&uploads=")) == "SignatureDoesNotMatch"
    added = replace(request, headers={**request.headers, "x-amz-copy-source": "other/key"})
    assert refused(added) == ("AccessDenied" if version == 4 else "SignatureDoesNotMatch")
    hoisted = replace(request, query=f"{request.query}&x-amz-copy-source=other/key")
    assert refused(hoisted) == "SignatureDoesNotMatch"
    assert refused(signed(version, secret="guess")) == "SignatureDoesNotMatch"
    assert refused(replace(request, query=request.query.replace("=key", "=other"))) == "InvalidAccessKeyId"


@pytest.mark.parametrize("version", [2, 4])
def test_a_presigned_url_is_good_until_it_expires(version: int) -> None:
    request, now = signed(version), datetime.now(UTC)
    SECRET.check(request, "s3", now=now + timedelta(seconds=50))
    assert refused(request, now + timedelta(seconds=70)) == "AccessDenied"


def test_a_presigned_url_of_tomorrow_is_not_good_yet() -> None:
    assert refused(signed(4), datetime.now(UTC) - timedelta(minutes=16)) == "AccessDenied"
    SECRET.check(signed(4), "s3", now=datetime.now(UTC) - timedelta(minutes=14))


@pytest.mark.parametrize("version", [2, 4])
def test_a_presigned_url_is_for_s3_alone(version: int) -> None:
    assert refused(signed(version), service="sagemaker") == "MissingAuthenticationTokenException"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("X-Amz-Expires=60", "X-Amz-Expires=604801"),
        ("X-Amz-Expires=60", "X-Amz-Expires=0"),
        ("X-Amz-Expires=60", "X-Amz-Expires=-1"),
        ("X-Amz-Expires=60", "X-Amz-Expires=60&X-Amz-Expires=600"),
        ("X-Amz-Expires=60", "other=60"),
        ("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
        ("%2Fs3%2F", "%2Fsagemaker%2F"),
        ("X-Amz-Date=20", "X-Amz-Date=19"),
        ("Z&X-Amz-Expires", "&X-Amz-Expires"),
    ],
)
def test_a_presigned_url_that_is_not_one_is_refused(old: str, new: str) -> None:
    request = signed(4)
    assert old in request.query
    assert refused(replace(request, query=request.query.replace(old, new))) == "AuthorizationQueryParametersError"


def test_a_request_is_signed_in_one_way() -> None:
    request = signed(4)
    twice = replace(request, headers={**request.headers, "authorization": "AWS4-HMAC-SHA256 Credential=key/..."})
    assert refused(twice) == "InvalidArgument"
    assert refused(replace(signed(2), query="AWSAccessKeyId=key&Signature=a&Expires=soon")) == "AccessDenied"
    assert refused(replace(signed(2), query="AWSAccessKeyId=key&Signature=%C3%A4&Expires=9999999999")) == (
        "SignatureDoesNotMatch"
    )
