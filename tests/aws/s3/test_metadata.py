"""What is kept of an object beside its content, and what becomes of it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.aws.s3.test_over_boto3 import code_of

from servefit.aws.s3.service import S3
from servefit.aws.wire.messages import HttpRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.integration

TOLD = {
    "Metadata": {"made-by": "a test", "rows": "3"},
    "ContentType": "application/x-own",
    "CacheControl": "no-cache",
    "ContentDisposition": 'attachment; filename="a.csv"',
    "ContentLanguage": "de",
    "ContentEncoding": "gzip",
}


def told(s3: Any, key: str) -> dict[str, Any]:
    found = s3.head_object(Bucket="objects", Key=key)
    return {name: found.get(name) for name in TOLD}


def test_what_a_client_says_of_an_object_is_answered_with_it(s3: Any) -> None:
    s3.put_object(Bucket="objects", Key="a/told.csv", Body=b"1", **TOLD)
    assert told(s3, "a/told.csv") == TOLD
    got = s3.get_object(Bucket="objects", Key="a/told.csv", Range="bytes=0-0", ResponseContentType="text/plain")
    assert (got["Metadata"], got["ContentType"], got["Body"].read()) == (TOLD["Metadata"], "text/plain", b"1")
    s3.put_object(Bucket="objects", Key="a/told.csv", Body=b"2")
    assert (told(s3, "a/told.csv")["Metadata"], told(s3, "a/told.csv")["ContentType"]) == ({}, "text/csv")


@pytest.mark.parametrize("text", ["a\r\nSet-Cookie: b", "a\nb", "\0", " a", "a "])
def test_what_a_query_asks_for_and_is_no_header_is_refused(s3: Any, text: str) -> None:
    s3.put_object(Bucket="objects", Key="plain", Body=b"1")
    asked = {"Bucket": "objects", "Key": "plain", "ResponseContentType": text}
    assert code_of(lambda: s3.get_object(**asked)) == "InvalidArgument"


def test_an_object_that_came_in_parts_has_the_metadata_that_it_was_begun_with(s3: Any, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(os.urandom(9 * 2**20))
    s3.upload_file(str(tmp_path / "large"), "objects", "large", ExtraArgs=TOLD)
    assert told(s3, "large") == TOLD


@pytest.mark.parametrize("size", [3, 9 * 2**20])
def test_a_copy_has_the_metadata_of_its_source_unless_it_is_told_other(s3: Any, folder: Path, size: int) -> None:
    s3.put_object(Bucket="objects", Key="source.csv", Body=os.urandom(size), **TOLD)
    source = {"Bucket": "objects", "Key": "source.csv"}
    s3.copy(source, "objects", "same")
    assert told(s3, "same") == TOLD
    s3.copy(source, "objects", "other", ExtraArgs={"MetadataDirective": "REPLACE", "Metadata": {"new": "1"}})
    assert (told(s3, "other")["Metadata"], told(s3, "other")["CacheControl"]) == ({"new": "1"}, None)
    assert (folder / "same").read_bytes() == (folder / "other").read_bytes() == (folder / "source.csv").read_bytes()


def test_a_copy_keeps_the_type_that_its_source_has_by_its_name(s3: Any) -> None:
    s3.put_object(Bucket="objects", Key="named.csv", Body=b"1")
    s3.copy_object(Bucket="objects", Key="without-ending", CopySource="objects/named.csv")
    assert told(s3, "without-ending")["ContentType"] == "text/csv"


def test_an_object_is_copied_to_itself_with_other_metadata_and_not_without(s3: Any) -> None:
    s3.put_object(Bucket="objects", Key="itself", Body=b"1", **TOLD)
    itself = {"Bucket": "objects", "Key": "itself", "CopySource": "objects/itself"}
    assert code_of(lambda: s3.copy_object(**itself)) == "InvalidRequest"
    s3.copy_object(**itself, MetadataDirective="REPLACE", Metadata={"new": "1"})
    assert (told(s3, "itself")["Metadata"], s3.get_object(Bucket="objects", Key="itself")["Body"].read()) == (
        {"new": "1"},
        b"1",
    )


def test_tags_are_kept_and_copied(s3: Any) -> None:
    s3.put_object(Bucket="objects", Key="tagged", Body=b"1", Tagging="a=1&b=x%20y")
    tags = [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "x y"}]
    assert s3.get_object_tagging(Bucket="objects", Key="tagged")["TagSet"] == tags
    s3.copy_object(Bucket="objects", Key="copied", CopySource="objects/tagged", MetadataDirective="REPLACE")
    assert s3.get_object_tagging(Bucket="objects", Key="copied")["TagSet"] == tags
    s3.copy_object(Bucket="objects", Key="bare", CopySource="objects/tagged", TaggingDirective="REPLACE")
    assert s3.get_object_tagging(Bucket="objects", Key="bare")["TagSet"] == []


def test_metadata_has_the_bounds_of_s3(s3: Any) -> None:
    key = {"Bucket": "objects", "Key": "much"}
    s3.put_object(**key, Body=b"1", Metadata={"a": "x" * 2047})
    assert code_of(lambda: s3.put_object(**key, Body=b"1", Metadata={"a": "x" * 2048})) == "MetadataTooLarge"


def test_a_file_that_is_changed_by_hand_is_a_plain_one(s3: Any, folder: Path) -> None:
    s3.put_object(Bucket="objects", Key="by-hand.csv", Body=b"1", **TOLD)
    (folder / "by-hand.csv").write_bytes(b"other")
    found = s3.get_object(Bucket="objects", Key="by-hand.csv")
    assert (found["Body"].read(), found["Metadata"], found["ContentType"]) == (b"other", {}, "text/csv")


async def body(content: bytes) -> AsyncIterator[bytes]:
    yield content


def send(s3: S3, method: str, path: str, content: bytes = b"", **headers: str) -> Any:
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return asyncio.run(s3.answer(HttpRequest(method=method, path=path, headers=told), body(content)))


def files_of(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def test_nothing_is_left_of_the_metadata_of_what_is_gone(tmp_path: Path) -> None:
    s3 = S3(tmp_path)
    send(s3, "PUT", "/bucket")
    for content in (b"1", b"22", b"333"):
        send(s3, "PUT", "/bucket/a/b", content, x_amz_meta_k="v")
    assert len(files_of(tmp_path)) == 2
    send(s3, "DELETE", "/bucket/a/b")
    assert files_of(tmp_path) == set()


@pytest.mark.parametrize("killed_at", ["the metadata", "the object"])
def test_an_object_that_was_being_overwritten_has_its_own_metadata_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: str
) -> None:
    s3 = S3(tmp_path)
    send(s3, "PUT", "/bucket")
    send(s3, "PUT", "/bucket/key", b"first", x_amz_meta_version="1")
    original = Path.replace

    def killed(self: Path, target: Path) -> Path:
        if (target.name == "key") == (killed_at == "the object"):
            raise KeyboardInterrupt
        return original(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            send(s3, "PUT", "/bucket/key", b"other", x_amz_meta_version="2")
    found = send(S3(tmp_path), "GET", "/bucket/key")
    with found.file:
        assert (found.file.read(), found.headers["x-amz-meta-version"]) == (b"first", "1")
