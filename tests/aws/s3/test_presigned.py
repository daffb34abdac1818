"""Presigned URLs of boto3, used without it, on servers with and without a secret."""

from __future__ import annotations

import asyncio
import hashlib
import zlib
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.aws.conftest import Server, started
from tests.aws.s3.conftest import code_in, sent
from tests.aws.s3.test_over_boto3 import code_of

from servefit.aws.s3.service import S3
from servefit.aws.wire.errors import ApiError
from servefit.aws.wire.messages import HttpRequest

pytestmark = pytest.mark.integration

KEY = {"Bucket": "objects", "Key": "a folder/käse+brot.csv"}


@dataclass(frozen=True)
class Signing:
    """A server, and the secret that it checks signatures with, None for none."""

    server: Server
    secret: str | None

    def client(self) -> Any:
        found = self.server.client("s3", secret=self.secret or "servefit")
        found.create_bucket(Bucket="objects")
        return found

    def url(self, operation: str, about: dict[str, Any], *, version: str | None, expires_s: int = 60) -> str:
        client = self.server.client("s3", secret=self.secret or "servefit", signature_version=version)
        return str(client.generate_presigned_url(operation, about, ExpiresIn=expires_s))


@pytest.fixture(scope="module")
def with_secret(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home, variables = tmp_path_factory.mktemp("home"), {"OWN_SECRET": "a secret"}
    with started(home, "--secret-env", "OWN_SECRET", environment=variables) as running:
        yield running


@pytest.fixture(params=["with a secret", "without a secret"])
def signing(request: pytest.FixtureRequest) -> Signing:
    if request.param == "with a secret":
        return Signing(request.getfixturevalue("with_secret"), "a secret")
    return Signing(request.getfixturevalue("server"), None)


VERSIONS = pytest.mark.parametrize("version", ["s3", "s3v4", None])
"""What boto3 does unless it is told otherwise comes last."""


@VERSIONS
def test_whoever_has_the_url_can_put_and_get_the_object(signing: Signing, version: str | None) -> None:
    client, url = signing.client(), partial(signing.url, version=version)
    put = url("put_object", {**KEY, "ContentType": "text/own", "Metadata": {"k": "v"}})
    assert sent(put, "PUT", b"content", {"Content-Type": "text/own", "x-amz-meta-k": "v"})[0] == 200
    get = url("get_object", {**KEY, "ResponseContentType": "text/plain"})
    status, headers, body = sent(get)
    assert (status, headers["content-type"], headers["x-amz-meta-k"], body) == (200, "text/plain", "v", b"content")
    assert client.head_object(**KEY)["ContentType"] == "text/own"
    assert sent(url("head_object", KEY), "HEAD")[0] == 200
    assert b"brot.csv" in sent(url("list_objects_v2", {"Bucket": "objects"}))[2]
    upload = {**KEY, "UploadId": client.create_multipart_upload(**KEY)["UploadId"]}
    part = sent(url("upload_part", {**upload, "PartNumber": 1}), "PUT", b"part")
    done = {"Parts": [{"PartNumber": 1, "ETag": part[1]["etag"]}]}
    client.complete_multipart_upload(**upload, MultipartUpload=done)
    assert sent(url("delete_object", KEY), "DELETE")[0] == 204
    assert code_of(lambda: client.head_object(**KEY)) == "404"


@VERSIONS
def test_a_url_that_has_expired_is_refused(signing: Signing, version: str | None) -> None:
    client, url = signing.client(), partial(signing.url, version=version)
    client.put_object(**KEY, Body=b"content")
    if version == "s3v4":
        expired = url("get_object", KEY)
        today = expired.partition("X-Amz-Date=")[2][:8]
        expired = expired.replace(today, f"2020{today[4:]}")
    else:
        expired = url("get_object", KEY, expires_s=-10)
    status, _, body = sent(expired)
    assert (status, code_in(body)) == (403, "AccessDenied")
    assert b"expired" in body


@VERSIONS
def test_a_url_is_good_for_its_object_and_method_where_signatures_are_checked(
    with_secret: Server, version: str | None
) -> None:
    signing = Signing(with_secret, "a secret")
    for key in ("mine", "other"):
        signing.client().put_object(Bucket="objects", Key=key, Body=b"content")
    mine = {"Bucket": "objects", "Key": "mine"}
    url = signing.url("get_object", mine, version=version)
    for changed, method in ((url.replace("/mine", "/other"), "GET"), (url, "PUT"), (url, "DELETE")):
        status, _, body = sent(changed, method)
        assert (status, code_in(body)) == (403, "SignatureDoesNotMatch")
    assert sent(Signing(with_secret, "guess").url("get_object", mine, version=version))[0] == 403
    assert sent(url)[2] == b"content"


def test_a_form_is_no_request_of_another_service_if_its_url_is_presigned(signing: Signing) -> None:
    client, url = signing.client(), signing.url("put_object", KEY, version="s3v4")
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    content = b"Action=GetCallerIdentity&Version=2011-06-15" + b"x" * 7 * 2**20
    assert sent(url, "PUT", content, form)[0] == 200
    assert client.get_object(**KEY)["Body"].read() == content


def test_checksums_in_the_url_are_checked(signing: Signing) -> None:
    signing.client()
    checksum = b64encode(zlib.crc32(b"content").to_bytes(4, "big")).decode()
    url = signing.url("put_object", {**KEY, "ChecksumCRC32": checksum}, version="s3")
    assert "x-amz-checksum-crc32" in url
    assert code_in(sent(url, "PUT", b"other")[2]) == "BadDigest"
    assert sent(url, "PUT", b"content")[0] == 200


@pytest.mark.parametrize(
    ("digest", "code"),
    [
        (None, "InvalidRequest"),
        (hashlib.sha256(b"").hexdigest(), "XAmzContentSHA256Mismatch"),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "NotImplemented"),
    ],
)
def test_a_body_that_the_signature_of_its_headers_does_not_cover_is_refused(
    tmp_path: Path, digest: str | None, code: str
) -> None:
    (tmp_path / "bucket").mkdir()
    headers = {"authorization": "of other bytes"} | ({} if digest is None else {"x-amz-content-sha256": digest})

    async def body() -> AsyncIterator[bytes]:
        yield b"not signed"

    request = HttpRequest(method="PUT", path="/bucket/key", headers=headers)
    with pytest.raises(ApiError) as caught:
        asyncio.run(S3(tmp_path, checks_signatures=True).answer(request, body()))
    assert caught.value.code == code
    assert not list((tmp_path / "bucket").iterdir())
