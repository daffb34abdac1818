"""An SSH server, and hosts that are reached through it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.search.fleet.launching.ssh_server import SshServer, ssh_server

from servefit.search.fleet.launching.agent_options import AgentOptions
from servefit.search.fleet.launching.inventory import InventoryHost
from servefit.search.fleet.launching.tunnel import TunnelledDatabase, tunnelled

PASSWORD = "p@ss/w%rd: ?#{0}"
ESCAPED = "p%40ss%2Fw%25rd%3A%20%3F%23%7B0%7D"
GREETING = b"the database\n"

MakeHost = Callable[..., InventoryHost]

AGENT = """
import json, os, subprocess, sys, time

record = {{"pid": os.getpid(), "arguments": sys.argv[1:], "storage": os.environ["SERVEFIT_STORAGE"]}}
{body}
with open({path!r}, "a") as file:
    file.write(json.dumps(record) + "\\n")
if {ready}:
    print("agent", sys.argv[sys.argv.index("--name") + 1], "takes orders", flush=True)
{end}
"""


@dataclass(frozen=True, kw_only=True)
class Agent:
    """A script in the place of servefit's agent, and the file that each of its runs adds a line to."""

    script: str
    path: Path

    @property
    def runs(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []


MakeAgent = Callable[..., Agent]


@pytest.fixture(scope="session")
def sshd() -> Iterator[SshServer]:
    with ssh_server() as server:
        yield server


@pytest.fixture
def make_agent(tmp_path: Path) -> MakeAgent:
    """Makes an agent that carries ``body`` out, then writes ``record`` down, and then carries ``end`` out;
    unless it is ``ready``, it takes no orders."""

    def make(body: str = "", end: str = "time.sleep(60)", *, ready: bool = True) -> Agent:
        path = tmp_path / f"runs-{len(list(tmp_path.iterdir()))}"
        return Agent(script=AGENT.format(body=body, path=str(path), ready=ready, end=end), path=path)

    return make


@pytest.fixture
def make_host(sshd: SshServer) -> MakeHost:
    def make(agent: Agent, name: str = "rack3-07", **changes: Any) -> InventoryHost:
        usual: dict[str, Any] = {
            "destination": "127.0.0.1",
            "port": sshd.port,
            "identity": sshd.key,
            "python": str(sshd.python(agent.script)),
            "options": {"UserKnownHostsFile": str(sshd.known_hosts)},
            "agent": AgentOptions(name=name, labels={"rack": "3"}, cost={"per_hour": 0.21}),
        }
        return InventoryHost(name=name, **{**usual, **changes})

    return make


@pytest.fixture(scope="session")
def greeter() -> Iterator[int]:
    """The port of a server that greets whoever connects."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        connection.sendall(GREETING)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def database(greeter: int) -> TunnelledDatabase:
    return tunnelled(f"postgresql://fleet:{ESCAPED}@127.0.0.1:{greeter}/servefit")
