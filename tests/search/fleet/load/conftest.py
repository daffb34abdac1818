"""An endpoint that is nearer to some clients than to others, and agents that imitate hosts on this one."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from tests.search.fleet.conftest import AgentProcess, StartAgent

from servefit.search.fleet.host import Leases
from servefit.search.fleet.making import make_fleet

Servefit = Callable[..., subprocess.CompletedProcess[str]]
StartClient = Callable[..., AgentProcess]

_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


@dataclass
class Endpoint:
    """Answers any POST with {}, ``delays_s`` later for what comes from processes below the one of that id, and notes
    the ``content_types``."""

    delays_s: dict[int, float] = field(default_factory=dict)
    answered: int = 0
    content_types: set[bytes] = field(default_factory=set)
    url: str = ""
    _ready: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread = field(init=False)

    def start(self) -> None:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()
        assert self._ready.wait(10)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    async def _run(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=256)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/score"
        self._ready.set()
        async with server:
            await self._stopping.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = writer.get_extra_info("peername")[1]
        delay_s = await asyncio.to_thread(self._delay_s, port) if self.delays_s else 0.0
        with closing(writer), suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.lower().split(b"\r\n")
                length = next((int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length")), 0)
                await reader.readexactly(length)
                if delay_s:
                    await asyncio.sleep(delay_s)
                if not lines[0].startswith(b"post"):
                    writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
                    continue
                self.answered += 1
                self.content_types |= {
                    line.split(b":")[1].strip() for line in lines if line.startswith(b"content-type")
                }
                writer.write(_ANSWER)

    def _delay_s(self, port: int) -> float:
        for pid, delay_s in self.delays_s.items():
            for process in psutil.Process(pid).children(recursive=True):
                with suppress(psutil.Error):
                    if any(each.laddr.port == port for each in process.net_connections() if each.laddr):
                        return delay_s
        return 0.0


@pytest.fixture
def fleet_url(postgresql_url: str) -> str:
    """A fleet whose agents may be heard of late: those of two hosts, and what they measure, share this one."""
    make_fleet(postgresql_url, Leases(silent_s=12, lost_s=12))
    return postgresql_url


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    served = Endpoint()
    served.start()
    yield served
    served.stop()


@pytest.fixture
def start_client(start_agent: StartAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StartClient:
    """Starts an agent that measures beside others, as if it were on a host of its own."""

    def start(name: str, *options: str, **more: str) -> AgentProcess:
        folder = slot_of(tmp_path, name)
        folder.mkdir()
        with monkeypatch.context() as patch:
            patch.setenv("SERVEFIT_SLOT", str(folder))
            return start_agent(name, *options, **more)

    return start


def slot_of(tmp_path: Path, name: str) -> Path:
    """The folder of the measuring slot of a client."""
    return tmp_path / f"slot-{name}"


@pytest.fixture
def payload(tmp_path: Path) -> Path:
    path = tmp_path / "payload.csv"
    path.write_text("a,b\n1,2\n3,4\n")
    return path


@pytest.fixture
def environment(fleet_url: str, tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "SERVEFIT_STORAGE": fleet_url, "SERVEFIT_HOME": str(tmp_path / "coordinator")}


@pytest.fixture
def servefit(environment: dict[str, str]) -> Servefit:
    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "servefit", *map(str, arguments)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=150)

    return run
