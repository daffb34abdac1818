"""Two imitated hosts and a database that they reach over a network, and agents there."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.search.fleet.conftest import LEASES, AgentProcess
from tests.search.fleet.faults.namespaces import Network, network, skip_without_namespaces
from tests.tiny_model import tiny_model

from servefit.search.fleet.making import make_fleet

if TYPE_CHECKING:
    from tests.search.conftest import Server

HOSTS = ("rack3-07", "rack3-08")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Hosts, and the server that listens on the address that they reach."""

    network: Network
    server: Server


@pytest.fixture(scope="module")
def site(postgresql: Server) -> Iterator[Site]:
    skip_without_namespaces()
    with tempfile.TemporaryDirectory(prefix="servefit-hosts-") as folder:
        cpus = tuple(sorted(os.sched_getaffinity(0))[: len(HOSTS)])
        with network(Path(folder), HOSTS, cpus) as made, own_server(postgresql, made.address) as server:
            yield Site(network=made, server=server)


@pytest.fixture
def fleet_url(postgresql_url: str) -> str:
    """A fleet in the database that those who keep the server dump, restore and change."""
    make_fleet(postgresql_url, LEASES)
    return postgresql_url


@contextmanager
def own_server(like: Server, address: str = "127.0.0.1", folder: Path | None = None) -> Iterator[Server]:
    """A server of a test's own, on ``address``, whose data are in ``folder``."""
    place = Path(tempfile.mkdtemp(prefix="servefit-own-server-", dir=folder))
    server = replace(like, folder=place, port=_free_port(address), address=address)
    try:
        password = place / "password"
        password.write_text(server.password)
        for path in (place, password):
            shutil.chown(path, "postgres", "postgres")
        server.run(
            "initdb", f"--username={server.user}", f"--pwfile={password}", "--auth=scram-sha-256", "--encoding=UTF8",
            "--locale=C", "--no-sync",
        )  # fmt: skip
        with (place / "data" / "pg_hba.conf").open("a") as settings:
            settings.write(f"host all all {address}/24 scram-sha-256\n")
        # What hosts measure on the others is not the database's to disturb.
        cpus = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(cpus)})
        try:
            server.start()
        finally:
            os.sched_setaffinity(0, cpus)
        yield server
        server.stop()
    finally:
        shutil.rmtree(place)


@pytest.fixture
def site_url(site: Site) -> Iterator[str]:
    """A database at the site in which nobody finds anything."""
    with empty_schema(site.server) as url:
        yield url


@contextmanager
def empty_schema(server: Server) -> Iterator[str]:
    """A database in which nobody finds anything, and of which nothing stays."""
    name = f"jobs_{time.monotonic_ns()}"
    with server.connect() as connection:
        connection.execute(f"CREATE SCHEMA {name}".encode())
        connection.execute(f"ALTER DATABASE postgres SET search_path = {name}".encode())
    yield server.url()
    with server.connect() as connection:
        connection.execute(f"DROP SCHEMA {name} CASCADE".encode())


StartThere = Callable[..., AgentProcess]


@pytest.fixture
def start_there(site: Site, site_url: str, tmp_path: Path) -> Iterator[StartThere]:
    """Starts the agent of an imitated host. All cables are plugged in afterwards."""
    with ExitStack() as stack:

        def start(name: str, *options: str) -> AgentProcess:
            host = site.network.hosts[name]
            log = tmp_path / f"{name}.log"
            process = stack.enter_context(
                subprocess.Popen(
                    host.command(sys.executable, "-m", "servefit", "agent", "--name", name, *options),
                    env=host.environment(site_url),
                    stdout=subprocess.PIPE,
                    stderr=stack.enter_context(log.open("w")),
                    text=True,
                )
            )
            stack.callback(process.kill)
            stack.callback(host.plug_in)
            agent = AgentProcess(name, process, log)
            agent.wait_until_ready()
            return agent

        yield start


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_model(tmp_path / "model.ubj")


Servefit = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """That of whoever begins jobs; the database is to be added."""
    return {**os.environ, "SERVEFIT_HOME": str(tmp_path / "coordinator")}


def _free_port(address: str) -> int:
    with socket.create_server((address, 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
