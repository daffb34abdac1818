"""A server that takes uploads of boto3 and throws them away: how fast the client is by itself."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    from collections.abc import Iterator


def _answer(method: str, query: str) -> bytes:
    if method != "POST":
        return b""
    name = "InitiateMultipartUploadResult" if query.startswith("uploads") else "CompleteMultipartUploadResult"
    answer = ElementTree.Element(name)
    ElementTree.SubElement(answer, "UploadId").text = "any"
    return ElementTree.tostring(answer)


async def throw_away(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer a request of S3 once its body has come. An ASGI application."""
    while (await receive()).get("more_body", False):
        pass
    body = _answer(scope["method"], scope["query_string"].decode())
    headers = [(b"etag", b'"any"'), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@contextmanager
def sink() -> Iterator[str]:
    """Run the server within the block, and give its address."""
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.s3_sink"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


def main() -> None:
    import socket

    import uvicorn

    listening = socket.create_server(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    config = uvicorn.Config(throw_away, lifespan="off", log_config=None, access_log=False)
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
