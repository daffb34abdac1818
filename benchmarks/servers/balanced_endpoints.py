"""Endpoints that count their requests, behind a real nginx with the configuration that a plan has written for it."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection
from pathlib import Path

from servefit.search.fleet.plan.balancers.nginx import nginx_configuration
from servefit.search.fleet.plan.balancers.servers import Server

CLIENTS = 8
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class CountingEndpoint(asyncio.Protocol):
    """An HTTP endpoint that answers every request with ok. Requests have no body."""

    def __init__(self, counts: list[int], index: int) -> None:
        self._counts, self._index, self._begun = counts, index, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *whole, self._begun = (self._begun + data).split(b"\r\n\r\n")
        self._counts[self._index] += len(whole)
        self._transport.write(ANSWER * len(whole))


def shares_behind_nginx(weights: Sequence[int], *, requests: int, lost: int | None) -> list[float]:
    """Return the part of ``requests`` that endpoints of these ``weights`` get, when the one that is ``lost`` is
    gone."""
    return asyncio.run(_shares(weights, requests, lost))


async def _shares(weights: Sequence[int], requests: int, lost: int | None) -> list[float]:
    loop, counts = asyncio.get_running_loop(), [0] * len(weights)

    listening = [
        await loop.create_server(partial(CountingEndpoint, counts, index), "127.0.0.1", 0)
        for index in range(len(weights))
    ]
    servers = [
        Server(name=f"endpoint-{index}", address=f"127.0.0.1:{each.sockets[0].getsockname()[1]}", weight=weight)
        for index, (each, weight) in enumerate(zip(listening, weights, strict=True))
    ]
    try:
        with _nginx(servers) as port:
            if lost is not None:
                listening[lost].close()
            # Several connections, which several worker processes of nginx accept.
            await asyncio.gather(*(asyncio.to_thread(_send, port, requests // CLIENTS) for _ in range(CLIENTS)))
    finally:
        for each in listening:
            each.close()
    return [count / sum(counts) for count in counts]


def _send(port: int, requests: int) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    for _ in range(requests):
        connection.request("GET", "/")
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"ok")
    connection.close()


@contextmanager
def _nginx(servers: Sequence[Server]) -> Iterator[int]:
    """Run nginx in the foreground, on a port that is free, and give the port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "nginx.conf"
        file.write_text(nginx_configuration("counted", servers, port=port, answer_s=60))
        command = [program, "-e", "stderr", "-g", f"daemon off; pid {folder / 'pid'};", "-p", name, "-c", str(file)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                _wait_for(port)
                yield port
            finally:
                process.terminate()


def _wait_for(port: int) -> None:
    end = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)
