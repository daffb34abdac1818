"""Objects through boto3's S3 client, as notebooks and the SageMaker SDK use it."""

from __future__ import annotations

import http.client
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from tests.aws.conftest import Server

pytestmark = pytest.mark.integration


def code_of(call: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] < 500
    return str(caught.value.response["Error"]["Code"])


def test_what_is_put_is_got_also_in_part(s3: Any) -> None:
    put = s3.put_object(Bucket="objects", Key="a/b c+d.txt", Body=b"0123456789")
    got = s3.get_object(Bucket="objects", Key="a/b c+d.txt")
    assert (got["Body"].read(), got["ContentLength"], got["ETag"]) == (b"0123456789", 10, put["ETag"])
    part = s3.get_object(Bucket="objects", Key="a/b c+d.txt", Range="bytes=2-4")
    assert (part["Body"].read(), part["ContentRange"]) == (b"234", "bytes 2-4/10")
    assert s3.get_object(Bucket="objects", Key="a/b c+d.txt", Range="bytes=-3")["Body"].read() == b"789"
    assert code_of(lambda: s3.get_object(Bucket="objects", Key="a/b c+d.txt", Range="bytes=10-")) == "InvalidRange"


def test_an_empty_object_is_one(s3: Any) -> None:
    s3.put_object(Bucket="objects", Key="empty", Body=b"")
    assert s3.get_object(Bucket="objects", Key="empty")["Body"].read() == b""
    assert s3.head_object(Bucket="objects", Key="empty")["ContentLength"] == 0


def test_a_file_of_20_megabytes_comes_in_parts_and_goes_back(s3: Any, tmp_path: Path) -> None:
    content = os.urandom(20 * 2**20)
    (tmp_path / "large").write_bytes(content)
    s3.upload_file(str(tmp_path / "large"), "objects", "large")
    s3.download_file("objects", "large", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == content


def test_what_is_there_already_can_be_read(server: Server, s3: Any) -> None:
    (server.home / "api" / "s3" / "objects" / "by-hand.csv").write_text("1,2\n")
    got = s3.get_object(Bucket="objects", Key="by-hand.csv")
    assert (got["Body"].read(), got["ContentType"]) == (b"1,2\n", "text/csv")


def test_keys_are_listed_in_order_by_folder_and_page(s3: Any) -> None:
    s3.create_bucket(Bucket="listed")
    keys = ["a/1", "a/2", "a/b/3", "b", "c d", "ä"]
    for key in reversed(keys):
        s3.put_object(Bucket="listed", Key=key, Body=b"x")
    found = s3.list_objects_v2(Bucket="listed")
    assert [each["Key"] for each in found["Contents"]] == keys
    by_folder = s3.list_objects_v2(Bucket="listed", Prefix="a/", Delimiter="/")
    assert [each["Key"] for each in by_folder["Contents"]] == ["a/1", "a/2"]
    assert [each["Prefix"] for each in by_folder["CommonPrefixes"]] == ["a/b/"]
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket="listed", PaginationConfig={"PageSize": 2})
    assert [each["Key"] for page in pages for each in page["Contents"]] == keys
    older = s3.list_objects(Bucket="listed", Marker="a/b/3")
    assert [each["Key"] for each in older["Contents"]] == ["b", "c d", "ä"]
    assert "Contents" not in s3.list_objects_v2(Bucket="listed", Prefix="../")


def test_objects_and_buckets_are_removed(s3: Any) -> None:
    s3.create_bucket(Bucket="removed")
    for key in ("a/b/c", "d"):
        s3.put_object(Bucket="removed", Key=key, Body=b"x")
    assert code_of(lambda: s3.delete_bucket(Bucket="removed")) == "BucketNotEmpty"
    s3.delete_object(Bucket="removed", Key="a/b/c")
    s3.delete_object(Bucket="removed", Key="a/b/c")
    assert s3.delete_objects(Bucket="removed", Delete={"Objects": [{"Key": "d"}]})["Deleted"] == [{"Key": "d"}]
    s3.delete_bucket(Bucket="removed")
    assert code_of(lambda: s3.head_bucket(Bucket="removed")) == "404"


def test_a_copy_has_the_content_of_the_other(s3: Any) -> None:
    s3.put_object(Bucket="objects", Key="from", Body=b"content")
    s3.copy_object(Bucket="objects", Key="to", CopySource={"Bucket": "objects", "Key": "from"})
    assert s3.get_object(Bucket="objects", Key="to")["Body"].read() == b"content"


def test_errors_have_the_codes_of_s3(s3: Any) -> None:
    assert code_of(lambda: s3.get_object(Bucket="objects", Key="missing")) == "NoSuchKey"
    assert code_of(lambda: s3.get_object(Bucket="nowhere", Key="missing")) == "NoSuchBucket"
    assert code_of(lambda: s3.head_object(Bucket="objects", Key="missing")) == "404"
    s3.put_object(Bucket="objects", Key="file", Body=b"x")
    assert code_of(lambda: s3.put_object(Bucket="objects", Key="file/below", Body=b"x")) == "InvalidRequest"
    assert code_of(lambda: s3.get_object_acl(Bucket="objects", Key="file")) == "NotImplemented"
    bad = {"Bucket": "objects", "Key": "bad", "Body": b"x", "ChecksumCRC32": "AAAAAA=="}
    assert code_of(lambda: s3.put_object(**bad)) == "BadDigest"
    assert code_of(lambda: s3.head_object(Bucket="objects", Key="bad")) == "404"


def test_an_upload_that_is_cut_off_leaves_no_object(server: Server, s3: Any) -> None:
    host = urlsplit(server.address)
    with socket.create_connection((host.hostname, host.port)) as connection:
        head = f"PUT /objects/half HTTP/1.1\r\nHost: {host.netloc}\r\nContent-Length: 1000000\r\n\r\n"
        connection.sendall(head.encode() + b"x" * 500_000)
    s3.list_objects_v2(Bucket="objects")
    assert code_of(lambda: s3.head_object(Bucket="objects", Key="half")) == "404"
    incoming = server.home / "api" / "s3" / ".servefit"
    for _ in range(100):
        time.sleep(0.05)
        if not [path for path in incoming.iterdir() if path.is_file()]:
            break
    assert not [path for path in incoming.iterdir() if path.is_file()]


@pytest.mark.parametrize(
    "path",
    ["/objects/../../resources.db", "/objects/%2e%2e/%2e%2e/resources.db", "/objects//etc/passwd", "/..", "/%00/a"],
)
def test_paths_that_lead_out_are_refused_whatever_they_are_written_like(server: Server, s3: Any, path: str) -> None:
    host = urlsplit(server.address)
    for method in ("GET", "PUT", "DELETE"):
        connection = http.client.HTTPConnection(host.hostname or "", host.port, timeout=10)
        connection.putrequest(method, path, skip_host=True)
        connection.putheader("Host", host.netloc)
        connection.putheader("Content-Length", "0")
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read()
        assert 400 <= answer.status < 500, body
        assert b"<html" not in body.lower()
        connection.close()
