"""One server for all tests of objects, a client of boto3 for it, and requests as no client sends them."""

from __future__ import annotations

import http.client
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.aws.conftest import OPTIONS, Server, started


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with started(tmp_path_factory.mktemp("home"), *OPTIONS) as running:
        yield running


@pytest.fixture
def s3(server: Server) -> Any:
    client = server.client("s3")
    client.create_bucket(Bucket="objects")
    return client


@pytest.fixture
def folder(server: Server, s3: Any) -> Path:
    """The folder of the bucket "objects"."""
    return server.home / "api" / "s3" / "objects"


def sent(
    url: str, method: str = "GET", body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, Mapping[str, str], bytes]:
    """Send a request as it is; return status, headers with lower-case names, and body of the answer."""
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=20)
    try:
        connection.request(method, f"{where.path}?{where.query}", body, headers or {})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def code_in(body: bytes) -> str:
    """Return the code of an error's document."""
    return body.decode().partition("<Code>")[2].partition("</Code>")[0]
