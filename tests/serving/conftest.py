"""Endpoints in processes of their own, and a client that sends what it is told."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.serving.obedient_predictor import Gate

from servefit.backends.model.types import Signature, Task
from servefit.backends.types import Settings, Target
from servefit.serving.config import ArtifactFacts, EndpointConfig, Limits

Start = Callable[..., AbstractContextManager["Running"]]
NAME = "obedient"
_PATIENCE_S = 60.0
"""More than anything here takes on a machine that does ten other things, and less than an idle connection is kept."""


@dataclass(kw_only=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def predictions(self) -> list[float]:
        predictions: list[float] = json.loads(self.body)["predictions"]
        return predictions


@dataclass(kw_only=True)
class Running:
    """An endpoint that serves at ``port``. ``printed`` is where its stderr goes."""

    process: subprocess.Popen[bytes]
    port: int
    pids: list[int]
    printed: Path

    def connect(self, timeout_s: float = 10.0) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s)

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            return ask_on(connection, method, path, body, headers)
        finally:
            connection.close()

    def invoke(self, *values: float) -> Answer:
        """One row that begins with ``values``."""
        return self.ask("POST", "/invocations", row(*values), {"content-type": "application/json"})

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples called ``name`` that have these labels."""
        text = self.ask("GET", "/metrics").body.decode()
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def resident_bytes(self) -> int:
        return sum(psutil.Process(pid).memory_info().rss for pid in self.pids)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(_PATIENCE_S)

    def says(self) -> str:
        return self.printed.read_text()


@dataclass(kw_only=True)
class Exchange:
    """A socket on which requests are written by hand."""

    socket: socket.socket
    received: bytes = field(default=b"")

    def send(self, content: bytes) -> None:
        self.socket.sendall(content)

    def answer(self) -> Answer:
        """The next answer. One without Content-Length, or a closed connection, is an error."""
        head, body = self._until(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        length = int(headers.get("content-length", 0))
        while len(body) < length:
            body += self._receive()
        self.received = body[length:]
        return Answer(status=int(lines[0].split()[1]), headers=headers, body=body[:length])

    def is_closed(self) -> bool:
        """Waits for the end of the connection; something else is False."""
        try:
            return not self.received and not self.socket.recv(1)
        except ConnectionError:
            return True

    def _until(self, end: bytes) -> tuple[bytes, bytes]:
        while end not in self.received:
            self.received += self._receive()
        head, _, rest = self.received.partition(end)
        return head, rest

    def _receive(self) -> bytes:
        content = self.socket.recv(65_536)
        if not content:
            raise ConnectionError(f"closed after {self.received!r}")
        return content


def row(*values: float) -> bytes:
    """The JSON of a row that begins with ``values``."""
    return json.dumps([[*values, 0.0, 0.0, 0.0][:3]]).encode()


def invocation(*values: float, headers: bytes = b"") -> bytes:
    """The bytes of a request for the prediction of one row."""
    body = row(*values)
    return (
        b"POST /invocations HTTP/1.1\r\nHost: endpoint\r\nContent-Type: application/json\r\n"
        b"%bContent-Length: %d\r\n\r\n%b" % (headers, len(body), body)
    )


def ask_on(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    connection.request(method, path, body, headers or {})
    response = connection.getresponse()
    names = {name.lower(): value for name, value in response.getheaders()}
    return Answer(status=response.status, headers=names, body=response.read())


def eventually(holds: Callable[[], bool]) -> bool:
    """Whether ``holds`` before patience ends."""
    until_s = time.monotonic() + _PATIENCE_S
    while not (held := holds()) and time.monotonic() < until_s:
        time.sleep(0.02)
    return held


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def described(facts: dict[str, Any], limits: dict[str, Any], **changes: Any) -> EndpointConfig:
    """An endpoint of the obedient predictor, for rows of three values. Its artifact lies beside its description."""
    artifact = ArtifactFacts(
        backend="obedient", backend_version="1", model_digest="", target=Target.CPU, folder="artifact", facts=facts
    )
    config = EndpointConfig(
        name=NAME,
        artifact=artifact,
        settings=Settings(),
        signature=Signature(task=Task.REGRESSION, features=3, outputs=1),
        port=0,
        limits=Limits(**limits),
        loader="obedient_predictor:load",
    )
    return replace(config, **changes)


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Start:
    """Start an endpoint of a predictor with these ``facts``, with these ``limits`` and whatever else a description
    says; it is stopped on exit, and must have ended well unless it was ended before."""

    @contextmanager
    def starting(
        facts: dict[str, Any] | None = None, limits: dict[str, Any] | None = None, **changes: Any
    ) -> Iterator[Running]:
        folder = tmp_path_factory.mktemp("endpoint")
        process, ready = launch(described(facts or {}, limits or {}, **changes), folder)
        try:
            line = os.read(ready, 4096)
            printed = folder / "stderr"
            assert line, printed.read_text()
            told = json.loads(line)
            running = Running(process=process, port=told["port"], pids=told["pids"], printed=printed)
            yield running
            if process.poll() is None:
                assert running.stop() == 0, running.says()
        finally:
            os.close(ready)
            process.kill()
            process.wait()
        assert eventually(lambda: all(is_gone(pid) for pid in running.pids))

    return starting


def launch(
    config: EndpointConfig, folder: Path, *arguments: str, through: tuple[str, ...] = ()
) -> tuple[subprocess.Popen[bytes], int]:
    """The process of an endpoint, and where it tells that it is ready. ``through`` is a command that becomes it."""
    (folder / "artifact").mkdir(exist_ok=True)
    description = folder / "endpoint.json"
    description.write_bytes(config.document())
    ready, told = os.pipe()
    tell = ("--ready-fd", str(told))
    with (folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen(
            [*through, sys.executable, "-P", "-m", "servefit.serving", str(description), *arguments, *tell],
            stderr=stderr,
            pass_fds=[told],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        )
    os.close(told)
    return process, ready
