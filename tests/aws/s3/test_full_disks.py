"""A full disk is told as one, whatever was to be made on it, and nothing is left of what could not be made."""

from __future__ import annotations

import asyncio
import errno
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from servefit.aws.s3.service import S3
from servefit.aws.wire.errors import ApiError
from servefit.aws.wire.messages import HttpRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def full(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


async def body(content: bytes) -> AsyncIterator[bytes]:
    yield content


def put(s3: S3, method: str, path: str, query: str = "") -> Any:
    return asyncio.run(s3.answer(HttpRequest(method=method, path=path, query=query), body(b"content")))


@pytest.mark.parametrize(
    ("where", "what", "request_of"),
    [
        (tempfile, "mkstemp", ("PUT", "/objects/key")),
        (Path, "mkdir", ("PUT", "/objects/folder/key")),
        (Path, "mkdir", ("PUT", "/other")),
        (Path, "mkdir", ("POST", "/objects/key", "uploads")),
        (Path, "write_text", ("POST", "/objects/key", "uploads")),
    ],
    ids=["a file", "the folder of an object", "a bucket", "the folder of an upload", "the file of an upload"],
)
def test_what_cannot_be_made_is_insufficient_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: Any, what: str, request_of: tuple[str, ...]
) -> None:
    s3 = S3(tmp_path)
    put(s3, "PUT", "/objects")
    before = sorted(tmp_path.rglob("*"))
    with monkeypatch.context() as patch:
        patch.setattr(where, what, full)
        with pytest.raises(ApiError) as caught:
            put(s3, *request_of)
    assert (caught.value.status, caught.value.code) == (507, "InsufficientStorage")
    assert [path for path in sorted(tmp_path.rglob("*")) if path not in before and path.name != "uploads"] == []
