"""A server with known behaviour, started as ``servefit.serving`` is: ``python -m small_server CONFIG --ready-fd N``.

What it does is said in the facts of the artifact that it is to serve. Every answer takes ``delay_ms``; with ``serial``
requests wait for each other. Of every ``every`` requests, and after the first ``after``, one ends as ``act`` says, or
as the next of ``acts`` does: a status, or the name of one of the ACTS. ``timing`` adds a Server-Timing header,
``speaks`` answers what a protocol asks. What has come is told at /counted; with ``joins`` its statistics say that each
call was of so many requests.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httptools

if TYPE_CHECKING:
    from collections.abc import Callable

ANSWER = b'{"predictions":[0.25]}'
TIMING = b"Server-Timing: queue;dur=0.250, predict;dur=0.500\r\n"
METADATA = b'{"name":"only","platform":"p","inputs":[{"name":"rows","datatype":"FP64","shape":[-1,3]}],"outputs":[]}'
SPOKEN = {
    "open-inference": {
        "/v2": b'{"name":"small","version":"1","extensions":["binary_tensor_data"]}',
        "/v2/repository/index": b'[{"name":"only","state":"READY"}]',
        "/v2/models/only": METADATA,
    },
    "texts": {
        "/v2": b'{"name":"small","version":"1","extensions":[]}',
        "/v2/repository/index": b'[{"name":"only","state":"READY"}]',
        "/v2/models/only": (
            b'{"name":"only","inputs":[{"name":"ids","datatype":"INT64","shape":[-1,-1]},'
            b'{"name":"image","datatype":"FP32","shape":[-1,3,-1]}]}'
        ),
    },
    "words": {
        "/v2": b'{"name":"servefit","version":"1","extensions":[]}',
        "/v2/repository/index": b'[{"name":"only","state":"READY"}]',
        "/v2/models/only": b'{"name":"only","inputs":[{"name":"ids","datatype":"INT64","shape":[-1,-1]}]}',
    },
    "sagemaker": {"/ping": b""},
    "nothing": {},
}


class Connection(asyncio.Protocol):
    def __init__(self, server: Server) -> None:
        self.server = server
        self.parser = httptools.HttpRequestParser(self)
        self.transport: Any = None
        self.headers: dict[bytes, bytes] = {}
        self.url = self.body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.server.connections += 1

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.url, self.body, self.headers = url, b"", {}

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.server.requested(self)

    def send(self, status: int, body: bytes, headers: bytes = b"") -> None:
        self.transport.write(
            b"HTTP/1.1 %d Whatever\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n%b"
            % (status, headers, len(body), body)
        )


def _reset(transport: Any) -> None:
    linger = struct.pack("ii", 1, 0)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    transport.abort()


def _in_two_parts(transport: Any) -> None:
    transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 22\r\n")
    asyncio.get_running_loop().call_later(0.002, transport.write, b"\r\n" + ANSWER)


def _say_and_close(content: bytes) -> Callable[[Any], None]:
    def act(transport: Any) -> None:
        transport.write(content)
        transport.close()

    return act


def _again_and_again(content: bytes) -> Callable[[Any], None]:
    def say(transport: Any) -> None:
        if not transport.is_closing():
            transport.write(content)
            asyncio.get_running_loop().call_later(0.02, say, transport)

    return say


ACTS: dict[str, Callable[[Any], None]] = {
    "chunked": lambda transport: transport.write(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    ),
    "in two parts": _in_two_parts,
    "close": lambda transport: transport.close(),
    "close after": _say_and_close(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}"),
    "close to end": _say_and_close(b"HTTP/1.0 200 OK\r\n\r\n{}"),
    "reset": _reset,
    "hang": lambda _: None,
    "announce": _again_and_again(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "trickle": _again_and_again(b"HTTP/1.1 200 OK\r\nA: b\r\n"),
    "garbage": lambda transport: transport.write(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "partial": _say_and_close(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nno more than this"),
    "twice": lambda transport: transport.write(2 * b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"),
    "die": lambda _: os.kill(os.getpid(), signal.SIGKILL),
}


class Server:
    def __init__(self, facts: dict[str, Any]) -> None:
        self.facts = facts
        self.requests = self.connections = self.acts = 0
        self.free_at = 0.0
        self.bodies: dict[str, dict[str, str]] = {}

    def requested(self, connection: Connection) -> None:
        path = connection.url.decode()
        spoken = SPOKEN.get(self.facts.get("speaks", ""), {})
        if path == "/counted":
            counted = {"requests": self.requests, "connections": self.connections, "bodies": self.bodies}
            connection.send(200, json.dumps(counted).encode())
        elif path == "/v2/models/only/stats" and "joins" in self.facts:
            joins = self.facts["joins"]
            calls = [{"batch_size": joins, "compute_infer": {"count": self.requests // joins}}]
            connection.send(200, json.dumps({"model_stats": [{"batch_stats": calls}]}).encode())
        elif path in spoken:
            connection.send(200, spoken[path])
        elif path == "/ping" or (path.startswith("/v2") and not path.endswith("/infer")):
            connection.send(404, b"{}")
        elif (
            self.facts.get("takes", connection.headers[b"content-type"].decode()).encode()
            not in (connection.headers[b"content-type"])
        ):
            connection.send(415, b'{"error":"not this type"}')
        else:
            self.infer(connection)

    def infer(self, connection: Connection) -> None:
        self.requests += 1
        if len(self.bodies) < 100:
            headers = {name.decode(): value.decode() for name, value in connection.headers.items()}
            self.bodies[connection.body.decode("latin-1")] = headers
        facts = self.facts
        its_turn = self.requests % facts.get("every", 1) == 0 and self.requests > facts.get("after", 0)
        act = self.next_act() if its_turn else None
        if act == "stall":
            time.sleep(facts["stall_ms"] / 1000)
        delay_s = facts.get("delay_ms", 0) / 1000
        loop = asyncio.get_running_loop()
        if facts.get("serial"):
            self.free_at = max(self.free_at, loop.time()) + delay_s
            delay_s = self.free_at - loop.time()
        if delay_s:
            loop.call_later(delay_s, self.answer, connection, act)
        else:
            self.answer(connection, act)

    def next_act(self) -> str | int | None:
        acts = self.facts.get("acts", [self.facts.get("act")])
        self.acts += 1
        which: str | int | None = acts[self.acts % len(acts)]
        return which

    def answer(self, connection: Connection, act: str | int | None) -> None:
        if isinstance(act, int):
            connection.send(act, b'{"error":"it is so"}')
        elif act in ACTS:
            ACTS[act](connection.transport)
        else:
            connection.send(200, ANSWER, TIMING if self.facts.get("timing") else b"")


async def serve(facts: dict[str, Any], host: str, port: int, ready: int) -> None:
    server = Server(facts)
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(lambda: Connection(server), host, port, backlog=1024, ssl=_tls(facts))
    os.write(ready, json.dumps({"port": listening.sockets[0].getsockname()[1], "pids": [os.getpid()]}).encode() + b"\n")
    os.close(ready)
    if "listens_for_s" in facts:
        await asyncio.sleep(facts["listens_for_s"])
        listening.close()
    await asyncio.Event().wait()


def _tls(facts: dict[str, Any]) -> Any:
    if "certificate" not in facts:
        return None
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(facts["certificate"])
    return context


def main() -> None:
    config = json.loads(Path(sys.argv[1]).read_text())
    facts = config["artifact"]["facts"]
    if "says" in facts:
        print(facts["says"], file=sys.stderr, flush=True)
    if "exits" in facts:
        sys.exit(facts["exits"])
    if "grows_mb" in facts:
        _ = [bytearray(os.urandom(2**20)) for _ in range(facts["grows_mb"])]
    if facts.get("hangs"):
        time.sleep(3600)
    if facts.get("forks"):
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    asyncio.run(serve(facts, config["host"], config["port"], int(sys.argv[3])))


if __name__ == "__main__":
    main()
