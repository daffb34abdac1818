"""What lies in the folder of a bucket beside plain files: folders that are objects themselves, links and pipes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.aws.s3.test_over_boto3 import code_of

pytestmark = pytest.mark.integration


def listed(s3: Any, **about: Any) -> tuple[list[str], list[str]]:
    found = s3.list_objects_v2(Bucket="marked", **about)
    keys = [each["Key"] for each in found.get("Contents", [])]
    return keys, [each["Prefix"] for each in found.get("CommonPrefixes", [])]


@pytest.fixture
def marked(s3: Any, folder: Path) -> Iterator[Path]:
    """The folder of an empty bucket, which is removed with what is in it."""
    s3.create_bucket(Bucket="marked")
    yield folder.parent / "marked"
    for each in s3.list_objects_v2(Bucket="marked").get("Contents", []):
        s3.delete_object(Bucket="marked", Key=each["Key"])
    s3.delete_bucket(Bucket="marked")


def test_a_folder_is_an_object_if_it_was_put(s3: Any, marked: Path) -> None:
    s3.put_object(Bucket="marked", Key="a/b/", Metadata={"k": "v"}, ContentType="application/x-directory")
    (marked / "by-hand").mkdir()
    s3.put_object(Bucket="marked", Key="a/b/c", Body=b"x")
    assert listed(s3) == (["a/b/", "a/b/c"], [])
    assert listed(s3, Delimiter="/") == ([], ["a/"])
    assert listed(s3, Prefix="a/b/", Delimiter="/") == (["a/b/", "a/b/c"], [])
    found = s3.head_object(Bucket="marked", Key="a/b/")
    assert (found["ContentLength"], found["Metadata"]) == (0, {"k": "v"})
    for key in ("a/", "by-hand/", "a/b"):
        assert code_of(lambda key=key: s3.head_object(Bucket="marked", Key=key)) == "404"
    s3.copy_object(Bucket="marked", Key="other/", CopySource="marked/a/b/")
    s3.delete_object(Bucket="marked", Key="a/b/c")
    assert listed(s3)[0] == ["a/b/", "other/"]
    assert code_of(lambda: s3.delete_bucket(Bucket="marked")) == "BucketNotEmpty"
    s3.delete_objects(Bucket="marked", Delete={"Objects": [{"Key": "a/b/"}, {"Key": "other/"}]})
    assert [each.name for each in marked.iterdir()] == ["by-hand"]
    (marked / "by-hand").rmdir()


def test_an_object_and_a_folder_cannot_have_one_name(s3: Any, marked: Path) -> None:
    s3.put_object(Bucket="marked", Key="file", Body=b"x")
    s3.put_object(Bucket="marked", Key="folder/")
    assert code_of(lambda: s3.put_object(Bucket="marked", Key="file/")) == "InvalidRequest"
    assert code_of(lambda: s3.put_object(Bucket="marked", Key="folder", Body=b"x", Metadata={"k": "v"})) == (
        "InvalidRequest"
    )


def test_a_file_with_the_name_of_a_mark_is_no_key_of_its_own(s3: Any, marked: Path) -> None:
    (marked / ".servefit-folder").write_text("")
    assert listed(s3) == ([], [])
    (marked / ".servefit-folder").unlink()


@pytest.mark.timeout(30)
def test_links_to_themselves_and_pipes_are_no_objects(s3: Any, marked: Path) -> None:
    s3.put_object(Bucket="marked", Key="file", Body=b"x")
    (marked / "loop").symlink_to("loop")
    (marked / "looped").symlink_to("pool")
    (marked / "pool").symlink_to("looped")
    (marked / "linked").symlink_to("file")
    os.mkfifo(marked / "pipe")
    (marked / "to-pipe").symlink_to("pipe")
    try:
        assert listed(s3) == (["file", "linked"], [])
        for key in ("loop", "looped", "pool/below"):
            assert code_of(lambda key=key: s3.get_object(Bucket="marked", Key=key)) in ("InvalidArgument", "NoSuchKey")
            s3.list_objects_v2(Bucket="marked", Prefix=f"{key}/")
        for key in ("pipe", "to-pipe"):
            assert code_of(lambda key=key: s3.get_object(Bucket="marked", Key=key)) == "NoSuchKey"
            assert code_of(lambda key=key: s3.head_object(Bucket="marked", Key=key)) == "404"
            copy = {"Bucket": "marked", "Key": "copy", "CopySource": f"marked/{key}"}
            assert code_of(lambda copy=copy: s3.copy_object(**copy)) == "NoSuchKey"
        s3.delete_object(Bucket="marked", Key="pipe")
        assert (marked / "pipe").is_fifo()
        assert s3.get_object(Bucket="marked", Key="linked")["Body"].read() == b"x"
    finally:
        for name in ("loop", "looped", "pool", "pipe", "to-pipe"):
            (marked / name).unlink()
