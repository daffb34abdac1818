"""Uploads that were begun and not completed are found, with their parts, so that somebody can end them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.aws.s3.test_over_boto3 import code_of

if TYPE_CHECKING:
    from tests.aws.conftest import Server

pytestmark = pytest.mark.integration

BUCKET = "unfinished"


@pytest.fixture
def s3(server: Server) -> Any:
    client = server.client("s3")
    client.create_bucket(Bucket=BUCKET)
    for each in client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []):
        client.abort_multipart_upload(Bucket=BUCKET, Key=each["Key"], UploadId=each["UploadId"])
    return client


def begin(s3: Any, key: str) -> str:
    return str(s3.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"])


def listed(s3: Any, size: int = 1000, **about: Any) -> list[tuple[str, str]]:
    """Key and identifier of each upload, asked for in pages."""
    pages = s3.get_paginator("list_multipart_uploads").paginate(
        Bucket=BUCKET, PaginationConfig={"PageSize": size}, **about
    )
    return [(each["Key"], each["UploadId"]) for page in pages for each in page.get("Uploads", [])]


@pytest.mark.parametrize("size", [1, 2, 1000])
def test_uploads_are_listed_by_key_until_they_are_ended(s3: Any, size: int) -> None:
    keys = ["b/ü +&", "a", "b/ü +&", "c"]
    begun = [(key, begin(s3, key)) for key in keys]
    assert listed(s3, size) == sorted(begun)
    assert listed(s3, size, Prefix="b/") == sorted(begun[::2])
    assert listed(s3, size, Prefix="none") == []
    assert s3.list_multipart_uploads(Bucket=BUCKET)["Uploads"][0]["Initiated"].year >= 2026
    s3.abort_multipart_upload(Bucket=BUCKET, Key="a", UploadId=dict(begun)["a"])
    part = s3.upload_part(Bucket=BUCKET, Key="c", UploadId=dict(begun)["c"], PartNumber=1, Body=b"x")
    done = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    s3.complete_multipart_upload(Bucket=BUCKET, Key="c", UploadId=dict(begun)["c"], MultipartUpload=done)
    assert listed(s3, size) == sorted(begun[::2])


@pytest.mark.parametrize("size", [1, 2, 1000])
def test_the_parts_of_an_upload_are_those_that_it_is_completed_with(s3: Any, size: int) -> None:
    upload = {"Bucket": BUCKET, "Key": "parts", "UploadId": begin(s3, "parts")}
    bodies = {3: b"ccc", 10: b"d", 1: b"a", 2: b"bb"}
    for number, body in bodies.items():
        s3.upload_part(**upload, PartNumber=number, Body=body)
    pages = s3.get_paginator("list_parts").paginate(**upload, PaginationConfig={"PageSize": size})
    parts = [part for page in pages for part in page["Parts"]]
    assert [(part["PartNumber"], part["Size"]) for part in parts] == [(1, 1), (2, 2), (3, 3), (10, 1)]
    named = [{"PartNumber": part["PartNumber"], "ETag": part["ETag"]} for part in parts]
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": named})
    assert s3.get_object(Bucket=BUCKET, Key="parts")["Body"].read() == b"abbcccd"
    assert code_of(lambda: s3.list_parts(**upload)) == "NoSuchUpload"


def test_a_page_of_nothing_is_the_last(s3: Any) -> None:
    upload = {"Bucket": BUCKET, "Key": "key", "UploadId": begin(s3, "key")}
    s3.upload_part(**upload, PartNumber=1, Body=b"x")
    assert s3.list_multipart_uploads(Bucket=BUCKET, MaxUploads=0)["IsTruncated"] is False
    assert s3.list_parts(**upload, MaxParts=0)["IsTruncated"] is False


def test_what_cannot_be_listed_is_refused(s3: Any) -> None:
    assert code_of(lambda: s3.list_multipart_uploads(Bucket="nowhere")) == "NoSuchBucket"
    assert code_of(lambda: s3.list_multipart_uploads(Bucket=BUCKET, Delimiter="/")) == "NotImplemented"
    missing = {"Bucket": BUCKET, "Key": "parts", "UploadId": "0" * 32}
    assert code_of(lambda: s3.list_parts(**missing)) == "NoSuchUpload"
    assert code_of(lambda: s3.list_parts(**{**missing, "UploadId": "../.."})) == "NoSuchUpload"
