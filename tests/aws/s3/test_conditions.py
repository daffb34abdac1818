"""Requests that hold for some versions of an object alone."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from threading import Barrier, Thread
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from tests.aws.s3.conftest import sent
from tests.aws.s3.test_over_boto3 import code_of

from servefit.aws.s3.objects import Objects
from servefit.aws.s3.places import Places

if TYPE_CHECKING:
    from tests.aws.conftest import Server

OTHER = '"0-0"'


@pytest.mark.integration
@pytest.mark.parametrize("operation", ["get_object", "head_object"])
def test_an_object_is_read_if_it_is_the_version_that_is_meant(s3: Any, operation: str) -> None:
    s3.put_object(Bucket="objects", Key="read", Body=b"content")
    found = s3.head_object(Bucket="objects", Key="read")
    tag, modified = found["ETag"], found["LastModified"]
    before, later = modified - timedelta(hours=1), modified + timedelta(hours=1)

    def status(**conditions: Any) -> int:
        try:
            answer = getattr(s3, operation)(Bucket="objects", Key="read", **conditions)
        except ClientError as error:
            answer = error.response
        return int(answer["ResponseMetadata"]["HTTPStatusCode"])

    assert [status(IfMatch=each) for each in (tag, "*", f"{OTHER}, {tag}", OTHER)] == [200, 200, 200, 412]
    assert [status(IfNoneMatch=each) for each in (tag, tag.strip('"'), "*", OTHER)] == [304, 304, 304, 200]
    assert [status(IfModifiedSince=each) for each in (before, modified, later)] == [200, 304, 304]
    assert [status(IfUnmodifiedSince=each) for each in (before, modified, later)] == [412, 200, 200]
    assert status(IfMatch=tag, IfUnmodifiedSince=before) == 200
    assert status(IfNoneMatch=OTHER, IfModifiedSince=later) == 200


@pytest.mark.integration
def test_what_a_client_has_already_is_not_sent_again(server: Server, s3: Any) -> None:
    tag = s3.put_object(Bucket="objects", Key="known", Body=b"content")["ETag"]
    status, headers, body = sent(f"{server.address}/objects/known", headers={"If-None-Match": tag})
    assert (status, headers["etag"], body) == (304, tag, b"")


@pytest.mark.integration
def test_a_range_of_another_version_is_answered_whole(server: Server, s3: Any) -> None:
    tag = s3.put_object(Bucket="objects", Key="range", Body=b"content")["ETag"]
    url, part = f"{server.address}/objects/range", {"Range": "bytes=0-1"}
    assert sent(url, headers={**part, "If-Range": tag})[::2] == (206, b"co")
    assert sent(url, headers={**part, "If-Range": OTHER})[::2] == (200, b"content")


@pytest.mark.integration
def test_an_object_is_copied_if_it_is_the_version_that_is_meant(s3: Any) -> None:
    tag = s3.put_object(Bucket="objects", Key="copied", Body=b"content")["ETag"]
    copy = {"Bucket": "objects", "Key": "copy", "CopySource": "objects/copied"}
    assert code_of(lambda: s3.copy_object(**copy, CopySourceIfMatch=OTHER)) == "PreconditionFailed"
    assert code_of(lambda: s3.copy_object(**copy, CopySourceIfNoneMatch=tag)) == "PreconditionFailed"
    assert code_of(lambda: s3.head_object(Bucket="objects", Key="copy")) == "404"
    s3.copy_object(**copy, CopySourceIfMatch=tag)


@pytest.mark.integration
def test_an_object_is_overwritten_if_it_is_the_version_that_is_meant(s3: Any) -> None:
    key = {"Bucket": "objects", "Key": "written"}
    s3.delete_object(**key)
    assert code_of(lambda: s3.put_object(**key, Body=b"1", IfMatch=OTHER)) == "NoSuchKey"
    first = s3.put_object(**key, Body=b"1", IfNoneMatch="*")["ETag"]
    assert code_of(lambda: s3.put_object(**key, Body=b"2", IfNoneMatch="*")) == "PreconditionFailed"
    s3.put_object(**key, Body=b"3", IfMatch=first)
    assert code_of(lambda: s3.put_object(**key, Body=b"4", IfMatch=first)) == "PreconditionFailed"
    assert code_of(lambda: s3.delete_object(**key, IfMatch=first)) == "PreconditionFailed"
    upload = s3.create_multipart_upload(**key)["UploadId"]
    part = s3.upload_part(**key, UploadId=upload, PartNumber=1, Body=b"5")["ETag"]
    done = {**key, "UploadId": upload, "MultipartUpload": {"Parts": [{"PartNumber": 1, "ETag": part}]}}
    assert code_of(lambda: s3.complete_multipart_upload(**done, IfNoneMatch="*")) == "PreconditionFailed"
    assert s3.get_object(**key)["Body"].read() == b"3"
    s3.complete_multipart_upload(**done)
    assert s3.get_object(**key)["Body"].read() == b"5"


@pytest.mark.integration
def test_of_several_that_create_one_object_one_does(server: Server, s3: Any) -> None:
    codes, begin = [], Barrier(8)

    def create() -> None:
        client = server.client("s3")
        begin.wait(20)
        try:
            client.put_object(Bucket="objects", Key="lock", Body=b"x", IfNoneMatch="*")
            codes.append("made")
        except ClientError as error:
            codes.append(str(error.response["Error"]["Code"]))

    threads = [Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(codes) == ["PreconditionFailed"] * 7 + ["made"]


def test_versions_that_follow_at_once_have_tags_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "bucket").mkdir()
    objects, tags = Objects(Places(tmp_path)), set()
    for _ in range(50):
        (tmp_path / "arrived").write_bytes(b"x")
        os.utime(tmp_path / "arrived", ns=(10**18, 10**18))  # before Linux 6.13 a clock stands for milliseconds
        tags.add(objects.put(tmp_path / "arrived", tmp_path / "bucket" / "key", {}).etag)
    assert len(tags) == 50
