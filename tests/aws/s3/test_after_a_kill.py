"""What the next server finds of an upload that one was completing when it was killed."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from tests.aws.conftest import OPTIONS, started

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration


@pytest.mark.thorough
def test_an_upload_that_was_being_completed_is_completed_after_the_next_start(tmp_path: Path) -> None:
    home = tmp_path / "home"
    whole = {"Bucket": "objects", "Key": "whole"}
    contents = [b"a" * 5 * 2**20, b"b" * 7]
    with started(home, *OPTIONS) as server:
        s3 = server.client("s3")
        s3.create_bucket(Bucket="objects")
        upload = s3.create_multipart_upload(**whole)["UploadId"]
        parts = [
            {"PartNumber": n, "ETag": s3.upload_part(**whole, UploadId=upload, PartNumber=n, Body=content)["ETag"]}
            for n, content in enumerate(contents, 1)
        ]
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(10)
    # What a completion does first.
    (folder,) = (home / "api" / "s3" / ".servefit" / "uploads").iterdir()
    folder.rename(folder.with_name(f"{folder.name}.taken"))
    with started(home, *OPTIONS) as server:
        s3 = server.client("s3")
        s3.complete_multipart_upload(**whole, UploadId=upload, MultipartUpload={"Parts": parts})
        assert s3.get_object(**whole)["Body"].read() == b"".join(contents)
    assert not list((home / "api" / "s3" / ".servefit" / "uploads").iterdir())
