"""The event loop serves all requests: none of them may have it wait for the file system."""

from __future__ import annotations

import asyncio
import base64
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from servefit.aws.s3.crc import crc64nvme
from servefit.aws.s3.service import S3
from servefit.aws.wire.messages import FileAnswer, HttpRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

EVENTS = ("open", "os.", "shutil.", "tempfile.")
"""Audit events of Python that are about files; looking at them makes none."""

LOOKS = ("stat", "lstat", "readlink")
MEGABYTES = 3 * 2**20


class Watch:
    """Notes which calls about files below ``root`` the thread of an event loop makes."""

    def __init__(self) -> None:
        self.root: Path | None = None
        self.thread: int | None = None
        self.seen: list[str] = []

    def note(self, what: str, *about: Any) -> None:
        if threading.get_ident() == self.thread and str(about[0] if about else "").startswith(str(self.root)):
            self.seen.append(what)


WATCH = Watch()


@pytest.fixture(scope="module")
def audited() -> None:
    """A hook that cannot be removed, and does nothing unless somebody watches."""
    sys.addaudithook(lambda event, about: WATCH.note(event, *about) if event.startswith(EVENTS) else None)


@pytest.fixture
def watch(audited: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    for name in LOOKS:
        original = getattr(os, name)

        def look(*arguments: Any, name: str = name, original: Any = original, **options: Any) -> Any:
            WATCH.note(name, *arguments)
            return original(*arguments, **options)

        monkeypatch.setattr(os, name, look)
    WATCH.root, WATCH.seen = tmp_path, []
    yield WATCH
    WATCH.thread = None


def crc64_of(content: bytes) -> str:
    crc = crc64nvme()
    return base64.b64encode(crc.digest(crc.extended(crc.start, content))).decode()


async def chunks(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 2**16):
        yield body[start : start + 2**16]


def sent(s3: S3, watch: Watch, request: HttpRequest) -> bytes:
    """Carry out a request in a loop of its own, and return the answer's body."""

    async def answer() -> bytes:
        watch.thread = threading.get_ident()
        try:
            answer = await s3.answer(request, chunks(request.body))
        finally:
            watch.thread = None
        if isinstance(answer, FileAnswer):
            with answer.file:
                return answer.file.read()
        return answer.body

    return asyncio.run(answer())


def test_no_request_has_the_event_loop_wait_for_files(tmp_path: Path, watch: Watch) -> None:
    s3 = S3(tmp_path)
    content = os.urandom(MEGABYTES)

    def send(method: str, path: str, query: str = "", body: bytes = b"", **headers: str) -> bytes:
        told = {"content-length": str(len(body)), **{name.replace("_", "-"): text for name, text in headers.items()}}
        return sent(s3, watch, HttpRequest(method=method, path=path, query=query, body=body, headers=told))

    send("PUT", "/bucket")
    send("PUT", "/bucket/small", body=b"x", if_none_match="*", x_amz_meta_k="v")
    send("PUT", "/bucket/empty")
    send("PUT", "/bucket/large", body=content)
    send("PUT", "/bucket/copy", x_amz_copy_source="/bucket/large")
    begun = send("POST", "/bucket/parts", "uploads").decode()
    upload = begun.partition("<UploadId>")[2].partition("</UploadId>")[0]
    send("PUT", "/bucket/parts", f"partNumber=1&uploadId={upload}", content, x_amz_checksum_crc64nvme=crc64_of(content))
    send("PUT", "/bucket/parts", f"partNumber=2&uploadId={upload}", x_amz_copy_source="/bucket/large")
    send("DELETE", "/bucket/parts", f"uploadId={upload}")
    assert send("GET", "/bucket/large") == content
    assert b"<KeyCount>4</KeyCount>" in send("GET", "/bucket", "list-type=2")
    send("HEAD", "/bucket/small", if_none_match="other")
    send("GET", "/")
    send("DELETE", "/bucket/small")
    assert watch.seen == []
