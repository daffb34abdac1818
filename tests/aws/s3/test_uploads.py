"""Uploads whose parts are copied, and that are completed more than once."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from tests.aws.s3.test_over_boto3 import code_of

from servefit.aws.s3.objects import Objects
from servefit.aws.s3.places import Places
from servefit.aws.s3.uploads import Completion, UploadPart, Uploads
from servefit.aws.wire.errors import ApiError

MEGABYTE = 2**20


@pytest.mark.integration
def test_an_object_of_20_megabytes_is_copied_in_parts(s3: Any, folder: Path) -> None:
    (folder / "source").write_bytes(os.urandom(20 * MEGABYTE))
    s3.create_bucket(Bucket="copies")
    s3.copy({"Bucket": "objects", "Key": "source"}, "copies", "a/copy")
    assert (folder.parent / "copies" / "a" / "copy").read_bytes() == (folder / "source").read_bytes()


@pytest.mark.integration
def test_a_part_is_copied_of_the_bytes_that_are_named(s3: Any) -> None:
    s3.put_object(Bucket="objects", Key="digits", Body=b"0123456789")
    upload = {"Bucket": "objects", "Key": "some"}
    upload["UploadId"] = s3.create_multipart_upload(**upload)["UploadId"]

    def copied(number: int, **about: Any) -> Mapping[str, Any]:
        source = {"Bucket": "objects", "Key": "digits"}
        copy = s3.upload_part_copy(**upload, PartNumber=number, CopySource=source, **about)
        return {"PartNumber": number, "ETag": copy["CopyPartResult"]["ETag"]}

    for named in ("bytes=5-10", "bytes=5-4", "bytes=5-", "5-6"):
        assert code_of(lambda named=named: copied(1, CopySourceRange=named)) == "InvalidArgument"
    assert code_of(lambda: copied(1, CopySourceIfMatch='"0-0"')) == "PreconditionFailed"
    assert code_of(lambda: copied(10_001)) == "InvalidArgument"
    parts = [copied(1, CopySourceRange="bytes=2-4"), copied(2)]
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    assert s3.get_object(Bucket="objects", Key="some")["Body"].read() == b"2340123456789"


@pytest.mark.integration
def test_an_upload_that_is_completed_again_has_the_same_answer(s3: Any) -> None:
    key = {"Bucket": "objects", "Key": "again"}
    upload = s3.create_multipart_upload(**key)["UploadId"]
    tags = [s3.upload_part(**key, UploadId=upload, PartNumber=number, Body=b"x")["ETag"] for number in (1, 2)]
    parts = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, 1)]

    def complete(parts: list[dict[str, Any]]) -> str:
        done = s3.complete_multipart_upload(**key, UploadId=upload, MultipartUpload={"Parts": parts})
        return str(done["ETag"])

    assert complete(parts) == complete(parts) == s3.head_object(**key)["ETag"]
    assert code_of(lambda: complete(parts[:1])) == "NoSuchUpload"
    assert code_of(lambda: s3.abort_multipart_upload(**key, UploadId=upload)) == "NoSuchUpload"
    s3.put_object(**key, Body=b"newer")
    complete(parts)
    assert s3.get_object(**key)["Body"].read() == b"newer"


class Root:
    """A root with a bucket, its uploads, and one of one part that nobody completed yet."""

    def __init__(self, folder: Path) -> None:
        (folder / "bucket").mkdir(exist_ok=True)
        places = Places(folder)
        self.own = folder / ".servefit"
        self.uploads = Uploads(places, Objects(places))
        self.identifier = self.uploads.begin("bucket", "key", {})
        (self.own / "part").write_bytes(b"content")
        upload = self.uploads.find(self.identifier, "bucket", "key")
        found = self.uploads.keep_part(upload, self.own / "part", 1)
        self.completion = Completion(parts=[UploadPart(number=1, tag=found.etag)])

    def complete(self, **options: Any) -> str:
        return self.uploads.complete(self.identifier, "bucket", "key", self.completion, **options)


def test_whoever_asks_while_the_parts_are_joined_waits_for_the_same_answer(tmp_path: Path) -> None:
    root, joining, go = Root(tmp_path), Event(), Event()

    def wait(_: object) -> None:
        joining.set()
        assert go.wait(20)

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(root.complete, allow=wait)
        assert joining.wait(20)
        second = threads.submit(root.complete)
        go.set()
        assert first.result(20) == second.result(20)


def test_an_upload_whose_object_is_in_its_place_is_removed_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Root(tmp_path)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            root.complete()
    root.uploads.put_back()
    assert not list((root.own / "uploads").iterdir())
    assert (tmp_path / "bucket" / "key").read_bytes() == b"content"
    root.complete()


def test_what_an_upload_was_completed_with_is_forgotten_after_a_day(tmp_path: Path) -> None:
    old = Root(tmp_path)
    old.complete()
    day_before_s = time.time() - 24 * 3600 - 1
    os.utime(old.own / "completed" / old.identifier, (day_before_s, day_before_s))
    Root(tmp_path).complete()
    with pytest.raises(ApiError) as caught:
        old.complete()
    assert caught.value.code == "NoSuchUpload"


def test_an_upload_that_an_earlier_version_began_is_completed(tmp_path: Path) -> None:
    root = Root(tmp_path)
    (root.own / "uploads" / root.identifier / "object.json").write_text('{"bucket": "bucket", "key": "key"}')
    root.complete()
    assert (tmp_path / "bucket" / "key").read_bytes() == b"content"
